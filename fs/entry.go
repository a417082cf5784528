package fs

import (
	"errors"
	iofs "io/fs"
	"strings"
	"time"

	fusefs "bazil.org/fuse/fs"

	"sregfs/index"
	"sregfs/index/image"
)

// longValid is how long the kernel may keep the attributes of a revision, which never change, and names until they are
// taken back (lasting.go).
const longValid = time.Hour

// entry is what one name in a directory means at this moment.
type entry struct {
	node fusefs.Node
	dir  bool

	img   *index.Image // the published image behind an imageNode
	draft *index.Draft // the draft behind a draftNode
	tag   bool         // img is there as the newest of its tag, not as a version

	// key is what the name is given to the kernel under; 0: whether it means this depends on who asks, or on more than the
	// index tells of, and the kernel asks each time.
	key nameKey
}

// notFound is what a name that means nothing answers.
var notFound = iofs.ErrNotExist

// mine says whether a directory of this space is part of my own registry, and can be written.
func mine(space string) bool { return space == "" }

// library is the collection of images that name none, as at the top of the tree.
const library = image.DefaultCollection

// collectionOf is the collection that image names in the directory path belong to: at the top that is the library.
func collectionOf(path string) string {
	if path == "" {
		return library
	}
	return path
}

// imageEntry finds what an image's file name in the directory of collection means: the newest of a tag, or one version
// of it. A draft on its way to the tag shows instead of the newest while somebody writes it or Drive is yet to have it;
// a draft that failed, or is half an image, shows only where there is no published image for it to hide.
func (fsys *FS) imageEntry(space, collection, name string, ref image.Ref, ext string) (entry, error) {
	ref.Collection = collection
	var place index.Place
	if mine(space) && ref.Version == "" && ref.Check() == nil {
		place = tagPlace(collection, ref, ext)
	}
	// The draft first: a push is published before its draft is forgotten, so whoever finds no draft finds the new image.
	var d *index.Draft
	if place.Name != "" {
		d, _ = fsys.ix.Draft(place)
		if d != nil && fsys.shows(d) {
			return fsys.draftEntry(d), nil
		}
	}
	img, err := fsys.ix.Lookup(space, ref)
	switch {
	case errors.Is(err, iofs.ErrNotExist) && d != nil:
		return fsys.draftEntry(d), nil
	case err != nil:
		return entry{}, err
	}
	e := entry{node: fsys.image(img, place), img: &img, tag: ref.Version == ""}
	if d == nil {
		e.key = tagKey(space, ref)
	}
	return e, nil
}

// tagPlace is where a draft for the tag of ref stands, in the form all spellings of the name share.
func tagPlace(collection string, ref image.Ref, ext string) index.Place {
	return index.Place{Collection: foldPath(collection), Name: strings.ToLower(ref.TagFile(ext))}
}

// draftEntry is asked for every time: a draft becomes an image when it is pushed.
func (fsys *FS) draftEntry(d *index.Draft) entry {
	return entry{node: draftNode{common{fsys}, d.ID()}, draft: d}
}

// image makes the node of a published image. place is where it is written when opened for that, zero if nowhere.
func (fsys *FS) image(img index.Image, place index.Place) imageNode {
	return imageNode{
		common: common{fsys}, file: img.File, rev: img.Revision, size: img.Size, created: img.Created.UnixNano(), place: place,
	}
}

// collection makes the node of a collection's directory. path is as stored on Drive, not as the tree spells it; the case
// does not matter.
func (fsys *FS) collection(space, path string) dirNode {
	return dirNode{common{fsys}, space, foldPath(path)}
}

// foldPath is the form in which collections of any case are equal.
func foldPath(path string) string { return image.Ref{Collection: path}.Fold().Collection }

// tagDir makes the node of a tag's directory. name is "image:tag" as the tree spells it.
func (fsys *FS) tagDir(space, collection, name string) tagDirNode {
	return tagDirNode{common: common{fsys}, space: space, collection: foldPath(collection), name: strings.ToLower(name)}
}

// join appends a name to a path.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}
