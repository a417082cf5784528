package main

import (
	"context"
	"crypto/md5" //nolint:gosec // Drive's checksum, not a secret
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"sregfs/index"
)

// fetch writes the image to target: first beside it, then, checked and on
// disk, under its name.
func (a *app) fetch(ctx context.Context, reg registry, img index.Image, target string) (err error) {
	src, err := reg.Open(ctx, img)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return localFile(err)
	}
	tmp, err := newPart(target)
	if err != nil {
		return localFile(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tmp.Close(), os.Remove(tmp.Name()))
		}
	}()
	bars := newBars(a)
	defer bars.finish()
	progress := func(done int64) { bars.show("pull "+img.Short(), done, img.Size) }
	cloned := false
	if c, ok := src.(cloner); ok && c.Clones(tmp) {
		if err := read(ctx, src, img, io.Discard, progress); err != nil {
			return err
		}
		cloned = c.CloneTo(tmp) == nil
	}
	if !cloned {
		if err := copyTo(ctx, tmp, src, img, progress); err != nil {
			return err
		}
	}
	if err := tmp.Sync(); err != nil {
		return localFile(err)
	}
	if err := tmp.Close(); err != nil {
		return localFile(err)
	}
	return localFile(os.Rename(tmp.Name(), target))
}

// whole is an open image that wants to know that all of it will be read; see
// index.Reader. A mount finds it out.
type whole interface{ Whole() }

// cloner is an open image of the cache that may be able to share its disk blocks with
// a file; see index.Reader. Through a mount it cannot.
type cloner interface {
	Clones(dst *os.File) bool
	CloneTo(dst *os.File) error
}

// copyTo writes the image to tmp while it arrives. The room is taken first: a
// disk that is too full is told before anything was fetched.
func copyTo(ctx context.Context, tmp *os.File, src content, img index.Image, progress func(done int64)) error {
	if err := tmp.Truncate(0); err != nil {
		return localFile(err)
	}
	err := unix.Fallocate(int(tmp.Fd()), 0, 0, max(img.Size, 1))
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return localFile(fmt.Errorf("the disk of %s has no room for the %s of it: %w", filepath.Dir(tmp.Name()), size(img.Size), err))
	}
	if err := tmp.Truncate(img.Size); err != nil {
		return localFile(err)
	}
	return read(ctx, src, img, &writtenOut{File: tmp}, progress)
}

// read hands the image to w as it arrives, and checks it.
func read(ctx context.Context, src content, img index.Image, w io.Writer, progress func(done int64)) error {
	if w, ok := src.(whole); ok {
		w.Whole()
	}
	sum := newDigest(img)
	buf := make([]byte, 1<<20)
	for off := int64(0); off < img.Size; {
		n, err := src.ReadAt(ctx, buf[:min(int64(len(buf)), img.Size-off)], off)
		if n == 0 && err != nil {
			return err
		}
		if _, err := io.MultiWriter(w, sum).Write(buf[:n]); err != nil {
			return localFile(err)
		}
		off += int64(n)
		progress(off)
	}
	return sum.check()
}

// writtenOut is a file whose bytes go to the disk while more of them come: the
// sync at the end of a long copy would take as long as the copy otherwise.
type writtenOut struct {
	*os.File
	at, out int64 // bytes written, and those of them that were sent to the disk
}

const writeOutEvery = 8 << 20

// Write implements io.Writer.
func (w *writtenOut) Write(p []byte) (int, error) {
	n, err := w.File.Write(p)
	w.at += int64(n)
	if w.at-w.out >= writeOutEvery {
		_ = unix.SyncFileRange(int(w.Fd()), w.out, w.at-w.out, unix.SYNC_FILE_RANGE_WRITE) // the sync at the end tells what is wrong
		w.out = w.at
	}
	return n, err
}

// digest checks bytes against the digest Drive has for an image.
type digest struct {
	hash.Hash
	want string
}

func newDigest(img index.Image) digest {
	if img.SHA256 != "" {
		return digest{sha256.New(), img.SHA256}
	}
	return digest{md5.New(), img.MD5} //nolint:gosec // Drive's checksum, not a secret
}

// check returns index.ErrDigest if what was written is not the image. Where
// Drive has no digest at all there is nothing to check against.
func (d digest) check() error {
	if got := hex.EncodeToString(d.Sum(nil)); d.want != "" && !strings.EqualFold(got, d.want) {
		return fmt.Errorf("%w: got %s, Drive says %s", index.ErrDigest, got, d.want)
	}
	return nil
}
