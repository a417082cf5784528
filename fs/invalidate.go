package fs

import (
	"strings"
	"sync"

	fusefs "bazil.org/fuse/fs"

	"sregfs/index"
	"sregfs/index/image"
)

// invalidator tells the kernel which directory entries to forget. Only the names of published images are ever kept by
// the kernel for long (longValid), so only they are told; directories and drafts are asked for every time.
//
// It is a set and one goroutine: add never blocks, and memory is bounded by the number of names.
type invalidator struct {
	mu   sync.Mutex
	set  map[edge]struct{} // guarded by mu
	wake chan struct{}     // capacity 1
}

// edge is a name in a directory.
type edge struct {
	dir  fusefs.Node
	name string
}

func newInvalidator() *invalidator {
	return &invalidator{set: make(map[edge]struct{}), wake: make(chan struct{}, 1)}
}

// add queues edges.
func (v *invalidator) add(edges ...edge) {
	if len(edges) == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range edges {
		v.set[e] = struct{}{}
	}
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// take empties the set.
func (v *invalidator) take() map[edge]struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	set := v.set
	v.set = make(map[edge]struct{})
	return set
}

// run tells notify about every edge until stop closes.
//
// The notify blocks on the directory's inode lock, which a request we have not answered may hold: so no lock of ours is
// held here, no handler calls this, and no handler waits for it.
func (v *invalidator) run(stop <-chan struct{}, notify func(dir fusefs.Node, name string) error) {
	for {
		select {
		case <-stop:
			return
		case <-v.wake:
		}
		for e := range v.take() {
			_ = notify(e.dir, e.name) // "not cached" is the happy case, and an unmounted kernel forgets anyway
		}
	}
}

// edges are the names an event of the index may have changed the meaning of, as far as the kernel keeps them.
func (fsys *FS) edges(e index.Event) []edge {
	if e.Image == "" || e.Place.Name != "" {
		return nil
	}
	ref := image.Ref{Collection: e.Collection, Image: e.Image, Tag: e.Tag, Version: e.Version}
	dir := fsys.collection(e.Space, e.Collection)
	var all []edge
	for _, ext := range image.Extensions() { // whichever the newest had before
		all = append(all, edge{dir, strings.ToLower(ref.TagFile(ext))})
	}
	if e.Version != "" {
		all = append(all, edge{fsys.tagDir(e.Space, e.Collection, ref.TagDir()), strings.ToLower(ref.VersionFile(e.Ext))})
	}
	return all
}
