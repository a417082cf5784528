package fs_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/fs/fstest"
	"sregfs/index"
)

// ready is called before something is done on s: s shows what the model has, so that it is clear what the operation
// means. more says that it may come on top of pushes of s that are under way.
func (w *world) ready(s *side, more bool) {
	if w.pending != nil && (w.pending != s || !more) {
		w.drain()
	}
	if w.pending == nil {
		w.settle(s)
	}
}

// settle waits until s shows the model.
func (w *world) settle(s *side) {
	if !w.lagging {
		s.Sh("echo now > .sregfs/refresh")
	}
	w.eventually("mount "+s.name, func() string {
		if text := w.differs(s); text != "" {
			return text
		}
		return w.records(s)
	})
}

// records compares what s knows of each file with the model: what a tree does not show, like duplicates and labels.
func (w *world) records(s *side) string {
	text, _ := s.Try("cat .sregfs/images")
	known := map[string]index.Image{}
	for line := range strings.Lines(text) {
		var img index.Image
		if err := json.Unmarshal([]byte(line), &img); err != nil {
			return err.Error() + ": " + line
		}
		known[img.File] = img
	}
	for _, f := range w.reg {
		img, ok := known[f.id]
		if !ok || img.MD5 != f.sum || img.Labels[theLabel] != f.labels[theLabel] || !img.Modified.Equal(f.modified) {
			return fmt.Sprintf("%v is known as %+v", f, img)
		}
	}
	if len(known) != len(w.reg) {
		return fmt.Sprintf("%d images are known, there are %d", len(known), len(w.reg))
	}
	return ""
}

// eventually waits until check has nothing to say.
func (w *world) eventually(what string, check func() string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(15 * time.Second); ; <-tick.C {
		text := check()
		if text == "" {
			return
		}
		if time.Now().After(deadline) {
			require.Fail(w.t, what+" does not come to show the model", "%s", text)
		}
	}
}

// acknowledged is called when s has carried out what change says: it shows there at once and is on Drive.
func (w *world) acknowledged(s *side, change func(registry) registry) {
	w.reg = change(w.reg.clone())
	if w.background {
		w.pending = s
		return
	}
	w.verify()
	require.Empty(w.t, w.differs(s), "mount %s, at once", s.name)
}

// verify holds Drive against the model, which learns ids and times from it.
func (w *world) verify() {
	got := w.onDrive()
	require.Empty(w.t, w.reg.differs(got))
	w.reg = got
}

// drain waits until every push has ended, and holds Drive against the model.
func (w *world) drain() {
	s := w.pending
	if s == nil {
		return
	}
	w.pending = nil
	w.eventually("the journal of mount "+s.name, func() string {
		if out, _ := s.Try("cat .sregfs/transfers"); out != "" {
			return out
		}
		return ""
	})
	w.verify()
	require.Empty(w.t, w.differs(s), "mount %s, when its pushes have ended", s.name)
}

// happened is called when something was done behind the mounts' backs: the model takes over what Drive has now.
func (w *world) happened() { w.reg = w.onDrive() }

// tree is what s is to show.
func (w *world) tree(s *side) paths {
	want := w.reg.tree("")
	for dir := range s.made {
		want[dir] = directory
		want.addParents(dir)
	}
	for p, sum := range s.drafts {
		want[p] = fmt.Sprint(w.size(sum))
		want.addParents(p)
	}
	return want
}

// differs compares the tree s shows with the model. It returns "" or what is wrong.
func (w *world) differs(s *side) string {
	want, got := w.tree(s), shown(s.M)
	for dir := range s.left {
		if _, ok := want[dir]; !ok && got[dir] == directory {
			delete(got, dir)
		}
	}
	return want.differs(got)
}

// shown is the tree of a mount.
func shown(m *fstest.M) paths {
	out, inodes := paths{}, map[string]string{}
	text, _ := m.Try(`find . -mindepth 1 -printf '%y\t%s\t%i\t%P\n' 2>&1`) // what goes while find looks is told of
	for line := range strings.Lines(text) {
		field := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 4)
		switch {
		case len(field) < 4:
			out[line] = "" // some message: no tree has it
		case field[0] == "d":
			out[field[3]] = directory
		default:
			out[field[3]] = field[1]
			inodes[field[3]] = field[2]
		}
	}
	for p, size := range out { // a tag's file is one of its versions
		if size == directory || !strings.Contains(path.Base(p), ":") {
			continue
		}
		for v, inode := range inodes {
			if v != p && inode == inodes[p] {
				out[p] = size + " " + path.Base(v)
			}
		}
	}
	return out
}

// differs says what got lacks or has too many; "" is nothing.
func (t paths) differs(got paths) string {
	var out []string
	for _, p := range slices.Sorted(maps.Keys(t)) {
		if is, ok := got[p]; !ok {
			out = append(out, "lacks "+p)
		} else if is != t[p] {
			out = append(out, fmt.Sprintf("%s is %s, want %s", p, is, t[p]))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(got)) {
		if _, ok := t[p]; !ok {
			out = append(out, "has "+p)
		}
	}
	return strings.Join(out, "\n")
}

// reads says that a file of a mount reads as sum.
func (w *world) reads(m *fstest.M, sums map[string]string) {
	if len(sums) == 0 {
		return
	}
	paths := slices.Sorted(maps.Keys(sums))
	var want []string
	command := "md5sum --"
	for _, p := range paths {
		command += " '" + p + "'"
		want = append(want, sums[p]+"  "+p)
	}
	require.Equal(w.t, strings.Join(want, "\n"), m.Sh(command))
}

// readEverything reads all that a mount of the owner shows.
func (w *world) readEverything(s *side) {
	sums := w.reg.sums("")
	maps.Copy(sums, s.drafts)
	w.reads(s.M, sums)
	for _, tag := range w.reg.tags() {
		f := w.reg.newest(tag)
		want, set := f.labels[theLabel]
		w.eventually("label of "+tag, func() string {
			got, code := s.Try("getfattr --only-values -n user.sregfs.label." + theLabel + " '" + tag + f.ext + "' 2>/dev/null")
			if got != want || set != (code == 0) {
				return fmt.Sprintf("it is %q, want %q", got, want)
			}
			return ""
		})
	}
}

// sums are the MD5s by path of what a mount of r shows.
func (r registry) sums(prefix string) map[string]string {
	out := map[string]string{}
	for _, tag := range r.tags() {
		for i, f := range r.versions(tag) {
			if i == 0 {
				out[path.Join(prefix, tag)+f.ext] = f.sum
			}
			out[path.Join(prefix, tag, f.version)+f.ext] = f.sum
		}
	}
	return out
}

// shareeLooks waits until the mount of the sharee shows what is shared, and reads it.
func (w *world) shareeLooks() {
	prefix := "shared-with-me/" + owner
	w.eventually("the sharee's mount", func() string {
		return w.offered().tree(prefix).differs(shown(w.bob))
	})
	w.reads(w.bob, w.offered().sums(prefix))
}
