package index

import "time"

// Files that are read together lie together in an image, in the order of directories. So a miss brings its surroundings,
// in an aligned window: measured on starts of Python with scipy, 150 ms away, windows of 16 MiB make 2.7 s of 10.3 s. On
// a database that is read at random they would bring a thousand times what is read. So windows are paid for: an image
// begins with a credit, each window costs what it asks for, and each place in it that is really read later pays what the
// saved round trip was worth. Windows are half of what is left: they shrink to nothing where they are of no use, and
// grow where they are until the line is full, which is as fast as anything can be. The misses of an image's first start pay
// too, to an amount: without that R took 13 s of 34 round trips of 300 ms each, and its image was fetched whole in 9.
const (
	aroundCredit = 32 << 20 // what an image begins with: windows of 16, 8, 4, … MiB if nothing of them is read
	aroundGift   = 64 << 20 // what misses of a start that no profile names pay at most, each as much as two places
	aroundLent   = 4 << 20  // the same where a profile covers what is expected
	aroundRate   = 28 << 20 // what a place pays for each second of the round trip it saved: a quarter of a gigabit line
	aroundMost   = 64 << 20 // the largest window
	aroundLeast  = 1 << 20  // the smallest, and the size of a place
	aroundLimit  = 2 * aroundMost
	aroundAgain  = 1 << 20 // what comes back in a second of what an image began with: the next start is another one

	// edge is how much of either end brings no surroundings: headers and tables, which every look at a file reads.
	edge = 1 << 20

	placeBlocks = aroundLeast / blockSize
)

// around queues the surroundings of block b, which a reader misses, and returns the last block that the reader's own
// request should bring of them. The caller holds mu.
func (bf *blockFile) around(b int64) int64 {
	off := b * blockSize
	fresh := bf.seen.set(b / placeBlocks)
	if off < edge || off >= bf.size-edge || bf.uncacheable {
		return b
	}
	now := time.Now()
	if left := bf.lent() - bf.credit.Load(); left > 0 {
		bf.pay(min(left, int64(min(now.Sub(bf.spent).Seconds(), 1000)*aroundAgain)))
	}
	bf.spent = now
	if !fresh { // the windows are too small for what is read here
		bf.pay(bf.worth() / 4)
	}
	// A start that nobody knows is a chain of misses, and the line is idle between them.
	if given := min(2*bf.worth(), bf.gift); given > 0 && !bf.expected && now.Sub(bf.opened) < recordFor {
		bf.gift -= given
		bf.pay(given)
	}
	width := int64(aroundMost)
	for width > bf.credit.Load()/2 {
		width /= 2
	}
	width = min(width, bf.s.limit/4)
	if width < aroundLeast {
		return b
	}
	first := off / width * width / blockSize
	last := min(first+width/blockSize, bf.have.n) - 1
	if 2*width >= bf.size {
		first, last = 0, bf.have.n-1
	}
	piece := min(max(width/4, aroundLeast), maxSpan) / blockSize
	end := min(last, b/piece*piece+piece-1)

	var orders []*order
	cost := end - b
	queue := func(first, last int64) {
		if first <= last {
			orders = append(orders, &order{next: first, last: last, piece: piece})
			cost += last - first + 1 - bf.have.within(first, last)
		}
	}
	for i := end + 1; i <= last; i += piece { // what follows is read sooner than what precedes
		queue(i, min(last, i+piece-1))
	}
	queue(max(first, b/piece*piece), b-1)
	for i := b/piece*piece - piece; i >= first; i -= piece {
		queue(i, i+piece-1)
	}
	if bf.enqueue(classAround, orders) {
		bf.pay(-cost * blockSize)
	}
	return end
}

// worth is what a place pays that saved a round trip: 4 MiB where that takes 150 ms.
func (bf *blockFile) worth() int64 {
	rtt, _ := bf.s.sched.line()
	return min(max(int64(rtt.Seconds()*aroundRate), aroundLeast), aroundMost/4)
}

// pay changes the credit.
func (bf *blockFile) pay(n int64) {
	for {
		was := bf.credit.Load()
		if bf.credit.CompareAndSwap(was, min(max(was+n, 0), aroundLimit)) {
			return
		}
	}
}

// met notes that block i, which nobody had waited for, is read for the first time.
func (bf *blockFile) met(i int64) {
	bf.unread.clear(i)
	if bf.guessed.clear(i) && bf.seen.set(i/placeBlocks) {
		bf.pay(bf.worth())
	}
}

// expect notes that a profile names what is expected to be read, so that a miss is an exception. The caller does not hold
// mu.
func (bf *blockFile) expect() {
	bf.mu.Lock()
	defer bf.mu.Unlock()
	bf.expected = true
	bf.credit.CompareAndSwap(aroundCredit, aroundLent) // unless something was spent or paid since
}

// lent is the credit an image begins with. The caller holds mu.
func (bf *blockFile) lent() int64 {
	if bf.expected {
		return aroundLent
	}
	return aroundCredit
}
