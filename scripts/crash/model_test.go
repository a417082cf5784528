//go:build crash

package crash

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index/image/imagetest"
)

// makes images, no two alike, and knows each again by its MD5.
type maker struct {
	mu   sync.Mutex
	dice *rand.Rand       // guarded by mu
	made map[string]int64 // guarded by mu: size by MD5
	next uint64           // guarded by mu
}

func newMaker(seed uint64) *maker {
	return &maker{dice: rand.New(rand.NewPCG(seed, 1)), made: map[string]int64{}}
}

// content is an image of a size, 0 for one that the dice choose, and its MD5.
func (k *maker) content(size int64) (b []byte, sum string, err error) {
	k.mu.Lock()
	k.next++
	n := k.next
	if size == 0 {
		size = 64<<10 + k.dice.Int64N(2<<20)
		if k.dice.IntN(8) == 0 {
			size *= 4
		}
	}
	k.mu.Unlock()
	var buf bytes.Buffer
	if err := imagetest.WriteSIF(&buf, size, imagetest.Seed(n)); err != nil {
		return nil, "", err
	}
	sum = sumOf(buf.Bytes())
	k.mu.Lock()
	k.made[sum] = size
	k.mu.Unlock()
	return buf.Bytes(), sum, nil
}

func sumOf(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

// tags are the versions of each tag of one image, oldest first.
type tags map[string][]string

func (g tags) clone() tags {
	out := tags{}
	for tag, list := range g {
		if len(list) > 0 {
			out[tag] = slices.Clone(list)
		}
	}
	return out
}

// with is g after sum became the newest of tag.
func (g tags) with(tag, sum string) tags {
	g = g.clone()
	g[tag] = append(slices.DeleteFunc(g[tag], func(s string) bool { return s == sum }), sum)
	return g
}

// without is g after the newest of tag went.
func (g tags) without(tag string) tags {
	g = g.clone()
	if g[tag] = g[tag][:len(g[tag])-1]; len(g[tag]) == 0 {
		delete(g, tag)
	}
	return g
}

// moved is g after the first n of from's versions moved to the end of to.
func (g tags) moved(from, to string, n int) tags {
	g = g.clone()
	g[to] = append(g[to], g[from][:n]...)
	if g[from] = g[from][n:]; len(g[from]) == 0 {
		delete(g, from)
	}
	return g
}

func (g tags) newest(tag string) string {
	if list := g[tag]; len(list) > 0 {
		return list[len(list)-1]
	}
	return ""
}

// same compares the versions of each tag, and which is the newest; Drive's order of the others is of no account.
func (g tags) same(o tags) bool {
	return maps.EqualFunc(g.clone(), o.clone(), func(a, b []string) bool {
		if a[len(a)-1] != b[len(b)-1] {
			return false
		}
		a, b = slices.Clone(a), slices.Clone(b)
		slices.Sort(a)
		slices.Sort(b)
		return slices.Equal(a, b)
	})
}

// name is one image name, whose history one worker makes.
type name struct {
	collection, image string

	has tags // acknowledged

	// What was under way when the mount died: any of these may be, or what has says.
	may []tags
	// The content that was written to the end and may be in Drive or else is a draft; "" if none.
	kept string
	what string // for people
}

func (n *name) String() string { return n.collection + "/" + n.image }

// attempt notes what is about to be tried; done, that it succeeded.
func (n *name) attempt(what string, outcomes ...tags) { n.what, n.may, n.kept = what, outcomes, "" }

func (n *name) done() { n.has = n.may[len(n.may)-1]; n.settle() }

// settle forgets what was under way.
func (n *name) settle() { n.may, n.kept = nil, "" }

// onDrive reads the images of user's registry, by name. Every one must be whole, and there once.
func onDrive(t *testing.T, user *drivetest.User, k *maker) map[string]tags {
	t.Helper()
	all := map[string]tags{}
	files := user.Files()
	slices.SortStableFunc(files, func(a, b drivetest.File) int { return a.Modified.Compare(b.Modified) })
	for _, f := range files {
		p := f.Properties
		if f.Trashed || p["type"] != "container" {
			continue
		}
		key, tag := p["collection"]+"/"+p["image"], p["tag"]
		k.mu.Lock()
		size, known := k.made[f.MD5]
		k.mu.Unlock()
		require.True(t, known && size == f.Size, "%s:%s in Drive is no image that was pushed: %d bytes, MD5 %s", key, tag, f.Size, f.MD5)
		require.Equal(t, f.MD5, p["version"], "%s:%s", key, tag)
		if all[key] == nil {
			all[key] = tags{}
		}
		require.NotContains(t, all[key][tag], f.MD5, "%s:%s is in Drive twice", key, tag)
		all[key][tag] = append(all[key][tag], f.MD5)
	}
	return all
}

// judge holds Drive and the mount against what was acknowledged, when nothing is under way any more. What was under way
// at the kill counts from now on as what became of it.
func judge(t *testing.T, user *drivetest.User, k *maker, m *mount, names []*name) {
	t.Helper()
	var all map[string]tags
	eventually(t, func() error { // what a removed push made goes after its draft
		all = onDrive(t, user, k)
		for _, n := range names {
			if !n.allows(all[n.String()]) {
				return fmt.Errorf("%s: Drive has %v, acknowledged was %v, under way was %s: %v", n, all[n.String()], n.has, n.what, n.may)
			}
		}
		return nil
	})
	drafts := draftSums(t, m)
	for _, n := range names {
		got := all[n.String()]
		delete(all, n.String())
		if n.kept != "" && !got.holds(n.kept) {
			require.Contains(t, drafts, n.kept, "%s: %s had been written, and is neither in Drive nor a draft", n, n.what)
		}
		n.has = got.clone()
		n.settle()
	}
	require.Empty(t, all, "nobody pushed these")
	for _, n := range names {
		eventually(t, func() error { return m.shows(n) })
	}
}

func (g tags) holds(sum string) bool {
	for _, list := range g {
		if slices.Contains(list, sum) {
			return true
		}
	}
	return false
}

func (n *name) allows(got tags) bool {
	return n.has.same(got) || slices.ContainsFunc(n.may, got.same)
}

// draftSums are the MD5s of the drafts the mount keeps.
func draftSums(t *testing.T, m *mount) (sums []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(m.state, "drafts/*"))
	require.NoError(t, err)
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil {
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

// path is the file of a tag.
func (m *mount) path(n *name, tag string) string {
	return filepath.Join(m.dir, n.collection, n.image+":"+tag+".sif")
}
