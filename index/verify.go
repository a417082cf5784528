package index

import (
	"cmp"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"sync"
	"time"
)

// digests are the checksums of one content: those of the whole in hex, and one for each block.
type digests struct {
	md5, sha256 string
	blocks      []uint32
}

// hasher computes both checksums Drive keeps, and those of the blocks, in one pass.
type hasher struct {
	md5, sha256 hash.Hash
	blocks      *blockSums
}

func newHasher() hasher { return hasher{md5.New(), sha256.New(), &blockSums{}} }

// hashApart is from how many bytes on a second processor is worth its while.
const hashApart = 64 << 10

// Write adds p, on two processors: MD5 takes as long as all the rest.
func (h hasher) Write(p []byte) (int, error) {
	if len(p) < hashApart {
		h.md5.Write(p)
	} else {
		done := make(chan struct{})
		go func() { h.md5.Write(p); close(done) }()
		defer func() { <-done }()
	}
	h.sha256.Write(p)
	return h.blocks.Write(p)
}

func (h hasher) sum() digests {
	return digests{hex.EncodeToString(h.md5.Sum(nil)), hex.EncodeToString(h.sha256.Sum(nil)), h.blocks.all()}
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

// verify hashes the whole content once, when it is complete. A block that the disk damaged is fetched again when it is next
// read. If all are as they came, and the whole does not match Drive's checksum, it is thrown away to be fetched again; the
// second time the revision is given up.
func (bf *blockFile) verify(ctx context.Context) {
	bf.mu.Lock()
	gen, due := bf.beginVerify()
	bf.mu.Unlock()
	if due {
		bf.finishVerify(ctx, gen)
	}
}

// beginVerify says whether the content is to be verified, and makes readers wait until finishVerify has done it. The
// caller holds mu.
func (bf *blockFile) beginVerify() (gen uint64, due bool) {
	if bf.verified || bf.checking != nil || !bf.complete.Load() || (bf.md5 == "" && bf.sha256 == "") {
		return 0, false
	}
	bf.checking, bf.since = make(chan struct{}), time.Now()
	bf.held.Store(true)
	return bf.gen.Load(), true
}

// finishVerify is the work of verify.
func (bf *blockFile) finishVerify(ctx context.Context, gen uint64) {
	bf.use()
	defer bf.release()
	defer bf.checked()
	result, err := bf.audit(ctx, true)
	if err != nil || len(result.damaged) > 0 || bf.gen.Load() != gen { // the disk does not read, or blocks went meanwhile: nothing is known
		return
	}
	if !result.right { // its blocks go first: what is known to be wrong is not served
		bf.era.Add(1)
		_, err = bf.drop(math.MaxInt64)
		bf.s.log.WithField("file", bf.key.file).WithError(err).Debug("block cache: the content does not match its checksum, thrown away")
	}
	bf.mu.Lock()
	bf.judge(result.right)
	if result.right && bf.gen.Load() == gen { // else blocks went since, and those that come instead are to be verified
		bf.verified, bf.dirty = true, true
	}
	bf.mu.Unlock()
	bf.s.wake()
}

// judge notes whether the whole content, as it came, was right. The caller holds mu.
func (bf *blockFile) judge(right bool) {
	if right {
		bf.wrong = 0
		return
	}
	bf.wrong++
	bf.bad = bf.wrong > 1
}

// holdBack is how long readers wait for a verification, so that whoever reads to the end learns whether the whole is
// right. An image that takes longer to hash has tens of gigabytes, and no read may hang for so long.
const holdBack = 20 * time.Second

// hold waits while the content is being verified, not for longer than holdBack from its beginning.
func (bf *blockFile) hold(ctx context.Context) error {
	bf.mu.Lock()
	checking, since := bf.checking, bf.since
	bf.mu.Unlock()
	if checking == nil {
		return nil
	}
	t := time.NewTimer(time.Until(since.Add(holdBack)))
	defer t.Stop()
	select {
	case <-checking:
	case <-t.C:
		bf.held.Store(false)
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// checked ends a verification.
func (bf *blockFile) checked() {
	bf.mu.Lock()
	defer bf.mu.Unlock()
	close(bf.checking)
	bf.checking = nil
	bf.held.Store(false)
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

// audited is what came out of looking at what is on disk of a revision.
type audited struct {
	blocks, bytes int64   // looked at
	damaged       []int64 // blocks that were not as written; they are forgotten
	whole         bool    // all blocks are there
	right         bool    // and the content is that of Drive's checksum, SHA-256 where there is one, else MD5
}

// audit reads everything that is on disk of the revision and compares it with the sums, and with Drive's checksum if it is
// all there. What was hashed along with its arrival need not be read again. The caller has it in use.
func (bf *blockFile) audit(ctx context.Context, along bool) (audited, error) {
	if err := bf.open(); err != nil {
		return audited{}, err
	}
	bf.prefix.Lock()
	defer bf.prefix.Unlock()
	want := cmp.Or(bf.sha256, bf.md5)
	var out audited
	out.whole = true
	h, first := bf.newHash(), int64(0)
	if along && bf.prefix.hash != nil && bf.prefix.gen == bf.gen.Load() {
		h, first = bf.prefix.hash, bf.prefix.next
		_, out.bytes = bf.span(0, first-1)
		out.blocks = first
	}
	bf.prefix.hash = nil
	buf := make([]byte, blockSize)
	for b := first; b < bf.have.n; b++ {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		off, n := bf.span(b, b)
		var right, wrong bool
		for bf.have.has(b) && !right && !wrong { // again, if other blocks went meanwhile
			if bf.file.Load() == nil {
				return out, errors.New("the cache file is closed")
			}
			right, wrong = bf.check(buf[:n], off, b)
		}
		switch {
		case right:
			out.blocks, out.bytes = out.blocks+1, out.bytes+n
			h.Write(buf[:n])
		case wrong:
			out.damaged = append(out.damaged, b)
		}
		out.whole = out.whole && right
	}
	out.right = out.whole && (want == "" || hex.EncodeToString(h.Sum(nil)) == want)
	return out, nil
}

// newHash computes the checksum of Drive's that the content is compared with: SHA-256 where there is one, else MD5.
func (bf *blockFile) newHash() hash.Hash {
	if bf.sha256 == "" {
		return md5.New()
	}
	return sha256.New()
}

// matches says whether p is the content of Drive's checksum, as far as there is one.
func (bf *blockFile) matches(p []byte) bool {
	h := bf.newHash()
	h.Write(p)
	want := cmp.Or(bf.sha256, bf.md5)
	return want == "" || hex.EncodeToString(h.Sum(nil)) == want
}

// prefix is the checksum of the beginning of a content, computed while the rest arrives: who reads an image to its end
// waits for what is left of it, and not for the whole to be hashed.
type prefix struct {
	sync.Mutex // held by whoever hashes, across disk I/O
	hash       hash.Hash
	next       int64  // blocks hashed
	gen        uint64 // they count while blockFile.gen is this
}

// hashAlong hashes what has come of the content in sequence from its beginning, unless somebody is at it. The caller has
// it in use.
func (bf *blockFile) hashAlong(ctx context.Context) {
	p := &bf.prefix
	if bf.size > bf.s.limit || bf.complete.Load() || !p.TryLock() {
		return
	}
	defer p.Unlock()
	var buf []byte
	for ctx.Err() == nil {
		if gen := bf.gen.Load(); p.hash == nil || p.gen != gen {
			p.hash, p.next, p.gen = bf.newHash(), 0, gen
		}
		if p.next >= bf.have.n || !bf.have.has(p.next) {
			return
		}
		if buf == nil {
			buf = bf.s.buffer(blockSize)
			defer bf.s.putBuffer(buf)
		}
		off, n := bf.span(p.next, p.next)
		if right, _ := bf.check(buf[:n], off, p.next); !right {
			p.hash = nil // the verification finds out
			return
		}
		p.hash.Write(buf[:n])
		p.next++
	}
}

// Prefetch brings the whole of img to disk, with several connections, and verifies it: ErrDigest if it twice does not
// match Drive's checksum, syscall.ENOSPC if the cache has no room for all of it. A file that was refused for its download
// quota, or given up for its checksum, is asked for again at once.
func (ix *Index) Prefetch(ctx context.Context, img Image) error {
	ix.drive.Unpark(img.File)
	r, err := ix.reader(img)
	if err != nil {
		return fmt.Errorf("prefetch %s: %w", img.Ref, err)
	}
	r.bf.forgive()
	err = r.bf.fill(ctx)
	if err == nil {
		ix.profiles.look(ctx, img)
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("prefetch %s: %w", img.Ref, err)
	}
	return nil
}

// forgive lets content that did not match its checksum be fetched again, as often as at first: somebody asks for it by
// name.
func (bf *blockFile) forgive() {
	bf.mu.Lock()
	defer bf.mu.Unlock()
	bf.bad, bf.wrong = false, 0
}
