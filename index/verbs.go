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
	if err := ix.remove(ctx, img); err != nil {
		return fmt.Errorf("remove %s: %w", img.Ref, err)
	}
	return nil
}

func (ix *Index) remove(ctx context.Context, img Image) error {
	if err := ix.writable(img); err != nil {
		return err
	}
	var err error
	switch ix.o.Remove {
	case RemoveTrash:
		err = ix.drive.Trash(ctx, img.File)
	case RemoveDelete:
		err = ix.drive.Delete(ctx, img.File)
	case RemoveDeny:
		return fmt.Errorf("removing is switched off: %w", ErrReadOnly)
	}
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	if err := ix.writing(func(txn *badger.Txn) error { return txn.Delete(fileKey(img.File)) }); err != nil {
		return err
	}
	ix.publishAs([]string{img.File}, true)
	return nil
}

// Retag gives img another name, and makes it the newest of that name; no bytes move. A version in to is not looked at:
// the version is the content's. Directories this empties stay until Rmdir.
func (ix *Index) Retag(ctx context.Context, img Image, to image.Ref) (Image, error) {
	now := time.Now()
	got, err := ix.patch(ctx, img, func(cur Image) (image.Patch, error) {
		to.Version = cur.Version
		return image.Retag(cur.Properties, to, cur.Ext)
	}, &now)
	if err != nil {
		return Image{}, fmt.Errorf("retag %s as %s: %w", img.Ref, to.Short(), err)
	}
	return got, nil
}

// SetLabel sets the label key of img, or removes it if value is nil. It does not change which version is the newest.
func (ix *Index) SetLabel(ctx context.Context, img Image, key string, value *string) (Image, error) {
	got, err := ix.patch(ctx, img, func(now Image) (image.Patch, error) {
		return image.SetLabel(now.Properties, ix.description(now.File), key, value)
	}, nil)
	if err != nil {
		return Image{}, fmt.Errorf("set label %s of %s: %w", key, img.Ref, err)
	}
	return got, nil
}

// patch changes the metadata of img by what change makes of its present state, and records the reply. modified is the
// time the image gets; nil leaves it as it is.
func (ix *Index) patch(ctx context.Context, img Image, change func(Image) (image.Patch, error), modified *time.Time) (Image, error) {
	if err := ix.writable(img); err != nil {
		return Image{}, err
	}
	now, err := ix.ByID(img.File)
	if err != nil {
		return Image{}, err
	}
	p, err := change(now)
	if err != nil {
		return Image{}, err
	}
	send := drive.Patch{Properties: p.Properties, Description: p.Description, Modified: modified}
	if modified == nil {
		send.Modified = &now.Modified
	}
	if p.Name != "" {
		send.Name = &p.Name
	}
	f, err := ix.drive.Update(ctx, img.File, send)
	if err != nil {
		if errors.Is(err, iofs.ErrNotExist) {
			ix.recheck(img.File)
		}
		return Image{}, err
	}
	return ix.committed(f, true)
}

// committed records the reply to a write of our own and shows it.
func (ix *Index) committed(f drive.File, keep bool) (img Image, err error) {
	err = ix.writing(func(txn *badger.Txn) error {
		img, err = ix.adopt(txn, f)
		return err
	})
	if err == nil {
		ix.publishAs([]string{f.ID}, keep)
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
