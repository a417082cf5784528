//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/index/image"
)

// starts are what profiles are compared on. static is the least share of the blocks of 256 KiB a start reads that the
// profile made at push has to name; 0 where nothing in the image says what will be imported.
var starts = []struct {
	name   string
	small  bool // of the small image
	uid    int
	args   string
	static float64
}{
	{"run hello", true, 0, "run %s world", 0.9},
	{"exec true", false, 0, "exec_ %s true", 0.75},
	{"exec true, ordinary user", false, userID, "exec_ %s true", 0.8},
	{"exec bash", false, 0, "exec_ %s bash -c 'echo hi'", 0.75},
	{"run pass", false, 0, "run %s -c pass", 0.8},
	{"run pass, ordinary user", false, userID, "run %s -c pass", 0.85},
	{"run numpy", false, 0, "run %s -c '" + arithmetic + "'", 0.8},
	{"run scipy", false, 0, "run %s -c 'import numpy, scipy.linalg'", 0},
	{"run pyplot", false, userID, "run %s -c 'import matplotlib.pyplot'", 0},
}

// A started is what one of the starts read, and the image it read.
type started struct {
	reads []image.Span
	image string
	size  int64
}

// What real starts read, to the byte, against what profiles of all sources name: made of the image alone; recorded, and
// sent through properties; and the recordings of all starts of the image merged.
func TestProfilesNameWhatStartsRead(t *testing.T) {
	w := newWorld(t)
	static := map[string]image.Profile{} // by image
	recorded := map[string][]image.Profile{}
	var done []started
	for _, s := range starts {
		local := science(t)
		if s.small {
			local = w.hello(t)
		}
		r := w.record(t, local) // mounted anew: nothing of it is in the page cache
		w.inside(t, s.uid, strings.Replace(s.args, "%s", r.path, 1))
		d := started{r.since(), local, r.size}
		require.NotEmpty(t, d.reads, "%s reads its image", s.name)
		done = append(done, d)
		if static[local] == nil {
			begin := time.Now()
			p, err := image.Startup(r.file, r.size)
			require.NoError(t, err)
			t.Logf("%s: made a profile of %d characters in %s", filepath.Base(local), characters(p, r.size), time.Since(begin))
			static[local] = p
		}
		recorded[local] = append(recorded[local], d.profile())
		require.GreaterOrEqual(t, recall(static[local], d.reads, 256<<10), s.static, "%s: the static profile", s.name)
	}
	var table strings.Builder
	row := func(columns ...any) { fmt.Fprintf(&table, "%-25s %-8s %5v %9v %9v %9v %8v %9v %6v\n", columns...) }
	row("start", "profile", "KiB", "read MB", "named MB", "excess MB", "recall", "requests", "chars")
	for i, s := range starts {
		d := done[i]
		for _, p := range []struct {
			name  string
			p     image.Profile
			whole bool
		}{
			{"static", static[d.image], false},
			{"recorded", d.profile(), true},
			{"merged", image.MergeProfiles(d.size, recorded[d.image]...), true},
		} {
			got := parsed(t, p.p, d.size)
			require.True(t, !p.whole || recall(got, d.reads, image.ProfileBlock) == 1, "%s: a %s profile has everything", s.name, p.name)
			for _, size := range []int64{1 << 20, 256 << 10, 64 << 10} {
				named := volume(got, size)
				row(s.name, p.name, size>>10, mega(volume(d.reads, size)), mega(named), mega(named-common(got, d.reads, size)*size),
					fmt.Sprintf("%.1f %%", 100*recall(got, d.reads, size)), len(got.Join(size)), characters(p.p, d.size))
			}
		}
	}
	t.Logf("what profiles name of what starts read, in blocks of three sizes; requests when gaps of a block are joined:\n%s", &table)
}

// profile is the recording of the start.
func (d started) profile() image.Profile {
	r := image.NewRecording(d.size)
	for _, span := range d.reads {
		r.Read(span.Off, span.Len)
	}
	return r.Profile()
}

// parsed is p as another machine gets it.
func parsed(t *testing.T, p image.Profile, size int64) image.Profile {
	t.Helper()
	got, err := image.ParseProfiles(image.Profiles{Recorded: p}.Properties(size), size)
	require.NoError(t, err)
	return got.Recorded
}

// characters is how long p is in properties.
func characters(p image.Profile, size int64) (n int) {
	for _, v := range (image.Profiles{Recorded: p}).Properties(size) {
		n += len(v)
	}
	return n
}

// blocksOf is the set of blocks of a size that spans lie in.
func blocksOf(spans []image.Span, size int64) map[int64]bool {
	blocks := map[int64]bool{}
	for _, s := range spans {
		for b := s.Off / size; b*size < s.Off+s.Len; b++ {
			blocks[b] = true
		}
	}
	return blocks
}

// volume is how many bytes the blocks of a size have that spans lie in.
func volume(spans []image.Span, size int64) int64 { return int64(len(blocksOf(spans, size))) * size }

func mega(n int64) string { return fmt.Sprintf("%.1f", float64(n)/1e6) }

// common is how many blocks of a size both have.
func common(p image.Profile, reads []image.Span, size int64) (n int64) {
	read := blocksOf(reads, size)
	for b := range blocksOf(p, size) {
		if read[b] {
			n++
		}
	}
	return n
}

// recall is the share of the blocks read that p names.
func recall(p image.Profile, reads []image.Span, size int64) float64 {
	return float64(common(p, reads, size)) / float64(len(blocksOf(reads, size)))
}
