package index

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sregfs/index/image"
)

// launch is the time in which an image is being started: from when it is opened until it is closed, for a minute at most.
// What is known of its starts is asked for when it begins; what is read in it is recorded for the next ones. What the
// kernel still has of an earlier start never comes by here.
type launch struct {
	ps   *profiles
	bf   *blockFile
	img  Image
	open int // guarded by profiles.mu: Readers

	// Reads of what was seen, and those after the start, take no lock.
	seen *bitmap     // blocks of image.ProfileBlock
	idle atomic.Bool // nothing is recorded any more, and all that is known is asked for

	until    time.Time     // it ends then at the latest
	lapse    *time.Timer   // begins watch at that time
	begin    sync.Once     // of watch
	ended    chan struct{} // closed when it is over
	end      sync.Once
	finished chan struct{} // closed when what was recorded is kept, and published if it can be

	mu   sync.Mutex
	rec  *image.Recording // guarded by mu
	head int64            // guarded by mu: so many blocks were read in sequence from the beginning
	over bool             // guarded by mu: nothing is recorded any more
	copy bool             // guarded by mu: because somebody reads all of it, which is no start

	plan *plan // nil if nothing is known; but for its place guarded by mu
}

const (
	// recordFor is how long a start is recorded: imports of large programs over a bad line take most of a minute.
	recordFor = time.Minute
	// fewestBlocks is what a start reads at least, of blocks of image.ProfileBlock: busybox takes 18, a look at the labels 2.
	fewestBlocks = 8
	// copyBlocks read in sequence from the beginning are a copy of the file: 8 MiB, of which a start leaves much out. So is
	// half of a smaller file.
	copyBlocks = 8 << 20 / image.ProfileBlock
)

// opened notes that a reader of img was opened, and asks for what its start is known to read.
func (ps *profiles) opened(bf *blockFile, img Image) *launch {
	if ps.ix.o.NoProfiles || bf.size == 0 {
		return nil
	}
	ps.mu.Lock()
	l := ps.launches[bf.key]
	if l == nil {
		_, all, _ := ps.known(bf.key)
		l = &launch{
			ps: ps, bf: bf, img: img, seen: newBitmap((bf.size + image.ProfileBlock - 1) / image.ProfileBlock), rec: image.NewRecording(bf.size),
			until: time.Now().Add(recordFor), ended: make(chan struct{}), finished: make(chan struct{}),
		}
		l.lapse = time.AfterFunc(recordFor, l.watched)
		if all.Bytes() > 0 {
			l.plan = newPlan(all)
		}
		ps.launches[bf.key] = l
	}
	l.open++
	ps.mu.Unlock()
	if !bf.complete.Load() {
		l.ask()
	}
	return l
}

// ask asks for the beginning of what is known. What is here or on its way is left out.
func (l *launch) ask() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.plan != nil {
		if l.plan.recorded > 0 { // what the image alone says leaves out more than it names
			l.bf.expect()
		}
		l.bf.ask(classProfile, l.plan.begin())
	}
}

// foretold says whether what is at off belongs to what a start is known to read.
func (l *launch) foretold(off int64) bool {
	return l != nil && l.plan != nil && l.plan.has(off/image.ProfileBlock)
}

// unknown says that this is a start, and neither over nor known from another one.
func (l *launch) unknown() bool {
	if l == nil || l.seen.count() < fewestBlocks || l.plan != nil && l.plan.recorded > 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.over
}

// read notes that a reader reads n bytes, all of them inside the image, from off.
func (l *launch) read(off, n int64) {
	if l == nil || l.idle.Load() {
		return
	}
	first, last := off/image.ProfileBlock, (off+n-1)/image.ProfileBlock
	if l.seen.hasAll(first, last) {
		return
	}
	l.note(off, n, first, last)
	if l.seen.count() >= fewestBlocks {
		l.watched()
	}
}

// note is read for what was not seen yet.
func (l *launch) note(off, n, first, last int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for b := first; b <= last; b++ {
		if l.seen.set(b) && l.plan != nil {
			l.plan.met(b)
		}
	}
	if !l.over {
		l.record(off, n, first, last)
	}
	if l.plan != nil && !l.bf.complete.Load() {
		if more := l.plan.next(); len(more) > 0 {
			l.bf.ask(classProfile, more)
		}
	}
	l.idle.Store(l.over && (l.plan == nil || l.plan.done()))
}

// record notes a read of these blocks. The caller holds mu.
func (l *launch) record(off, n, first, last int64) {
	whole := !l.rec.Read(off, n) || l.seen.full()
	if first <= l.head+slack/image.ProfileBlock {
		l.head = max(l.head, last+1)
	}
	if whole || l.head >= min(copyBlocks, l.seen.n/2) && l.seen.within(0, l.head-1) > l.head*9/10 {
		l.copy, l.over = true, true
	}
}

// close notes that a reader was closed. What was hardly read was opened for a look: its start may still come.
func (l *launch) close() {
	if l == nil {
		return
	}
	l.ps.mu.Lock()
	l.open--
	last := l.open == 0 && l.seen.count() >= fewestBlocks
	if last {
		l.ps.forgetLocked(l)
	}
	l.ps.mu.Unlock()
	if last {
		l.end.Do(func() { close(l.ended) })
	}
}

// watched has the launch watched from now on: many images are only looked at, and need nobody who waits for their end.
func (l *launch) watched() {
	l.begin.Do(func() {
		l.ps.mu.Lock()
		l.lapse.Stop()
		l.ps.pending[l] = true
		l.ps.mu.Unlock()
		if !l.ps.ix.goes(l.watch) {
			l.ps.finish(l)
		}
	})
}

// watch waits for the end of the start, and keeps what was read.
func (l *launch) watch(ctx context.Context) {
	defer l.ps.finish(l)
	t := time.NewTimer(time.Until(l.until))
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.ended:
	case <-ctx.Done():
	}
	l.ps.mu.Lock()
	l.ps.forgetLocked(l)
	l.ps.mu.Unlock()
	l.mu.Lock()
	l.over = true
	var read image.Profile
	if !l.copy && l.seen.count() >= fewestBlocks {
		read = l.rec.Profile()
	}
	l.mu.Unlock()
	var err error
	if len(read) > 1 { // a start reads here and there; one range is somebody who reads a part of the file
		err = l.ps.learn(l.bf.key, read)
	}
	if err == nil && ctx.Err() == nil {
		l.ps.look(ctx, l.img)
		err = l.ps.publish(ctx, l.img)
	}
	if err != nil {
		l.ps.ix.log.WithError(err).WithField("image", l.img.Ref.String()).Debug("start-up profile")
	}
}

// forgetLocked makes who opens the image from now on begin another launch. The caller holds mu.
func (ps *profiles) forgetLocked(l *launch) {
	if ps.launches[l.bf.key] == l {
		delete(ps.launches, l.bf.key)
	}
}

// finish notes that nothing more comes of a launch.
func (ps *profiles) finish(l *launch) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.forgetLocked(l)
	delete(ps.pending, l)
	close(l.finished)
}

// closeWait is how long Close waits for what was recorded to be published, which is two requests.
const closeWait = 5 * time.Second

// close ends all recordings, and waits for what they found out to be kept, and for a moment to be published.
func (ps *profiles) close() {
	ps.mu.Lock()
	all := slices.Collect(maps.Keys(ps.pending))
	ps.mu.Unlock()
	t := time.NewTimer(ps.closeWait)
	defer t.Stop()
	for _, l := range all {
		l.end.Do(func() { close(l.ended) })
	}
	for _, l := range all {
		select {
		case <-l.finished:
		case <-t.C:
			return // Close cancels the rest
		}
	}
}
