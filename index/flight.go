package index

import (
	"bytes"
	"context"
	"errors"
	iofs "io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sregfs/drive"
)

// flight is one request for consecutive blocks that are not on disk. It belongs to the cache, not to whoever asked first.
// Each block is there as soon as it arrives, not when all have: who waits for the first of 8 MiB waits a round trip.
type flight struct {
	bf       *blockFile
	class    class
	first    int64        // block
	last     int64        // block; it moves only while the flight waits for a connection
	received atomic.Int64 // bytes from first on that are in memory
	awaited  atomic.Bool  // a reader waits for it, or did
	cargo    cargo

	// guarded by bf.mu
	wanted   int64         // blocks behind this one were nobody's wish
	foretold bool          // a queue named those blocks, not the place
	orders   []*order      // they are told when it ends
	next     int64         // the first block that is not there yet
	ceded    []int64       // blocks that a later flight brings sooner
	more     chan struct{} // closed when next moves or the flight ends; nil: nobody waits
	over     bool
	err      error
	data     []byte // not nil when it could not be kept: the content from first on, up to next
}

// newFlight makes a flight. The caller holds mu and lets it depart.
func (bf *blockFile) newFlight(c class, first, last int64) *flight {
	f := &flight{bf: bf, class: c, first: first, last: last, next: first, wanted: first - 1}
	bf.flights = append(bf.flights, f)
	return f
}

func (f *flight) bytes() int64 {
	_, n := f.bf.span(f.first, f.last)
	return n
}

// coming is the flight that brings block b, nil if none does. The caller holds mu.
func (bf *blockFile) coming(b int64) *flight {
	for _, f := range bf.flights {
		if f.next <= b && b <= f.last && !slices.Contains(f.ceded, b) {
			return f
		}
	}
	return nil
}

// A block that is far from where its flight is gets a request of its own: it costs the block's bytes twice. Below these
// bounds that cannot win much.
const (
	farBytes = 1 << 20
	farTime  = 50 * time.Millisecond
)

// far says that block b would be here sooner by another request. The caller holds bf.mu.
func (f *flight) far(b int64) bool {
	left := (b-f.first)*blockSize - f.received.Load()
	if left < farBytes {
		return false
	}
	rtt, rate := f.bf.s.sched.line()
	return time.Duration(float64(left)/rate*float64(time.Second)) > max(2*rtt, farTime)
}

// depart sends the request, for which there is a connection; after Close it says no, and f has ended. The caller holds
// bf.mu.
func (f *flight) depart() bool {
	started := f.bf.s.ix.goes(f.fly)
	if !started {
		f.end(errClosed)
	}
	return started
}

// errClosed is what is left to say to those who use an Index after Close.
var errClosed = errors.New("the index is closed")

// fly fetches f's blocks, keeps them if there is room, and lets waiters go as they come.
func (f *flight) fly(ctx context.Context) {
	bf, s := f.bf, f.bf.s
	bf.use()
	defer bf.release()
	off, n := bf.span(f.first, f.last)
	for _, all := range []*figures{&s.sched.figures[f.class], &bf.figures[f.class]} {
		all.requests.Add(1)
		all.bytes.Add(n)
	}
	bf.prepare()
	buf := s.buffer(n)
	room := bf.writable() && s.reserve(n)
	f.cargo.Lock()
	f.cargo.buf, f.cargo.left, f.cargo.room = buf, n, room
	f.cargo.Unlock()
	began := time.Now()
	var rtt time.Duration
	sure := bf.confirm()
	within := ctx
	if f.class != classDemand {
		within = drive.Background(ctx, f.idle)
	}
	err := bf.fetch(within, buf, off, func(got int) {
		if rtt == 0 {
			rtt = time.Since(began)
		}
		f.received.Store(int64(got))
		if sure.yes() { // else the answer publishes it
			f.publish()
		}
	})
	all := time.Since(began)
	if err == nil {
		err = sure.wait(ctx)
	}
	if err == nil {
		f.received.Store(n)
		f.publish()
	} else {
		rtt = 0
	}
	f.cargo.Lock()
	f.cargo.buf = nil
	f.cargo.Unlock()
	if f.cargo.room {
		s.unreserve(f.cargo.left)
	}
	f.land(err, rtt, all)
	if !f.cargo.lent {
		s.putBuffer(buf)
	}
	if errors.Is(err, ErrChanged) || errors.Is(err, iofs.ErrNotExist) {
		s.ix.recheck(bf.key.file)
	}
	if f.cargo.due {
		bf.finishVerify(ctx, f.cargo.gen) // readers wait for it, see hold
	} else if err == nil {
		bf.hashAlong(ctx)
	}
}

// idle says whether nobody waits for f. Who asked for a whole image waits too when Drive is slow, though not for bandwidth.
func (f *flight) idle() bool {
	return !f.awaited.Load() && (f.class != classFill || f.bf.s.drive.Stats().Throttled.IsZero())
}

// cargo is what a flight has in its hands. Its lock is held while some of it is being published, and taken before
// blockFile.mu.
type cargo struct {
	sync.Mutex
	buf  []byte // nil when the flight has not begun, or is over
	room bool   // the disk has room reserved for it,
	left int64  // as many bytes of it still
	lent bool   // readers are served from buf
	gen  uint64
	due  bool // the content is complete, and to be verified
	// wrong: it is all of a small image, does not match its checksum, and is not published.
	wrong bool
}

// publish makes readable what has been received, as far as it is whole blocks; of a small image, when all has come. Whoever
// calls it knows that the revision is the head one.
func (f *flight) publish() {
	f.cargo.Lock()
	defer f.cargo.Unlock()
	if f.cargo.buf == nil || f.cargo.wrong {
		return
	}
	bf := f.bf
	off, size := bf.span(f.first, f.last)
	n := f.received.Load()
	end := f.first + n/blockSize // the block behind the last whole one
	if n == size {
		end = f.last + 1
	} else if bf.small() {
		return
	}
	for {
		bf.mu.Lock()
		first, stop := f.load(end)
		bf.mu.Unlock()
		if first == stop {
			return
		}
		at, m := bf.span(first, stop-1)
		part := f.cargo.buf[at-off : at-off+m]
		sums := sumsOf(part)
		gen := bf.gen.Load()
		kept := f.cargo.room && bf.keep(part, at)
		judged := !kept && bf.small() && m == bf.size // else finishVerify does, or nobody can
		f.cargo.wrong = judged && !bf.matches(part)

		bf.mu.Lock()
		if judged {
			bf.judge(!f.cargo.wrong)
		}
		if f.cargo.wrong { // those who wait ask again
			bf.mu.Unlock()
			return
		}
		if kept {
			f.cargo.left -= m
			if bf.small() {
				bf.held.Store(true) // before the first block can be read
			}
			for i := first; i < stop; i++ {
				bf.arrived(i, sums[i-first], gen, f)
			}
			if bf.have.full() && !bf.complete.Load() {
				bf.complete.Store(true)
				f.cargo.gen, f.cargo.due = bf.beginVerify()
			}
			if bf.checking == nil {
				bf.held.Store(false)
			}
		} else {
			f.cargo.lent = true
			f.data = f.cargo.buf
			bf.s.uncached.Add(m)
		}
		if f.class == classDemand {
			bf.stopped = false
		}
		full := bf.complete.Load() || bf.fresh.count()*blockSize >= max(checkpointEvery, bf.size/64)
		f.next = stop
		f.wake()
		bf.mu.Unlock()
		if full {
			bf.s.wake()
		}
	}
}

// load says which blocks before end are to be published next: first up to stop, which is not one of them. The caller
// holds bf.mu.
func (f *flight) load(end int64) (first, stop int64) {
	for slices.Contains(f.ceded, f.next) {
		f.next++
		f.wake()
	}
	for stop = f.next; stop < end && !slices.Contains(f.ceded, stop); stop++ {
	}
	return f.next, max(stop, f.next)
}

// arrived notes block i, which is on disk now. The caller holds mu.
func (bf *blockFile) arrived(i int64, sum uint32, gen uint64, f *flight) {
	bf.sums.set(i, sum)
	if i > f.wanted && f.class != classFill {
		bf.unread.set(i)
		if f.class == classDemand && !f.foretold || f.class == classAround {
			bf.guessed.set(i)
		}
	}
	bf.touched.set(i) // what was read ahead must not go before it is read
	bf.fresh.set(i)
	bf.have.set(i)
	if bf.gen.Load() == gen { // else the file was touched meanwhile
		bf.trusted.set(i)
	}
}

// maxSpill is how much is kept in memory of what the disk has no room for: the readers that asked for it come back for
// more of it.
const maxSpill = 4 * maxSpan

// wake lets those who wait for f look again. The caller holds bf.mu.
func (f *flight) wake() {
	if f.more != nil {
		close(f.more)
		f.more = nil
	}
}

// land ends f, and gives its connection to the next one.
func (f *flight) land(err error, rtt, all time.Duration) {
	bf := f.bf
	bf.mu.Lock()
	f.end(err)
	bf.mu.Unlock()
	bf.s.sched.landed(f, rtt, all)
	if r := bf.stream.Load(); r != nil && err == nil {
		r.more()
	}
}

// end notes how f went, and tells those who wait. The caller holds bf.mu.
func (f *flight) end(err error) {
	bf := f.bf
	f.over, f.err = true, err
	bf.flights = slices.DeleteFunc(bf.flights, func(other *flight) bool { return other == f })
	if err != nil && !errors.Is(err, context.Canceled) {
		// Drive is away, or refuses the file: guesses wait until somebody who needs it was served.
		bf.stopped = true
		bf.cancelGuesses()
	}
	if errors.Is(err, ErrChanged) {
		bf.changed = true
	}
	bf.uncacheable = f.data != nil || bf.uncacheable && err != nil
	if f.data != nil {
		if cap(f.data) > 2*len(f.data) { // the buffer may have eight times as much
			f.data = bytes.Clone(f.data)
		}
		bf.spill = append(bf.spill, f)
		held := int64(0)
		for _, s := range bf.spill {
			held += s.bytes()
		}
		for ; held > maxSpill; bf.spill = slices.Delete(bf.spill, 0, 1) { // the last ones stay
			held -= bf.spill[0].bytes()
		}
	}
	for _, o := range f.orders {
		o.flights--
		o.unkept = o.unkept || f.data != nil
		if err != nil && o.err == nil {
			o.next, o.err = o.last+1, err
		}
		o.settle()
	}
	f.wake()
}
