package fs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"syscall"

	"bazil.org/fuse"

	"sregfs/index"
	"sregfs/index/image"
)

// draft finds a draft by id: an open one, which may be committed already, or one the index keeps.
func (fsys *FS) draft(id uint64) *index.Draft {
	if d, _ := fsys.drafts.find(id); d != nil {
		return d
	}
	for _, d := range fsys.ix.AllDrafts() {
		if d.ID() == id {
			return d
		}
	}
	return nil
}

// shows says whether d, found under its name, stands before the published image of that: while it is written, and while
// it is on its way. One that is committed is found until the image is published.
func (fsys *FS) shows(d *index.Draft) bool {
	switch d.State() {
	case index.StateSealed, index.StateSending, index.StateUploaded, index.StateCommitted:
		fsys.drafts.keep(d)
		return true
	case index.StateDraft, index.StateFailed:
	}
	return fsys.drafts.promise(d)
}

// toDraft prepares the draft of a tag's file for a program that opens the name for writing, and answers ESTALE, upon
// which the kernel resolves the name again and finds the draft.
func (n imageNode) toDraft(h *fuse.Header) error {
	if err := n.fs.mayChange(h); err != nil {
		return n.fs.reply("write "+n.file, err)
	}
	if !n.writable() {
		return n.fs.reply("write "+n.file, refuse(syscall.EPERM, "a version does not change; write to the file of its tag"))
	}
	place, img, err := n.writeTo()
	if err == nil {
		_, err = n.fs.edit(place, &img, h.Pid)
	}
	if err != nil {
		return n.fs.reply("write "+n.place.String(), err)
	}
	return syscall.ESTALE
}

// writeTo is where a program that opens n for writing means to write, and the image it starts from. That is n's place,
// unless the image was renamed: the kernel then still has it under the new name, and n under the old.
func (n imageNode) writeTo() (index.Place, index.Image, error) {
	if ref, _, ok := n.place.Ref(); ok {
		if n.place.Tag != "" {
			img, err := n.fs.ix.Find(n.file)
			return n.place, img, err
		}
		if img, err := n.fs.ix.Lookup("", ref); err == nil && img.File == n.file {
			return n.place, img, nil
		}
	}
	img, err := n.fs.ix.Find(n.file)
	if err != nil {
		return n.place, img, err
	}
	newest, err := n.fs.ix.Lookup("", newestOf(img))
	if err == nil && newest.File == img.File {
		return tagPlace(img.Collection, img.Ref, img.Ext), img, nil
	}
	if ref, _, ok := n.place.Ref(); ok {
		img, err = n.fs.ix.Lookup("", ref)
	}
	return n.place, img, err
}

// edit returns the draft for place, made from img if that is published (nil: nothing is). A draft already being written
// is shared; one left over from a failed push is set aside. It is there until the thread pid opens it.
func (fsys *FS) edit(place index.Place, img *index.Image, pid uint32) (*index.Draft, error) {
	fsys.sweep()
	d, ok := fsys.ix.Draft(place)
	if ok && (img == nil || fsys.shows(d)) {
		fsys.drafts.expect(d, pid)
		return d, nil
	}
	var aside *index.Draft
	switch {
	case ok && bare(d):
		fsys.discard(d)
	case ok:
		err := fsys.ix.MoveDraft(fsys.base, d, asidePlace(d))
		switch {
		case errors.Is(err, index.ErrBusy), errors.Is(err, iofs.ErrNotExist): // it was just closed, and is on its way
			fsys.drafts.expect(d, pid)
			return d, nil
		case err != nil:
			return nil, fmt.Errorf("set the unfinished %s aside: %w", place, err)
		}
		aside = d
	}
	var err error
	if img == nil {
		d, err = fsys.ix.CreateDraft(place)
	} else {
		d, err = fsys.ix.EditDraft(*img, place)
	}
	if errors.Is(err, iofs.ErrExist) { // another program was faster
		if other, ok := fsys.ix.Draft(place); ok {
			fsys.drafts.expect(other, pid)
			return other, nil
		}
	}
	if err != nil {
		return nil, err
	}
	fsys.drafts.expect(d, pid)
	fsys.drafts.update(d, func(od *openDraft) { od.edit, od.aside = img != nil, aside })
	return d, nil
}

// asidePlace is a draft name beside d's own.
func asidePlace(d *index.Draft) index.Place {
	p := d.Place()
	p.Name = fmt.Sprintf("%.200s.kept-%d", p.Name, d.ID())
	return p
}

// sweep drops the copies whose program never came back, sweepAll those that are left at the end of the mount.
func (fsys *FS) sweep() {
	for _, d := range fsys.drafts.abandoned(false) {
		fsys.discard(d)
	}
}

func (fsys *FS) sweepAll() {
	for _, d := range fsys.drafts.abandoned(true) {
		fsys.discard(d)
	}
}

// discard removes a draft that holds nothing of its own.
func (fsys *FS) discard(d *index.Draft) {
	if err := fsys.ix.RemoveDraft(d); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		fsys.log.Warnf("drop the unused copy of %s: %v", d.Place(), err)
	}
}

// newestOf names the newest version of img's tag.
func newestOf(img index.Image) image.Ref {
	ref := img.Ref
	ref.Version = ""
	return ref
}
