package fs_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sregfs/index/image"
	"sregfs/index/image/imagetest"
)

// Few names, so that operations meet.
var (
	modelCollections = []string{"c", "d", "e", "c/n"}
	modelNames       = []string{"x:1", "x:2", "y:latest"}
	modelDrafts      = []string{"notes.txt", "x.part", ".hidden"}
)

func pick[T any](w *world, what string, from []T) T {
	if len(from) == 0 {
		skip()
	}
	return rapid.SampledFrom(from).Draw(w.rt, what)
}

// anyTag is a name that may be taken or free.
func (w *world) anyTag(what string) string {
	return pick(w, what+" collection", modelCollections) + "/" + pick(w, what, modelNames)
}

// taken is the newest file of a name that has one.
func (w *world) taken() *mfile { return w.reg.newest(pick(w, "tag", w.reg.tags())) }

// content is one of few images, no two of one size, by its MD5; a local file holds it.
func (w *world) content() string {
	n := rapid.IntRange(0, 9).Draw(w.rt, "content")
	switch n {
	case 0:
		return w.keep([]byte{7})
	case 1, 2:
		return w.keep(imagetest.Bytes(uint64(n), int64(70_000+n)))
	case 3:
		return w.keep(imagetest.Bytes(3, 2<<20+17))
	case 4:
		return w.keep(imagetest.Simg(w.t, 30_000))
	case 5:
		return w.keep(imagetest.SIF(w.t, 1_300_000, imagetest.Seed(5)))
	}
	return w.keep(imagetest.SIF(w.t, 50_000+int64(n), imagetest.Seed(n)))
}

// keep writes content to a local file and returns its MD5.
func (w *world) keep(content []byte) string {
	sum := md5sum(content)
	if _, ok := w.contents[sum]; !ok {
		w.contents[sum] = filepath.Join(w.tmp, sum)
		require.NoError(w.t, os.WriteFile(w.contents[sum], content, 0o644))
	}
	return sum
}

func (w *world) bytes(sum string) []byte {
	b, err := os.ReadFile(w.contents[sum])
	require.NoError(w.t, err)
	return b
}

func (w *world) size(sum string) int64 {
	info, err := os.Stat(w.contents[sum])
	require.NoError(w.t, err)
	return info.Size()
}

// do runs a command on a mount that must succeed.
func (w *world) do(s *side, command string, env ...string) string {
	w.log("%s: %s %v", s.name, command, env)
	return s.Sh(command, env...)
}

// mkdirs makes the directories to a collection that are missing.
func (w *world) mkdirs(s *side, collection string) {
	for p := range parents(collection + "/.") {
		if strings.Contains(w.do(s, "mkdir '"+p+"' 2>/dev/null && echo made || test -d '"+p+"'"), "made") {
			s.made[p] = true
		}
	}
}

// parents are the directories above p, the nearest last.
func parents(p string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i, c := range p {
			if c == '/' && !yield(p[:i]) {
				return
			}
		}
	}
}

// emptied notes that s takes something out of p, whose directories it may keep for a while.
func (s *side) emptied(p string) {
	for dir := range parents(p) {
		s.left[dir] = true
	}
}

// became is the registry after content was given the name tag.
func became(r registry, tag, ext, sum string, size int64) registry {
	for _, f := range r.versions(tag) {
		if f.sum == sum { // nothing is sent: it is the newest again
			f.modified = time.Now()
			return r
		}
	}
	return append(r, &mfile{tag: tag, version: sum, ext: ext, sum: sum, size: size, modified: time.Now(), labels: map[string]string{}})
}

// pushes are the ways an image gets under a name: SRC is a local file, DST the name, PART a free name beside it.
// Those that replace remove first what has the name: its newest version goes to the bin.
var pushes = []string{
	`cp "$SRC" "$DST"`,
	`cp "$SRC" "$PART" && mv "$PART" "$DST"`,
	`cat "$SRC" > "$DST"`,
	`dd if="$SRC" of="$DST" bs=64k status=none`,
	`dd if="$SRC" of="$DST" bs=1M conv=fsync status=none`,
	`/usr/bin/python3 "$RANDOM_ORDER" "$SRC" "$DST"`,
	`n=$(($(stat -c %s "$SRC") / 2)); tail -c +$((n+1)) "$SRC" | dd of="$PART" bs=1 seek=$n oflag=seek_bytes bs=64k status=none; head -c $n "$SRC" | dd of="$PART" bs=64k conv=notrunc status=none; mv "$PART" "$DST"`,
	`n=$(($(stat -c %s "$SRC") / 2)); head -c $n "$SRC" > "$PART"; tail -c +$((n+1)) "$SRC" >> "$PART"; mv "$PART" "$DST"`,
	`rsync "$SRC" "$DST"`,
	`rsync -a --inplace "$SRC" "$DST"`,
	installing,
	movingAcross,
}

const (
	installing   = `install -m 755 "$SRC" "$DST"`
	movingAcross = `cp "$SRC" "$SRC.moved"; mv "$SRC.moved" "$DST"`
)

// push gives a content a name, new or taken.
func (w *world) push(s *side) {
	tag, sum := w.anyTag("tag"), w.content()
	ext := pick(w, "extension", []string{".sif", ".sif", ".simg"})
	how := pick(w, "program", pushes)
	replaces := how == installing || how == movingAcross
	w.ready(s, !replaces)
	name := tag + ext
	if pick(w, "at the top", []bool{false, false, false, true}) {
		name = path.Base(name)
		tag = "library/" + path.Base(tag)
		if _, code := s.Try("test -d library"); code != 0 {
			s.made["library"] = true
		}
	} else {
		w.mkdirs(s, collectionOf(tag))
	}
	script := filepath.Join(w.tmp, "order.py")
	require.NoError(w.t, os.WriteFile(script, []byte(randomOrder), 0o644))
	w.do(s, how, "SRC="+w.contents[sum], "DST=./"+name, "PART="+path.Join(path.Dir(name), ".part"), "RANDOM_ORDER="+script)
	w.reads(s.M, map[string]string{name: sum})
	w.acknowledged(s, func(r registry) registry {
		if f := r.newest(tag); f != nil && replaces {
			r = removed(r, f)
		}
		return became(r, tag, ext, sum, w.size(sum))
	})
}

// pushVersion copies an image into the directory of a name.
func (w *world) pushVersion(s *side) {
	w.ready(s, false)
	f, sum := w.taken(), w.content()
	w.do(s, `cp "$SRC" "$DST"`, "SRC="+w.contents[sum], "DST="+f.tag+"/any.sif")
	w.acknowledged(s, func(r registry) registry { return became(r, f.tag, ".sif", sum, w.size(sum)) })
}

// edit changes a published image in place.
func (w *world) edit(s *side) {
	w.ready(s, false)
	f := w.taken()
	content := slices.Clone(w.bytes(f.sum))
	name := f.tag + f.ext
	var command string
	switch pick(w, "edit", []string{"append", "patch", "truncate"}) {
	case "append":
		command = "printf more >> '" + name + "'"
		content = append(content, "more"...)
	case "patch":
		at := rapid.IntRange(0, len(content)).Draw(w.rt, "offset")
		command = fmt.Sprintf("printf XY | dd of='%s' bs=1 seek=%d conv=notrunc status=none", name, at)
		content = append(content[:at:at], append([]byte("XY"), content[min(len(content), at+2):]...)...)
	case "truncate":
		n := rapid.IntRange(1, len(content)).Draw(w.rt, "size")
		command = fmt.Sprintf("truncate -s %d '%s'", n, name)
		content = content[:n]
	}
	if image.Whole(bytes.NewReader(content), int64(len(content))) != nil {
		skip()
	}
	sum := w.keep(content)
	w.do(s, command)
	w.reads(s.M, map[string]string{name: sum})
	w.acknowledged(s, func(r registry) registry { return became(r, f.tag, f.ext, sum, int64(len(content))) })
}

// moved is the registry after all files of a name got another one, the oldest first.
func moved(r registry, from, to string) registry {
	all := r.tagged(from)
	now := time.Now()
	for i, f := range slices.Backward(all) {
		f.tag, f.modified = to, now.Add(time.Duration(len(all)-i)*time.Microsecond)
	}
	return r
}

// moveTag renames the file of a tag, which is all of it, to a name that may be taken.
func (w *world) moveTag(s *side) {
	w.ready(s, false)
	f, to := w.taken(), w.anyTag("to")
	if to == f.tag {
		skip()
	}
	w.mkdirs(s, collectionOf(to))
	w.do(s, fmt.Sprintf("mv '%s' '%s'", f.tag+f.ext, to+f.ext))
	s.emptied(f.tag)
	w.acknowledged(s, func(r registry) registry { return moved(r, f.tag, to) })
}

// moveTagDir renames the directory of a tag to a name that is free.
func (w *world) moveTagDir(s *side) {
	w.ready(s, false)
	from, to := w.taken().tag, w.anyTag("to")
	if w.reg.newest(to) != nil {
		skip()
	}
	w.mkdirs(s, collectionOf(to))
	w.do(s, fmt.Sprintf("mv -T '%s' '%s'", from, to))
	s.emptied(from)
	delete(s.made, from)
	delete(s.made, to)
	w.acknowledged(s, func(r registry) registry { return moved(r, from, to) })
}

func under(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// moveCollection renames a collection with all that is in it.
func (w *world) moveCollection(s *side) {
	w.ready(s, false)
	tree := w.tree(s)
	var there, free []string
	for _, c := range modelCollections {
		if tree[c] == directory {
			there = append(there, c)
		} else {
			free = append(free, c)
		}
	}
	from, to := pick(w, "from", there), pick(w, "to", free)
	if under(to, from) {
		skip()
	}
	w.mkdirs(s, path.Dir(to))
	w.do(s, fmt.Sprintf("mv -T '%s' '%s'", from, to))
	s.emptied(from)
	for p := range maps.Clone(s.left) {
		if under(p, from) {
			s.left[to+p[len(from):]], s.moved[to+p[len(from):]] = true, true
		}
	}
	old := s.made
	s.made = map[string]bool{}
	for p := range old {
		if !under(p, from) {
			s.made[p] = true
		} else if w.reg.newest(p) == nil {
			s.made[to+p[len(from):]] = true
		}
	}
	for p, size := range tree {
		if size == directory && under(p, from) && !strings.Contains(p, ":") {
			s.made[to+p[len(from):]] = true
		}
	}
	for p, sum := range maps.Clone(s.drafts) {
		if under(p, from) {
			delete(s.drafts, p)
			s.drafts[to+p[len(from):]] = sum
		}
	}
	w.acknowledged(s, func(r registry) registry {
		for _, tag := range r.tags() {
			if under(tag, from) {
				r = moved(r, tag, to+tag[len(from):])
			}
		}
		return r
	})
}

// removed is the registry without f, and without other files of the same content under the same name and version: they
// show as one.
func removed(r registry, f *mfile) registry {
	return slices.DeleteFunc(r, func(o *mfile) bool { return o.tag == f.tag && o.version == f.version && o.sum == f.sum })
}

// removeNewest removes the file of a tag.
func (w *world) removeNewest(s *side) {
	w.ready(s, false)
	f := w.taken()
	w.do(s, "rm '"+f.tag+f.ext+"'")
	s.emptied(f.tag)
	w.acknowledged(s, func(r registry) registry { return removed(r, f) })
}

// removeVersion removes a version.
func (w *world) removeVersion(s *side) {
	w.ready(s, false)
	f := pick(w, "version", w.reg.versions(w.taken().tag))
	w.do(s, "rm '"+f.tag+"/"+f.version+f.ext+"'")
	s.emptied(f.tag)
	w.acknowledged(s, func(r registry) registry { return removed(r, f) })
}

// removeTree removes a tag's directory or a collection with all that is in it.
func (w *world) removeTree(s *side) {
	w.ready(s, false)
	var dirs []string
	for p, size := range w.tree(s) {
		if size == directory {
			dirs = append(dirs, p)
		}
	}
	slices.Sort(dirs)
	dir := pick(w, "directory", dirs)
	for _, tag := range w.reg.tags() { // other content under the name of a version stays, and shows when that is gone
		if under(tag, dir) && slices.ContainsFunc(w.reg.tagged(tag), func(f *mfile) bool {
			return slices.ContainsFunc(w.reg.tagged(tag), func(o *mfile) bool { return o.version == f.version && o.sum != f.sum })
		}) {
			skip()
		}
	}
	w.do(s, "rm -r '"+dir+"'")
	s.emptied(dir)
	maps.DeleteFunc(s.made, func(p string, _ bool) bool { return under(p, dir) })
	for _, perhaps := range []map[string]bool{s.left, s.moved} {
		maps.DeleteFunc(perhaps, func(p string, _ bool) bool { return under(p, dir) })
	}
	maps.DeleteFunc(s.drafts, func(p, _ string) bool { return under(p, dir) })
	w.acknowledged(s, func(r registry) registry {
		return slices.DeleteFunc(r, func(f *mfile) bool { return under(f.tag, dir) })
	})
}
