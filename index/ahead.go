package index

// A reader is in sequence when each read begins where the one before ended. A container start is so for a while, now and
// then, when it loads a large library: what is read ahead there is twice what it has read. Who has read the beginning of the
// file in sequence copies it, and gets as much as fills the line.
const (
	sequential = 1 << 20   // bytes read in sequence before read-ahead begins,
	copying    = 512 << 10 // the same from the beginning of the file
	farthest   = 128 << 20 // how far it is ahead at most: a gigabit line carries a third of it in 300 ms

	// slack is how far from the expected place a read still counts as in sequence: the kernel sends its read-ahead in
	// parallel, so requests overtake each other.
	slack = 512 << 10
)

// advance notes a read, and asks for what will be read next if reads are in sequence.
func (r *Reader) advance(off, n int64) {
	r.mu.Lock()
	if off < r.next-slack || off > r.next+slack {
		if r.asked > 0 {
			r.jumped()
		}
		r.asked, r.run = 0, 0
		r.start, r.next = off, off
	}
	if !r.launch.foretold(off) { // what a start is known to read comes by itself, and says nothing of what follows
		r.run += n
	}
	r.next = max(r.next, off+n)
	ahead := r.ahead()
	r.mu.Unlock()
	if ahead > 0 {
		r.bf.stream.Store(r)
		r.more()
	}
}

// Whole says that all of the content will be read, from front to back: it is asked for now, and not when reads show it.
func (r *Reader) Whole() {
	r.mu.Lock()
	r.whole = true
	r.mu.Unlock()
	r.bf.stream.Store(r)
	r.more()
}

// ahead is how many bytes behind the last read are worth asking for. The caller holds mu.
func (r *Reader) ahead() int64 {
	run, most := r.run, min(int64(farthest), r.bf.s.limit/4) // a small cache must not lose it before it is read
	switch {
	case r.whole, r.start < blockSize && run >= copying:
		return most
	case run >= sequential:
		return min(2*run, most)
	}
	return 0
}

// jumped drops what was asked for and has not departed. The caller holds mu.
func (r *Reader) jumped() {
	r.bf.mu.Lock()
	defer r.bf.mu.Unlock()
	r.bf.cancel(classAhead)
}

// more asks for what comes next. It is called for each read in sequence, and by each flight that ends: waiting for the
// reader to get there would let connections idle, all at the same time.
func (r *Reader) more() {
	r.mu.Lock()
	defer r.mu.Unlock()
	ahead := r.ahead()
	if ahead == 0 || r.closed.Load() {
		return
	}
	bf := r.bf
	bf.mu.Lock()
	end := min((r.next+ahead)/blockSize, bf.have.n) - 1
	if bf.uncacheable { // it is kept in memory, and not for long
		end = min(end, (r.next+maxSpill/2)/blockSize)
	}
	if next := r.next / blockSize; next < bf.have.n && bf.missing(next, next) > 0 && bf.behind(next) == next {
		r.asked = 0 // what was asked for was dropped
	}
	var orders []*order
	for first := max(r.asked, (r.next+blockSize-1)/blockSize); first <= end; {
		n := r.length(first)
		if first+n-1 > end && end != bf.have.n-1 {
			break // wait until a whole request is worth it
		}
		last := min(first+n-1, end)
		orders = append(orders, &order{next: first, last: last, piece: n})
		first = last + 1
	}
	if len(orders) > 0 {
		asked := orders[len(orders)-1].last + 1
		if bf.enqueue(classAhead, orders) {
			r.asked = asked
		}
	}
	bf.mu.Unlock()
	bf.s.sched.dispatch()
}

// length is how many blocks the request brings that begins at block first: more from one to the next, and less to the end of
// the file. Requests of the same length that share the line end together, and then the line is idle for a round trip; a
// long last one has the line for itself, of which one connection fills a part. The caller holds mu.
func (r *Reader) length(first int64) int64 {
	at := first * blockSize
	return min(max(min(at-r.start, r.bf.size-at)/4, minPiece/2), maxSpan) / blockSize
}
