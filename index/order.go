package index

import (
	"context"
	"fmt"
	"slices"

	"sregfs/index/image"
)

// order is a run of blocks to be fetched when its turn comes. What is on disk by then, or on its way, is left out.
// blockFile.mu guards it.
type order struct {
	next, last int64         // the blocks still to be asked for
	piece      int64         // blocks of one request, at most
	done       chan struct{} // nil, or closed when the last of its requests has ended
	flights    int           // of those that are under way, if done is not nil
	err        error         // the first one's of them that failed
	unkept     bool          // some of it found no room
}

// The lengths of requests nobody waits for. A span goes over up to four connections, in pieces that are worth a round
// trip each: at 200 ms to the first byte and 40 MB/s, 8 MiB keep a connection busy half of the time.
const (
	maxSpan  = 8 << 20
	minPiece = 2 << 20
	// maxOrders bounds the queue of a class of an image nobody waits for: what is too much is not wanted soon.
	maxOrders = 1024
)

// pieceOf is how many blocks one request brings of n.
func pieceOf(n int64) int64 {
	return min(max((n+3)/4, minPiece/blockSize), maxSpan/blockSize)
}

// ask queues byte ranges of the content, to be fetched in this order when the class's turn comes, before what was asked
// for earlier if it lies around a miss. It never waits. Nothing is queued of an image that nobody has open, or of which
// Drive gives nothing for now; when the last Reader closes, the queue is dropped, and what is in the air still arrives.
func (bf *blockFile) ask(c class, spans []image.Span) {
	bf.mu.Lock()
	var orders []*order
	for _, s := range spans {
		if s.Off < 0 || s.Len <= 0 || s.Off >= bf.size {
			continue
		}
		first, last := s.Off/blockSize, (min(s.Len, bf.size-s.Off)+s.Off-1)/blockSize
		if bf.small() {
			first, last = 0, bf.have.n-1
		}
		orders = append(orders, &order{next: first, last: last, piece: pieceOf(last - first + 1)})
	}
	bf.enqueue(c, orders)
	bf.mu.Unlock()
	bf.s.sched.dispatch()
}

// enqueue is ask for a caller that holds mu and calls dispatch later. It says whether the orders were taken.
func (bf *blockFile) enqueue(c class, orders []*order) bool {
	if c != classFill && (bf.readers == 0 || bf.stopped || bf.bad || bf.changed) {
		return false
	}
	orders = slices.DeleteFunc(orders, func(o *order) bool {
		return o.done == nil && slices.ContainsFunc(bf.queue[c], func(q *order) bool { return q.next <= o.next && o.last <= q.last })
	})
	if c == classAround {
		bf.queue[c] = append(orders, bf.queue[c]...)
	} else {
		bf.queue[c] = append(bf.queue[c], orders...)
	}
	if c != classFill { // somebody waits for each of these
		bf.queue[c] = bf.queue[c][:min(len(bf.queue[c]), maxOrders)]
	}
	if len(bf.queue[c]) > 0 {
		bf.s.sched.enlist(bf, c)
	}
	return true
}

// departNext lets the next request of class c depart, and says whether there was one. The caller has a connection for it.
func (bf *blockFile) departNext(c class) bool {
	bf.mu.Lock()
	defer bf.mu.Unlock()
	if bf.evicting != nil {
		return false // who evicts calls resume
	}
	first, last, o := bf.nextPiece(c)
	if o == nil {
		return false
	}
	f := bf.newFlight(c, first, last)
	if o.done != nil {
		f.orders = append(f.orders, o)
		o.flights++
	}
	if len(bf.queue[c]) > 0 {
		bf.s.sched.enlist(bf, c)
	}
	return bf.s.sched.carry(f)
}

// nextPiece takes the next blocks out of the queue of class c. The caller holds mu.
func (bf *blockFile) nextPiece(c class) (first, last int64, o *order) {
	for len(bf.queue[c]) > 0 {
		o := bf.queue[c][0]
		if err := bf.refusal(); err != nil && o.next <= o.last && o.err == nil && !bf.have.full() {
			o.next, o.err = o.last+1, err
		}
		for o.next <= o.last {
			if bf.have.has(o.next) {
				o.next++
				continue
			}
			if f := bf.coming(o.next); f != nil {
				if o.done != nil && !slices.Contains(f.orders, o) {
					f.orders = append(f.orders, o)
					o.flights++
				}
				o.next++
				continue
			}
			n := bf.missing(o.next, min(o.last, o.next+o.piece-1))
			first, last = o.next, o.next+n-1
			o.next += n
			return first, last, o
		}
		bf.queue[c] = bf.queue[c][1:]
		o.settle()
	}
	return 0, 0, nil
}

// settle closes done if nothing more will come.
func (o *order) settle() {
	if o.done != nil && o.next > o.last && o.flights == 0 {
		close(o.done)
		o.done = nil
	}
}

// missing is how many consecutive blocks from first, at most up to last, are neither here nor on their way. The caller
// holds mu.
func (bf *blockFile) missing(first, last int64) (n int64) {
	for i := first; i <= last && !bf.have.has(i) && bf.coming(i) == nil; i++ {
		n++
	}
	return n
}

// behind is the last block of what is queued and holds block b, b if nothing does. The caller holds mu.
func (bf *blockFile) behind(b int64) int64 {
	for c := classProfile; c < classFill; c++ {
		for _, o := range bf.queue[c] {
			if o.next <= b && b <= o.last {
				return o.last
			}
		}
	}
	return b
}

// cancel drops what is queued of the classes; somebody still waits for what was asked for by name. The caller holds mu.
func (bf *blockFile) cancel(of ...class) {
	for _, c := range of {
		bf.queue[c] = nil
	}
}

// cancelGuesses drops all that nobody asked for by name. The caller holds mu.
func (bf *blockFile) cancelGuesses() {
	bf.cancel(classProfile, classHead, classAround, classAhead, classRest, classComplete)
}

// resume lets what is queued depart, after an eviction kept it from it.
func (bf *blockFile) resume() {
	bf.mu.Lock()
	for c := range classes {
		if len(bf.queue[c]) > 0 {
			bf.s.sched.enlist(bf, c)
		}
	}
	bf.mu.Unlock()
	bf.s.sched.dispatch()
}

// bring asks for the whole content and waits until what was missing has come; unkept says that there was no room for it.
func (bf *blockFile) bring(ctx context.Context) (unkept bool, err error) {
	if bf.have.n == 0 {
		return false, nil
	}
	done := make(chan struct{})
	o := &order{last: bf.have.n - 1, piece: maxSpan / blockSize, done: done}
	bf.mu.Lock()
	bf.enqueue(classFill, []*order{o})
	bf.mu.Unlock()
	bf.s.sched.dispatch()
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	case <-bf.s.ix.base.Done():
		err = errClosed
	}
	bf.mu.Lock()
	defer bf.mu.Unlock()
	if err != nil {
		bf.queue[classFill] = slices.DeleteFunc(bf.queue[classFill], func(q *order) bool { return q == o })
		return false, err
	}
	return o.unkept, o.err
}

// refusal is why nothing more of the revision is fetched, nil as a rule. The caller holds mu.
func (bf *blockFile) refusal() error {
	switch {
	case bf.bad:
		return fmt.Errorf("file %s: %w", bf.key.file, ErrDigest)
	case bf.changed:
		return fmt.Errorf("file %s: revision %s: %w", bf.key.file, bf.key.revision, ErrChanged)
	}
	return nil
}
