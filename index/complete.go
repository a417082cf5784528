package index

import (
	"fmt"
	"time"
)

// Completion says when the rest of an image that is in use is fetched though nobody asks for it.
type Completion string

// The ways of completion.
const (
	CompleteIdle  Completion = "idle"  // when no reader has waited for Drive for a minute; the default
	CompleteNever Completion = "never" // only what is read, or may be read soon
)

// ParseCompletion reads the text form; "" is the default.
func ParseCompletion(s string) (Completion, error) {
	switch c := Completion(s); c {
	case "":
		return CompleteIdle, nil
	case CompleteIdle, CompleteNever:
		return c, nil
	}
	return "", fmt.Errorf("completion %q is none of idle, never", s)
}

const (
	// completeAfter is how long no reader must have waited for Drive: a start is over then, and what it left out is
	// wanted, if at all, by a program that runs for long.
	completeAfter = time.Minute
	// completeStep is how much is queued at a time.
	completeStep = 64 << 20
)

// completion asks for the rest of the images that are open, as far as the cache has room without losing anything else. It
// is called now and then.
func (s *blockStore) completion() {
	if s.ix.o.Complete == CompleteNever || s.sched.quiet() < s.completeAfter || !s.ix.drive.Stats().Throttled.IsZero() {
		return
	}
	for _, bf := range s.all() {
		s.mu.Lock()
		room := s.limit - s.used
		s.mu.Unlock()
		if left := bf.size - bf.bytes(); left > 0 && left <= room {
			bf.askRest()
		}
	}
	s.sched.dispatch()
}

// askRest queues the next part of what is missing, unless some is queued.
func (bf *blockFile) askRest() {
	bf.mu.Lock()
	defer bf.mu.Unlock()
	if len(bf.queue[classComplete]) > 0 || bf.uncacheable {
		return
	}
	first := int64(0)
	for first < bf.have.n && bf.have.has(first) {
		first++
	}
	if last := min(first+completeStep/blockSize, bf.have.n) - 1; first <= last {
		bf.enqueue(classComplete, []*order{{next: first, last: last, piece: maxSpan / blockSize}})
	}
}
