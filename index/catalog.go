package index

import (
	iofs "io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"unique"

	"github.com/dgraph-io/badger/v4"

	"sregfs/index/image"
)

// catalog is every image on record, in memory, without labels and properties: less than a kilobyte an image, so a
// registry of 100,000 fits. It is a copy of the file records and changes only by publish, which reads them again.
type catalog struct {
	order sync.Mutex // held while publish reads records and puts them here, so that the last read is the last put

	mu     sync.RWMutex // guards the rest, and is a leaf: held across no I/O
	files  map[string]*Image
	spaces map[string]*dirNode // top directory of each space; "" is always there
	ours   map[string]int      // files that a verb of ours is removing or renaming, counted
}

func newCatalog() *catalog {
	return &catalog{files: map[string]*Image{}, spaces: map[string]*dirNode{"": {}}, ours: map[string]int{}}
}

// changing marks file as one that a verb of ours is removing or renaming, until done is called: directories it leaves
// empty stay until Rmdir, whether we publish the change or the feed, which may be faster.
func (c *catalog) changing(file string) (done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ours[file]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ours[file]--; c.ours[file] == 0 {
			delete(c.ours, file)
		}
	}
}

// keep makes the directory of collection stay until Rmdir, though its last draft has just been taken out by its owner.
func (c *catalog) keep(collection string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if top := c.spaces[""]; collection != "" && top.find(collection) == nil {
		top.make(collection).kept = true
	}
}

// compact is img as the catalogue keeps it, its common texts shared.
func (img Image) compact() *Image {
	for _, s := range []*string{&img.Collection, &img.Tag, &img.Ext, &img.Space, &img.Owner} {
		*s = unique.Make(*s).Value()
	}
	switch img.Version {
	case img.MD5:
		img.Version = img.MD5 // the same bytes, once
	case img.SHA256:
		img.Version = img.SHA256
	}
	return &img
}

// put makes img the image of file, nil for none, and returns what names changed. The caller holds c.mu.
func (c *catalog) put(file string, img *Image) []Event {
	var out []Event
	old := c.files[file]
	if old != nil {
		if img != nil && same(old, img) {
			return nil
		}
		top := c.spaces[old.Space]
		top.remove(old, c.ours[file] > 0)
		if old.Space != "" && top.empty() {
			delete(c.spaces, old.Space)
		}
		delete(c.files, file)
		out = append(out, old.event())
	}
	if img != nil {
		top := c.spaces[img.Space]
		if top == nil {
			top = &dirNode{}
			c.spaces[img.Space] = top
		}
		top.insert(img)
		c.files[file] = img
		if e := img.event(); len(out) == 0 || out[0] != e {
			out = append(out, e)
		}
	}
	return out
}

// same tells whether two compact images are one.
func same(a, b *Image) bool {
	return a.Ref == b.Ref && a.Ext == b.Ext && a.Space == b.Space && a.Revision == b.Revision && a.Name == b.Name && a.Size == b.Size &&
		a.MD5 == b.MD5 && a.SHA256 == b.SHA256 && a.Created.Equal(b.Created) && a.Modified.Equal(b.Modified) && a.Owner == b.Owner && a.Writable == b.Writable
}

// ids are the files of my registry, or those shared with me.
func (c *catalog) ids(shared bool) []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []string
	for id, img := range c.files {
		if (img.Space != "") == shared {
			out = append(out, id)
		}
	}
	return out
}

// count returns how many images are mine, and how many are shared with me.
func (c *catalog) count() (mine, shared int) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, img := range c.files {
		if img.Space == "" {
			mine++
		} else {
			shared++
		}
	}
	return mine, shared
}

// missingError is an io/fs.ErrNotExist that says what there is none of.
type missingError string

func (m missingError) Error() string { return string(m) + " does not exist" }

// Unwrap makes m an io/fs.ErrNotExist.
func (m missingError) Unwrap() error { return iofs.ErrNotExist }

func notExist(what string) error { return missingError(what) }

// Owners lists the spaces of other people whose images are shared with me, sorted.
func (ix *Index) Owners() []string {
	ix.cat.mu.RLock()
	defer ix.cat.mu.RUnlock()
	var out []string
	for space := range ix.cat.spaces {
		if space != "" {
			out = append(out, space)
		}
	}
	slices.Sort(out)
	return out
}

// Collection returns what the directory at path holds, io/fs.ErrNotExist if there is none. Path "" is the top of the
// space, which exists for my own registry and for each of Owners. It comes from memory.
func (ix *Index) Collection(space, path string) (Collection, error) {
	c := ix.cat
	c.mu.RLock()
	d := c.spaces[strings.ToLower(space)].find(path)
	if d == nil {
		c.mu.RUnlock()
		return Collection{}, notExist("collection " + path)
	}
	if l := d.listing; l != nil {
		out := d.described(l)
		c.mu.RUnlock()
		return out, nil
	}
	c.mu.RUnlock()

	c.mu.Lock()
	defer c.mu.Unlock()
	if d = c.spaces[strings.ToLower(space)].find(path); d == nil {
		return Collection{}, notExist("collection " + path)
	}
	return d.described(d.list()), nil
}

func (d *dirNode) described(l *Collection) Collection {
	out := *l
	if out.Modified = d.modified; d.made.After(out.Modified) {
		out.Modified = d.made
	}
	return out
}

// Versions returns the images of a tag, newest first, each version once, without Labels and Properties. It is empty for a
// tag directory that exists but holds nothing, and io/fs.ErrNotExist if there is no such tag.
func (ix *Index) Versions(space string, ref image.Ref) ([]Image, error) {
	ix.cat.mu.RLock()
	t := ix.cat.tag(space, ref)
	if t == nil {
		ix.cat.mu.RUnlock()
		return nil, notExist(ref.Short())
	}
	out := values(t.versions())
	ix.cat.mu.RUnlock()
	return out, nil
}

// Files returns every image file of a tag, newest first: beside Versions, the duplicates that the tree shows as one. What
// is done to the whole of a name is done to them. Errors as of Versions.
func (ix *Index) Files(space string, ref image.Ref) ([]Image, error) {
	ix.cat.mu.RLock()
	t := ix.cat.tag(space, ref)
	if t == nil {
		ix.cat.mu.RUnlock()
		return nil, notExist(ref.Short())
	}
	out := values(t.images)
	ix.cat.mu.RUnlock()
	return out, nil
}

// Twins returns the other files of img's content under its name and version, which the tree shows as one with it.
func (ix *Index) Twins(img Image) []Image {
	all, err := ix.Files(img.Space, img.Ref)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(all, func(o Image) bool {
		return o.File == img.File || !strings.EqualFold(o.Version, img.Version) || o.Size != img.Size || o.MD5 != img.MD5 || o.SHA256 != img.SHA256
	})
}

// version returns the image of a version, "" for the newest, nil if there is none. What a version is called goes before
// the digest of another one: a file that was given other content keeps its name.
func (t *tagNode) version(v string) *Image {
	var digest *Image
	for _, img := range t.images {
		if v == "" || strings.EqualFold(v, img.Version) {
			return img
		}
		if digest == nil && img.hasVersion(v) {
			digest = img
		}
	}
	return digest
}

// Lookup returns the image of ref, the newest of its tag if ref has no version. A version may be written as the MD5 or
// the SHA-256 of the content too. It returns io/fs.ErrNotExist if there is none. It comes from memory, for every name of a
// path that is walked, and is without Labels and Properties: see Describe.
func (ix *Index) Lookup(space string, ref image.Ref) (Image, error) {
	ix.cat.mu.RLock()
	var found *Image
	if t := ix.cat.tag(space, ref); t != nil {
		found = t.version(ref.Version)
	}
	ix.cat.mu.RUnlock()
	if found == nil {
		return Image{}, notExist(ref.String())
	}
	return *found, nil
}

func (c *catalog) tag(space string, ref image.Ref) *tagNode {
	d := c.spaces[strings.ToLower(space)].find(ref.Collection)
	if d == nil {
		return nil
	}
	return d.tag(ref, false)
}

// ByID returns the image with Drive id file, io/fs.ErrNotExist if there is none.
func (ix *Index) ByID(file string) (Image, error) {
	img, err := ix.Find(file)
	if err != nil {
		return Image{}, err
	}
	return ix.Describe(img), nil
}

// Find is ByID without Labels and Properties: it comes from memory.
func (ix *Index) Find(file string) (Image, error) {
	ix.cat.mu.RLock()
	img := ix.cat.files[file]
	ix.cat.mu.RUnlock()
	if img == nil {
		return Image{}, notExist("image with id " + file)
	}
	return *img, nil
}

// Describe returns img with its Labels and Properties, from the records on disk. If they went since, it goes without.
func (ix *Index) Describe(img Image) Image { return ix.hydrate([]Image{img})[0] }

// Images returns every image on record: mine, then those shared with me, each newest first.
func (ix *Index) Images() []Image {
	return ix.hydrate(ix.cat.all())
}

// list is every image, in the order of Index.Images, as the catalogue has it: nobody may change it.
func (c *catalog) list() []*Image {
	c.mu.RLock()
	list := slices.Collect(maps.Values(c.files))
	c.mu.RUnlock()
	slices.SortFunc(list, listed)
	return list
}

func (c *catalog) all() []Image { return values(c.list()) }

func values(list []*Image) []Image {
	out := make([]Image, len(list))
	for i, img := range list {
		out[i] = *img
	}
	return out
}

// hydrate gives the images their labels and properties, from the records. An image whose record went since goes without.
func (ix *Index) hydrate(list []Image) []Image {
	err := ix.db.View(func(txn *badger.Txn) error {
		for i := range list {
			if list[i].Properties != nil {
				continue
			}
			rec, err := getFile(txn, list[i].File)
			if err != nil {
				return err
			}
			if rec.ID != "" {
				list[i].describe(rec.file())
			}
		}
		return nil
	})
	if err != nil {
		ix.log.Warnf("labels: %v", err)
	}
	return list
}

// getFile returns the record of a file; its ID is "" if there is none.
func getFile(txn *badger.Txn, id string) (fileRecord, error) {
	b, err := getBytes(txn, fileKey(id))
	if err != nil || b == nil {
		return fileRecord{}, err
	}
	return decodeFile(b)
}
