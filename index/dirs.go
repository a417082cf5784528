package index

import (
	"fmt"
	iofs "io/fs"
	"path"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"

	"sregfs/index/image"
)

// Drive knows no empty collection, so directories made here are remembered here, until they are removed here.

// splitDir reads a directory path: a collection, or a collection and an image:tag.
func splitDir(p string) (collection string, tag image.Ref, isTag bool) {
	dir, last := path.Split(strings.Trim(p, "/"))
	dir = strings.Trim(dir, "/")
	if ref, ext, ok := image.ParseEntry(last); ok && ext == "" && dir != "" {
		ref.Collection = dir
		return dir, ref, true
	}
	return path.Join(dir, last), image.Ref{}, false
}

// dirPath is the folded form of p, under which its record stands.
func dirPath(p string) string {
	collection, tag, isTag := splitDir(p)
	key := strings.Join(pathKeys(collection), "/")
	if isTag {
		key += "/" + tagKey(tag)
	}
	return key
}

// Mkdir makes a directory in my own tree: "collection/nested", or "collection/image:tag" for versions to be copied into.
// It is remembered on this machine. Errors are io/fs.ErrExist, io/fs.ErrNotExist (its parent is missing), ErrName,
// ErrTooLong and ErrReadOnly.
func (ix *Index) Mkdir(p string) error {
	if err := ix.mkdir(p); err != nil {
		return fmt.Errorf("make directory %s: %w", p, err)
	}
	return nil
}

func (ix *Index) mkdir(p string) error {
	if ix.o.ReadOnly {
		return ErrReadOnly
	}
	p = strings.ToLower(strings.Trim(p, "/"))
	collection, tag, isTag := splitDir(p)
	check := tag
	if !isTag {
		check = image.Ref{Collection: collection, Image: "x", Tag: "x"}
	}
	if err := check.Check(); err != nil {
		return err
	}
	if tag.Version != "" {
		return fmt.Errorf("a version is a file, not a directory: %w", ErrName)
	}
	if first, _, _ := strings.Cut(collection, "/"); image.Reserved(first) {
		return fmt.Errorf("%s is reserved: %w", first, ErrName)
	}
	ix.cat.order.Lock()
	defer ix.cat.order.Unlock()
	if err := ix.cat.mayMake(collection, tag, isTag); err != nil {
		return err
	}
	made := time.Now()
	rec := dirRecord{V: recordVersion, Path: p, Made: millis(made)}
	err := ix.writing(func(txn *badger.Txn) error { return setJSON(txn, dirKey(dirPath(p)), rec) })
	if err != nil {
		return err
	}
	ix.cat.mu.Lock()
	ix.cat.addDir(rec)
	ix.cat.mu.Unlock()
	ix.event(Event{Collection: collection, Image: tag.Image, Tag: tag.Tag})
	return nil
}

func (c *catalog) mayMake(collection string, tag image.Ref, isTag bool) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	top := c.spaces[""]
	if isTag {
		d := top.find(collection)
		if d == nil {
			return iofs.ErrNotExist
		}
		if t := d.tag(tag, false); t != nil && (len(t.images) > 0 || !t.made.IsZero()) {
			return iofs.ErrExist
		}
		return nil
	}
	if top.find(collection) != nil {
		return iofs.ErrExist
	}
	if parent := path.Dir(collection); parent != "." && top.find(parent) == nil {
		return iofs.ErrNotExist
	}
	return nil
}

// addDir puts a made directory into the tree. The caller holds c.mu.
func (c *catalog) addDir(rec dirRecord) {
	collection, tag, isTag := splitDir(rec.Path)
	d := c.spaces[""].make(collection)
	if isTag {
		d.tag(tag, true).made = fromMillis(rec.Made)
	} else {
		d.made = fromMillis(rec.Made)
	}
	d.listing = nil
}

// Rmdir removes an empty directory of my own tree: one made by Mkdir, or one that lost its last image through this
// index. Errors are io/fs.ErrNotExist, ErrNotEmpty and ErrReadOnly.
func (ix *Index) Rmdir(p string) error {
	if err := ix.rmdir(strings.Trim(p, "/")); err != nil {
		return fmt.Errorf("remove directory %s: %w", p, err)
	}
	return nil
}

func (ix *Index) rmdir(p string) error {
	if ix.o.ReadOnly {
		return ErrReadOnly
	}
	collection, tag, isTag := splitDir(p)
	if ix.hasDrafts(collection, tag, isTag) {
		return ErrNotEmpty
	}
	ix.cat.order.Lock()
	defer ix.cat.order.Unlock()
	if err := ix.cat.mayRemove(collection, tag, isTag); err != nil {
		return err
	}
	err := ix.writing(func(txn *badger.Txn) error { return txn.Delete(dirKey(dirPath(p))) })
	if err != nil {
		return err
	}
	ix.cat.mu.Lock()
	ix.cat.dropDir(collection, tag, isTag)
	ix.cat.mu.Unlock()
	ix.event(Event{Collection: collection, Image: tag.Image, Tag: tag.Tag})
	return nil
}

// hasDrafts tells whether a draft stands in the directory or below it.
func (ix *Index) hasDrafts(collection string, tag image.Ref, isTag bool) bool {
	path, name := strings.ToLower(collection), strings.ToLower(tag.Image+":"+tag.Tag)
	for _, d := range ix.AllDrafts() {
		p := d.Place().fold()
		if isTag && p.Collection == path && p.Tag == name || !isTag && (p.Collection == path || strings.HasPrefix(p.Collection, path+"/")) {
			return true
		}
	}
	return false
}

func (c *catalog) mayRemove(collection string, tag image.Ref, isTag bool) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	d := c.spaces[""].find(collection)
	if d == nil || collection == "" {
		return iofs.ErrNotExist
	}
	if isTag {
		switch t := d.tag(tag, false); {
		case t == nil:
			return iofs.ErrNotExist
		case len(t.images) > 0:
			return ErrNotEmpty
		}
		return nil
	}
	if len(d.subs) > 0 {
		return ErrNotEmpty
	}
	for _, t := range d.tags {
		if len(t.images) > 0 || !t.made.IsZero() {
			return ErrNotEmpty
		}
	}
	return nil
}

// dropDir takes a directory that mayRemove agreed to out of the tree; its parent stays. The caller holds c.mu.
func (c *catalog) dropDir(collection string, tag image.Ref, isTag bool) {
	top := c.spaces[""]
	if d := top.find(collection); isTag {
		delete(d.tags, tagKey(tag))
		d.kept, d.listing = true, nil
		return
	}
	keys := pathKeys(collection)
	parent := top.find(path.Dir(collection))
	if path.Dir(collection) == "." {
		parent = top
	}
	delete(parent.subs, keys[len(keys)-1])
	parent.kept, parent.listing = true, nil
}

// loadDirs puts the remembered directories into the tree.
func (ix *Index) loadDirs() error {
	ix.cat.mu.Lock()
	defer ix.cat.mu.Unlock()
	return eachKey(ix.db, kDir, func(_, b []byte) error {
		rec, err := decodeDir(b)
		if err != nil {
			ix.log.Warnf("a directory is forgotten: %v", err)
			return nil
		}
		ix.cat.addDir(rec)
		return nil
	})
}
