package index

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
)

// digests are the checksums of one content, in hex.
type digests struct{ md5, sha256 string }

// hasher computes both checksums Drive keeps in one pass.
type hasher struct{ md5, sha256 hash.Hash }

func newHasher() hasher { return hasher{md5.New(), sha256.New()} }

func (h hasher) Write(p []byte) (int, error) {
	h.md5.Write(p)
	return h.sha256.Write(p)
}

func (h hasher) sum() digests {
	return digests{hex.EncodeToString(h.md5.Sum(nil)), hex.EncodeToString(h.sha256.Sum(nil))}
}

// ctxReader stops reading when ctx ends.
type ctxReader struct {
	ctx context.Context //nolint:containedctx // lives for one copy
	io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// verify hashes the whole content once, when it is complete. What does not match Drive's checksum is thrown away, to be
// fetched again; the second time the revision is given up.
func (bf *blockFile) verify(ctx context.Context) {
	bf.mu.Lock()
	if bf.verified || bf.checking != nil || !bf.complete.Load() || (bf.md5 == "" && bf.sha256 == "") {
		bf.mu.Unlock()
		return
	}
	bf.checking = make(chan struct{})
	gen := bf.gen.Load()
	bf.mu.Unlock()

	bf.use()
	defer bf.release()
	defer bf.checked()
	right, err := bf.matches(ctx)
	if err != nil || bf.gen.Load() != gen { // the disk does not read, or blocks went meanwhile: nothing is known
		return
	}
	if !right { // its blocks go first: what is known to be wrong is not served
		_, err = bf.drop(math.MaxInt64)
		bf.s.log.WithField("file", bf.key.file).WithError(err).Debug("block cache: the content does not match its checksum, thrown away")
	}
	bf.mu.Lock()
	if bf.verified = right; right {
		bf.dirty = true
		bf.wrong = 0
	} else {
		bf.wrong++
		bf.bad = bf.wrong > 1
	}
	bf.mu.Unlock()
	bf.s.wake()
}

// checked ends a verification.
func (bf *blockFile) checked() {
	bf.mu.Lock()
	defer bf.mu.Unlock()
	close(bf.checking)
	bf.checking = nil
}

// settled waits for a verification under way. It says whether the content is complete and right; ErrDigest if it was
// given up.
func (bf *blockFile) settled(ctx context.Context) (bool, error) {
	bf.mu.Lock()
	checking := bf.checking
	bf.mu.Unlock()
	if checking != nil {
		select {
		case <-checking:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	bf.mu.Lock()
	defer bf.mu.Unlock()
	if bf.bad {
		return false, fmt.Errorf("file %s: %w", bf.key.file, ErrDigest)
	}
	unknown := bf.md5 == "" && bf.sha256 == ""
	return bf.complete.Load() && (bf.verified || unknown), nil
}

// matches hashes the file and compares with the checksum Drive gave: SHA-256 where there is one, else MD5.
func (bf *blockFile) matches(ctx context.Context) (bool, error) {
	want, h := bf.sha256, sha256.New()
	if want == "" {
		want, h = bf.md5, md5.New()
	}
	f := bf.file.Load()
	if f == nil && bf.size > 0 {
		return false, errors.New("the cache file is closed")
	}
	if bf.size > 0 {
		buf := make([]byte, blockSize)
		if _, err := io.CopyBuffer(h, ctxReader{ctx, io.NewSectionReader(f, 0, bf.size)}, buf); err != nil {
			return false, err
		}
	}
	return hex.EncodeToString(h.Sum(nil)) == want, nil
}

// Prefetch brings the whole of img to disk, with several connections, and verifies it: ErrDigest if it twice does not
// match Drive's checksum, syscall.ENOSPC if the cache has no room for all of it.
func (ix *Index) Prefetch(ctx context.Context, img Image) error {
	r, err := ix.OpenImage(img)
	if err != nil {
		return fmt.Errorf("prefetch %s: %w", img.Ref, err)
	}
	err = r.bf.fill(ctx)
	if err = errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("prefetch %s: %w", img.Ref, err)
	}
	return nil
}
