package index

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// draftStore keeps the drafts: Dir/drafts/<id in hex> holds the bytes, a record the rest. A file without a record becomes
// a draft under a name of its own; nothing here deletes one that has bytes, save its user and a committed push.
//
// Lock order: mu, then Draft.mu; mu, then job.mu.
type draftStore struct {
	ix   *Index
	dir  string
	room int64 // bytes of its disk that are the records'
	log  logrus.FieldLogger

	turns turns
	slots chan struct{} // a token for each push at work

	mu      sync.Mutex
	all     map[uint64]*Draft // guarded by mu
	at      map[Place]*Draft  // guarded by mu: by folded place, the latest
	nextID  uint64            // guarded by mu
	jobs    int               // guarded by mu: pushes under way
	waiting map[*job]bool     // guarded by mu: those of them that make an attempt which Drive has not answered yet
	silent  int               // guarded by mu: how many attempts in a row Drive did not answer
	quiet   chan struct{}     // guarded by mu: closed when jobs is zero
}

// parallelPushes is how many pushes work at once: more would only share the same line.
const parallelPushes = 4

func openDrafts(ix *Index) (*draftStore, error) {
	s := &draftStore{
		ix: ix, dir: filepath.Join(ix.dir, "drafts"), log: ix.log, slots: make(chan struct{}, parallelPushes),
		all: map[uint64]*Draft{}, at: map[Place]*Draft{}, nextID: 1, waiting: map[*job]bool{}, quiet: make(chan struct{}),
	}
	close(s.quiet)
	if err := Private(s.dir); err != nil {
		return nil, fmt.Errorf("drafts: %w", err)
	}
	if sameDisk(s.dir, ix.dir) {
		s.room = ix.room
	}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("drafts: %w", err)
	}
	return s, nil
}

func (s *draftStore) path(id uint64) string { return filepath.Join(s.dir, fmt.Sprintf("%016x", id)) }

// close is called when everything the store started has ended.
func (s *draftStore) close() error {
	var errs []error
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.all {
		d.io.Lock()
		if d.file != nil {
			errs = append(errs, d.file.Sync(), d.file.Close())
			d.file = nil
		}
		d.io.Unlock()
	}
	return errors.Join(errs...)
}

func (s *draftStore) newDraft(id uint64) *Draft {
	return &Draft{s: s, id: id, turn: make(chan struct{}, 1), modified: time.Now(), rec: draftRecord{State: StateDraft}}
}

// register puts d into the lists.
func (s *draftStore) register(d *Draft) {
	p := d.Place()
	s.mu.Lock()
	s.all[d.id] = d
	s.at[p.Fold()] = d
	s.mu.Unlock()
	s.ix.event(Event{Place: p})
}

// forget takes d out of them.
func (s *draftStore) forget(d *Draft) {
	p := d.Place()
	s.mu.Lock()
	delete(s.all, d.id)
	if s.at[p.Fold()] == d {
		delete(s.at, p.Fold())
	}
	s.mu.Unlock()
	s.ix.event(Event{Place: p})
}

// add makes a draft at a place that no draft has but one that is on its way to Drive.
func (s *draftStore) add(p Place) (*Draft, error) {
	if s.ix.o.ReadOnly {
		return nil, ErrReadOnly
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.at[p.Fold()]; old != nil && !old.pushing() {
		return nil, iofs.ErrExist
	}
	d := s.newDraft(s.nextID)
	s.nextID++
	d.rec.Place = p
	s.all[d.id] = d
	s.at[p.Fold()] = d
	return d, nil
}

// number is the next of the numbers that say what came later.
func (s *draftStore) number() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nextID
	s.nextID++
	return n
}

func (d *Draft) pushing() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.busy != nil
}

// CreateDraft makes an empty draft. It is on record when this returns. io/fs.ErrExist: there is one already (one that is
// being pushed does not count: the new one takes its place); ErrReadOnly; ErrName.
func (ix *Index) CreateDraft(p Place) (*Draft, error) {
	d, err := ix.drafts.add(p)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", p, err)
	}
	if err := d.ready(ix.base, true); err != nil {
		ix.drafts.forget(d)
		return nil, fmt.Errorf("create %s: %w", p, err)
	}
	if _, _, ok := p.Ref(); ok {
		d.reserve()
	}
	return d, nil
}

// EditDraft opens a published image for change at a place of the tree. Nothing is copied, fetched or recorded before the
// first change; a draft that is released without one is no more. Errors as of CreateDraft.
func (ix *Index) EditDraft(img Image, p Place) (*Draft, error) {
	d, err := ix.drafts.add(p)
	if err != nil {
		return nil, fmt.Errorf("edit %s: %w", p, err)
	}
	d.mu.Lock()
	d.image, d.size, d.modified = img, img.Size, img.Modified
	d.mu.Unlock()
	ix.event(Event{Place: p})
	return d, nil
}

// Draft finds the draft at a place. Of several the one made last counts.
func (ix *Index) Draft(p Place) (*Draft, bool) {
	ix.drafts.mu.Lock()
	defer ix.drafts.mu.Unlock()
	d, ok := ix.drafts.at[p.Fold()]
	return d, ok
}

// Drafts lists the drafts in a collection, or in a tag directory of it, by name.
func (ix *Index) Drafts(collection, tag string) []*Draft {
	want := Place{Collection: collection, Tag: tag}.Fold()
	s := ix.drafts
	s.mu.Lock()
	var out []*Draft
	names := map[*Draft]string{}
	for p, d := range s.at {
		if p.Collection == want.Collection && p.Tag == want.Tag {
			out = append(out, d)
			names[d] = p.Name
		}
	}
	s.mu.Unlock()
	slices.SortFunc(out, func(a, b *Draft) int { return strings.Compare(names[a], names[b]) })
	return out
}

// AllDrafts lists every draft, oldest first, those on their way to Drive included.
func (ix *Index) AllDrafts() []*Draft {
	s := ix.drafts
	s.mu.Lock()
	out := make([]*Draft, 0, len(s.all))
	for _, d := range s.all {
		out = append(out, d)
	}
	s.mu.Unlock()
	slices.SortFunc(out, func(a, b *Draft) int { return int(int64(a.id) - int64(b.id)) })
	return out
}
