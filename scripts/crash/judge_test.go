//go:build crash

package crash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
)

// judge holds Drive, the mount and the disk against what was acknowledged, when nothing is under way any more. What was
// under way at the end of the last life counts from now on as what became of it.
func (w *world) judge() {
	t := w.t
	t.Helper()
	var all map[string]tags
	eventually(t, func() error { // what a removed push made goes after its draft
		all = w.onDrive()
		for _, n := range w.names() {
			if got := all[n.String()]; !n.allows(got) {
				return fmt.Errorf("%s: acknowledged and on Drive are not the same: %s; the last thing was %s, which may make of it %v", n, difference(n.has, got), n.what, n.may)
			}
		}
		return nil
	})
	drafts := w.draftSums()
	for _, n := range w.names() {
		got := all[n.String()]
		delete(all, n.String())
		if n.kept != "" && !got.holds(n.kept) {
			require.Contains(t, drafts, n.kept, "%s: %s had been written, and is neither in Drive nor a draft", n, n.what)
		}
		n.has = got.clone()
		n.removed = map[string]bool{} // in a life that is over
		n.settle()
	}
	require.Empty(t, all, "nobody pushed these")
	for _, n := range w.names() {
		eventually(t, func() error { return w.m.shows(n) })
	}
	for _, worker := range w.workers {
		require.NoError(t, worker.checkNote())
	}
	if len(w.guests) > 0 {
		require.NoError(t, w.guests[w.dice.IntN(len(w.guests))].readAll(w.m))
	}
	left := w.m.tidy()
	if w.dice.IntN(2) == 0 {
		w.m.clean(left)
	}
	w.m.fsck()
}

// onDrive are the images of the registry, by name. Every one must be whole, and there once.
func (w *world) onDrive() map[string]tags {
	t := w.t
	t.Helper()
	files, err := w.drive.files()
	require.NoError(t, err)
	slices.SortStableFunc(files, func(a, b file) int { return a.ModifiedTime.Compare(b.ModifiedTime) })
	all := map[string]tags{}
	for _, f := range files {
		p := f.Properties
		if p["type"] != "container" {
			continue
		}
		key, tag := p["collection"]+"/"+p["image"], p["tag"]
		require.True(t, w.k.knows(f.MD5Checksum, f.Size), "%s:%s in Drive is no image that was pushed: %d bytes, MD5 %s", key, tag, f.Size, f.MD5Checksum)
		require.Equal(t, f.MD5Checksum, p["version"], "%s:%s", key, tag)
		if p["collection"] == guests {
			continue
		}
		if all[key] == nil {
			all[key] = tags{}
		}
		require.NotContains(t, all[key][tag], f.MD5Checksum, "%s:%s is in Drive twice", key, tag)
		all[key][tag] = append(all[key][tag], f.MD5Checksum)
	}
	return all
}

// difference is what one of two has and the other has not, for people: the lists get long.
func difference(has, got tags) string {
	var out []string
	for _, tag := range []string{"a", "b"} {
		for _, sum := range has[tag] {
			if !slices.Contains(got[tag], sum) {
				out = append(out, fmt.Sprintf("%s lost %s", tag, sum))
			}
		}
		for _, sum := range got[tag] {
			if !slices.Contains(has[tag], sum) {
				out = append(out, fmt.Sprintf("%s has besides %s", tag, sum))
			}
		}
		if has.newest(tag) != got.newest(tag) {
			out = append(out, fmt.Sprintf("%s's newest should be %s and is %s", tag, has.newest(tag), got.newest(tag)))
		}
	}
	return strings.Join(out, ", ")
}

// draftSums are the MD5s of the drafts the mount keeps.
func (w *world) draftSums() (sums []string) {
	w.t.Helper()
	for _, name := range w.m.list(filepath.Join(w.m.state, "drafts")) {
		if b, err := os.ReadFile(filepath.Join(w.m.state, "drafts", name)); err == nil {
			sums = append(sums, sumOf(b))
		}
	}
	return sums
}

// shows says whether the mounted tree has n's tags and versions, and the right bytes under each tag.
func (m *mount) shows(n *name) error {
	got := tags{}
	entries, err := os.ReadDir(filepath.Join(m.dir, n.collection))
	if err != nil && (!os.IsNotExist(err) || len(n.has) > 0) {
		return err
	}
	for _, e := range entries {
		tag, ok := strings.CutPrefix(e.Name(), n.image+":")
		if !ok || !e.IsDir() {
			continue
		}
		versions, err := os.ReadDir(filepath.Join(m.dir, n.collection, e.Name()))
		if err != nil {
			return err
		}
		for _, v := range versions {
			if !e.IsDir() || strings.Contains(v.Name(), ".kept-") {
				continue
			}
			got[tag] = append(got[tag], strings.TrimSuffix(v.Name(), ".sif"))
		}
		b, err := os.ReadFile(m.path(n, tag))
		if err != nil {
			return err
		}
		if sum := sumOf(b); sum != n.has.newest(tag) {
			return fmt.Errorf("%s:%s reads as %s (%d bytes), Drive has %v", n, tag, sum, len(b), n.has)
		}
		if i := slices.Index(got[tag], n.has.newest(tag)); i >= 0 { // the newest last, as its bytes just showed
			got[tag] = append(slices.Delete(got[tag], i, i+1), n.has.newest(tag))
		}
	}
	if !got.same(n.has) {
		return fmt.Errorf("%s: the mount shows %v, Drive has %v", n, got, n.has)
	}
	return nil
}

// checkNote says whether the worker's note is what was acknowledged, or what was about to replace it.
func (w *worker) checkNote() error {
	b, err := os.ReadFile(w.notePath())
	if err != nil && (w.note.has != "" || !errors.Is(err, os.ErrNotExist)) {
		return fmt.Errorf("the note of %s: %w", w.collection, err)
	}
	if got := string(b); got != w.note.has && got != w.note.may {
		return fmt.Errorf("the note of %s is %d bytes, %.30q; acknowledged was %.30q, under way %.30q", w.collection, len(got), got, w.note.has, w.note.may)
	}
	w.note = note{has: string(b)}
	return nil
}
