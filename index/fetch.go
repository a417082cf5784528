package index

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"

	"sregfs/drive"
)

// A miss brings more than the block that is missing: its neighbours in an aligned window, because files lie together in
// an image. A wider window starts some images sooner and fetches several times what they read.
const aroundBlocks = 2

// maxSpan is the most one request asks for: at 200 ms to the first byte and 40 MB/s, 8 MiB keep a connection busy half of
// the time, and the read-ahead's connections together fill a gigabit line.
const maxSpan = 8 << 20

// flight is one request for consecutive blocks that are not on disk. It belongs to the cache, not to whoever asked first.
type flight struct {
	first, last int64         // blocks
	ahead       bool          // it holds one of the speculators' tokens
	done        chan struct{} // closed when the fields below are set
	err         error
	data        []byte // content from the first block, when it could not be kept
}

// want makes block b come, and with it those up to last that the same read needs. It returns nil if b is on disk, else
// the flight that brings it.
func (bf *blockFile) want(ctx context.Context, b, last int64) (*flight, error) {
	for {
		bf.mu.Lock()
		switch {
		case bf.bad:
			bf.mu.Unlock()
			return nil, fmt.Errorf("file %s: %w", bf.key.file, ErrDigest)
		case bf.have.has(b) && bf.file.Load() != nil:
			bf.mu.Unlock()
			return nil, nil
		case bf.changed:
			bf.mu.Unlock()
			return nil, fmt.Errorf("file %s: revision %s: %w", bf.key.file, bf.key.revision, ErrChanged)
		}
		if f := bf.flights[b]; f != nil {
			bf.mu.Unlock()
			return f, nil
		}
		for _, f := range bf.spill {
			if f.first <= b && b <= f.last {
				bf.mu.Unlock()
				return f, nil
			}
		}
		if gone := bf.evicting; gone != nil {
			bf.mu.Unlock()
			select {
			case <-gone:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		f := bf.depart(b, last)
		bf.mu.Unlock()
		return f, nil
	}
}

// depart starts the flights for block b, the rest of the read, and b's neighbours, in this order. The caller holds mu.
func (bf *blockFile) depart(b, last int64) *flight {
	last = min(last, b+4*maxSpan/blockSize-1)
	width := int64(1) // a short read gets its blocks in parallel, a long one in few requests
	if last-b >= 8 {
		width = maxSpan / blockSize
	}
	var wanted *flight
	for i := b; i <= last; {
		n := bf.missing(i, min(last, i+width-1))
		if n == 0 {
			i++
			continue
		}
		f := bf.launch(i, i+n-1, false)
		if wanted == nil {
			wanted = f
		}
		i += n
	}
	window := b / aroundBlocks * aroundBlocks
	bf.speculate(window, min(window+aroundBlocks, bf.have.n)-1, 1)
	return wanted
}

// missing is how many consecutive blocks from first, at most up to last, are neither here nor on their way. The caller
// holds mu.
func (bf *blockFile) missing(first, last int64) (n int64) {
	for i := first; i <= last && !bf.have.has(i) && bf.flights[i] == nil; i++ {
		n++
	}
	return n
}

// speculate starts flights of up to width blocks for what is missing of first..last, as far as there are tokens, and
// returns the first block it did not get to. The caller holds mu.
func (bf *blockFile) speculate(first, last, width int64) int64 {
	for i := first; i <= last; {
		n := bf.missing(i, min(last, i+width-1))
		if n == 0 {
			i++
			continue
		}
		select {
		case bf.s.ahead <- struct{}{}:
			bf.launch(i, i+n-1, true)
			i += n
		default:
			return i
		}
	}
	return last + 1
}

// readAhead speculates on first..last with long requests and returns the first block it did not get to.
func (bf *blockFile) readAhead(first, last, width int64) int64 {
	bf.mu.Lock()
	defer bf.mu.Unlock()
	if bf.evicting != nil || bf.bad || bf.changed || bf.s.ix.base.Err() != nil {
		return first
	}
	return bf.speculate(first, last, width)
}

// launch starts one flight. The caller holds mu.
func (bf *blockFile) launch(first, last int64, ahead bool) *flight {
	f := &flight{first: first, last: last, ahead: ahead, done: make(chan struct{})}
	for i := first; i <= last; i++ {
		bf.flights[i] = f
	}
	if !bf.s.ix.goes(func(ctx context.Context) {
		bf.use()
		defer bf.release()
		bf.fly(ctx, f)
	}) {
		f.err = errClosed
		if ahead {
			<-bf.s.ahead
		}
		for i := first; i <= last; i++ {
			delete(bf.flights, i)
		}
		close(f.done)
	}
	return f
}

// errClosed is what is left to say to those who use an Index after Close.
var errClosed = errors.New("the index is closed")

// fly fetches f's blocks, keeps them if there is room, and lets the waiters go.
func (bf *blockFile) fly(ctx context.Context, f *flight) {
	off, n := bf.span(f.first, f.last)
	bf.prepare()
	room := bf.writable() && bf.s.reserve(n)
	buf := bf.s.buffer(n)
	f.err = bf.fetch(ctx, buf, off)
	var sums []uint32
	for p := buf; f.err == nil && len(p) > 0; p = p[min(len(p), blockSize):] {
		sums = append(sums, blockSum(p[:min(len(p), blockSize)]))
	}
	gen := bf.gen.Load()
	kept := f.err == nil && room && bf.keep(buf, off)
	if f.err == nil && !kept {
		f.data = buf
		bf.s.uncached.Add(n)
	}
	if room && !kept {
		bf.s.unreserve(n)
	}

	bf.mu.Lock()
	for i := f.first; i <= f.last; i++ {
		delete(bf.flights, i)
		if kept {
			bf.sums[i] = sums[i-f.first]
			bf.have.set(i)
			bf.fresh.set(i)
			if bf.gen.Load() == gen { // else the file was touched meanwhile
				bf.trusted.set(i)
			}
			bf.touched.set(i) // what was read ahead must not go before it is read
		}
	}
	due := false
	switch {
	case kept:
		full := bf.have.full()
		if full {
			bf.complete.Store(true)
			gen, due = bf.beginVerify()
		}
		if full || bf.fresh.count() >= checkpointEvery/blockSize {
			bf.s.wake()
		}
	case f.data != nil:
		bf.spill = append(bf.spill, f)
		if len(bf.spill) > 4 {
			bf.spill = append(bf.spill[:0], bf.spill[1:]...)
		}
	case errors.Is(f.err, ErrChanged):
		bf.changed = true
	}
	bf.mu.Unlock()

	if f.ahead {
		<-bf.s.ahead
	}
	close(f.done)
	if r := bf.stream.Load(); r != nil && f.err == nil {
		r.more()
	}
	if f.data == nil {
		bf.s.bufs.Put(&buf)
	}
	if errors.Is(f.err, ErrChanged) || errors.Is(f.err, iofs.ErrNotExist) {
		bf.s.ix.recheck(bf.key.file)
	}
	if due {
		bf.finishVerify(ctx, gen) // readers wait for it, see hold
	}
}

// fetch reads p from Drive, and makes sure that it is of this revision.
func (bf *blockFile) fetch(ctx context.Context, p []byte, off int64) error {
	sure := bf.confirm()
	err := bf.s.drive.ReadRange(ctx, drive.Content{ID: bf.key.file, Size: bf.size, Revision: bf.key.revision}, p, off, nil)
	if errors.Is(err, ErrChanged) && bf.unchanged(ctx) { // else one odd answer would cost the revision for good
		err = fmt.Errorf("%v, but the file is as it was: %w", err, ErrProtocol) //nolint:errorlint // it is not ErrChanged
	}
	if err != nil {
		return fmt.Errorf("read file %s: %w", bf.key.file, err)
	}
	select {
	case <-sure.done:
		return sure.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// unchanged asks Drive anew whether the revision is the head one.
func (bf *blockFile) unchanged(ctx context.Context) bool {
	bf.mu.Lock()
	bf.current = nil
	bf.mu.Unlock()
	c := bf.confirm()
	select {
	case <-c.done:
		return c.err == nil
	case <-ctx.Done():
		return false
	}
}

// confirmation is Drive's answer to the question which revision is the head one.
type confirmation struct {
	done chan struct{} // closed when err is set
	err  error
}

// confirm asks Drive, once while this program runs, whether the revision is the head one: the catalogue may be older than
// the last change, and content is always that of the head. The question runs beside the first fetch; from then on the
// client compares the checksum header of each reply.
func (bf *blockFile) confirm() *confirmation {
	bf.mu.Lock()
	defer bf.mu.Unlock()
	if bf.current != nil {
		return bf.current
	}
	c := &confirmation{done: make(chan struct{})}
	bf.current = c
	started := bf.s.ix.goes(func(ctx context.Context) {
		f, err := bf.s.drive.Get(ctx, bf.key.file)
		switch {
		case err != nil:
			c.err = fmt.Errorf("confirm file %s: %w", bf.key.file, err)
		case f.Size != bf.size, f.HeadRevision != "" && f.HeadRevision != bf.key.revision,
			f.MD5 != "" && bf.md5 != "" && f.MD5 != bf.md5:
			c.err = fmt.Errorf("file %s: revision %s: %w", bf.key.file, bf.key.revision, ErrChanged)
		}
		if c.err != nil { // the next fetch asks again
			bf.mu.Lock()
			bf.current = nil
			bf.mu.Unlock()
		}
		close(c.done)
	})
	if !started {
		c.err = errClosed
		close(c.done)
	}
	return c
}

// writable says whether blocks can be kept.
func (bf *blockFile) writable() bool {
	f := bf.file.Load()
	return f != nil && f.writable
}

// keep writes p to the sparse file. It says no if the disk does, and then leaves nothing behind.
func (bf *blockFile) keep(p []byte, off int64) bool {
	f := bf.file.Load()
	if f == nil {
		return false
	}
	err := bf.change(f, func() error {
		_, err := f.WriteAt(p, off)
		if err != nil {
			_ = punch(f, off, int64(len(p))) // a disk that is full gets back what did fit; one that fails, fails
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrClosed) {
		bf.s.log.WithError(err).Debug("block cache: serving without keeping")
	}
	return err == nil
}

// buffer returns n bytes, at most maxSpan, to be given back to bufs.
func (s *blockStore) buffer(n int64) []byte {
	if p, ok := s.bufs.Get().(*[]byte); ok && int64(cap(*p)) >= n {
		return (*p)[:n]
	}
	return make([]byte, n)
}
