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
		r.asked = 0
		r.start, r.next = off, off+n
	} else {
		r.next = max(r.next, off+n)
	}
	ahead := r.ahead()
	r.mu.Unlock()
	if ahead > 0 {
		r.bf.stream.Store(r)
		r.more()
	}
}

// ahead is how many bytes behind the last read are worth asking for. The caller holds mu.
func (r *Reader) ahead() int64 {
	run, most := r.next-r.start, min(int64(farthest), r.bf.s.limit/4) // a small cache must not lose it before it is read
	switch {
	case r.start < blockSize && run >= copying:
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
	end := bf.have.n - 1
	first := max(r.asked, (r.next+blockSize-1)/blockSize)
	piece := min(max(ahead/8, minPiece/2), maxSpan) / blockSize
	last := min((r.next+ahead)/blockSize-1, end)
	if last < first || last-first+1 < piece && last != end {
		return // wait until a whole request is worth it
	}
	if last != end { // whole requests
		last = first + (last-first+1)/piece*piece - 1
	}
	bf.mu.Lock()
	if bf.uncacheable { // it is kept in memory, and not for long
		last = min(last, r.next/blockSize+maxSpill/2/blockSize)
		piece = minPiece / blockSize
	}
	if last >= first && bf.enqueue(classAhead, []*order{{next: first, last: last, piece: piece}}) {
		r.asked = last + 1
	}
	bf.mu.Unlock()
	bf.s.sched.dispatch()
}
