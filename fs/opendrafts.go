package fs

import (
	"fmt"
	"sync"
	"time"

	"sregfs/index"
)

// openDrafts knows which drafts programs have open. It decides what a name shows while it is being written.
type openDrafts struct {
	mu   sync.Mutex
	byID map[uint64]*openDraft // guarded by mu; the values too
}

// openDraft is a draft with descriptors, or one that a program was just sent to.
type openDraft struct {
	draft   *index.Draft
	handles int // open descriptors, of which
	writers int // may write
	// promises counts the look-ups that led to the draft less the descriptors that came of them: while it is more than
	// zero, a program may be on its way between the two.
	promises int
	// expected is until when each thread that was told to come back is waited for. While one is, or may be, held says that
	// this record has the draft acquired: a reader that closes it meanwhile does not end it.
	expected map[uint32]time.Time
	held     bool
	// kept is until when the draft stays for a program that was led to it just before it was closed.
	kept time.Time
	// edit marks the draft of a published image: closed without a change, it is dropped.
	edit bool
	// short marks one that was cut short and not written to: no image, and nothing that is not in the published one.
	short bool
	// aside is an older draft that stood in this one's place and is kept under another name, until this one is emptied:
	// then its bytes are not wanted either.
	aside *index.Draft
	// gone marks a draft whose name was removed: what is written to it then goes nowhere.
	gone bool
	// openers counts the descriptors for writing by the process that opened them.
	openers map[process]int
	// author is the process that emptied or made the draft and is writing it, 0 if there is none. See claim.
	author process
}

// comeBack is how long a program has to return after ESTALE. It returns within the same system call.
const comeBack = 10 * time.Second

func newOpenDrafts() *openDrafts { return &openDrafts{byID: make(map[uint64]*openDraft)} }

// get returns the record of d, made if absent. The caller holds mu.
func (o *openDrafts) get(d *index.Draft) *openDraft {
	od := o.byID[d.ID()]
	if od == nil {
		od = &openDraft{draft: d}
		o.byID[d.ID()] = od
	}
	return od
}

// update changes the record of d under the lock.
func (o *openDrafts) update(d *index.Draft, f func(*openDraft)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f(o.get(d))
}

// expect waits for the thread pid, which is told to come back for d.
func (o *openDrafts) expect(d *index.Draft, pid uint32) {
	o.update(d, func(od *openDraft) {
		if od.expected == nil {
			od.expected = make(map[uint32]time.Time)
		}
		od.expected[pid] = time.Now().Add(comeBack)
		if !od.held {
			od.held = true
			d.Acquire()
		}
	})
}

// came ends what expect began.
func (o *openDrafts) came(d *index.Draft, pid uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if od := o.byID[d.ID()]; od != nil {
		delete(od.expected, pid)
	}
}

// drop forgets od, and returns what lets go of its draft, to be called without the lock. The caller holds mu.
func (o *openDrafts) drop(od *openDraft) (release func()) {
	delete(o.byID, od.draft.ID())
	if !od.held {
		return func() {}
	}
	od.held = false
	return od.draft.Release
}

// opened counts a descriptor, opened by the thread pid of the process opener.
func (o *openDrafts) opened(d *index.Draft, write bool, pid uint32, opener process) {
	d.Acquire()
	o.update(d, func(od *openDraft) {
		od.handles++
		od.promises = max(0, od.promises-1)
		if write {
			od.writers++
			delete(od.expected, pid)
			if od.openers == nil {
				od.openers = make(map[process]int)
			}
			od.openers[opener]++
		}
	})
}

// claim makes by the author of d, which it is about to write from the beginning, if it has it open. Until the author
// closes what it wrote, d is closed to others: two programs that write one name at once would make an image of neither.
// Those who write into an image without emptying it first share it, as they do any file.
func (o *openDrafts) claim(d *index.Draft, by process) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	od := o.get(d)
	if err := od.refuse(by); err != nil {
		return err
	}
	if od.openers[by] > 0 {
		od.author = by
	}
	return nil
}

// admits says whether by may change the size of d now.
func (o *openDrafts) admits(d *index.Draft, by process) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if od := o.byID[d.ID()]; od != nil {
		return od.refuse(by)
	}
	return nil
}

// writes says whether by may write d now, which it then does.
func (o *openDrafts) writes(d *index.Draft, by process) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	od := o.byID[d.ID()]
	if od == nil {
		return nil
	}
	if err := od.refuse(by); err != nil {
		return err
	}
	od.short = false
	return nil
}

// refuse is the error for by while another process is the author. A draft that is being pushed is written already: there
// the index lets writers wait. A process that is not known cannot be told from the author.
func (od *openDraft) refuse(by process) error {
	if od.author == 0 || by == 0 || od.author == by {
		return nil
	}
	switch od.draft.State() {
	case index.StateSealed, index.StateSending, index.StateUploaded:
		return nil
	case index.StateDraft, index.StateFailed, index.StateCommitted:
	}
	return fmt.Errorf("another program is writing it: %w", index.ErrBusy)
}

// yield ends by's authorship: it closed what it wrote.
func (o *openDrafts) yield(d *index.Draft, by process) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if od := o.byID[d.ID()]; od != nil && od.author == by {
		od.author = 0
	}
}

// closed takes a descriptor back, opened for writing by opener. unused says that the draft was the copy of an image
// nobody changed.
func (o *openDrafts) closed(d *index.Draft, write bool, opener process) (unused bool) {
	defer d.Release()
	release := func() {}
	defer func() { release() }()
	o.mu.Lock()
	defer o.mu.Unlock()
	od := o.get(d)
	od.handles--
	if write {
		od.writers--
		if od.openers[opener]--; od.openers[opener] == 0 {
			delete(od.openers, opener)
			if od.author == opener {
				od.author = 0
			}
		}
	}
	if od.handles > 0 {
		return false
	}
	if od.promises > 0 { // or it was only a stat: then it goes with a later sweep
		od.promises, od.kept = 0, time.Now().Add(comeBack)
	}
	unused = od.unused()
	if !od.awaited() {
		release = o.drop(od)
	}
	return unused
}

// unused says that od is the copy of an image, to which nobody has added anything, or is about to.
func (od *openDraft) unused() bool { return od.idle() && !od.awaited() }

// idle is unused, though somebody may be about to come.
func (od *openDraft) idle() bool {
	return od.edit && !od.gone && od.handles == 0 && (bare(od.draft) || od.short && od.draft.State() == index.StateDraft)
}

// leftover says that d is the copy of an image that nobody has open or added anything to: it need not outlive the image.
func (o *openDrafts) leftover(d *index.Draft) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	od := o.byID[d.ID()]
	return od != nil && od.idle()
}

// untouched says that d is the copy of an image that nobody wrote to yet, or has just become one.
func (o *openDrafts) untouched(d *index.Draft) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	od := o.byID[d.ID()]
	return d.State() == index.StateCommitted || od != nil && od.edit && (bare(d) || od.short)
}

// awaited says that a program may be about to open the draft.
func (od *openDraft) awaited() bool { return od.expects() || time.Now().Before(od.kept) }

// expects says that a program was told to come back, and has not yet.
func (od *openDraft) expects() bool {
	now := time.Now()
	for _, until := range od.expected {
		if now.Before(until) {
			return true
		}
	}
	return false
}

// bare says that d holds nothing of its own: it is empty, or the untouched copy of an image.
func bare(d *index.Draft) bool { return !d.Dirty() && d.State() == index.StateDraft }

// promise says whether somebody writes d, or was sent to; then the caller is about to lead another program there.
func (o *openDrafts) promise(d *index.Draft) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	od := o.byID[d.ID()]
	if od == nil || od.gone || (od.writers == 0 && !od.expects()) {
		return false
	}
	od.promises++
	return true
}

// keep has find find d for a while, though it may become an image at any moment: a program is being led to it, and led on
// from there in one system call it would not come to the image, but be told that the name is stale.
func (o *openDrafts) keep(d *index.Draft) {
	o.update(d, func(od *openDraft) { od.kept = time.Now().Add(comeBack) })
}

// find returns the draft with this id if it is open, committed or not, and whether its name is gone.
func (o *openDrafts) find(id uint64) (d *index.Draft, gone bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if od := o.byID[id]; od != nil {
		return od.draft, od.gone
	}
	return nil, false
}

// opens says whether somebody has d open for writing.
func (o *openDrafts) opens(d *index.Draft) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	od := o.byID[d.ID()]
	return od != nil && od.writers > 0
}

// takeAside returns the draft set aside for d, once.
func (o *openDrafts) takeAside(d *index.Draft) (aside *index.Draft) {
	o.update(d, func(od *openDraft) { aside, od.aside = od.aside, nil })
	return aside
}

// abandoned takes out and returns the copies whose program never came back; at the end of the mount none can any more.
func (o *openDrafts) abandoned(end bool) []*index.Draft {
	var releases []func()
	defer func() {
		for _, release := range releases {
			release()
		}
	}()
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []*index.Draft
	for _, od := range o.byID {
		if end {
			od.expected, od.kept = nil, time.Time{}
		}
		if !end && (od.handles > 0 || od.awaited()) {
			continue
		}
		if od.unused() {
			all = append(all, od.draft)
		}
		releases = append(releases, o.drop(od))
	}
	return all
}
