package index

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// MoveDraft renames a draft; one that stands at the new place is replaced, in one step whatever happens, unless it is on
// its way to Drive: then it gets there, and is the version before. If the new name is that of an image and there is
// content, the draft is pushed: it must be whole (ErrPartial, and it stays where it was), and an error of the push is
// returned with the draft at its new place, its bytes kept.
func (ix *Index) MoveDraft(ctx context.Context, d *Draft, to Place) error {
	d.Acquire()
	defer d.Release()
	from := d.Place()
	if err := ix.drafts.move(ctx, d, to); err != nil {
		return fmt.Errorf("move %s to %s: %w", from, to, err)
	}
	if from.Fold().Collection != to.Fold().Collection {
		ix.cat.keep(from.Collection)
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
	if err := to.check(); err != nil {
		return err
	}
	if err := d.lockTurn(ctx); err != nil {
		return err
	}
	defer d.unlockTurn()
	if d.pushing() {
		return ErrBusy
	}
	if d.published() {
		return errPublished
	}
	if err := d.prepare(ctx, false); err != nil {
		return err
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
		if errors.Is(err, errPublished) || errors.Is(err, ErrBusy) { // it got to Drive meanwhile
			err = s.ix.writing(moved)
		}
	} else {
		err = s.ix.writing(moved)
	}
	if err != nil {
		return err
	}
	s.notePlace(s.path(d.id), to)
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
// made on Drive is trashed, by a later program if need be. ErrBusy when it is too late for that: Drive has it already, be it
// by another push of the same content and name, and after Wait it is an image. io/fs.ErrNotExist when it is one by now.
func (ix *Index) RemoveDraft(d *Draft) error {
	here := d.Place()
	d.mu.Lock()
	onDisk := d.onDisk
	d.mu.Unlock()
	if err := ix.drafts.remove(d, func(*badger.Txn) error { return nil }); err != nil {
		return fmt.Errorf("remove %s: %w", d.Place(), err)
	}
	if onDisk {
		ix.cat.keep(here.Collection)
	}
	return nil
}

// remove is RemoveDraft, with something else that is recorded in the same transaction.
func (s *draftStore) remove(d *Draft, also func(*badger.Txn) error) error {
	d.mu.Lock()
	j, late := d.job, d.rec.late()
	d.mu.Unlock()
	if j != nil && (late || s.doubled(d)) {
		return ErrBusy
	}
	if j != nil {
		j.stop()
		<-j.done
	}
	if err := d.lockTurn(s.ix.base); err != nil {
		return err
	}
	defer d.unlockTurn()
	d.io.Lock() // no write is under way now
	d.mu.Lock()
	onDisk, rec := d.onDisk, d.rec
	if rec.State == StateCommitted && !onDisk { // it was quicker, and is an image
		d.mu.Unlock()
		d.io.Unlock()
		return errPublished
	}
	late = j != nil && (j.err == nil || rec.late())
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
		grave.File, grave.Session = rec.File, rec.Session
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
	if err := s.unlink(d.id); err != nil {
		s.log.WithError(err).Warnf("remove the bytes of draft %d; the next start tries again", d.id)
		return nil
	}
	crashpoint("draft.unlinked")
	if grave.File == "" {
		return s.ix.writing(func(txn *badger.Txn) error { return txn.Delete(draftKey(d.id)) })
	}
	s.ix.goes(func(ctx context.Context) { s.clear(ctx, d.id, grave) })
	return nil
}

// doubled says whether the name of d has its content already, or is about to have it by another push: giving this push up
// would not take it away. The pushes come first: one that ends meanwhile has made an image by then.
func (s *draftStore) doubled(d *Draft) bool {
	d.mu.Lock()
	rec := d.rec
	d.mu.Unlock()
	ref := rec.ref()
	ref.Version = ""
	pushed := slices.ContainsFunc(s.ix.AllDrafts(), func(other *Draft) bool {
		return other != d && other.pushes(rec)
	})
	if pushed {
		return true
	}
	versions, err := s.ix.Versions("", ref)
	return err == nil && slices.ContainsFunc(versions, func(v Image) bool { return rec.same(v.Size, v.MD5, v.SHA256) })
}

// pushes says whether d is on its way to the name and content of rec, be it that Drive has it and nobody was told yet.
func (d *Draft) pushes(rec draftRecord) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	name, same := d.rec.ref(), d.rec.SHA256 == rec.SHA256
	if d.rec.State == StateCommitted && !d.onDisk {
		name, same = d.image.Ref, rec.same(d.image.Size, d.image.MD5, d.image.SHA256)
	}
	return d.job != nil && same && name.Fold().Short() == rec.ref().Fold().Short()
}

// unlink removes the bytes of a draft, for good: only then may its record go, or they would come back without one.
func (s *draftStore) unlink(id uint64) error {
	if err := os.Remove(s.path(id)); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	return syncDir(s.dir)
}

// errPublished is of a draft that became an image meanwhile, and is a draft no more.
var errPublished = fmt.Errorf("it is an image now: %w", iofs.ErrNotExist)

// published says that the draft became an image, and nothing was written since.
func (d *Draft) published() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rec.State == StateCommitted && !d.onDisk
}

// late says that Drive has what the draft was sealed as.
func (r draftRecord) late() bool { return r.State == StateUploaded || r.State == StateCommitted }

// clear takes off Drive what the push of a removed draft may have made, and then forgets its record.
func (s *draftStore) clear(ctx context.Context, id uint64, grave draftRecord) {
	for pause := pauseFirst; grave.File != ""; pause = min(2*pause, pauseMost) {
		err := s.undo(ctx, grave)
		if err == nil {
			break
		}
		s.log.WithError(err).WithField("file", grave.File).Debug("trash what a removed push made")
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

// undo ends the upload, so that Drive makes no file of what it still has in its hands, and then trashes the file that it
// may have made before.
func (s *draftStore) undo(ctx context.Context, grave draftRecord) error {
	if grave.Session != "" {
		if err := s.ix.drive.CancelUpload(ctx, grave.Session); err != nil && !errors.Is(err, ErrSession) {
			return err
		}
	}
	err := s.ix.drive.Trash(ctx, grave.File)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil // the usual case
	}
	return err
}
