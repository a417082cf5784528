package fs_test

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"sregfs/drive/drivetest"
	"sregfs/index/image"
)

// mfile is one image file on Drive: in the registry's folder and not in the bin.
type mfile struct {
	id           string    // "" until Drive was looked at
	tag          string    // "collection/image:tag"
	version, ext string    // as the tree shows them
	sum          string    // MD5 of the content
	size         int64     // bytes
	modified     time.Time // what makes it the newest
	created      time.Time
	shared       bool // with the sharee
	labels       map[string]string
}

// registry is what Drive holds, or ought to.
type registry []*mfile

// theLabel is the label that the model sets.
const theLabel = "model"

func (r registry) clone() registry {
	out := make(registry, len(r))
	for i, f := range r {
		c := *f
		out[i] = &c
	}
	return out
}

// tagged are the files of a tag, newest first.
func (r registry) tagged(tag string) registry {
	var out registry
	for _, f := range r {
		if f.tag == tag {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b *mfile) int {
		return cmp.Or(b.modified.Compare(a.modified), b.created.Compare(a.created), strings.Compare(b.id, a.id))
	})
	return out
}

// versions are the files of a tag as its directory shows them: newest first, each version once.
func (r registry) versions(tag string) registry {
	seen := map[string]bool{}
	return slices.DeleteFunc(r.tagged(tag), func(f *mfile) bool {
		had := seen[f.version]
		seen[f.version] = true
		return had
	})
}

// twins are the files that show as one with f, and f.
func (r registry) twins(f *mfile) registry {
	return slices.DeleteFunc(slices.Clone(r), func(o *mfile) bool { return o.tag != f.tag || o.version != f.version || o.sum != f.sum })
}

// newest is the file a tag's name means, nil if there is none.
func (r registry) newest(tag string) *mfile {
	if all := r.tagged(tag); len(all) > 0 {
		return all[0]
	}
	return nil
}

// tags are the names there are, sorted.
func (r registry) tags() []string {
	set := map[string]bool{}
	for _, f := range r {
		set[f.tag] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// paths are what a mount shows: by path the size of a file, of a tag's file also which version it is, or directory.
type paths map[string]string

const directory = "directory"

// tree is what a mount of r shows.
func (r registry) tree(prefix string) paths {
	out := paths{}
	for _, tag := range r.tags() {
		v := r.versions(tag)
		out[path.Join(prefix, tag)+v[0].ext] = fmt.Sprint(v[0].size, " ", v[0].version+v[0].ext)
		out[path.Join(prefix, tag)] = directory
		for _, f := range v {
			out[path.Join(prefix, tag, f.version)+f.ext] = fmt.Sprint(f.size)
		}
		out.addParents(path.Join(prefix, tag))
	}
	return out
}

// addParents adds the directories above p.
func (t paths) addParents(p string) {
	for dir := range parents(p) {
		t[dir] = directory
	}
}

// collectionOf is the directory of a tag.
func collectionOf(tag string) string { return path.Dir(tag) }

// fileOf reads one of Drive's files as the model has it; ok is false for what is no image.
func fileOf(f drivetest.File) (m *mfile, ok bool) {
	if f.Properties["type"] != "container" || f.MimeType != "application/octet-stream" {
		return nil, false
	}
	id := image.Identify(f.Name, f.Properties)
	m = &mfile{
		id: f.ID, tag: id.Short(), version: cmp.Or(id.Version, f.MD5), ext: id.Ext, sum: f.MD5, size: f.Size,
		modified: f.Modified.Truncate(time.Millisecond), created: f.Created.Truncate(time.Millisecond), labels: map[string]string{},
	}
	if v, ok := f.Properties[theLabel]; ok {
		m.labels[theLabel] = v
	}
	for _, p := range f.Permissions {
		m.shared = m.shared || p.Email == sharee
	}
	return m, true
}

// onDrive is what Drive holds.
func (w *world) onDrive() (r registry) {
	for _, f := range w.ann.Files() {
		if m, ok := fileOf(f); ok && !f.Trashed && slices.Contains(f.Parents, w.root) {
			r = append(r, m)
		}
	}
	return r
}

// offered is what Drive shows the sharee: what is shared with them, wherever its owner keeps it.
func (w *world) offered() (r registry) {
	for _, f := range w.ann.Files() {
		if m, ok := fileOf(f); ok && !f.Trashed && m.shared {
			r = append(r, m)
		}
	}
	return r
}

// differs compares Drive with the model: the same files under the same names, and the same one newest. It returns "" or
// what is wrong.
func (r registry) differs(got registry) string {
	left := slices.Clone(got)
	var missing []string
	take := func(same func(*mfile) bool) bool {
		i := slices.IndexFunc(left, same)
		if i >= 0 {
			left = slices.Delete(left, i, i+1)
		}
		return i >= 0
	}
	for _, known := range []bool{true, false} { // new files are matched by what is left
		for _, f := range r {
			if (f.id != "") == known && !take(func(g *mfile) bool {
				return (f.id == "" || f.id == g.id) && f.tag == g.tag && f.version == g.version && f.sum == g.sum && f.ext == g.ext &&
					f.shared == g.shared && maps.Equal(f.labels, g.labels)
			}) {
				missing = append(missing, f.String())
			}
		}
	}
	if len(missing)+len(left) > 0 {
		return fmt.Sprintf("Drive lacks %v\nand has %v instead", missing, left)
	}
	for _, tag := range r.tags() {
		if a, b := r.newest(tag), got.newest(tag); a.sum != b.sum || a.version != b.version {
			return fmt.Sprintf("the newest %s is %v, and should be %v", tag, b, a)
		}
	}
	return ""
}

func (f *mfile) String() string {
	return fmt.Sprintf("{%s %s@%s%s sum %.6s %d bytes shared %v %v %s}", f.id, f.tag, f.version, f.ext, f.sum, f.size, f.shared, f.labels, f.modified.Format("15:04:05.000"))
}
