package index

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"sregfs/drive"
)

// rootID returns the id of the registry's folder, which is found, or made, when it is first needed. A folder that was
// pinned and has gone is an error (io/fs.ErrNotExist), never silently another one. In a read-only index without a folder
// the id is "".
func (ix *Index) rootID(ctx context.Context) (string, error) {
	if id, ok := ix.remote.root(); ok {
		return id, nil
	}
	if err := ix.remote.take(ctx); err != nil {
		return "", err
	}
	defer ix.remote.give()
	if err := ix.ensureRoot(ctx); err != nil {
		return "", err
	}
	id, _ := ix.remote.root()
	return id, nil
}

// ensureRoot makes sure, once per process and again after bad news, that the pinned folder is there. The first account
// that is seen is pinned with it: all that is here, and on its way, is of that one, so another one is ErrSignIn, from here
// and from every other call (drive.Client.Keep), and takes nothing away. The caller has the turn.
func (ix *Index) ensureRoot(ctx context.Context) error {
	if _, ok := ix.remote.root(); ok {
		return nil
	}
	rec := ix.remote.pinned()
	if ix.seenLately(rec) {
		ix.remote.verified(rec)
		return nil
	}
	signIn := ix.drive.SignIn()
	about, err := ix.askAbout(ctx)
	if err != nil {
		return err
	}
	if rec.owner() != about.Account { // the first time; or the address has changed
		rec.Account, rec.UserID = about.Email, about.ID
		if err := ix.pin(rec); err != nil {
			return err
		}
		ix.drive.Keep(about.Account, "")
	}
	if rec.ID == "" {
		rec, err = ix.findRoot(ctx, rec)
	} else {
		err = ix.checkFolder(ctx, rec.ID)
	}
	if err != nil {
		return err
	}
	if ix.o.Poll < 0 && signIn == ix.drive.SignIn() { // which is then the one that was asked with
		rec.SignIn, rec.Seen = signIn, time.Now().UnixMilli()
		if err := ix.pin(rec); err != nil {
			return err
		}
	}
	ix.remote.verified(rec)
	return nil
}

// seenLately says that account and folder need not be asked for: an index that lives for one command, after others of
// the same sign-in. That the folder went since, the feed tells; a listing is then due.
func (ix *Index) seenLately(rec rootRecord) bool {
	s := ix.remote.get()
	age := time.Since(time.UnixMilli(rec.Seen))
	return ix.o.Poll < 0 && rec.ID != "" && s.token != "" && !s.relist.IsZero() &&
		rec.SignIn != "" && rec.SignIn == ix.drive.SignIn() && age >= 0 && age < relist
}

// checkFolder tells whether id is a folder one can list.
func (ix *Index) checkFolder(ctx context.Context, id string) error {
	f, err := ix.drive.Get(ctx, id)
	switch {
	case errors.Is(err, iofs.ErrNotExist):
		return fmt.Errorf("the registry's folder %s (id %s) is gone from Drive, or no longer shared; name another one with --root-id: %w", ix.rootName(), id, iofs.ErrNotExist)
	case err != nil:
		return err
	case f.MimeType != drive.FolderType:
		return fmt.Errorf("%q (id %s) is no folder: %w", f.Name, id, iofs.ErrInvalid)
	case f.Trashed:
		return fmt.Errorf("the registry's folder %q (id %s) is in Drive's bin; restore it, or name another one with --root-id: %w", f.Name, id, iofs.ErrNotExist)
	}
	return nil
}

// findRoot finds the folder Options ask for, or makes it, and pins it.
func (ix *Index) findRoot(ctx context.Context, rec rootRecord) (rootRecord, error) {
	if id := ix.o.RootID; id != "" {
		if err := ix.checkFolder(ctx, id); err != nil {
			return rec, err
		}
		rec.ID, rec.Name = id, ""
		return rec, ix.pin(rec)
	}
	rec.Name = ix.o.Root
	f, more, err := ix.drive.Folder(ctx, ix.o.Root)
	switch {
	case errors.Is(err, iofs.ErrNotExist) && ix.o.ReadOnly:
		return rec, nil // asked for again at the next sync: somebody else may make it
	case errors.Is(err, iofs.ErrNotExist):
		return ix.makeRoot(ctx, rec)
	case err != nil:
		return rec, err
	}
	ix.noteOthers(f.ID, more)
	rec.ID = f.ID
	return rec, ix.pin(rec)
}

// makeRoot makes the folder under a reserved id, so that a crash on the way makes one folder, not two. Two machines that
// start at the same moment agree on the older folder.
func (ix *Index) makeRoot(ctx context.Context, rec rootRecord) (rootRecord, error) {
	if rec.Reserved == "" {
		ids, err := ix.drive.GenerateIDs(ctx, 1)
		if err != nil {
			return rec, err
		}
		rec.Reserved = ids[0]
		if err := ix.pin(rec); err != nil {
			return rec, err
		}
	}
	made, err := ix.drive.CreateFolder(ctx, rec.Reserved, ix.o.Root)
	if err != nil {
		return rec, fmt.Errorf("make the folder %q: %w", ix.o.Root, err)
	}
	rec.ID, rec.Reserved, rec.Made = made.ID, "", true
	// Folders of one name are told apart by their times, and then by their ids. Drive's times are milliseconds, so whoever
	// looks must see all that were made in the millisecond of the own.
	select {
	case <-time.After(50 * time.Millisecond):
	case <-ctx.Done():
		return rec, ctx.Err()
	}
	if first, more, err := ix.drive.Folder(ctx, ix.o.Root); err == nil && first.ID != made.ID {
		if err := ix.drive.Trash(ctx, made.ID); err != nil {
			ix.noteOthers(first.ID, more)
		}
		rec.ID, rec.Made = first.ID, false
	}
	return rec, ix.pin(rec)
}

// yieldRoot looks again for folders of the registry's name, and reports those that are there by now. If ours was made by
// us and another is older, two machines started before either saw the other's folder. The one that made the later folder
// yields, while that is empty: every machine to come will use the older one. The empty folder stays, as another program
// may be filling it.
func (ix *Index) yieldRoot(ctx context.Context) error {
	rec := ix.remote.pinned()
	if rec.ID == "" || ix.o.RootID != "" {
		return nil
	}
	first, more, err := ix.drive.Folder(ctx, ix.o.Root)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil // that ours has gone, others find out
	}
	if err != nil {
		return err
	}
	if rec.Made && first.ID != rec.ID && len(ix.cat.ids(false)) == 0 && len(ix.Pushes()) == 0 {
		rec.ID, rec.Made = first.ID, false
		if err := ix.pin(rec); err != nil {
			return err
		}
	}
	ix.noteOthers(rec.ID, slices.DeleteFunc(append(more, first), func(f drive.File) bool { return f.ID == rec.ID }))
	return nil
}

// noteOthers reports folders of the registry's name that are not used.
func (ix *Index) noteOthers(used string, more []drive.File) {
	ids := make([]string, 0, len(more))
	for _, f := range more {
		ids = append(ids, f.ID)
	}
	if len(ids) > 0 && !slices.Equal(ids, ix.remote.get().others) {
		ix.log.Warnf("My Drive has other folders named %q: the one with the id %s is used, not %v", ix.o.Root, used, ids)
	}
	ix.remote.set(func(s *syncState) { s.others = ids })
}

// pin records rec.
func (ix *Index) pin(rec rootRecord) error {
	rec.V = recordVersion
	if err := ix.writing(func(txn *badger.Txn) error { return setJSON(txn, metaKey(metaRoot), rec) }); err != nil {
		return err
	}
	ix.remote.set(func(s *syncState) {
		if s.pin.ID != rec.ID {
			s.token = "" // another folder: list it
		}
		s.pin = rec
	})
	return nil
}

// rightRoot tells whether the pinned folder is the one Options ask for.
func (o Options) rightRoot(rec rootRecord) bool {
	if o.RootID != "" {
		return rec.ID == "" || rec.ID == o.RootID
	}
	return rec.Name == "" && rec.ID == "" || rec.Name == o.Root
}

// rootName is what a person calls the registry's folder.
func (ix *Index) rootName() string {
	if ix.o.RootID != "" {
		return "id:" + ix.o.RootID
	}
	return ix.o.Root
}

// dropRecords removes the file records, then what says that they are complete. A crash in between is repaired by the
// token's absence: it goes first.
func (ix *Index) dropRecords() error {
	err := ix.writing(func(txn *badger.Txn) error {
		for _, name := range []string{metaToken, metaListed, metaShared, metaRoot, metaAbout} {
			if err := txn.Delete(metaKey(name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	ix.write.Lock()
	defer ix.write.Unlock()
	return ix.db.DropPrefix([]byte{kFile}, []byte{kStart})
}
