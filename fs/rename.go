package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"strings"
	"syscall"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"sregfs/index"
	"sregfs/index/image"
)

// folder is a directory that things can be renamed in.
type folder interface {
	find(name string) (entry, error)
	// here says whether the directory still is one.
	here() error
	// target is where a file called name would stand here, or why none may.
	target(name string) (index.Place, error)
}

func (n dirNode) target(name string) (index.Place, error) { return n.place(name) }

func (n tagDirNode) target(name string) (index.Place, error) { return n.place(name), n.writable(name) }

// Rename moves a draft (which publishes it if the new name is an image's), an image, a tag's directory or a collection.
func (n dirNode) Rename(ctx context.Context, req *fuse.RenameRequest, newDir fusefs.Node) error {
	return n.fs.rename(ctx, req, n, join(n.path, req.OldName), newDir)
}

// Rename moves a draft or a version.
func (n tagDirNode) Rename(ctx context.Context, req *fuse.RenameRequest, newDir fusefs.Node) error {
	return n.fs.rename(ctx, req, n, join(n.path(), req.OldName), newDir)
}

func (fsys *FS) rename(ctx context.Context, req *fuse.RenameRequest, from folder, path string, newDir fusefs.Node) error {
	what := fmt.Sprintf("rename %s to %s", path, req.NewName)
	ctx, done := fsys.steadfast(ctx, req.Pid)
	defer done()
	err := fsys.mayChange(&req.Header)
	if err == nil {
		err = fsys.move(ctx, from, req.OldName, newDir, req.NewName)
	}
	if errnoOf(err) == syscall.EINVAL { // mv takes that for a directory moved into itself, and says so
		errno := syscall.ENODATA
		if errors.Is(err, index.ErrName) {
			errno = syscall.EPERM
		}
		err = &refusal{errno, sentence(err)}
	}
	return fsys.reply(what, err)
}

// move renames oldName in from to newName in newDir.
func (fsys *FS) move(ctx context.Context, from folder, oldName string, newDir fusefs.Node, newName string) error {
	to, ok := newDir.(folder)
	if !ok {
		return index.ErrReadOnly
	}
	switch n := from.(type) { // draftsDir is mine alone
	case dirNode:
		if !mine(n.space) {
			return index.ErrReadOnly
		}
	case tagDirNode:
		if !mine(n.space) {
			return index.ErrReadOnly
		}
	}
	for _, dir := range []folder{from, to} {
		if err := dir.here(); err != nil {
			return err
		}
	}
	return fsys.settled(ctx, from, oldName, func(e entry) error {
		switch {
		case e.dir:
			return fsys.moveDir(ctx, e, to, newName)
		case e.draft == nil && e.img == nil:
			return index.ErrReadOnly
		}
		place, err := to.target(newName)
		if err != nil {
			return err
		}
		if e.draft != nil {
			return fsys.moveDraft(ctx, e.draft, place)
		}
		return fsys.retag(ctx, e, place)
	})
}

// moveDraft gives d another name. Under an image's name it is pushed, and what stood there is replaced.
func (fsys *FS) moveDraft(ctx context.Context, d *index.Draft, to index.Place) error {
	if d.Place().Fold() == to.Fold() {
		return nil
	}
	if err := fsys.ensureLibrary(to); err != nil {
		return err
	}
	replaced, isReplaced := fsys.ix.Draft(to)
	if err := fsys.ix.MoveDraft(ctx, d, to); err != nil {
		return err
	}
	if isReplaced {
		fsys.drafts.update(replaced, func(od *openDraft) { od.gone = true })
		fsys.drafts.tidy(replaced)
	}
	if ref, _, ok := to.Ref(); ok && to.Tag != "" {
		if img, err := fsys.ix.Lookup("", ref); err == nil {
			fsys.traces.pushed(to, img)
		}
	}
	return nil
}

// retag gives the image behind e the name of place, with every version if e is the file of a tag: the whole tag moves.
func (fsys *FS) retag(ctx context.Context, e entry, place index.Place) error {
	ref, _, ok := place.Ref()
	if !ok {
		return refuse(syscall.EPERM, "%q is not an image's name (image:tag.sif); copy the image to make a draft of it", place.Name)
	}
	images := []index.Image{*e.img}
	if e.tag {
		all, err := fsys.ix.Files("", newestOf(*e.img))
		if err != nil {
			return err
		}
		images = all
	}
	if err := fsys.retagAll(ctx, images, ref); err != nil {
		return err
	}
	fsys.traces.pushed(place, *e.img)
	return nil
}

// retagAll moves images, newest first, to the tag of ref. The oldest goes first, so that the newest stays it.
func (fsys *FS) retagAll(ctx context.Context, images []index.Image, ref image.Ref) error {
	for _, img := range slices.Backward(images) {
		if sameTag(img.Ref, ref) {
			continue
		}
		if _, err := fsys.ix.Retag(ctx, img, ref); err != nil {
			return err
		}
	}
	return nil
}

// sameTag compares but for the version.
func sameTag(a, b image.Ref) bool {
	a, b = a.Fold(), b.Fold()
	a.Version, b.Version = "", ""
	return a == b
}

// moveDir renames a tag's directory or a collection. Each image is a change of its own on Drive: if one fails, the rest
// stays where it was, and what was moved is moved.
func (fsys *FS) moveDir(ctx context.Context, e entry, to folder, newName string) error {
	dest, ok := to.(dirNode)
	if !ok {
		return refuse(syscall.EPERM, "a tag's directory holds versions only")
	}
	if err := dest.mayRename(newName, e.node); err != nil {
		return err
	}
	switch n := e.node.(type) {
	case tagDirNode:
		ref, _, _ := image.ParseEntry(newName)
		ref.Collection = collectionOf(dest.path)
		return fsys.moveTag(ctx, n, ref.Fold())
	case dirNode:
		return fsys.moveCollection(ctx, n.path, join(dest.path, strings.ToLower(newName)))
	}
	return index.ErrReadOnly
}

// mayRename says whether the directory node may be called name here: a name of the same kind, that is free or belongs to
// an empty directory.
func (n dirNode) mayRename(name string, node fusefs.Node) error {
	_, _, tag := image.ParseEntry(name)
	_, isTag := node.(tagDirNode)
	if tag != isTag {
		return refuse(syscall.EPERM, "a collection's directory has a plain name, a tag's is image:tag")
	}
	err := n.mayMkdir(name)
	if !errors.Is(err, iofs.ErrExist) {
		return err
	}
	e, err := n.find(name)
	switch {
	case err != nil:
		return err
	case e.node == node:
		return nil // only the case differs
	}
	return n.removeDir(e)
}

// arrived waits until those of drafts that are on their way to Drive are images.
func arrived(ctx context.Context, drafts []*index.Draft) error {
	for _, d := range drafts {
		switch d.State() {
		case index.StateSealed, index.StateSending, index.StateUploaded:
			if err := d.Wait(ctx); err != nil {
				return err
			}
		case index.StateDraft, index.StateFailed, index.StateCommitted:
		}
	}
	return nil
}

// moveTag moves all of a tag: versions, drafts, and the directory if it was made by mkdir.
func (fsys *FS) moveTag(ctx context.Context, n tagDirNode, ref image.Ref) error {
	if sameTag(n.ref(), ref) {
		return nil
	}
	if err := fsys.ix.WaitName(ctx, n.ref()); err != nil {
		return err
	}
	v, err := fsys.ix.Files("", n.ref())
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	if len(v) == 0 {
		if err := fsys.ix.Mkdir(join(ref.Collection, ref.TagDir())); err != nil && !errors.Is(err, iofs.ErrExist) {
			return err
		}
	}
	if err := fsys.retagAll(ctx, v, ref); err != nil {
		return err
	}
	for _, d := range n.drafts() {
		if err := fsys.ix.MoveDraft(ctx, d, index.Place{Collection: ref.Collection, Tag: ref.TagDir(), Name: d.Place().Name}); err != nil {
			return err
		}
	}
	return gone(fsys.ix.Rmdir(n.path()))
}

// moveCollection moves everything in the collection from, nested collections too.
func (fsys *FS) moveCollection(ctx context.Context, from, to string) error {
	if from == to {
		return nil
	}
	if err := arrived(ctx, fsys.ix.Drafts(from, "")); err != nil {
		return err
	}
	col, err := fsys.collection("", from).list()
	if err != nil {
		return err
	}
	if err := fsys.ix.Mkdir(to); err != nil && !errors.Is(err, iofs.ErrExist) {
		return err
	}
	for _, t := range col.Tags {
		tag := fsys.tagDir("", from, image.Ref{Image: t.Image, Tag: t.Tag}.TagDir())
		ref := tag.ref()
		ref.Collection = to
		if err := fsys.moveTag(ctx, tag, ref.Fold()); err != nil {
			return err
		}
	}
	for _, name := range col.Collections {
		if err := fsys.moveCollection(ctx, join(from, name), join(to, name)); err != nil {
			return err
		}
	}
	subs, tags := fsys.ix.DraftDirs(from) // those that nothing but drafts keeps are left
	for _, name := range slices.Compact(slices.Sorted(slices.Values(tags))) {
		tag := fsys.tagDir("", from, name)
		ref := tag.ref()
		ref.Collection = to
		if err := fsys.moveTag(ctx, tag, ref.Fold()); err != nil {
			return err
		}
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(subs))) {
		if err := fsys.moveCollection(ctx, join(from, name), join(to, name)); err != nil {
			return err
		}
	}
	for _, d := range fsys.ix.Drafts(from, "") {
		if err := fsys.ix.MoveDraft(ctx, d, index.Place{Collection: to, Name: d.Place().Name}); err != nil {
			return err
		}
	}
	return gone(fsys.ix.Rmdir(from))
}

// gone takes a directory that vanished by itself for removed.
func gone(err error) error {
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	return err
}
