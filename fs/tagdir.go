package fs

import (
	"context"
	"errors"
	iofs "io/fs"
	"os"
	"strings"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"sregfs/index"
	"sregfs/index/image"
)

// tagDirNode is the directory of a tag: one file per version, named by it.
type tagDirNode struct {
	common
	space      string
	collection string // as stored, in lower case
	name       string // "image:tag" as the tree spells it, in lower case
	left       bool   // it is gone, but for the rm that emptied it
}

var _ = map[tagDirNode]struct{}{} // comparable
var (
	_ fusefs.NodeRequestLookuper = tagDirNode{}
	_ fusefs.HandleReadDirAller  = tagDirNode{}
	_ fusefs.NodeGetattrer       = tagDirNode{}
)

// ref names the tag.
func (n tagDirNode) ref() image.Ref {
	ref, _, _ := image.ParseEntry(n.name)
	ref.Collection = n.collection
	return ref
}

func (n tagDirNode) path() string { return join(n.collection, n.name) }

func (n tagDirNode) inode() uint64 { return inodeOf(kindDir, n.space, n.collection, n.name) }

// here says whether n is still a directory; a moved one is ESTALE (dirNode.here).
func (n tagDirNode) here() error {
	if n.left {
		return nil
	}
	parent := n.fs.collection(n.space, n.collection)
	_, err := parent.findTagDir(n.ref())
	return staleIfGone(err)
}

// versions lists what is published, newest first. A directory that mkdir made, or that holds only drafts, has none.
func (n tagDirNode) versions() ([]index.Image, error) {
	v, err := n.fs.ix.Versions(n.space, n.ref())
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil
	}
	return v, err
}

// Attr shows the time of the newest version.
func (n tagDirNode) Attr(_ context.Context, a *fuse.Attr) error {
	t, err := n.fs.ix.Tag(n.space, n.ref())
	if errors.Is(err, iofs.ErrNotExist) {
		err = n.here()
	}
	if err != nil {
		return n.fs.reply("stat "+n.path(), err)
	}
	n.fs.fill(a, n.inode(), os.ModeDir|0o755, t.Newest.Modified)
	a.Valid = 0
	return nil
}

// Getattr is Attr for a directory that the kernel has, and keeps.
func (n tagDirNode) Getattr(ctx context.Context, _ *fuse.GetattrRequest, resp *fuse.GetattrResponse) error {
	err := n.Attr(ctx, &resp.Attr)
	resp.Attr.Valid = n.fs.names.attributes()
	return err
}

// Lookup finds a version by its file name, or a draft.
func (n tagDirNode) Lookup(_ context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	since := n.fs.names.now()
	e, err := n.find(req.Name)
	if errors.Is(err, iofs.ErrNotExist) {
		if gone := n.here(); gone != nil {
			err = gone
		}
	}
	if err != nil {
		return nil, n.fs.reply("look up "+join(n.path(), req.Name), err)
	}
	resp.EntryValid = n.fs.names.give(e, since)
	return e.node, nil
}

// find says what a name in this directory means: a version by any of its digests and with any extension, a draft, or a
// name under which a version was copied here.
func (n tagDirNode) find(name string) (entry, error) {
	if len(name) > nameMax {
		return entry{}, index.ErrTooLong
	}
	if base, ext := image.SplitExt(name); ext != "" {
		if e, err := n.findVersion(name, base); err == nil || !errors.Is(err, iofs.ErrNotExist) {
			return e, err
		}
	}
	if !mine(n.space) {
		return entry{}, notFound
	}
	place := n.place(name)
	if d, ok := n.fs.ix.Draft(place); ok {
		return n.fs.draftEntry(d), nil
	}
	if file, ok := n.fs.traces.pushedAs(place); ok {
		if img, err := n.fs.ix.Find(file); err == nil {
			return entry{node: n.fs.image(img, place), img: &img}, nil
		}
	}
	return entry{}, notFound
}

func (n tagDirNode) findVersion(name, base string) (entry, error) {
	ref := n.ref()
	ref.Version = base
	img, err := n.fs.ix.Lookup(n.space, ref)
	if errors.Is(err, iofs.ErrNotExist) && strings.Contains(base, "%") {
		img, err = n.findEncoded(base)
	}
	if err != nil {
		return entry{}, err
	}
	return entry{node: n.fs.image(img, index.Place{}), img: &img, key: tagKey(n.space, ref)}, nil
}

// findEncoded finds a version whose text the tree had to spell differently.
func (n tagDirNode) findEncoded(base string) (index.Image, error) {
	all, err := n.versions()
	if err != nil {
		return index.Image{}, err
	}
	for _, img := range all {
		if strings.EqualFold(img.VersionFile(""), base) {
			return img, nil
		}
	}
	return index.Image{}, notFound
}

// place is where a draft called name stands here.
func (n tagDirNode) place(name string) index.Place {
	return index.Place{Collection: n.collection, Tag: n.name, Name: name}
}

// ReadDirAll lists the versions, newest first, then drafts.
func (n tagDirNode) ReadDirAll(context.Context) ([]fuse.Dirent, error) {
	v, err := n.versions()
	if err == nil {
		err = n.here()
	}
	if err != nil {
		return nil, n.fs.reply("list "+n.path(), err)
	}
	drafts := n.drafts()
	l := newListing(n.inode(), len(v)+len(drafts))
	for _, img := range v {
		l.add(img.VersionFile(img.Ext), fuse.DT_File, imageInode(img))
	}
	for _, d := range drafts {
		l.add(d.Place().Name, fuse.DT_File, draftInode(d.ID()))
	}
	return l.entries, nil
}

func (n tagDirNode) drafts() []*index.Draft {
	if !mine(n.space) {
		return nil
	}
	return n.fs.ix.Drafts(n.collection, n.name)
}
