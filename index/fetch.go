package index

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"sregfs/drive"
)

// want makes block b come, and with it those up to last that the same read needs. It returns nil if b is on disk, else
// the flight that brings it. A look that is no reader's own (quiet) brings nothing else.
func (bf *blockFile) want(ctx context.Context, b, last int64, quiet bool) (*flight, error) {
	for {
		if bf.s.ix.base.Err() != nil {
			return nil, errClosed
		}
		bf.mu.Lock()
		switch {
		case bf.bad:
			defer bf.mu.Unlock()
			return nil, bf.refusal()
		case bf.have.has(b) && bf.file.Load() != nil:
			bf.mu.Unlock()
			return nil, nil
		case bf.changed:
			defer bf.mu.Unlock()
			return nil, bf.refusal()
		}
		f := bf.coming(b)
		if f != nil && f.far(b) {
			for i := b; i <= min(last, f.last); i++ {
				f.ceded = append(f.ceded, i)
			}
			f = nil
		}
		if f == nil {
			f = bf.inMemory(b)
		}
		if f != nil {
			bf.mu.Unlock()
			return f, nil
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
		f = bf.demand(b, last, quiet)
		bf.mu.Unlock()
		bf.s.sched.dispatch()
		return f, nil
	}
}

// inMemory is the flight that has block b in memory because the disk had no room for it. The caller holds mu.
func (bf *blockFile) inMemory(b int64) *flight {
	for _, all := range [][]*flight{bf.flights, bf.spill} {
		for _, f := range all {
			if f.data != nil && f.first <= b && b < f.next {
				return f
			}
		}
	}
	return nil
}

// alongMost is how much a reader's own request brings of what is queued behind the block it waits for.
const alongMost = 1 << 20

// demand sends for block b, which nobody brings, and for the blocks up to last. The caller holds mu.
func (bf *blockFile) demand(b, last int64, quiet bool) *flight {
	last = min(last, b+4*maxSpan/blockSize-1)
	end := last
	behind := bf.behind(b)
	foretold := behind > b // it was to come anyway
	switch {
	case foretold:
		end = max(end, min(behind, b+alongMost/blockSize-1))
	case !quiet:
		end = max(end, bf.around(b))
	}
	if f := bf.joined(b, last); f != nil {
		return f
	}
	first := b
	if bf.small() {
		first, last, end = 0, bf.have.n-1, bf.have.n-1
	}
	piece := min(end-first+1, maxSpan/blockSize)
	if last-first >= minPiece/blockSize { // a long read goes over several connections
		piece = pieceOf(piece)
	}
	var wanted *flight
	for i := first; i <= end; {
		n := bf.missing(i, min(end, i+piece-1))
		if n == 0 {
			if i++; i > last {
				break
			}
			continue
		}
		f := bf.newFlight(classDemand, i, i+n-1)
		f.wanted, f.foretold = last, foretold
		bf.s.sched.submit(f)
		if f.first <= b && b <= f.last {
			wanted = f
		}
		i += n
	}
	return wanted
}

// A small image comes by one request, and nothing of it is read before all of it is found right: that costs it no time,
// and who reads wrong bytes of the network never sees them, while a large image can only say so at its end.
const smallest = 1 << 20

func (bf *blockFile) small() bool { return bf.size <= smallest }

// joined is the flight that ends before block b and has not departed: it brings b, and what follows up to last, too. The
// caller holds mu.
func (bf *blockFile) joined(b, last int64) *flight {
	for _, f := range bf.flights {
		if f.class == classDemand && f.last == b-1 && f.received.Load() == 0 {
			n := bf.missing(b, min(last, f.first+minPiece/blockSize-1))
			if n > 0 && bf.s.sched.stretch(f, b+n-1) {
				f.wanted = max(f.wanted, b+n-1)
				return f
			}
		}
	}
	return nil
}

// await waits until block b of f is there, and copies it to p, which begins at byte at, if it is in memory alone.
func (f *flight) await(ctx context.Context, b int64, p []byte, at int64) (copied bool, err error) {
	for {
		f.bf.mu.Lock()
		there := b < f.next
		switch {
		case there && f.data != nil:
			data := f.data
			f.bf.mu.Unlock()
			copy(p, data[at-f.first*blockSize:])
			return true, nil
		case there, slices.Contains(f.ceded, b), f.over && f.err == nil:
			f.bf.mu.Unlock()
			return false, nil
		case f.over:
			f.bf.mu.Unlock()
			if f.class != classDemand && errors.Is(f.err, ErrRateLimit) {
				return false, nil // Drive was not even asked: for those who wait it is
			}
			return false, f.err
		}
		f.awaited.Store(true)
		if f.more == nil {
			f.more = make(chan struct{})
		}
		more := f.more
		f.bf.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return false, ctx.Err() // we stop waiting; the block still arrives for the next reader
		}
	}
}

// fetch reads p from Drive; got is told as ReadRange tells it.
func (bf *blockFile) fetch(ctx context.Context, p []byte, off int64, got func(n int)) error {
	err := bf.s.drive.ReadRange(ctx, drive.Content{ID: bf.key.file, Size: bf.size, Revision: bf.key.revision}, p, off, got)
	if errors.Is(err, ErrChanged) && bf.unchanged(ctx) { // else one odd answer would cost the revision for good
		err = fmt.Errorf("%v, but the file is as it was: %w", err, ErrProtocol) //nolint:errorlint // it is not ErrChanged
	}
	if err != nil {
		return fmt.Errorf("read file %s: %w", bf.key.file, err)
	}
	return nil
}

// unchanged asks Drive anew whether the revision is the head one.
func (bf *blockFile) unchanged(ctx context.Context) bool {
	bf.mu.Lock()
	bf.current = nil
	bf.mu.Unlock()
	return bf.confirm().wait(ctx) == nil
}

// outdate has it asked anew whether the revisions of these files that are not the ones of images are the head ones. Drive
// tells by the hash of each reply, others by nothing.
func (s *blockStore) outdate(files []string, images []*Image) {
	now := make(map[string]contentKey, len(files))
	for i, id := range files {
		if now[id] = (contentKey{}); images[i] != nil {
			now[id] = keyOf(*images[i])
		}
	}
	for _, bf := range s.all() {
		if head, ok := now[bf.key.file]; ok && head != bf.key {
			bf.mu.Lock()
			bf.current = nil
			bf.mu.Unlock()
		}
	}
}

// confirmation is Drive's answer to the question which revision is the head one.
type confirmation struct {
	done chan struct{} // closed when err is set
	err  error
}

// yes says that the answer is there, and is yes.
func (c *confirmation) yes() bool {
	select {
	case <-c.done:
		return c.err == nil
	default:
		return false
	}
}

// wait waits for the answer and returns nil if it is yes.
func (c *confirmation) wait(ctx context.Context) error {
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// confirm asks Drive, once as long as the catalogue knows no other, whether the revision is the head one: the catalogue may
// be older than the last change, and content is always that of the head. The question runs beside the first fetch, and
// nothing is handed out before the answer; from then on the client compares the checksum header of each reply.
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
		bf.mu.Lock()
		if c.err != nil { // the next fetch asks again
			bf.current = nil
		}
		close(c.done)
		flights := slices.Clone(bf.flights)
		bf.mu.Unlock()
		for _, f := range flights {
			if c.err == nil {
				f.publish()
			}
		}
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

// shortBuffer is the capacity of the buffers for short requests.
const shortBuffer = 1 << 20

// buffer returns n bytes, at most maxSpan, for putBuffer.
func (s *blockStore) buffer(n int64) []byte {
	pool, most := &s.long, int64(maxSpan)
	if n <= shortBuffer {
		pool, most = &s.short, shortBuffer
	}
	if p, ok := pool.Get().(*[]byte); ok {
		return (*p)[:n]
	}
	return make([]byte, most)[:n]
}

func (s *blockStore) putBuffer(p []byte) {
	if cap(p) == shortBuffer {
		s.short.Put(&p)
	} else {
		s.long.Put(&p)
	}
}
