package index

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"

	"sregfs/index/image"
)

// Drive knows no empty collection, so directories made here are remembered here, until they are removed here.

// splitDir reads a directory path: a collection, or a collection and an image:tag. A path is text as stored, where a
// segment may be "..": nothing is cleaned.
func splitDir(p string) (collection string, tag image.Ref, isTag bool) {
	dir, last, nested := cutLast(p)
	if ref, ext, ok := image.ParseEntry(last); ok && ext == "" && nested {
		ref.Collection = dir
		return dir, ref, true
	}
	return p, image.Ref{}, false
}

// cutLast cuts the last segment off a path.
func cutLast(p string) (dir, last string, nested bool) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", p, false
	}
	return p[:i], p[i+1:], true
}

// dirPath is the folded form of a directory's path, under which its record stands.
func dirPath(collection string, tag image.Ref, isTag bool) string {
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
	if err := ix.cat.mayMake(collection, tag, isTag); err != nil && (!errors.Is(err, iofs.ErrNotExist) || !ix.holdsDrafts(collection, isTag)) {
		return err
	}
	made := time.Now()
	rec := dirRecord{V: recordVersion, Path: p, Made: millis(made)}
	err := ix.writing(func(txn *badger.Txn) error { return setJSON(txn, dirKey(dirPath(collection, tag, isTag)), rec) })
	if err != nil {
		return err
	}
	ix.cat.mu.Lock()
	ix.cat.addDir(rec)
	ix.cat.mu.Unlock()
	ix.event(Event{Collection: collection, Image: tag.Image, Tag: tag.Tag})
	return nil
}

// holdsDrafts tells whether the parent of a directory to be made is there because drafts are in it.
func (ix *Index) holdsDrafts(collection string, isTag bool) bool {
	if !isTag {
		collection, _, _ = cutLast(collection)
	}
	return collection != "" && ix.hasDrafts(collection, image.Ref{}, false)
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
	if parent, _, nested := cutLast(collection); nested && top.find(parent) == nil {
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
	if err := ix.rmdir(p); err != nil {
		return fmt.Errorf("remove directory %s: %w", p, err)
	}
	return nil
}

func (ix *Index) rmdir(p string) error {
	if ix.o.ReadOnly {
		return ErrReadOnly
	}
	collection, tag, isTag := splitDir(p)
	if isTag && !ix.cat.hasTag(tag) { // a collection whose name looks like a tag's
		collection, tag, isTag = p, image.Ref{}, false
	}
	if ix.hasDrafts(collection, tag, isTag) {
		return ErrNotEmpty
	}
	ix.cat.order.Lock()
	defer ix.cat.order.Unlock()
	if err := ix.cat.mayRemove(collection, tag, isTag); err != nil {
		return err
	}
	err := ix.writing(func(txn *badger.Txn) error { return txn.Delete(dirKey(dirPath(collection, tag, isTag))) })
	if err != nil {
		return err
	}
	ix.cat.mu.Lock()
	ix.cat.dropDir(collection, tag, isTag)
	ix.cat.mu.Unlock()
	ix.event(Event{Collection: collection, Image: tag.Image, Tag: tag.Tag})
	return nil
}

func (c *catalog) hasTag(tag image.Ref) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.tag("", tag) != nil
}

// hasDrafts tells whether a draft stands in the directory or below it.
func (ix *Index) hasDrafts(collection string, tag image.Ref, isTag bool) bool {
	here := Place{Collection: collection, Tag: tag.Image + ":" + tag.Tag}.Fold()
	for _, d := range ix.AllDrafts() {
		p := d.Place().Fold()
		if p.Collection == here.Collection && (!isTag || p.Tag == here.Tag) || !isTag && strings.HasPrefix(p.Collection, here.Collection+"/") {
			return true
		}
	}
	return false
}

// DraftDirs are the directories in a collection of my own tree that hold drafts, or directories that do, whether they
// hold images too or those have gone: nested collections by their last segment, and tags as "image:tag".
func (ix *Index) DraftDirs(collection string) (collections, tags []string) {
	here := Place{Collection: collection}.Fold().Collection
	for _, d := range ix.AllDrafts() {
		p := d.Place().Fold()
		switch {
		case p.Collection == here && p.Tag != "":
			tags = append(tags, p.Tag)
		case p.Collection == here:
		case here == "":
			sub, _, _ := strings.Cut(p.Collection, "/")
			collections = append(collections, sub)
		case strings.HasPrefix(p.Collection, here+"/"):
			sub, _, _ := strings.Cut(p.Collection[len(here)+1:], "/")
			collections = append(collections, sub)
		}
	}
	return collections, tags
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
	dir, _, _ := cutLast(collection)
	parent := top.find(dir)
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
