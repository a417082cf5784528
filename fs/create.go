package fs

import (
	"context"
	"errors"
	iofs "io/fs"
	"strings"
	"syscall"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"sregfs/index"
	"sregfs/index/image"
)

// place is where a new file called name stands in this collection. An image's name must be one that may be written; at
// the top of the tree it belongs to the library. Any other name is a draft's.
func (n dirNode) place(name string) (index.Place, error) {
	if !mine(n.space) {
		return index.Place{}, index.ErrReadOnly
	}
	if len(name) > nameMax {
		return index.Place{}, index.ErrTooLong
	}
	if n.top() && image.Reserved(name) {
		return index.Place{}, refuse(syscall.EPERM, "%q is a name of the tree's own", name)
	}
	ref, ext, ok := image.ParseEntry(name)
	if !ok {
		return index.Place{Collection: n.path, Name: name}, nil
	}
	if ext == "" {
		return index.Place{}, refuse(syscall.EINVAL, "%q is the name of a directory; an image file ends in .sif", name)
	}
	ref.Collection = collectionOf(n.path)
	if err := ref.Check(); err != nil {
		return index.Place{}, err
	}
	return tagPlace(ref.Collection, ref, ext), nil
}

// Create makes a draft, which becomes an image when it is closed as a whole one under an image's name.
func (n dirNode) Create(_ context.Context, req *fuse.CreateRequest, resp *fuse.CreateResponse) (fusefs.Node, fusefs.Handle, error) {
	place, err := n.place(req.Name)
	if err == nil {
		err = n.here()
	}
	if err != nil {
		return nil, nil, n.fs.reply("create "+join(n.path, req.Name), err)
	}
	return n.fs.create(place, req, resp)
}

// Create makes a draft in the tag's directory. With an image extension, whatever else it is called, it becomes a version.
func (n tagDirNode) Create(_ context.Context, req *fuse.CreateRequest, resp *fuse.CreateResponse) (fusefs.Node, fusefs.Handle, error) {
	err := n.writable(req.Name)
	if err == nil {
		err = n.here()
	}
	if err != nil {
		return nil, nil, n.fs.reply("create "+join(n.path(), req.Name), err)
	}
	return n.fs.create(n.place(req.Name), req, resp)
}

// writable says whether a file called name may be made here.
func (n tagDirNode) writable(name string) error {
	if !mine(n.space) {
		return index.ErrReadOnly
	}
	if len(name) > nameMax {
		return index.ErrTooLong
	}
	if _, ext := image.SplitExt(name); ext == "" {
		return nil
	}
	return n.ref().Check()
}

// create opens the draft at place for writing, made if there is none.
func (fsys *FS) create(place index.Place, req *fuse.CreateRequest, resp *fuse.CreateResponse) (fusefs.Node, fusefs.Handle, error) {
	what := "create " + place.String()
	if err := fsys.mayChange(&req.Header); err != nil {
		return nil, nil, fsys.reply(what, err)
	}
	d, err := fsys.draftFor(place, req.Flags&fuse.OpenExclusive != 0, req.Pid)
	if err != nil {
		return nil, nil, fsys.reply(what, err)
	}
	fsys.traces.made(place, req.Pid)
	h := fsys.openDraft(d, true, req.Pid)
	if err := fsys.drafts.claim(d, h.opener); err != nil {
		h.free()
		return nil, nil, fsys.reply(what, err)
	}
	resp.EntryValid = 0
	return draftNode{common{fsys}, d.ID()}, h, nil
}

// draftFor returns the draft a program that creates place writes to. The name is normally free; if it was taken since
// the kernel looked, its content stays, as for any open without truncation.
func (fsys *FS) draftFor(place index.Place, exclusive bool, pid uint32) (*index.Draft, error) {
	if err := fsys.ensureLibrary(place); err != nil {
		return nil, err
	}
	if ref, _, ok := place.Ref(); ok && place.Tag == "" {
		img, err := fsys.ix.Lookup("", ref)
		switch {
		case err == nil && fsys.traces.misses(place, pid, img.File):
		case err == nil && exclusive:
			return nil, iofs.ErrExist
		case err == nil:
			return fsys.edit(place, &img, pid)
		case !errors.Is(err, iofs.ErrNotExist):
			return nil, err
		}
	}
	d, err := fsys.ix.CreateDraft(place)
	if errors.Is(err, iofs.ErrExist) && !exclusive {
		return fsys.edit(place, nil, pid)
	}
	return d, err
}

// ensureLibrary makes the library's directory for an image that was created at the top of the tree.
func (fsys *FS) ensureLibrary(place index.Place) error {
	if place.Collection != library {
		return nil
	}
	if _, err := fsys.collection("", library).list(); !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	if err := fsys.ix.Mkdir(library); !errors.Is(err, iofs.ErrExist) {
		return err
	}
	return nil
}

// Mkdir makes a collection, or the empty directory of a tag. Drive does not know it before an image is in it.
func (n dirNode) Mkdir(_ context.Context, req *fuse.MkdirRequest) (fusefs.Node, error) {
	what := "mkdir " + join(n.path, req.Name)
	err := n.fs.mayChange(&req.Header)
	if err == nil {
		err = n.here()
	}
	if err == nil {
		err = n.mayMkdir(req.Name)
	}
	if err == nil {
		err = n.fs.ix.Mkdir(join(n.path, strings.ToLower(req.Name)))
	}
	if err != nil {
		return nil, n.fs.reply(what, err)
	}
	since := n.fs.names.now()
	e, err := n.find(req.Name)
	if err != nil {
		return nil, n.fs.reply(what, err)
	}
	_ = n.fs.names.give(e, since) // the library gives it for a minute, and leaves us no choice
	return e.node, nil
}

// mayMkdir says whether a directory called name may be made: as a collection or as a tag.
func (n dirNode) mayMkdir(name string) error {
	if !mine(n.space) {
		return index.ErrReadOnly
	}
	if n.top() && image.Reserved(name) {
		return iofs.ErrExist
	}
	ref, ext, isImage := image.ParseEntry(name)
	switch {
	case isImage && (ext != "" || ref.Version != ""):
		return refuse(syscall.EINVAL, "%q is the name of an image file, not of a directory", name)
	case isImage:
		ref.Collection = collectionOf(n.path)
		if n.path == "" {
			return refuse(syscall.EPERM, "a tag's directory stands inside a collection")
		}
	default:
		ref = image.Ref{Collection: join(n.path, name), Image: "x", Tag: "x"}
	}
	if err := ref.Check(); err != nil {
		return err
	}
	if _, err := n.find(name); !errors.Is(err, iofs.ErrNotExist) {
		if err == nil {
			err = iofs.ErrExist
		}
		return err
	}
	return nil
}
