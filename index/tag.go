package index

import (
	"strings"

	"sregfs/index/image"
)

// Tag returns the tag that ref names, as Collection lists it: Newest is without Labels and Properties. It costs a look
// into memory; a directory asks this each time somebody passes through it. It returns
// io/fs.ErrNotExist for what is not listed either.
func (ix *Index) Tag(space string, ref image.Ref) (Tag, error) {
	ix.cat.mu.RLock()
	defer ix.cat.mu.RUnlock()
	t := ix.cat.tag(space, ref)
	if t == nil {
		return Tag{}, notExist(ref.Short())
	}
	if len(t.images) == 0 && t.made.IsZero() { // it is kept for who removed what was in it, and for nobody else
		return Tag{}, notExist(ref.Short())
	}
	if len(t.images) == 0 {
		return Tag{Image: t.name.Image, Tag: t.name.Tag}, nil
	}
	newest := *t.images[0]
	return Tag{Image: newest.Image, Tag: newest.Tag, Newest: newest, Versions: len(t.versions())}, nil
}

// HasCollection says whether the directory at path is there, as Collection finds it. It costs a look into memory.
func (ix *Index) HasCollection(space, path string) bool {
	ix.cat.mu.RLock()
	defer ix.cat.mu.RUnlock()
	return ix.cat.spaces[strings.ToLower(space)].find(path) != nil
}
