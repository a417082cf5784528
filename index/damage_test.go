package index_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// damages are what disks and people do to a block file.
var damages = map[string]func(t *testing.T, path string){
	"one bit flips": func(t *testing.T, path string) { t.Helper(); flip(t, path, 2*block+777) },
	"a bit in each block flips": func(t *testing.T, path string) {
		t.Helper()
		for b := range int64(7) {
			flip(t, path, b*block+b)
		}
	},
	"a bit flips and the times are set back": func(t *testing.T, path string) {
		t.Helper()
		before, err := os.Stat(path)
		require.NoError(t, err)
		flip(t, path, 2*block+777)
		require.NoError(t, os.Chtimes(path, before.ModTime(), before.ModTime()))
	},
	"a block becomes a hole": func(t *testing.T, path string) {
		t.Helper()
		punch(t, path, 2*block, 2*block)
	},
	"the file is cut in half":      func(t *testing.T, path string) { t.Helper(); require.NoError(t, os.Truncate(path, 5*block+10)) },
	"the file loses its last byte": func(t *testing.T, path string) { t.Helper(); cut(t, path, -1) },
	"the file is emptied":          func(t *testing.T, path string) { t.Helper(); require.NoError(t, os.Truncate(path, 0)) },
	"the file grows":               func(t *testing.T, path string) { t.Helper(); cut(t, path, 4096) },
	"the file is cut and filled with zeros": func(t *testing.T, path string) {
		t.Helper()
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.NoError(t, os.Truncate(path, 2*block))
		require.NoError(t, os.Truncate(path, info.Size()))
	},
	"the file vanishes":      func(t *testing.T, path string) { t.Helper(); require.NoError(t, os.Remove(path)) },
	"the directory vanishes": func(t *testing.T, path string) { t.Helper(); require.NoError(t, os.RemoveAll(filepath.Dir(path))) },
	"another file takes its place": func(t *testing.T, path string) {
		t.Helper()
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.WriteFile(path, imagetest.Bytes(99, info.Size()), 0o600))
	},
	"two blocks change places": func(t *testing.T, path string) {
		t.Helper()
		change(t, path, func(f *os.File) error {
			a, b := make([]byte, block), make([]byte, block)
			_, err := f.ReadAt(a, 2*block)
			require.NoError(t, err)
			_, err = f.ReadAt(b, 3*block)
			require.NoError(t, err)
			_, err = f.WriteAt(append(b, a...), 2*block)
			return err
		})
	},
}

func change(t *testing.T, path string, do func(f *os.File) error) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, do(f))
	require.NoError(t, f.Close())
}

func flip(t *testing.T, path string, off int64) {
	t.Helper()
	change(t, path, func(f *os.File) error {
		var b [1]byte
		_, err := f.ReadAt(b[:], off)
		require.NoError(t, err)
		b[0] ^= 4
		_, err = f.WriteAt(b[:], off)
		return err
	})
}

func punch(t *testing.T, path string, off, n int64) {
	t.Helper()
	change(t, path, func(f *os.File) error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

func cut(t *testing.T, path string, by int64) {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, info.Size()+by))
}

// blockFiles are the paths of the block files in the state directory dir.
func blockFiles(t testing.TB, dir string) (paths []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "blocks"))
	require.NoError(t, err)
	for _, e := range entries {
		paths = append(paths, filepath.Join(dir, "blocks", e.Name()))
	}
	return paths
}

// TestADamagedCacheNeverServesWrongBytes damages what is cached of images, whole or in part, while they are open, while
// they are not, and while nobody has the state; and reads them again.
func TestADamagedCacheNeverServesWrongBytes(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	single := slices.Sorted(maps.Keys(damages))
	single = slices.DeleteFunc(single, func(name string) bool { return name == "the directory vanishes" })
	for _, when := range []string{"open", "closed", "unmounted"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			t.Run("one file each", func(t *testing.T) { damageAndRead(t, srv, when, single) })
			t.Run("all at once", func(t *testing.T) { damageAndRead(t, srv, when, []string{"the directory vanishes"}) })
		})
	}
}

// damageAndRead does to two images each, a whole one and a part of one, what names name.
func damageAndRead(t *testing.T, srv *drivetest.Server, when string, names []string) {
	t.Helper()
	const size = 7*block + 12345
	type victim struct {
		how, path string
		content   []byte
		img       index.Image
		r         *index.Reader
	}
	var victims []*victim
	dir := t.TempDir()
	put := func(how string, whole bool) (v *victim, id string) {
		v = &victim{how: how, content: imagetest.Bytes(uint64(len(victims)), size)}
		name := fmt.Sprintf("c/%s-%d:t-%v", when, len(victims)+100*len(names), whole)
		victims = append(victims, v)
		return v, indextest.Put(t, srv.User(""), name, v.content, nil).ID
	}
	ids := map[*victim]string{}
	for _, how := range names {
		for _, whole := range []bool{true, false} {
			v, id := put(how, whole)
			ids[v] = id
		}
	}
	ix, err := indextest.TryOpen(t, srv, index.Options{Dir: dir})
	require.NoError(t, err)
	known := map[string]bool{}
	for i, v := range victims {
		v.img = byID(t, ix, ids[v])
		v.r, err = ix.OpenImage(v.img)
		require.NoError(t, err)
		for range 2 { // the second time they are trusted
			if i%2 == 0 {
				require.NoError(t, ix.Prefetch(t.Context(), v.img))
			}
			p := make([]byte, 6*block)
			_, err := v.r.ReadAt(t.Context(), p, block+100)
			require.NoError(t, err)
			require.True(t, bytes.Equal(v.content[block+100:7*block+100], p))
		}
		for _, path := range blockFiles(t, dir) {
			if !known[path] {
				require.Empty(t, v.path, "one new file")
				v.path = path
			}
			known[path] = true
		}
		require.NotEmpty(t, v.path)
	}
	if when != "open" {
		for _, v := range victims {
			require.NoError(t, v.r.Close())
		}
		require.NoError(t, ix.Close())
	}
	if when == "closed" {
		ix = indextest.Open(t, srv, index.Options{Dir: dir})
	}
	for _, v := range victims {
		if _, err := os.Stat(v.path); err == nil {
			damages[v.how](t, v.path)
		}
	}
	if when == "unmounted" {
		ix = indextest.Open(t, srv, index.Options{Dir: dir})
	}
	for i, v := range victims {
		t.Run(fmt.Sprintf("%s, whole %v", v.how, i%2 == 0), func(t *testing.T) {
			if when != "open" {
				var err error
				v.r, err = ix.OpenImage(v.img)
				require.NoError(t, err)
			}
			for _, n := range []int{128 << 10, 3*block + 7} {
				require.True(t, bytes.Equal(v.content, readAll(t, v.r, n)))
			}
			require.NoError(t, v.r.Close())
		})
	}
	indextest.Eventually(t, func() bool { // an unlinked file goes when it is closed, and then comes again
		for _, v := range victims {
			require.NoError(t, ix.Prefetch(t.Context(), v.img))
		}
		report, err := ix.Check(t.Context(), index.CheckOptions{Offline: true})
		require.NoError(t, err)
		require.Zero(t, report.Remaining, report.Problems)
		return report.Bytes == int64(size*len(victims))
	}, "they are whole and right again")
}

func TestDamageIsCounted(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(5, 4*block)
	id := put(t, srv, "c/i:t", content)
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir})
	img := byID(t, ix, id)
	require.NoError(t, ix.Prefetch(t.Context(), img))
	flip(t, blockFiles(t, dir)[0], 2*block+1)
	srv.ResetRequests()
	require.True(t, bytes.Equal(content, readAll(t, open(t, ix, img), block)))
	_, sum := fetched(srv, id)
	require.Equal(t, int64(128<<10), sum, "only the damaged block is fetched again")
	require.Equal(t, int64(1), ix.CacheStats().Damaged)
	require.Empty(t, ix.CacheStats().Bad)

	t.Run("found by a check, before anyone reads it", func(t *testing.T) {
		require.NoError(t, ix.Prefetch(t.Context(), img)) // nobody else is verifying it
		flip(t, blockFiles(t, dir)[0], 5)
		flip(t, blockFiles(t, dir)[0], 3*block+5)
		list, err := ix.VerifyCache(t.Context())
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, []int64{0, 24}, list[0].Damaged)
		require.Equal(t, int64(4*block-256<<10), ix.Cached(img))
		list, err = ix.VerifyCache(t.Context(), id)
		require.NoError(t, err)
		require.Empty(t, list[0].Problem)
		require.Equal(t, int64(4*block-256<<10), list[0].Checked)
	})
	t.Run("without Drive it is an error, never wrong bytes", func(t *testing.T) {
		require.NoError(t, ix.Prefetch(t.Context(), img))
		dir := copyState(t, ix, dir)
		off, err := index.Open(t.Context(), index.Options{Dir: dir})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, off.Close()) })
		flip(t, blockFiles(t, dir)[0], block+1)
		r := open(t, off, img)
		p := make([]byte, 10)
		_, err = r.ReadAt(t.Context(), p, 0)
		require.NoError(t, err)
		require.Equal(t, content[:10], p)
		_, err = r.ReadAt(t.Context(), p, block)
		require.ErrorIs(t, err, index.ErrSignIn)
	})
}
