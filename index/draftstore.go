package index

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/sirupsen/logrus"
)

// draftStore keeps the drafts: Dir/drafts/<id in hex> holds the bytes, a record the rest. A file without a record becomes
// a draft under a name of its own; nothing here deletes one that has bytes, save its user and a committed push.
//
// Lock order: mu, then Draft.mu.
type draftStore struct {
	ix  *Index
	dir string
	log logrus.FieldLogger

	turns turns
	slots chan struct{} // a token for each push at work

	mu     sync.Mutex
	all    map[uint64]*Draft // guarded by mu
	at     map[Place]*Draft  // guarded by mu: by folded place, the latest
	nextID uint64            // guarded by mu
	jobs   int               // guarded by mu: pushes under way
	quiet  chan struct{}     // guarded by mu: closed when jobs is zero
}

// parallelPushes is how many pushes work at once: more would only share the same line.
const parallelPushes = 4

func openDrafts(ix *Index) (*draftStore, error) {
	s := &draftStore{
		ix: ix, dir: filepath.Join(ix.dir, "drafts"), log: ix.log, slots: make(chan struct{}, parallelPushes),
		all: map[uint64]*Draft{}, at: map[Place]*Draft{}, nextID: 1, quiet: make(chan struct{}),
	}
	close(s.quiet)
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("drafts: %w", err)
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

// create makes the file of draft id and lets fill put its first content in. It appears whole or not at all.
func (s *draftStore) create(id uint64, fill func(*os.File) error) (*os.File, error) {
	path := s.path(id)
	f, err := os.OpenFile(path+unfinished, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if fill != nil {
		err = fill(f)
	}
	if err == nil {
		err = os.Rename(path+unfinished, path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path+unfinished))
	}
	crashpoint("draft.created")
	return f, nil
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
	if p.Name == "" || strings.ContainsAny(p.Name, "/\x00") {
		return nil, fmt.Errorf("draft name %q: %w", p.Name, ErrName)
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

// MoveDraft renames a draft; one that stands at the new place is replaced, in one step whatever happens, unless it is on
// its way to Drive: then it gets there, and is the version before. If the new name is that of an image and there
// is content, the draft is pushed: it must be whole (ErrPartial, and it stays where it was), and an error of the push is
// returned with the draft at its new place, its bytes kept.
func (ix *Index) MoveDraft(ctx context.Context, d *Draft, to Place) error {
	d.Acquire()
	defer d.Release()
	if err := ix.drafts.move(ctx, d, to); err != nil {
		return fmt.Errorf("move %s to %s: %w", d.Place(), to, err)
	}
	if _, _, isImage := to.Ref(); isImage && d.Dirty() {
		if _, err := d.Push(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *draftStore) move(ctx context.Context, d *Draft, to Place) error {
	if s.ix.o.ReadOnly {
		return ErrReadOnly
	}
	if to.Name == "" || strings.ContainsAny(to.Name, "/\x00") {
		return fmt.Errorf("%q: %w", to.Name, ErrName)
	}
	if err := d.ready(ctx, false); err != nil {
		return err
	}
	if err := d.lockTurn(ctx); err != nil {
		return err
	}
	defer d.unlockTurn()
	if d.pushing() {
		return ErrBusy
	}
	if ref, _, isImage := to.Ref(); isImage && d.Dirty() {
		if err := ref.Check(); err != nil {
			return err
		}
		if err := d.whole(); err != nil {
			return err
		}
	}
	from := d.Place()
	if from == to {
		return nil
	}
	order := s.number()
	d.mu.Lock()
	r := d.rec
	d.mu.Unlock()
	r.Place, r.Order = to, order
	b, err := r.encode()
	if err != nil {
		return err
	}
	moved := func(txn *badger.Txn) error { return txn.Set(draftKey(d.id), b) }
	if old, ok := s.ix.Draft(to); ok && old != d && !old.pushing() {
		err = s.remove(old, moved)
	} else {
		err = s.ix.writing(moved)
	}
	if err != nil {
		return err
	}
	crashpoint("draft.moved")
	d.mu.Lock()
	d.rec.Place, d.rec.Order = to, order
	d.mu.Unlock()
	s.mu.Lock()
	if s.at[from.Fold()] == d {
		delete(s.at, from.Fold())
	}
	s.at[to.Fold()] = d
	s.mu.Unlock()
	s.ix.event(Event{Place: from})
	s.ix.event(Event{Place: to})
	return nil
}

// RemoveDraft deletes a draft. Those who have it open keep its bytes. A push under way is given up, and what it may have
// made on Drive is trashed, by a later program if need be; ErrBusy when it is too late for that: Drive has it already.
func (ix *Index) RemoveDraft(d *Draft) error {
	if err := ix.drafts.remove(d, func(*badger.Txn) error { return nil }); err != nil {
		return fmt.Errorf("remove %s: %w", d.Place(), err)
	}
	return nil
}

// remove is RemoveDraft, with something else that is recorded in the same transaction.
func (s *draftStore) remove(d *Draft, also func(*badger.Txn) error) error {
	d.mu.Lock()
	j, late := d.job, d.rec.late()
	d.mu.Unlock()
	if j != nil && late {
		return ErrBusy
	}
	if j != nil {
		j.cancel()
		<-j.done
	}
	if err := d.lockTurn(s.ix.base); err != nil {
		return err
	}
	defer d.unlockTurn()
	d.io.Lock() // no write is under way now
	d.mu.Lock()
	onDisk, rec := d.onDisk, d.rec
	late = j != nil && (j.err == nil || rec.late()) // it was quicker
	if late && onDisk {
		d.busy = make(chan struct{}) // and goes on
	}
	if !late {
		d.gone, d.onDisk = true, false
	}
	d.mu.Unlock()
	d.io.Unlock()
	if late {
		if onDisk {
			s.start(d)
		}
		return ErrBusy
	}
	grave := draftRecord{Place: rec.Place, State: StateDraft, Gone: true}
	if rec.State == StateSealed || rec.State == StateSending {
		grave.File = rec.File
	}
	b, err := grave.encode()
	if err == nil {
		err = s.ix.writing(func(txn *badger.Txn) error {
			if onDisk {
				if err := txn.Set(draftKey(d.id), b); err != nil {
					return err
				}
			}
			return also(txn)
		})
	}
	if err != nil {
		d.mu.Lock()
		d.gone, d.onDisk = false, onDisk
		d.mu.Unlock()
		return err
	}
	s.forget(d)
	if !onDisk {
		return nil
	}
	crashpoint("draft.buried")
	if err := os.Remove(s.path(d.id)); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		s.log.WithError(err).Warnf("remove the bytes of draft %d; the next start tries again", d.id)
		return nil
	}
	crashpoint("draft.unlinked")
	if grave.File == "" {
		return s.ix.writing(func(txn *badger.Txn) error { return txn.Delete(draftKey(d.id)) })
	}
	s.ix.goes(func(ctx context.Context) { s.clear(ctx, d.id, grave.File) })
	return nil
}

// late says that Drive has what the draft was sealed as.
func (r draftRecord) late() bool { return r.State == StateUploaded || r.State == StateCommitted }

// clear takes off Drive what the push of a removed draft may have made, and then forgets its record.
func (s *draftStore) clear(ctx context.Context, id uint64, file string) {
	for pause := pauseFirst; file != ""; pause = min(2*pause, pauseMost) {
		err := s.ix.drive.Trash(ctx, file)
		if err == nil || errors.Is(err, iofs.ErrNotExist) { // no file of that id is the usual case
			break
		}
		s.log.WithError(err).WithField("file", file).Debug("trash what a removed push made")
		if !passing(err) {
			return
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
	if err := s.ix.writing(func(txn *badger.Txn) error { return txn.Delete(draftKey(id)) }); err != nil {
		s.log.WithError(err).Debug("forget a removed draft")
	}
}
