package fs_test

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// unchanged is an operation that changes nothing on Drive.
func unchanged(r registry) registry { return r }

// mkdir makes the directory of a collection, or of a tag. It succeeds if there is none.
func (w *world) mkdir(s *side) {
	w.ready(s, false)
	dir := pick(w, "directory", modelCollections)
	if pick(w, "tag", []bool{false, true}) {
		w.mkdirs(s, dir)
		dir += "/" + pick(w, "name", modelNames)
	}
	if s.left[dir] && !strings.Contains(dir, ":") {
		skip()
	}
	tree := w.tree(s)
	_, there := tree[dir]
	_, parent := tree[path.Dir(dir)]
	w.log("%s: mkdir %s", s.name, dir)
	out, code := s.Try("mkdir '" + dir + "'")
	if parent = parent || path.Dir(dir) == "."; !parent && s.left[path.Dir(dir)] {
		parent = code == 0 // either
	}
	require.Equal(w.t, parent && !there, code == 0, "mkdir %s: %s", dir, out)
	if code == 0 {
		s.made[dir] = true
	}
	w.acknowledged(s, unchanged)
}

// rmdir removes a directory that was made, if nothing is in it.
func (w *world) rmdir(s *side) {
	w.ready(s, false)
	var dirs []string
	for _, c := range modelCollections {
		for _, dir := range append([]string{c}, c+"/"+modelNames[0], c+"/"+modelNames[1]) {
			if s.made[dir] {
				dirs = append(dirs, dir)
			}
		}
	}
	dir := pick(w, "directory", dirs)
	empty := true
	for p := range w.tree(s) {
		empty = empty && (p == dir || !under(p, dir))
	}
	for p := range s.left {
		if p != dir && under(p, dir) {
			skip()
		}
	}
	w.log("%s: rmdir %s", s.name, dir)
	out, code := s.Try("rmdir '" + dir + "'")
	require.Equal(w.t, empty, code == 0, "rmdir %s: %s", dir, out)
	if code == 0 {
		delete(s.made, dir)
		delete(s.left, dir)
		delete(s.moved, dir)
		s.emptied(dir)
	}
	w.acknowledged(s, unchanged)
}

// draft writes a file that is no image, or appends to one.
func (w *world) draft(s *side) {
	w.ready(s, false)
	dir := pick(w, "directory", append([]string{"."}, modelCollections...))
	name, sum := path.Join(dir, pick(w, "name", modelDrafts)), w.content()
	if dir != "." {
		w.mkdirs(s, dir)
	}
	if old, ok := s.drafts[name]; ok && pick(w, "append", []bool{false, true}) {
		w.do(s, `cat "$SRC" >> "$DST"`, "SRC="+w.contents[sum], "DST="+name)
		sum = w.keep(append(w.bytes(old), w.bytes(sum)...))
	} else {
		w.do(s, `cat "$SRC" > "$DST"`, "SRC="+w.contents[sum], "DST="+name)
	}
	s.drafts[name] = sum
	w.reads(s.M, map[string]string{name: sum})
	w.acknowledged(s, unchanged)
}

func (w *world) aDraft(s *side) string {
	var names []string
	for _, dir := range append([]string{"."}, modelCollections...) {
		for _, name := range modelDrafts {
			if _, ok := s.drafts[path.Join(dir, name)]; ok {
				names = append(names, path.Join(dir, name))
			}
		}
	}
	return pick(w, "draft", names)
}

// moveDraft renames a draft: to another draft's name, or to an image's, which publishes it.
func (w *world) moveDraft(s *side) {
	w.ready(s, false)
	name := w.aDraft(s)
	sum := s.drafts[name]
	if pick(w, "publish", []bool{false, true}) {
		tag := w.anyTag("tag")
		w.mkdirs(s, collectionOf(tag))
		w.do(s, fmt.Sprintf("mv '%s' '%s.sif'", name, tag))
		delete(s.drafts, name)
		s.emptied(name)
		w.reads(s.M, map[string]string{tag + ".sif": sum})
		w.acknowledged(s, func(r registry) registry { return became(r, tag, ".sif", sum, w.size(sum)) })
		return
	}
	to := path.Join(pick(w, "to", modelCollections), pick(w, "to name", modelDrafts))
	if to == name {
		skip()
	}
	w.mkdirs(s, path.Dir(to))
	w.do(s, fmt.Sprintf("mv '%s' '%s'", name, to))
	delete(s.drafts, name)
	s.emptied(name)
	s.drafts[to] = sum
	w.acknowledged(s, unchanged)
}

func (w *world) removeDraft(s *side) {
	w.ready(s, false)
	name := w.aDraft(s)
	w.do(s, "rm '"+name+"'")
	delete(s.drafts, name)
	s.emptied(name)
	w.acknowledged(s, unchanged)
}

// single is the newest file of a name that no other file shows as one with.
func (w *world) single() *mfile {
	f := w.taken()
	if len(w.reg.twins(f)) > 1 {
		skip()
	}
	return f
}

// label sets or removes a label.
func (w *world) label(s *side) {
	w.ready(s, false)
	f := w.single()
	if _, set := f.labels[theLabel]; set && pick(w, "remove", []bool{false, true}) {
		w.do(s, "setfattr -x user.sregfs.label."+theLabel+" '"+f.tag+f.ext+"'")
		w.acknowledged(s, func(r registry) registry {
			r.newest(f.tag).labels = map[string]string{}
			return r
		})
		return
	}
	value := pick(w, "value", []string{"one", "two words", "dreißig"})
	w.do(s, "setfattr -n user.sregfs.label."+theLabel+" -v '"+value+"' '"+f.tag+f.ext+"'")
	w.acknowledged(s, func(r registry) registry {
		r.newest(f.tag).labels = map[string]string{theLabel: value}
		return r
	})
}

// share shares the newest of a name, unshare takes it back.
func (w *world) share(s *side) {
	w.ready(s, false)
	f := w.single()
	w.do(s, "setfattr -n user.sregfs.share -v "+sharee+" '"+f.tag+f.ext+"'")
	w.acknowledged(s, func(r registry) registry {
		r.newest(f.tag).shared = true
		return r
	})
}

func (w *world) unshare(s *side) {
	w.ready(s, false)
	var shared []string
	for _, tag := range w.reg.tags() {
		if w.reg.newest(tag).shared {
			shared = append(shared, tag)
		}
	}
	f := w.reg.newest(pick(w, "shared", shared))
	if len(w.reg.twins(f)) > 1 {
		skip()
	}
	w.do(s, "setfattr -n user.sregfs.unshare -v "+sharee+" '"+f.tag+f.ext+"'")
	w.acknowledged(s, func(r registry) registry {
		r.newest(f.tag).shared = false
		return r
	})
}

// ranges compares N random ranges of the files NAME and WANT, by read and by mmap.
const ranges = `
import mmap, os, random, sys
name, want, seed = sys.argv[1], open(sys.argv[2], 'rb').read(), int(sys.argv[3])
dice = random.Random(seed)
fd = os.open(name, os.O_RDONLY)
if dice.random() < 0.5:
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
view = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
assert len(view) == len(want), (len(view), len(want))
for _ in range(20):
    off, n = dice.randrange(len(want) + 10), dice.choice((1, 4096, 131072, 3000000))
    got = os.pread(fd, n, off) if dice.random() < 0.5 else view[off:off+n]
    assert got == want[off:off+len(got)] and (len(got) == n or off + len(got) >= len(want)), ('range', off, n, len(got))
`

// readRanges reads parts of a file.
func (w *world) readRanges(s *side) {
	w.ready(s, false)
	f := w.taken()
	name := f.tag + f.ext
	if pick(w, "version", []bool{false, true}) {
		f = pick(w, "which", w.reg.versions(f.tag))
		name = f.tag + "/" + f.version + f.ext
	}
	script := filepath.Join(w.tmp, "ranges.py")
	require.NoError(w.t, os.WriteFile(script, []byte(ranges), 0o644))
	seed := rapid.IntRange(0, 1000).Draw(w.rt, "ranges")
	w.do(s, `/usr/bin/python3 "$SCRIPT" "$NAME" "$WANT" "$SEED"`, "SCRIPT="+script, "NAME="+name, "WANT="+w.contents[f.sum], "SEED="+strconv.Itoa(seed))
}

// readAll reads everything.
func (w *world) readAll(s *side) {
	w.ready(s, false)
	w.readEverything(s)
}

// kill ends a mount as kill -9 does. What it had acknowledged is there with the next one.
func (w *world) kill(s *side) {
	w.log("%s: kill -9", s.name)
	s.Kill()
	w.again(s)
}

// remount unmounts and mounts again.
func (w *world) remount(s *side) {
	w.log("%s: unmount", s.name)
	s.Unmount()
	w.again(s)
}

// again mounts again, perhaps without what can be had from Drive.
func (w *world) again(s *side) {
	s.left = maps.Clone(s.moved)
	switch lose := pick(w, "lose", []string{"nothing", "nothing", "cache", "records"}); {
	case lose == "cache":
		require.NoError(w.t, os.RemoveAll(filepath.Join(s.State(), "blocks")))
	case lose == "records" && len(s.drafts) == 0 && w.pending != s: // drafts are not to be had from Drive
		require.NoError(w.t, os.RemoveAll(filepath.Join(s.State(), "index")))
		s.made, s.left, s.moved = map[string]bool{}, map[string]bool{}, map[string]bool{}
	}
	s.Remount()
}
