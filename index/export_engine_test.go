package index

import (
	"time"

	"sregfs/drive"
	"sregfs/index/image"
)

// AskProfile asks for spans, offset and length each, as a profile does.
func AskProfile(r *Reader, spans ...[2]int64) {
	var all []image.Span
	for _, s := range spans {
		all = append(all, image.Span{Off: s[0], Len: s[1]})
	}
	r.bf.ask(classProfile, all)
}

// SlowLine has the engine take the line for a slow one.
func SlowLine(ix *Index) {
	sc := ix.blocks.sched
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.rate, sc.rtt = 1e6, time.Millisecond
}

// Queued is how many runs of blocks are queued of img.
func Queued(ix *Index, img Image) (n int) {
	bf := ix.blocks.get(img)
	defer bf.release()
	bf.mu.Lock()
	defer bf.mu.Unlock()
	for _, q := range bf.queue {
		n += len(q)
	}
	return n
}

// Flying says whether anything of img is on its way.
func Flying(ix *Index, img Image) bool {
	bf := ix.blocks.find(img)
	bf.mu.Lock()
	defer bf.mu.Unlock()
	return len(bf.flights) > 0
}

// Opened says whether the block file of img is open.
func Opened(ix *Index, img Image) bool { return ix.blocks.find(img).file.Load() != nil }

// InMemory is how much is kept in memory of img for want of room on the disk, and how much memory that takes.
func InMemory(ix *Index, img Image) (bytes, room int) {
	bf := ix.blocks.find(img)
	bf.mu.Lock()
	defer bf.mu.Unlock()
	for _, f := range bf.spill {
		bytes += len(f.data)
		room += cap(f.data)
	}
	return bytes, room
}

// Drive is the client of ix.
func Drive(ix *Index) *drive.Client { return ix.drive }

// Idle has the engine look for something to complete, as if no reader had waited for long.
func Idle(ix *Index) {
	ix.blocks.sched.mu.Lock()
	ix.blocks.sched.last = time.Time{}
	ix.blocks.sched.mu.Unlock()
	ix.blocks.completion()
}
