package fs

import (
	"context"
	"errors"
	iofs "io/fs"

	"bazil.org/fuse"

	"sregfs/index"
)

// Remove trashes what name means: a tag's newest version, one version, a draft, or an empty directory.
func (n dirNode) Remove(ctx context.Context, req *fuse.RemoveRequest) error {
	what := "remove " + join(n.path, req.Name)
	if err := n.mayChange(&req.Header); err != nil {
		return n.fs.reply(what, err)
	}
	e, err := n.find(req.Name)
	switch {
	case errors.Is(err, iofs.ErrNotExist) && n.fs.traces.forget(newRemoval(n, req.Name, req.Pid)):
		return nil
	case err == nil && e.dir:
		return n.fs.reply(what, n.removeDir(e))
	case err == nil:
		err = n.fs.remove(ctx, n, req.Name, req.Pid)
	}
	return n.fs.reply(what, err)
}

// mayChange says whether this directory may be changed by who asks.
func (n dirNode) mayChange(h *fuse.Header) error {
	if !mine(n.space) {
		return index.ErrReadOnly
	}
	return n.fs.mayChange(h)
}

// removeDir removes the empty directory of a collection or a tag.
func (n dirNode) removeDir(e entry) error {
	var err error
	switch sub := e.node.(type) {
	case dirNode:
		if len(sub.drafts()) > 0 {
			return index.ErrNotEmpty
		}
		err = n.fs.ix.Rmdir(sub.path)
	case tagDirNode:
		v, verr := sub.versions()
		if verr != nil || len(v) > 0 || len(sub.drafts()) > 0 {
			return errors.Join(verr, index.ErrNotEmpty)
		}
		err = n.fs.ix.Rmdir(sub.path())
	default:
		return index.ErrReadOnly
	}
	if errors.Is(err, iofs.ErrNotExist) {
		return nil // it went with its last image
	}
	return err
}

// Remove trashes a version or removes a draft.
func (n tagDirNode) Remove(ctx context.Context, req *fuse.RemoveRequest) error {
	what := "remove " + join(n.path(), req.Name)
	err := n.fs.mayChange(&req.Header)
	if !mine(n.space) {
		err = index.ErrReadOnly
	}
	if err == nil {
		err = n.fs.remove(ctx, n, req.Name, req.Pid)
	}
	return n.fs.reply(what, err)
}

// remove removes the file called name on behalf of thread pid.
func (fsys *FS) remove(ctx context.Context, from folder, name string, pid uint32) error {
	ctx, done := fsys.steadfast(ctx, pid)
	defer done()
	var e entry
	err := fsys.settled(ctx, from, name, func(found entry) error {
		if e = found; e.draft != nil {
			return fsys.removeDraft(e.draft)
		}
		return nil
	})
	if err == nil && e.draft != nil {
		fsys.leaveTagDir(e.draft.Place(), pid)
	}
	if err != nil || e.draft != nil {
		return err
	}
	if e.img == nil {
		return index.ErrReadOnly
	}
	for _, img := range append(fsys.ix.Twins(*e.img), *e.img) { // or the name would show the next of them
		if err := fsys.ix.Remove(ctx, img); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return err
		}
	}
	if place, err := from.target(name); err == nil && e.tag {
		if left, err := fsys.ix.Lookup("", newestOf(*e.img)); err == nil {
			fsys.traces.unlink(place, pid, left.File)
			fsys.names.unlinked(e.img.Ref)
		}
	}
	fsys.leaveTraces(*e.img, e.tag, pid)
	return nil
}

// settled finds what name means and lets act change it. A draft that Drive is just about to have can be neither removed
// nor renamed: that is waited for, and then it is an image.
func (fsys *FS) settled(ctx context.Context, from folder, name string, act func(entry) error) error {
	for {
		e, err := from.find(name)
		if err != nil {
			return err
		}
		err = act(e)
		if e.draft == nil {
			return err
		}
		switch {
		case errors.Is(err, index.ErrBusy):
			if err := e.draft.Wait(ctx); err != nil {
				return err
			}
		case errors.Is(err, iofs.ErrNotExist): // it is an image by now
			if err := ctx.Err(); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// removeDraft removes the name; who has the draft open keeps its bytes until close, and they go nowhere.
func (fsys *FS) removeDraft(d *index.Draft) error {
	fsys.drafts.update(d, func(od *openDraft) { od.gone = true })
	defer fsys.drafts.tidy(d)
	err := fsys.ix.RemoveDraft(d)
	if err != nil {
		fsys.drafts.update(d, func(od *openDraft) { od.gone = false })
	}
	return err
}

// tidy forgets d if nobody has it open.
func (o *openDrafts) tidy(d *index.Draft) {
	release := func() {}
	defer func() { release() }()
	o.mu.Lock()
	defer o.mu.Unlock()
	if od := o.byID[d.ID()]; od != nil && od.handles == 0 {
		release = o.drop(od)
	}
}

// leaveTagDir lets pid finish an rm -r of a tag's directory that nothing but the draft it has just removed kept.
func (fsys *FS) leaveTagDir(p index.Place, pid uint32) {
	if p.Tag == "" {
		return
	}
	tag := fsys.tagDir("", p.Collection, p.Tag)
	if tag.here() != nil {
		tag.left = true
		fsys.traces.leave(newRemoval(fsys.collection("", p.Collection), p.Tag, pid), tag)
	}
}

// leaveTraces lets pid finish an rm -r of a tag whose last version it has just removed: the tag's directory and its
// file went at the same moment, and it has the other one still to remove.
func (fsys *FS) leaveTraces(img index.Image, byTag bool, pid uint32) {
	if t, err := fsys.ix.Tag("", newestOf(img)); err == nil && t.Versions > 0 {
		return
	}
	if d, ok := fsys.ix.Draft(tagPlace(img.Collection, img.Ref, img.Ext)); ok && fsys.drafts.leftover(d) {
		fsys.discard(d)
	}
	dirs := []dirNode{fsys.collection("", img.Collection)}
	if img.Collection == library {
		dirs = append(dirs, fsys.collection("", ""))
	}
	for _, dir := range dirs {
		tag := fsys.tagDir("", img.Collection, img.TagDir())
		tag.left = true
		fsys.traces.leave(newRemoval(dir, img.TagDir(), pid), tag)
		if !byTag {
			file := newRemoval(dir, img.TagFile(img.Ext), pid)
			fsys.traces.leave(file, goneNode{common{fsys}, file})
		}
	}
}
