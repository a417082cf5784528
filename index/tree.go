package index

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"sregfs/index/image"
)

// dirNode is one directory of a space. Nodes are reached and changed only under catalog.mu.
type dirNode struct {
	name     string // last segment as stored; of several that differ in case, the least
	subs     map[string]*dirNode
	tags     map[string]*tagNode
	modified time.Time   // of the newest image ever seen below; never goes back, as a directory's time does not
	made     time.Time   // by Mkdir, else zero
	kept     bool        // emptied by this process: stays, so that `rm -r` finds its directories until it removes them
	listing  *Collection // built when asked for, dropped by every change
}

// tagNode is one image:tag of a directory.
type tagNode struct {
	name   image.Ref // Image and Tag as the first image, or Mkdir, wrote them
	images []*Image  // every file of the tag, newest first; duplicates of a version included
	made   time.Time
	kept   bool // like dirNode.kept, but such a directory is not listed: it only can still be opened and removed
}

// pathKeys are the map keys on the way to a collection. Text is compared encoded, so that hostile and shortened names
// come back to the same key, and without regard to case.
func pathKeys(collection string) []string {
	if strings.Trim(collection, "/") == "" {
		return nil
	}
	return strings.Split(strings.ToLower(image.Ref{Collection: collection}.Dir()), "/")
}

func tagKey(ref image.Ref) string {
	return strings.ToLower(image.Ref{Image: ref.Image, Tag: ref.Tag}.TagDir())
}

// segments are the names, as stored, that pathKeys are the keys of.
func segments(collection string) []string {
	if strings.Trim(collection, "/") == "" {
		return nil
	}
	names := strings.Split(image.Ref{Collection: collection}.Dir(), "/")
	for i, n := range names {
		if raw, err := image.DecodeName(n); err == nil {
			names[i] = raw
		}
	}
	return names
}

// find returns the directory at collection, nil if there is none.
func (d *dirNode) find(collection string) *dirNode {
	for _, key := range pathKeys(collection) {
		if d == nil {
			return nil
		}
		d = d.subs[key]
	}
	return d
}

// make returns the directory at collection and makes what is missing on the way.
func (d *dirNode) make(collection string) *dirNode {
	names := segments(collection)
	for i, key := range pathKeys(collection) {
		sub := d.subs[key]
		if sub == nil {
			sub = &dirNode{name: names[i]}
			if d.subs == nil {
				d.subs = map[string]*dirNode{}
			}
			d.subs[key] = sub
			d.listing = nil
		} else if names[i] < sub.name {
			sub.name, d.listing = names[i], nil
		}
		d = sub
	}
	return d
}

// touch notes the time of an image below collection on every directory to it.
func (d *dirNode) touch(collection string, t time.Time) {
	way := []*dirNode{d}
	for _, key := range pathKeys(collection) {
		d = d.subs[key]
		way = append(way, d)
	}
	for _, d := range way {
		if t.After(d.modified) {
			d.modified = t
		}
	}
}

func (d *dirNode) empty() bool { return len(d.subs) == 0 && len(d.tags) == 0 }

// prune drops the directories on the way to collection that hold nothing and that nobody made or keeps.
func (d *dirNode) prune(collection string) {
	keys := pathKeys(collection)
	way := []*dirNode{d}
	for _, key := range keys {
		next := way[len(way)-1].subs[key]
		if next == nil {
			return
		}
		way = append(way, next)
	}
	for i := len(keys); i > 0; i-- {
		sub, parent := way[i], way[i-1]
		if !sub.empty() || sub.kept || !sub.made.IsZero() {
			return
		}
		delete(parent.subs, keys[i-1])
		parent.listing = nil
	}
}

// tag returns the tag's node, which it makes if create is set.
func (d *dirNode) tag(ref image.Ref, create bool) *tagNode {
	key := tagKey(ref)
	t := d.tags[key]
	if t == nil && create {
		t = &tagNode{name: image.Ref{Image: ref.Image, Tag: ref.Tag}}
		if d.tags == nil {
			d.tags = map[string]*tagNode{}
		}
		d.tags[key] = t
	}
	return t
}

// list returns what d holds. The result is shared.
func (d *dirNode) list() *Collection {
	if d.listing != nil {
		return d.listing
	}
	c := &Collection{Name: d.name, Collections: make([]string, 0, len(d.subs)), Tags: make([]Tag, 0, len(d.tags))}
	for _, sub := range d.subs {
		c.Collections = append(c.Collections, sub.name)
	}
	for _, t := range d.tags {
		if len(t.images) == 0 {
			if !t.made.IsZero() {
				c.Tags = append(c.Tags, Tag{Image: t.name.Image, Tag: t.name.Tag})
			}
			continue
		}
		newest := *t.images[0]
		c.Tags = append(c.Tags, Tag{Image: newest.Image, Tag: newest.Tag, Newest: newest, Versions: len(t.versions())})
	}
	slices.Sort(c.Collections)
	slices.SortFunc(c.Tags, func(a, b Tag) int {
		return cmp.Or(strings.Compare(a.Image, b.Image), strings.Compare(a.Tag, b.Tag))
	})
	d.listing = c
	return c
}

// versions are the images of the tag, newest first, each version once.
func (t *tagNode) versions() []*Image {
	if len(t.images) < 2 {
		return t.images
	}
	seen := make(map[string]bool, len(t.images))
	out := make([]*Image, 0, len(t.images))
	for _, img := range t.images {
		if v := strings.ToLower(img.Version); !seen[v] {
			seen[v] = true
			out = append(out, img)
		}
	}
	return out
}

// insert puts img in its place in the space d is the top of.
func (d *dirNode) insert(img *Image) {
	dir := d.make(img.Collection)
	t := dir.tag(img.Ref, true)
	i, _ := slices.BinarySearchFunc(t.images, img, newer)
	t.images = slices.Insert(t.images, i, img)
	t.kept, dir.kept, dir.listing = false, false, nil
	d.touch(img.Collection, img.Modified)
}

// remove takes img out. With keep, directories this empties stay as dirNode.kept says.
func (d *dirNode) remove(img *Image, keep bool) {
	dir := d.find(img.Collection)
	if dir == nil {
		return
	}
	t := dir.tag(img.Ref, false)
	if t == nil {
		return
	}
	t.images = slices.DeleteFunc(t.images, func(o *Image) bool { return o.File == img.File })
	dir.listing = nil
	if len(t.images) > 0 {
		return
	}
	if keep {
		t.kept, dir.kept = true, true
	}
	if t.kept || !t.made.IsZero() {
		return
	}
	delete(dir.tags, tagKey(img.Ref))
	d.prune(img.Collection)
}
