package index

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"

	"sregfs/index/image"
)

// Reader reads one revision of one image, whatever happens to its name. It is safe for concurrent use; Close ends it.
type Reader struct {
	bf     *blockFile
	closed atomic.Bool
	served atomic.Bool  // it has handed out bytes,
	era    atomic.Int64 // and of which of bf's eras

	mu    sync.Mutex
	next  int64 // guarded by mu: where the last read in sequence ended
	run   int64 // guarded by mu: bytes read in sequence up to next
	asked int64 // guarded by mu: the first block read-ahead has not asked for
}

// OpenImage opens img for reading and pins its revision: bytes of two revisions are never mixed. It does not wait for
// Drive; what a container start reads first of an image that is not cached is asked for in the background.
func (ix *Index) OpenImage(img Image) (*Reader, error) {
	if img.File == "" {
		return nil, fmt.Errorf("open %s: %w", img.Ref, ErrNotImage)
	}
	bf := ix.blocks.get(img)
	bf.prepare()
	bf.s.mu.Lock()
	bf.readers++
	bf.s.mu.Unlock()
	r := &Reader{bf: bf}
	if !bf.complete.Load() {
		ix.goes(bf.greet)
		return r, nil
	}
	bf.mu.Lock()
	gen, due := bf.beginVerify() // a crash came between the last block and the verification
	bf.mu.Unlock()
	if due && !ix.goes(func(ctx context.Context) { bf.finishVerify(ctx, gen) }) {
		bf.checked()
	}
	return r, nil
}

// Close gives the revision back. Reads under way may still finish. Closing twice is harmless.
func (r *Reader) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	r.bf.stream.CompareAndSwap(r, nil)
	r.bf.s.mu.Lock()
	r.bf.readers--
	r.bf.s.mu.Unlock()
	r.bf.release()
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
	if !bf.complete.Load() {
		r.advance(off, int64(len(p)))
	}
	for {
		era := bf.era.Load()
		if r.served.Load() && r.era.Load() != era {
			return 0, fmt.Errorf("file %s: what was read of it before was wrong: %w", bf.key.file, ErrDigest)
		}
		n, err := len(p), error(nil)
		if !bf.warm(p, off) {
			n, err = bf.cold(ctx, p, off)
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

// cold reads p block by block, waiting for those that are missing.
func (bf *blockFile) cold(ctx context.Context, p []byte, off int64) (n int, err error) {
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
		if !bf.warm(part, at) && !bf.proven(part, at, b) {
			f, err := bf.want(ctx, b, (stop-1)/blockSize)
			if err != nil {
				return int(at - off), err
			}
			if f == nil {
				continue
			}
			select {
			case <-f.done:
			case <-ctx.Done():
				return int(at - off), ctx.Err() // we stop waiting; the block still arrives for the next reader
			}
			if f.err != nil {
				return int(at - off), f.err
			}
			if f.data == nil {
				continue
			}
			copy(part, f.data[at-f.first*blockSize:])
		}
		at += int64(len(part))
	}
	return len(p), nil
}

// Read-ahead begins after this much was really read in sequence: a container start jumps about, and what is read ahead of
// a jump is thrown away. It then grows with what was read, and ends at the first jump.
const (
	sequential = 4 << 20
	farthest   = 128 << 20
)

// slack is how far from the expected place a read still counts as in sequence: the kernel sends its read-ahead in
// parallel, so requests overtake each other.
const slack = 1 << 20

// advance notes a read, and asks for what will be read next if reads are in sequence.
func (r *Reader) advance(off, n int64) {
	r.mu.Lock()
	if off < r.next-slack || off > r.next+slack {
		r.run, r.asked = 0, 0
		r.next = off + n
	} else if off+n > r.next {
		r.run += off + n - r.next
		r.next = off + n
	}
	ahead := r.run >= sequential
	r.mu.Unlock()
	if ahead {
		r.bf.stream.Store(r)
		r.more()
	}
}

// more asks for what comes next, as far as tokens go. It is called for each read in sequence, and by each flight that
// ends: waiting for the reader to get there would let connections idle, all at the same time.
func (r *Reader) more() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run < sequential || r.closed.Load() {
		return
	}
	const width = maxSpan / blockSize
	end := r.bf.have.n - 1
	first := max(r.asked, (r.next+blockSize-1)/blockSize)
	ahead := min(2*r.run, farthest, r.bf.s.limit/4) // a small cache must not lose what is read ahead before it is read
	last := min((r.next+ahead)/blockSize-1, end)
	if last < first || last-first+1 < width && last != end {
		return // wait until a whole request is worth it
	}
	r.asked = r.bf.readAhead(first, last, width)
}

// greet asks for what a container start reads first: header and tail. They are a chain of dependent reads, and squashfuse
// has ten seconds for all of it.
func (bf *blockFile) greet(ctx context.Context) {
	bf.use()
	defer bf.release()
	end := bf.have.n - 1
	for _, b := range []int64{0, end} { // the tables are at the very end, whatever the format
		if !bf.reading() {
			return // it was opened for a look, and closed
		}
		if _, err := bf.want(ctx, b, b); err != nil {
			return
		}
	}
	spans, err := image.HeadTail(readerAt{ctx, bf}, bf.size)
	if err != nil || !bf.reading() {
		return // no image that can be run
	}
	for _, span := range spans {
		if span.Len <= 0 || span.Off < 0 || span.Off >= bf.size || span.Len > maxSpan {
			continue
		}
		if bf.readAhead(span.Off/blockSize, min(span.Off+span.Len-1, bf.size-1)/blockSize, 1); ctx.Err() != nil {
			return
		}
	}
}

// readerAt is the content as an io.ReaderAt, for those who look into an image.
type readerAt struct {
	ctx context.Context //nolint:containedctx // lives for one look
	bf  *blockFile
}

func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	return (&Reader{bf: r.bf}).ReadAt(r.ctx, p, off)
}

// fill brings everything and waits for the verification.
func (bf *blockFile) fill(ctx context.Context) error {
	if bf.size > bf.s.limit {
		return fmt.Errorf("%d bytes, the cache holds %d: %w", bf.size, bf.s.limit, syscall.ENOSPC)
	}
	const width = maxSpan / blockSize
	for range 2 { // the second time after a mismatch
		for b := int64(0); b < bf.have.n; {
			bf.readAhead(b, min(b+8*width, bf.have.n)-1, width)
			f, err := bf.want(ctx, b, min(b+width, bf.have.n)-1)
			if err != nil {
				return err
			}
			if f == nil {
				b++
				continue
			}
			select {
			case <-f.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			if f.err != nil {
				return f.err
			}
			if f.data != nil {
				return fmt.Errorf("%d bytes: %w", bf.size, syscall.ENOSPC)
			}
		}
		bf.verify(ctx)
		if done, err := bf.settled(ctx); done || err != nil {
			return err
		}
	}
	return fmt.Errorf("%d bytes: %w", bf.size, syscall.ENOSPC) // complete for no moment
}
