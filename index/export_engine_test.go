package index

import (
	"fmt"
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

// Line has the engine take the line for one of this round trip and rate, bytes a second.
func Line(ix *Index, rtt time.Duration, rate float64) {
	sc := ix.blocks.sched
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.rate, sc.rtt = rate, rtt
}

// InTheAir is how many requests for content there are: those that readers wait for, or did, and the others. Of those that
// have ended it is known what they say of the line.
func InTheAir(ix *Index) (demand, other int) {
	sc := ix.blocks.sched
	sc.mu.Lock()
	defer sc.mu.Unlock()
	return sc.demand, sc.other
}

// Patient has Close wait for as long as a busy machine may take to publish what was recorded.
func Patient(ix *Index) { ix.profiles.closeWait = time.Minute }

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

// Imbalance says what of the engine's accounts does not balance when nothing is under way.
func Imbalance(ix *Index) (wrong []string) {
	s := ix.blocks
	sc := s.sched
	sc.mu.Lock()
	if sc.demand != 0 || sc.other != 0 || sc.bytes != 0 || len(sc.waiting) != 0 {
		wrong = append(wrong, fmt.Sprintf("scheduler: %d readers', %d other flights of %d bytes, %d waiting", sc.demand, sc.other, sc.bytes, len(sc.waiting)))
	}
	sc.mu.Unlock()
	sum := int64(0)
	for _, bf := range s.all() {
		sum += bf.bytes()
		bf.mu.Lock()
		if len(bf.flights) != 0 {
			wrong = append(wrong, fmt.Sprintf("%d flights of %s", len(bf.flights), bf.key.file))
		}
		for c, q := range bf.queue {
			if len(q) != 0 {
				wrong = append(wrong, fmt.Sprintf("%d orders of %s for %s", len(q), class(c), bf.key.file))
			}
		}
		if bf.checking != nil || bf.held.Load() || bf.evicting != nil {
			wrong = append(wrong, "held "+bf.key.file)
		}
		if bf.complete.Load() != bf.have.full() {
			wrong = append(wrong, "complete "+bf.key.file)
		}
		if bf.verified && !bf.have.full() {
			wrong = append(wrong, "verified but not whole "+bf.key.file)
		}
		bf.mu.Unlock()
	}
	s.mu.Lock()
	if s.used != sum {
		wrong = append(wrong, fmt.Sprintf("%d bytes used, %d there", s.used, sum))
	}
	s.mu.Unlock()
	return wrong
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
