package fs

import (
	"sync"

	"sregfs/index"
)

// openImages knows the images that are open for reading. One that is removed meanwhile can be opened again through
// /proc/PID/fd, as the runtime of a container does, for as long as somebody has it open.
type openImages struct {
	mu  sync.Mutex
	all map[revision]*openImage // guarded by mu
}

// revision is one content of one Drive file.
type revision struct{ file, rev string }

type openImage struct {
	img     index.Image
	readers int
}

func newOpenImages() *openImages { return &openImages{all: make(map[revision]*openImage)} }

func (o *openImages) opened(img index.Image) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := revision{img.File, img.Revision}
	if o.all[key] == nil {
		o.all[key] = &openImage{img: img}
	}
	o.all[key].readers++
}

func (o *openImages) closed(img index.Image) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := revision{img.File, img.Revision}
	if o.all[key].readers--; o.all[key].readers == 0 {
		delete(o.all, key)
	}
}

func (o *openImages) find(file, rev string) (index.Image, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if open := o.all[revision{file, rev}]; open != nil {
		return open.img, true
	}
	return index.Image{}, false
}
