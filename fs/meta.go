package fs

import (
	"context"
	"errors"
	"os"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"sregfs/index"
	"sregfs/index/image"
)

// metaFiles are what .sregfs/meta shows of an image.
var metaFiles = map[string]func(image.Meta) (string, error){
	"labels.json": func(m image.Meta) (string, error) { return prettyJSON(m.Labels) },
	"deffile":     func(m image.Meta) (string, error) { return m.Deffile, nil },
	"runscript":   func(m image.Meta) (string, error) { return m.Runscript, nil },
	"help":        func(m image.Meta) (string, error) { return m.Help, nil },
}

// metaDir is .sregfs/meta, or a collection in it. path is as stored, in lower case.
type metaDir struct {
	common
	path string
}

var _ = map[metaDir]struct{}{} // comparable

// Attr is that of a directory nobody writes.
func (n metaDir) Attr(_ context.Context, a *fuse.Attr) error {
	n.fs.fill(a, inodeOf(kindControl, "meta", n.path), os.ModeDir|0o555, n.fs.since)
	a.Valid = 0
	return nil
}

// Lookup finds a nested collection or an image:tag.
func (n metaDir) Lookup(_ context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	resp.EntryValid = 0
	e, err := n.fs.collection("", n.path).find(req.Name)
	if err == nil {
		switch sub := e.node.(type) {
		case dirNode:
			return metaDir{n.common, sub.path}, nil
		case tagDirNode:
			return metaTag{n.common, sub}, nil
		}
		err = notFound
	}
	return nil, n.fs.reply("look up meta of "+join(n.path, req.Name), err)
}

// ReadDirAll lists collections and tags.
func (n metaDir) ReadDirAll(context.Context) ([]fuse.Dirent, error) {
	col, err := n.fs.ix.Collection("", n.path)
	if err != nil {
		return nil, n.fs.reply("list meta of "+n.path, err)
	}
	l := newListing(inodeOf(kindControl, "meta", n.path), len(col.Collections)+len(col.Tags))
	for _, name := range col.Collections {
		l.add(image.EncodeName(name), fuse.DT_Dir, inodeOf(kindControl, "meta", foldPath(join(n.path, name))))
	}
	for _, t := range col.Tags {
		if t.Versions > 0 {
			tag := n.fs.tagDir("", collectionOf(n.path), t.Newest.TagDir())
			l.add(t.Newest.TagDir(), fuse.DT_Dir, inodeOf(kindControl, "meta", tag.path()))
		}
	}
	return l.entries, nil
}

// metaTag has what the newest image of a tag says of itself.
type metaTag struct {
	common
	tag tagDirNode
}

var _ = map[metaTag]struct{}{} // comparable

// Attr is that of a directory nobody writes.
func (n metaTag) Attr(_ context.Context, a *fuse.Attr) error {
	n.fs.fill(a, inodeOf(kindControl, "meta", n.tag.path()), os.ModeDir|0o555, n.fs.since)
	a.Valid = 0
	return nil
}

// Lookup finds one of metaFiles.
func (n metaTag) Lookup(_ context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	resp.EntryValid = 0
	what := "look up meta of " + join(n.tag.path(), req.Name)
	if _, ok := metaFiles[req.Name]; !ok {
		return nil, n.fs.reply(what, notFound)
	}
	img, err := n.fs.ix.Lookup("", n.tag.ref())
	if err != nil {
		return nil, n.fs.reply(what, err)
	}
	return metaFile{n.common, img.File, req.Name}, nil
}

// ReadDirAll lists metaFiles.
func (n metaTag) ReadDirAll(context.Context) ([]fuse.Dirent, error) {
	img, err := n.fs.ix.Lookup("", n.tag.ref())
	if err != nil {
		return nil, n.fs.reply("list meta of "+n.tag.path(), err)
	}
	l := newListing(inodeOf(kindControl, "meta", n.tag.path()), len(metaFiles))
	for name := range metaFiles {
		l.add(name, fuse.DT_File, inodeOf(kindControl, "meta", img.File, name))
	}
	return l.entries, nil
}

// metaFile is one of metaFiles of one image, read from the image when it is opened.
type metaFile struct {
	common
	file string // Drive file id
	name string
}

var _ = map[metaFile]struct{}{} // comparable
var _ fusefs.NodeOpener = metaFile{}

// Attr has no size: the content is made at open, and read to its end.
func (n metaFile) Attr(_ context.Context, a *fuse.Attr) error {
	n.fs.fill(a, inodeOf(kindControl, "meta", n.file, n.name), 0o444, n.fs.since)
	a.Valid = 0
	return nil
}

// Open reads the image, a few ranges of it.
func (n metaFile) Open(ctx context.Context, req *fuse.OpenRequest, resp *fuse.OpenResponse) (fusefs.Handle, error) {
	what := "read " + n.name + " of " + n.file
	if !req.Flags.IsReadOnly() {
		return nil, n.fs.reply(what, index.ErrReadOnly)
	}
	img, err := n.fs.ix.ByID(n.file)
	if err != nil {
		return nil, n.fs.reply(what, err)
	}
	ctx, done := n.fs.steadfast(ctx, req.Pid)
	defer done()
	meta, err := n.fs.ix.Metafiles(ctx, img)
	if err != nil && !errors.Is(err, image.ErrUnsupported) { // of an encrypted image, what can be read is
		return nil, n.fs.reply(what, err)
	}
	text, err := metaFiles[n.name](meta)
	if err != nil {
		return nil, n.fs.reply(what, err)
	}
	resp.Flags |= fuse.OpenDirectIO
	return &textHandle{data: []byte(text)}, nil
}
