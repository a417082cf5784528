package index

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Content also comes into the cache in one piece: as the file of a draft that was pushed, or as a block file of which the
// records know nothing, because they were lost or a crash came before them.

// stray is the suffix of such a file until it is known to be right. Nothing is read from it before.
const stray = ".stray"

// adopt makes the file at path the complete content of img, sums being the checksums of its blocks; if they are not known,
// the file is read and has to have Drive's checksum. It says whether it took the file: not if the revision is in use or
// partly here already, or there is no room. The file must be on disk for good.
func (s *blockStore) adopt(img Image, path string, sums []uint32) bool {
	bf := s.get(img)
	defer bf.release()
	if img.Size == 0 || !s.reserve(img.Size) {
		return false
	}
	var err error
	if sums == nil {
		sums, err = contentSums(s.ix.base, path, img)
	}
	if err == nil {
		err = bf.take(path, sums)
	}
	if err != nil {
		s.unreserve(img.Size)
		s.log.WithError(err).WithField("image", img.Ref.String()).Debug("block cache: not taking a pushed image")
	}
	return err == nil
}

// take is adopt's work under persist.
func (bf *blockFile) take(path string, sums []uint32) error {
	bf.persist.Lock()
	defer bf.persist.Unlock()
	if int64(len(sums)) != bf.have.n {
		return fmt.Errorf("%d checksums for %d blocks: %w", len(sums), bf.have.n, ErrCorrupt)
	}
	bf.s.mu.Lock()
	alone := bf.refs == 1
	var f *cacheFile
	if alone {
		f = bf.file.Swap(nil)
	}
	bf.s.mu.Unlock()
	if f != nil {
		if err := f.Close(); err != nil {
			return err
		}
	}
	if !alone || bf.have.count() > 0 {
		return ErrBusy
	}
	if err := os.Rename(path, bf.path()); errors.Is(err, unix.EXDEV) {
		if err := bf.s.carry(path, bf.path(), sums); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if err := syncDir(bf.s.dir); err != nil {
		return err
	}
	crashpoint("draft.adopted")
	bf.mu.Lock()
	for i, sum := range sums {
		bf.sums.set(int64(i), sum)
	}
	bf.have.setAll()
	bf.complete.Store(true)
	bf.verified, bf.dirty = true, true
	bf.mu.Unlock()
	bf.lastUse.Store(time.Now().UnixNano())
	if err := bf.save(); err != nil { // upkeep tries again
		bf.s.log.WithError(err).Debug("block cache: record a pushed image")
	}
	return nil
}

// carry copies path to the cache's own disk, as to, and removes it. What is copied has to have the sums.
func (s *blockStore) carry(path, to string, sums []uint32) error {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := os.OpenFile(to+stray, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	var check blockSums
	_, err = io.CopyBuffer(io.MultiWriter(f, &check), ctxReader{s.ix.base, from}, make([]byte, blockSize))
	if err == nil && !slices.Equal(check.all(), sums) {
		err = fmt.Errorf("copy %s: %w", path, ErrDigest)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(to+stray, to)
	}
	if err != nil {
		return errors.Join(err, os.Remove(to+stray))
	}
	return os.Remove(path)
}

// strays looks for block files without a record, at start. One that may be the content of an image is set aside and looked
// at in the background; the others go.
func (s *blockStore) strays(known map[string]bool) {
	var images map[string]Image // by local name, made when the first stray is met
	var found []Image
	for _, e := range s.entries() {
		hash := strings.TrimSuffix(e.Name(), stray)
		if hash == e.Name() && known[hash] {
			continue
		}
		if images == nil {
			images = map[string]Image{}
			for _, img := range s.ix.cat.all() {
				images[keyOf(img).hash()] = img
			}
		}
		img, ok := images[hash]
		if info, err := e.Info(); err != nil || info.Size() != img.Size || known[hash] {
			ok = false
		}
		path := filepath.Join(s.dir, e.Name())
		if ok {
			ok = hash != e.Name() || os.Rename(path, path+stray) == nil
		}
		if ok {
			known[hash] = true
			found = append(found, img)
			continue
		}
		s.discard(Problem{Kind: ProblemStray, Subject: path, Text: "a block file without a record"})
	}
	if len(found) == 0 || !s.ix.goes(func(ctx context.Context) {
		defer close(s.looked)
		for _, img := range found {
			s.inspect(ctx, img)
		}
	}) {
		close(s.looked)
	}
}

// entries lists the block files, those that are strays included. Of a disk that refuses, nothing.
func (s *blockStore) entries() []os.DirEntry {
	all, err := os.ReadDir(s.dir)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(all, func(e os.DirEntry) bool {
		return !isHash(strings.TrimSuffix(e.Name(), stray)) || !e.Type().IsRegular()
	})
}

// discard removes the file that p is about, and notes it.
func (s *blockStore) discard(p Problem) {
	p.Repaired = "removed"
	if err := os.Remove(p.Subject); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		p.Repaired, p.Text = "", fmt.Sprintf("%s, which cannot be removed: %v", p.Text, err)
	}
	s.ix.found(p)
}

// isHash says whether name is one that contentKey.hash makes.
func isHash(name string) bool {
	raw, err := hex.DecodeString(name)
	return err == nil && len(raw) == 16
}

// inspect takes the stray of img into the cache if its content is that of Drive's checksum, and removes it if not.
func (s *blockStore) inspect(ctx context.Context, img Image) {
	path := filepath.Join(s.dir, keyOf(img).hash()+stray)
	sums, err := contentSums(ctx, path, img)
	if ctx.Err() != nil {
		return // the next start looks again
	}
	p := Problem{Kind: ProblemStray, Subject: path, Text: fmt.Sprintf("a block file of %s without a record", img.Ref)}
	if err == nil && s.adopt(img, path, sums) {
		p.Repaired = "it is whole and right, and in use again"
		s.ix.found(p)
		return
	}
	if err != nil {
		p.Text = fmt.Sprintf("%s: %v", p.Text, err)
	}
	s.discard(p)
}

// contentSums returns the checksums of the blocks of the file at path, if it is the content of img. It is on disk for good then.
func contentSums(ctx context.Context, path string, img Image) ([]uint32, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	want, h := img.SHA256, sha256.New()
	if want == "" {
		want, h = img.MD5, md5.New()
	}
	var sums blockSums
	if _, err := io.CopyBuffer(io.MultiWriter(h, &sums), ctxReader{ctx, f}, make([]byte, blockSize)); err != nil {
		return nil, err
	}
	if want == "" || hex.EncodeToString(h.Sum(nil)) != want {
		return nil, ErrDigest
	}
	return sums.all(), f.Sync()
}
