package index

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"time"

	"github.com/dgraph-io/badger/v4"

	"sregfs/drive"
	"sregfs/index/image"
)

// writable says whether Drive's img may be changed through this index.
func (ix *Index) writable(img Image) error {
	switch {
	case ix.o.ReadOnly:
		return ErrReadOnly
	case img.Space != "":
		return fmt.Errorf("it is shared by %s: %w", img.Space, ErrReadOnly)
	}
	return nil
}

// Remove takes img off Drive as Options.Remove says: into the bin, for good, or not at all (ErrReadOnly). An image that
// is gone already is success. Directories this empties stay until Rmdir.
func (ix *Index) Remove(ctx context.Context, img Image) error {
	if err := ix.remove(ctx, img, ix.o.Remove); err != nil {
		return fmt.Errorf("remove %s: %w", img.Ref, err)
	}
	return nil
}

// Delete is Remove for good, where removing is not switched off.
func (ix *Index) Delete(ctx context.Context, img Image) error {
	how := RemoveDelete
	if ix.o.Remove == RemoveDeny {
		how = RemoveDeny
	}
	if err := ix.remove(ctx, img, how); err != nil {
		return fmt.Errorf("delete %s: %w", img.Ref, err)
	}
	return nil
}

func (ix *Index) remove(ctx context.Context, img Image, how Removal) error {
	if err := ix.writable(img); err != nil {
		return err
	}
	if how == RemoveDeny {
		return fmt.Errorf("removing is switched off: %w", ErrReadOnly)
	}
	defer ix.cat.changing(img.File)()
	done, err := ix.alone(ctx, img.File) // or the late answer to a change would bring it back
	if err != nil {
		return err
	}
	defer done()
	take := ix.drive.Trash
	if how == RemoveDelete {
		take = ix.drive.Delete
	}
	if err := take(ctx, img.File); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	crashpoint("image.trashed")
	if err := ix.writing(func(txn *badger.Txn) error { return ix.bury(txn, img.File) }); err != nil {
		return err
	}
	ix.publish(img.File)
	return nil
}

// Retag gives img another name, and makes it the newest of that name; no bytes move. A version in to is not looked at:
// the version is the content's. Directories this empties stay until Rmdir.
func (ix *Index) Retag(ctx context.Context, img Image, to image.Ref) (Image, error) {
	got, err := ix.retag(ctx, img, to)
	if err != nil {
		return Image{}, fmt.Errorf("retag %s as %s: %w", img.Ref, to.Short(), err)
	}
	return got, nil
}

func (ix *Index) retag(ctx context.Context, img Image, to image.Ref) (Image, error) {
	if err := ix.drafts.arrived(ctx, to); err != nil {
		return Image{}, err
	}
	defer ix.cat.changing(img.File)()
	done, err := ix.alone(ctx, img.File)
	if err != nil {
		return Image{}, err
	}
	defer done()
	f, err := ix.patch(ctx, img, func(now Image) (image.Patch, *time.Time, error) {
		to.Version = now.Version
		p, err := image.Retag(now.Properties, to, now.Ext)
		return p, nil, err
	})
	if err != nil {
		return Image{}, err
	}
	crashpoint("image.patched")
	if f, err = ix.makeNewest(ctx, f); err != nil {
		return Image{}, err
	}
	return ix.committed(f)
}

// makeNewest makes f, Drive's reply to a write that gave a name its image, the newest of that name. It mostly is: times
// are Drive's. But Drive may not count a change of metadata as one of the file, and programs can set any time.
func (ix *Index) makeNewest(ctx context.Context, f drive.File) (drive.File, error) {
	img, err := imageOf(&f, ix.remote.pinned().ID)
	if err != nil {
		return f, nil //nolint:nilerr // it has no name to be the newest of
	}
	var rival time.Time
	ix.cat.mu.RLock()
	if t := ix.cat.tag(img.Space, img.Ref); t != nil {
		for _, other := range t.images {
			if other.File != f.ID && other.Modified.After(rival) {
				rival = other.Modified
			}
		}
	}
	ix.cat.mu.RUnlock()
	if rival.IsZero() || f.Modified.After(rival) {
		return f, nil
	}
	rival = rival.Add(time.Millisecond) // the precision of Drive's times
	return ix.drive.Update(ctx, f.ID, drive.Patch{Modified: &rival})
}

// SetLabel sets the label key of img, or removes it if value is nil. It does not change which version is the newest.
func (ix *Index) SetLabel(ctx context.Context, img Image, key string, value *string) (Image, error) {
	done, err := ix.alone(ctx, img.File)
	if err != nil {
		return Image{}, err
	}
	defer done()
	f, err := ix.patch(ctx, img, func(now Image) (image.Patch, *time.Time, error) {
		p, err := image.SetLabel(now.Properties, ix.description(now.File), key, value)
		return p, &now.Modified, err
	})
	if err == nil {
		img, err = ix.committed(f)
	}
	if err != nil {
		return Image{}, fmt.Errorf("set label %s of %s: %w", key, img.Ref, err)
	}
	return img, nil
}

// patch changes the metadata of img by what change makes of its present state, and returns Drive's reply. The time change
// returns is the one the file gets; nil leaves that to Drive.
func (ix *Index) patch(ctx context.Context, img Image, change func(Image) (image.Patch, *time.Time, error)) (drive.File, error) {
	if err := ix.writable(img); err != nil {
		return drive.File{}, err
	}
	now, err := ix.ByID(img.File)
	if err != nil {
		return drive.File{}, err
	}
	p, modified, err := change(now)
	if err != nil {
		return drive.File{}, err
	}
	send := drive.Patch{Properties: p.Properties, Description: p.Description, Modified: modified}
	if p.Name != "" {
		send.Name = &p.Name
	}
	f, err := ix.drive.Update(ctx, img.File, send)
	if errors.Is(err, iofs.ErrNotExist) {
		ix.recheck(img.File)
	}
	if err == nil && modified != nil {
		f, err = ix.stayNewest(ctx, now, f)
	}
	return f, err
}

// alone waits for the turn to change file, or remove it, until done is called: who keeps the time a file has must not take
// back that another made it the newest of its name meanwhile.
func (ix *Index) alone(ctx context.Context, file string) (done func(), err error) {
	turn := ix.patches.ticket(file, nil)
	if err := turn.wait(ctx); err != nil {
		turn.leave()
		return nil, err
	}
	return turn.leave, nil
}

// stayNewest mends what a change that kept the time of the file may have done beside another machine's: it has another
// name now than before, and who gave it that made it the newest.
func (ix *Index) stayNewest(ctx context.Context, before Image, f drive.File) (drive.File, error) {
	if img, err := imageOf(&f, ix.remote.pinned().ID); err != nil || img.Ref == before.Ref {
		return f, nil //nolint:nilerr // without a name it is the newest of none
	}
	return ix.makeNewest(ctx, f)
}

// committed records the reply to a write of our own and shows it.
func (ix *Index) committed(f drive.File) (img Image, err error) {
	err = ix.writing(func(txn *badger.Txn) error {
		img, err = ix.adopt(txn, f)
		return err
	})
	if err == nil {
		ix.publish(f.ID)
	}
	return img, err
}

// description is the recorded description of a file: labels that did not fit its properties.
func (ix *Index) description(file string) (text string) {
	err := ix.db.View(func(txn *badger.Txn) error {
		rec, err := getFile(txn, file)
		text = rec.Desc
		return err
	})
	if err != nil {
		ix.log.Warnf("description: %v", err)
	}
	return text
}
