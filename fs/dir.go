package fs

import (
	"context"
	"errors"
	iofs "io/fs"
	"os"
	"strings"
	"syscall"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"sregfs/index"
	"sregfs/index/image"
)

// dirNode is the directory of a collection, or the top of a space (path ""). A space is my own registry ("") or what one
// other person shares with me.
type dirNode struct {
	common
	space string
	path  string // collection as stored, in lower case
}

var _ = map[dirNode]struct{}{} // comparable
var (
	_ fusefs.NodeRequestLookuper = dirNode{}
	_ fusefs.HandleReadDirAller  = dirNode{}
	_ fusefs.NodeGetattrer       = dirNode{}
)

// Names at the top that are not collections.
const (
	controlName = image.ControlDir
	sharedName  = image.SharedDir
)

func (n dirNode) top() bool { return n.path == "" && mine(n.space) }

// list reads the collection from the index. One that holds nothing but drafts, here or further below, exists too.
func (n dirNode) list() (index.Collection, error) {
	col, err := n.fs.ix.Collection(n.space, n.path)
	if errors.Is(err, iofs.ErrNotExist) && mine(n.space) {
		subs, tags := n.fs.ix.DraftDirs(n.path)
		if len(subs)+len(tags)+len(n.drafts()) > 0 {
			return index.Collection{}, nil
		}
	}
	return col, err
}

// Attr shows the time of the newest image in the collection.
func (n dirNode) Attr(_ context.Context, a *fuse.Attr) error {
	col, err := n.list()
	if err != nil && n.path != "" {
		return n.fs.reply("stat "+n.path, staleIfGone(err))
	}
	n.fs.fill(a, n.inode(), os.ModeDir|0o755, col.Modified)
	a.Valid = 0
	return nil
}

// Getattr is Attr for a directory that the kernel has, and keeps. The top it does not keep: by a stat(2) of it everybody
// tells a mount that is dead.
func (n dirNode) Getattr(ctx context.Context, _ *fuse.GetattrRequest, resp *fuse.GetattrResponse) error {
	err := n.Attr(ctx, &resp.Attr)
	if !n.top() {
		resp.Attr.Valid = n.fs.names.attributes()
	}
	return err
}

// here says whether n is still a directory. A moved one is ESTALE, upon which the kernel walks the path once more: it
// takes a directory that mkdir made for granted for a minute, under its new name too, and keeps it under the old one.
func (n dirNode) here() error {
	if n.path == "" || n.fs.ix.HasCollection(n.space, n.path) {
		return nil
	}
	_, err := n.list()
	return staleIfGone(err)
}

// staleIfGone is what a directory answers whose own name means nothing any more.
func staleIfGone(err error) error {
	if errors.Is(err, iofs.ErrNotExist) {
		return syscall.ESTALE
	}
	return err
}

func (n dirNode) inode() uint64 {
	if n.top() {
		return 1
	}
	return inodeOf(kindDir, n.space, n.path)
}

// Lookup resolves every text form of a name, listed or not.
func (n dirNode) Lookup(_ context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	since := n.fs.names.now()
	e, err := n.find(req.Name)
	if err == nil && e.tag && n.misses(req, e.img.File) {
		return nil, n.fs.reply("look up "+join(n.path, req.Name), notFound)
	}
	if errors.Is(err, iofs.ErrNotExist) {
		if left, ok := n.fs.traces.left(newRemoval(n, req.Name, req.Pid)); ok {
			e, err = entry{node: left}, nil
		} else if gone := n.here(); gone != nil {
			err = gone
		}
	}
	if err != nil {
		return nil, n.fs.reply("look up "+join(n.path, req.Name), err)
	}
	resp.EntryValid = n.fs.names.give(e, since)
	return e.node, nil
}

// misses says whether who looks has just removed the name, and so does not find file, the version before.
func (n dirNode) misses(req *fuse.LookupRequest, file string) bool {
	place, err := n.place(req.Name)
	return err == nil && n.fs.traces.misses(place, req.Pid, file)
}

// find says what a name in this directory means, in this order: the tree's own names, image files and tag directories,
// collections, drafts.
func (n dirNode) find(name string) (entry, error) {
	if len(name) > nameMax {
		return entry{}, index.ErrTooLong
	}
	if n.top() {
		switch strings.ToLower(name) {
		case controlName:
			return entry{node: controlDir{n.common}, dir: true}, nil
		case sharedName:
			if len(n.fs.ix.Owners()) == 0 {
				return entry{}, notFound
			}
			return entry{node: sharedNode{n.common}, dir: true}, nil // one look-up a path: not worth a key
		}
	}
	ref, ext, isImage := image.ParseEntry(name)
	switch {
	case isImage && ext == "" && ref.Version == "":
		return n.findTagDir(ref)
	case isImage:
		return n.fs.imageEntry(n.space, collectionOf(n.path), name, ref, ext)
	}
	if e, err := n.findCollection(name); !errors.Is(err, iofs.ErrNotExist) {
		return e, err
	}
	if mine(n.space) {
		if d, ok := n.fs.ix.Draft(index.Place{Collection: n.path, Name: name}); ok {
			return n.fs.draftEntry(d), nil
		}
	}
	return entry{}, notFound
}

// findCollection finds a nested collection under the name the tree spells it with.
func (n dirNode) findCollection(name string) (entry, error) {
	stored, err := image.DecodeName(name)
	if err != nil || strings.Contains(stored, "/") {
		return entry{}, notFound
	}
	sub := n.fs.collection(n.space, join(n.path, stored))
	e := entry{node: sub, dir: true}
	if n.fs.ix.HasCollection(sub.space, sub.path) {
		e.key = dirKey(sub.space, sub.path)
	} else if _, err := sub.list(); err != nil { // it may hold drafts
		return entry{}, err
	}
	return e, nil
}

// findTagDir finds the directory of a tag's versions. It is there while it holds something, or if it was made by mkdir.
func (n dirNode) findTagDir(ref image.Ref) (entry, error) {
	ref.Collection = collectionOf(n.path)
	e := entry{node: n.fs.tagDir(n.space, ref.Collection, ref.TagDir()), dir: true}
	if _, err := n.fs.ix.Tag(n.space, ref); err == nil {
		e.key = tagKey(n.space, ref)
	} else if !errors.Is(err, iofs.ErrNotExist) || !mine(n.space) || len(n.fs.ix.Drafts(ref.Collection, strings.ToLower(ref.TagDir()))) == 0 {
		return entry{}, err
	}
	return e, nil
}

// ReadDirAll lists collections, then per tag its file and its directory, then drafts. The file comes first because rm -r
// follows this order, and removing the file first leaves the directory's emptying for last.
func (n dirNode) ReadDirAll(context.Context) ([]fuse.Dirent, error) {
	col, err := n.list()
	if err != nil && n.path != "" {
		return nil, n.fs.reply("list "+n.path, staleIfGone(err))
	}
	drafts := n.drafts()
	l := newListing(n.inode(), len(col.Collections)+2*len(col.Tags)+len(drafts))
	for _, name := range col.Collections {
		l.add(image.EncodeName(name), fuse.DT_Dir, n.fs.collection(n.space, join(n.path, name)).inode())
	}
	if n.top() && len(n.fs.ix.Owners()) > 0 {
		l.add(sharedName, fuse.DT_Dir, sharedNode{n.common}.inode())
	}
	for _, t := range col.Tags {
		ref := image.Ref{Image: t.Image, Tag: t.Tag}
		name := ref.TagDir()
		if t.Versions > 0 {
			l.add(t.Newest.TagFile(t.Newest.Ext), fuse.DT_File, imageInode(t.Newest))
		}
		l.add(name, fuse.DT_Dir, n.fs.tagDir(n.space, collectionOf(n.path), name).inode())
	}
	if mine(n.space) { // directories that nothing but drafts keeps
		subs, tags := n.fs.ix.DraftDirs(n.path)
		for _, name := range subs {
			l.add(image.EncodeName(name), fuse.DT_Dir, n.fs.collection("", join(n.path, name)).inode())
		}
		for _, name := range tags {
			l.add(name, fuse.DT_Dir, n.fs.tagDir("", collectionOf(n.path), name).inode())
		}
	}
	for _, d := range drafts {
		l.add(d.Place().Name, fuse.DT_File, draftInode(d.ID()))
	}
	return l.entries, nil
}

func (n dirNode) drafts() []*index.Draft {
	if !mine(n.space) {
		return nil
	}
	return n.fs.ix.Drafts(n.path, "")
}

// listing collects directory entries, of which no two have one name.
type listing struct {
	entries []fuse.Dirent
	names   map[string]struct{}
}

func newListing(inode uint64, size int) *listing {
	l := &listing{entries: make([]fuse.Dirent, 0, size+2), names: make(map[string]struct{}, size)}
	l.entries = append(l.entries, fuse.Dirent{Name: ".", Type: fuse.DT_Dir, Inode: inode}, fuse.Dirent{Name: "..", Type: fuse.DT_Dir, Inode: 1})
	return l
}

// add appends an entry unless its name is there already.
func (l *listing) add(name string, kind fuse.DirentType, inode uint64) {
	key := strings.ToLower(name)
	if _, ok := l.names[key]; ok {
		return
	}
	l.names[key] = struct{}{}
	l.entries = append(l.entries, fuse.Dirent{Name: name, Type: kind, Inode: inode})
}

// sharedNode is the directory of the people who share images with me. What lies beneath is read-only.
type sharedNode struct{ common }

var _ = map[sharedNode]struct{}{} // comparable

func (n sharedNode) inode() uint64 { return inodeOf(kindDir, sharedName) }

// Attr is that of a directory.
func (n sharedNode) Attr(_ context.Context, a *fuse.Attr) error {
	n.fs.fill(a, n.inode(), os.ModeDir|0o555, n.fs.since)
	a.Valid = 0
	return nil
}

// Lookup finds a person by e-mail address.
func (n sharedNode) Lookup(_ context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	resp.EntryValid = 0
	for _, owner := range n.fs.ix.Owners() {
		if strings.EqualFold(image.EncodeName(owner), req.Name) {
			return n.fs.collection(owner, ""), nil
		}
	}
	return nil, n.fs.reply("look up "+sharedName+"/"+req.Name, notFound)
}

// ReadDirAll lists the people.
func (n sharedNode) ReadDirAll(context.Context) ([]fuse.Dirent, error) {
	owners := n.fs.ix.Owners()
	l := newListing(n.inode(), len(owners))
	for _, owner := range owners {
		l.add(image.EncodeName(owner), fuse.DT_Dir, n.fs.collection(owner, "").inode())
	}
	return l.entries, nil
}
