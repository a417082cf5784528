package index

import (
	"sync"
	"sync/atomic"
	"time"
)

// class says why content is fetched. The lower, the sooner it is served.
type class int

const (
	classDemand   class = iota // a reader waits for it
	classProfile               // the image's start-up profile names it
	classHead                  // headers and tables of an image that was opened
	classAround                // it lies near what a reader waited for
	classAhead                 // a sequential reader comes to it soon
	classFill                  // somebody asked for the whole image
	classRest                  // the rest of an image, while its first start leaves the line idle
	classComplete              // the rest of an image in use, when there is nothing else to do
	classes
)

var classNames = [classes]string{"demand", "profile", "head", "around", "ahead", "fill", "rest", "complete"}

func (c class) String() string { return classNames[c] }

// maxFlights is how many requests for content are in the air at most. What nobody waits for leaves eight of them to those
// who wait: the drive client has as many connections, so that a block somebody needs never queues behind others.
const maxFlights = 24

// budgets are how many requests, and bytes asked for by them, may be in the air before one of the class departs; those of
// readers who wait are not counted. A profile's requests are short and wanted all at once: sixteen bring that of a large
// program in one or two round trips. Long ones are fewer: at 40 MB/s a connection, four fill a gigabit line, twelve do so
// from 300 ms away. The bytes bound the memory of the buffers.
var budgets = [classes]struct {
	flights int
	bytes   int64
}{
	classDemand:   {maxFlights, 1 << 40},
	classProfile:  {16, 64 << 20},
	classHead:     {16, 64 << 20},
	classAround:   {8, 48 << 20},
	classAhead:    {12, 96 << 20},
	classFill:     {12, 96 << 20},
	classRest:     {12, 96 << 20},
	classComplete: {2, 16 << 20},
}

// scheduler owns the requests for content of one index: who may depart, and who is next. Readers who wait depart at once,
// or next when all connections are busy; of the rest, the lower class goes first, and within one the images take turns.
//
// Lock order: blockFile.mu, then scheduler.mu.
type scheduler struct {
	mu      sync.Mutex
	demand  int                   // guarded by mu: flights in the air that readers wait for
	other   int                   // guarded by mu: the other ones
	bytes   int64                 // guarded by mu: asked for by the other ones
	waiting []*flight             // guarded by mu: for a connection; all are of classDemand
	queued  [classes][]*blockFile // guarded by mu: those that have orders of this class, whose turn is next first
	last    time.Time             // guarded by mu: when a reader last had to wait for Drive, or an image was opened
	rtt     time.Duration         // guarded by mu: to the first bytes of a reply, smoothed
	rate    float64               // guarded by mu: of one reply from then on, smoothed; bytes a second

	figures [classes]figures
}

// figures count what was asked for, since start.
type figures struct{ requests, bytes atomic.Int64 }

// newScheduler assumes a line as Drive's usually is, until it has seen it.
func newScheduler() *scheduler { return &scheduler{rtt: 150 * time.Millisecond, rate: 20e6} }

// submit lets a flight that readers wait for depart, now or when a connection is free. The caller holds f.bf.mu.
func (sc *scheduler) submit(f *flight) {
	sc.mu.Lock()
	sc.last = time.Now()
	if sc.demand+sc.other >= maxFlights {
		sc.waiting = append(sc.waiting, f)
		sc.mu.Unlock()
		return
	}
	sc.demand++
	sc.mu.Unlock()
	if !f.depart() {
		sc.count(-1, 0, 0)
	}
}

// count changes the counts of what is in the air.
func (sc *scheduler) count(demand, other int, bytes int64) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.demand, sc.other, sc.bytes = sc.demand+demand, sc.other+other, sc.bytes+bytes
}

// carry lets a flight nobody waits for depart, with the connection that next took for it. The caller holds f.bf.mu.
func (sc *scheduler) carry(f *flight) bool {
	n := f.bytes()
	sc.count(0, 0, n)
	if f.depart() {
		return true
	}
	sc.count(0, 0, -n)
	return false
}

// stretch makes f, which has not departed, end at block last. It says no if f is in the air. The caller holds f.bf.mu.
func (sc *scheduler) stretch(f *flight, last int64) bool {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	for _, w := range sc.waiting {
		if w == f {
			f.last = max(f.last, last)
			return true
		}
	}
	return false
}

// enlist notes that bf has orders of class c.
func (sc *scheduler) enlist(bf *blockFile, c class) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	for _, other := range sc.queued[c] {
		if other == bf {
			return
		}
	}
	sc.queued[c] = append(sc.queued[c], bf)
}

// next takes a connection for the first class that has orders and may have one, and says whose turn it is.
func (sc *scheduler) next() (*blockFile, class) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	for c := classProfile; c < classes; c++ {
		busy := sc.other >= budgets[c].flights || sc.bytes >= budgets[c].bytes || sc.demand+sc.other >= maxFlights
		busy = busy || c == classRest && !sc.idle() || c == classComplete && sc.demand > 0
		if q := sc.queued[c]; len(q) > 0 && !busy {
			sc.queued[c] = q[1:]
			sc.other++
			return q[0], c
		}
	}
	return nil, 0
}

// idle says that readers who wait do so for the round trip and not for the bytes: with all that is in the air, a piece of
// minPiece takes no longer to come than its first byte. The caller holds mu.
func (sc *scheduler) idle() bool {
	return minPiece/sc.rate <= sc.rtt.Seconds()
}

// dispatch lets depart what is queued, as far as there are connections. The caller holds no lock.
func (sc *scheduler) dispatch() {
	for {
		bf, c := sc.next()
		if bf == nil {
			return
		}
		if !bf.departNext(c) {
			sc.count(0, -1, 0)
		}
	}
}

// landed gives the connection of f to the next one. It took rtt to the first bytes and all to the last; 0 if it failed.
func (sc *scheduler) landed(f *flight, rtt, all time.Duration) {
	n := f.bytes()
	sc.mu.Lock()
	if f.class == classDemand {
		sc.demand--
		sc.last = time.Now()
	} else {
		sc.other--
		sc.bytes -= n
	}
	if rtt > 0 {
		sc.rtt += (rtt - sc.rtt) / 4
	}
	if body := all - rtt; rtt > 0 && n >= 8*blockSize && body > 0 {
		sc.rate += (float64(n)/body.Seconds() - sc.rate) / 4
	}
	sc.mu.Unlock()
	for next := sc.waiter(); next != nil; next = sc.waiter() {
		next.bf.mu.Lock()
		if !next.depart() {
			sc.count(-1, 0, 0)
		}
		next.bf.mu.Unlock()
	}
	sc.dispatch()
}

// waiter takes a connection for the flight that has waited longest for one, nil if there is none.
func (sc *scheduler) waiter() *flight {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if len(sc.waiting) == 0 || sc.demand+sc.other >= maxFlights {
		return nil
	}
	f := sc.waiting[0]
	sc.waiting = sc.waiting[1:]
	sc.demand++
	return f
}

// line is what is known of the way to Drive.
func (sc *scheduler) line() (rtt time.Duration, rate float64) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	return sc.rtt, sc.rate
}

// stir notes that an image is opened: a start of which everything comes in time has no reader that waits.
func (sc *scheduler) stir() {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.last = time.Now()
}

// quiet is how long no reader has waited for Drive, and no image was opened; 0 while one waits.
func (sc *scheduler) quiet() time.Duration {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if sc.demand > 0 {
		return 0
	}
	return time.Since(sc.last)
}

// Traffic is what was asked of Drive's content, and why.
type Traffic struct {
	Requests int64 `json:"requests"`
	Bytes    int64 `json:"bytes"`
}

// traffic are the figures by class, without those that are zero.
func traffic(all *[classes]figures) map[string]Traffic {
	out := map[string]Traffic{}
	for c := range classes {
		if n := all[c].requests.Load(); n > 0 {
			out[c.String()] = Traffic{n, all[c].bytes.Load()}
		}
	}
	return out
}
