package index

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sregfs/index/image"
)

// Reader reads one revision of one image, whatever happens to its name. It is safe for concurrent use; Close ends it.
type Reader struct {
	bf     *blockFile
	launch *launch // nil if it is none of a start
	quiet  bool    // it looks for its own purposes: what it reads says nothing of what will be read
	closed atomic.Bool
	served atomic.Bool  // it has handed out bytes,
	era    atomic.Int64 // and of which of bf's eras

	mu    sync.Mutex
	start int64 // guarded by mu: where the reads in sequence began
	next  int64 // guarded by mu: where the last of them ended
	run   int64 // guarded by mu: bytes they read
	asked int64 // guarded by mu: the first block read-ahead has not asked for
	whole bool  // guarded by mu: it reads all of it, see Whole
}

// OpenImage opens img for reading and pins its revision: bytes of two revisions are never mixed. It does not wait for
// Drive; what a container start reads first of an image that is not cached is asked for in the background.
func (ix *Index) OpenImage(img Image) (*Reader, error) {
	r, err := ix.reader(img)
	if err != nil {
		return nil, err
	}
	ix.blocks.sched.stir()
	r.launch = ix.profiles.opened(r.bf, img)
	if !r.bf.complete.Load() && !r.launch.foretold(0) {
		ix.goes(r.bf.greet)
	}
	return r, nil
}

// reader is OpenImage for ourselves: nothing is asked for before it is read.
func (ix *Index) reader(img Image) (*Reader, error) {
	if img.File == "" {
		return nil, fmt.Errorf("open %s: %w", img.Ref, ErrNotImage)
	}
	bf := ix.blocks.get(img)
	bf.prepare()
	bf.mu.Lock()
	if bf.readers++; bf.readers == 1 && time.Since(bf.opened) > recordFor {
		bf.opened, bf.gift = time.Now(), aroundGift
	}
	gen, due := bf.beginVerify() // a crash came between the last block and the verification
	bf.mu.Unlock()
	if due && !ix.goes(func(ctx context.Context) { bf.finishVerify(ctx, gen) }) {
		bf.checked()
	}
	return &Reader{bf: bf}, nil
}

// Close gives the revision back. Reads under way may still finish. Closing twice is harmless.
func (r *Reader) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	bf := r.bf
	r.launch.close()
	bf.stream.CompareAndSwap(r, nil)
	bf.mu.Lock()
	if bf.readers--; bf.readers == 0 {
		bf.cancelGuesses()
	}
	bf.mu.Unlock()
	bf.release()
	return nil
}

// Steady says that the content was never found wrong and thrown away while this program runs: what anybody read of it
// before, and may have kept, is right.
func (r *Reader) Steady() bool { return r.bf.era.Load() == 0 }

// Size is the length of the content in bytes.
func (r *Reader) Size() int64 { return r.bf.size }

// ReadAt fills p from byte off, as io.ReaderAt does: fewer bytes than len(p) come with an error, which is io.EOF at the
// end. It waits for what is not on disk; when ctx ends the wait ends, and what was asked for still comes for the next
// reader. A passing fault is retried for as long as the Drive client does. ErrChanged: Drive has another revision now,
// and this part of ours is not on disk. ErrDigest: the content twice did not match its checksum, or did not once, after this
// Reader had handed out some of it.
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	bf := r.bf
	if off < 0 {
		return 0, fmt.Errorf("read at %d: %w", off, syscall.EINVAL)
	}
	if off >= bf.size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > bf.size-off {
		p, end = p[:bf.size-off], io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if !bf.complete.Load() && !r.quiet {
		r.advance(off, int64(len(p)))
	}
	r.launch.read(off, int64(len(p)))
	for {
		era := bf.era.Load()
		if r.served.Load() && r.era.Load() != era {
			return 0, fmt.Errorf("file %s: what was read of it before was wrong: %w", bf.key.file, ErrDigest)
		}
		n, err := len(p), error(nil)
		if !bf.warm(p, off) {
			if r.launch.unknown() {
				bf.hurry(off / blockSize)
			}
			n, err = bf.cold(ctx, p, off, r.quiet)
		}
		if bf.era.Load() != era {
			continue // it was thrown away meanwhile
		}
		if n > 0 && !r.served.Load() {
			r.era.Store(era)
			r.served.Store(true)
		}
		if err == nil {
			err = end
		}
		return n, err
	}
}

// cold reads p block by block, waiting for those that are missing. It needs the file open, whoever closes it.
func (bf *blockFile) cold(ctx context.Context, p []byte, off int64, quiet bool) (n int, err error) {
	bf.use()
	defer bf.release()
	bf.prepare()
	stop := off + int64(len(p))
	for at := off; at < stop; {
		if bf.held.Load() {
			if err := bf.hold(ctx); err != nil {
				return int(at - off), err
			}
		}
		b := at / blockSize
		part := p[at-off : min(stop, (b+1)*blockSize)-off]
		switch {
		case bf.warm(part, at):
		case bf.proven(part, at, b):
			if bf.small() && bf.held.Load() {
				continue // it came just now, and is being verified
			}
		default:
			f, err := bf.want(ctx, b, (stop-1)/blockSize, quiet)
			if err != nil {
				return int(at - off), err
			}
			if f == nil {
				continue
			}
			if copied, err := f.await(ctx, b, part, at); err != nil {
				return int(at - off), err
			} else if !copied {
				continue
			}
		}
		at += int64(len(part))
	}
	return len(p), nil
}

// What is asked for when an image that is not here whole is opened, before anything is known of it: Apptainer's own reads,
// the superblock, and the beginning for whoever copies it; and the end, where squashfs has its tables (0.2 % of an image:
// half a megabyte for 20,000 files).
const (
	headLen = 1 << 20
	tailLen = 512 << 10
)

// greet asks for what a container start reads first: header and tail. They are a chain of dependent reads, and squashfuse
// has ten seconds for all of it.
func (bf *blockFile) greet(ctx context.Context) {
	bf.use()
	defer bf.release()
	tail := max(bf.size-tailLen, 0)
	bf.ask(classHead, []image.Span{{Off: 0, Len: headLen}, {Off: tail, Len: bf.size - tail}})
	if !bf.reading() {
		return // it was opened for a look, and closed
	}
	spans, err := image.HeadTail(readerAt{ctx, bf}, bf.size)
	if err != nil {
		return // no image that can be run
	}
	bf.ask(classHead, spans)
}

// readerAt is the content as an io.ReaderAt, for those who look into an image.
type readerAt struct {
	ctx context.Context //nolint:containedctx // lives for one look
	bf  *blockFile
}

func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	return (&Reader{bf: r.bf, quiet: true}).ReadAt(r.ctx, p, off)
}

// fill brings everything and waits for the verification.
func (bf *blockFile) fill(ctx context.Context) error {
	if bf.size > bf.s.limit {
		return fmt.Errorf("%d bytes, the cache holds %d: %w", bf.size, bf.s.limit, syscall.ENOSPC)
	}
	for range 3 { // again after a mismatch, or if some of it was evicted meanwhile
		unkept, err := bf.bring(ctx)
		switch {
		case err != nil:
			return err
		case unkept:
			return fmt.Errorf("%d bytes: %w", bf.size, syscall.ENOSPC)
		}
		bf.verify(ctx)
		if done, err := bf.settled(ctx); done || err != nil {
			return err
		}
	}
	return fmt.Errorf("%d bytes: %w", bf.size, syscall.ENOSPC) // complete for no moment
}
