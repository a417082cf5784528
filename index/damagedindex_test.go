package index_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// copyState closes ix and copies its state directory.
func copyState(t *testing.T, ix *index.Index, dir string) string {
	t.Helper()
	require.NoError(t, ix.Close())
	to := filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

func TestADeletedIndexIsMadeAgain(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	whole, partial, wrong := imagetest.Bytes(1, 3*block+5), imagetest.Bytes(2, 8*block), imagetest.Bytes(3, 2*block)
	ids := []string{put(t, srv, "c/i:whole", whole), put(t, srv, "c/i:partial", partial), put(t, srv, "c/i:wrong", wrong)}
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir})
	require.NoError(t, ix.Prefetch(t.Context(), byID(t, ix, ids[0])))
	r, err := ix.OpenImage(byID(t, ix, ids[1]))
	require.NoError(t, err)
	_, err = r.ReadAt(t.Context(), make([]byte, 100), 0)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	before := len(blockFiles(t, dir))
	require.NoError(t, ix.Prefetch(t.Context(), byID(t, ix, ids[2])))
	d := write(t, ix, at("lab", "unfinished.part"), []byte("half"))
	d.Release()
	require.NoError(t, ix.Close())
	require.Equal(t, 2, before)
	for _, path := range blockFiles(t, dir) {
		info, err := os.Stat(path)
		require.NoError(t, err)
		switch info.Size() {
		case int64(len(wrong)):
			flip(t, path, block)
		case int64(len(partial)): // how much read-around brought is a matter of moments
			punch(t, path, 4*block, block)
		}
	}
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "index")))

	ix = indextest.Open(t, srv, index.Options{Dir: dir})
	report, err := ix.Check(t.Context(), index.CheckOptions{})
	require.NoError(t, err)
	require.Zero(t, report.Remaining, report.Problems)
	kinds := map[index.ProblemKind]int{}
	for _, p := range report.Problems {
		kinds[p.Kind]++
	}
	require.Equal(t, map[index.ProblemKind]int{index.ProblemStray: 3, index.ProblemDraft: 1}, kinds, report.Problems)
	require.Len(t, blockFiles(t, dir), 1, "what is right is in use again, what may be wrong is gone")
	require.Equal(t, int64(len(whole)), ix.Cached(byID(t, ix, ids[0])))
	srv.ResetRequests()
	require.True(t, bytes.Equal(whole, readAll(t, open(t, ix, byID(t, ix, ids[0])), block)))
	_, sum := fetched(srv, ids[0])
	require.Zero(t, sum)
	require.True(t, bytes.Equal(partial, readAll(t, open(t, ix, byID(t, ix, ids[1])), block)))
	require.True(t, bytes.Equal(wrong, readAll(t, open(t, ix, byID(t, ix, ids[2])), block)))
	back, ok := ix.Draft(at("lab", "unfinished.part"))
	require.True(t, ok, "the draft is where it was")
	p := make([]byte, 4)
	_, err = back.ReadAt(t.Context(), p, 0)
	require.NoError(t, err)
	require.Equal(t, "half", string(p))
}

// TestADamagedIndexIsSaid damages each file of the records, in several ways, and opens them: it works, or it is refused
// with a sentence, and then setting it aside helps. Drafts are there in any case.
func TestADamagedIndexIsSaid(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(1, 2*block)
	put(t, srv, "c/i:t", content)
	origin := t.TempDir()
	for range 3 { // so that there are tables, not only a log
		ix, err := indextest.TryOpen(t, srv, index.Options{Dir: origin})
		require.NoError(t, err)
		require.NoError(t, ix.Prefetch(t.Context(), byName(t, ix, "c/i:t")))
		if len(ix.AllDrafts()) == 0 {
			write(t, ix, at("lab", "unfinished.part"), []byte("half")).Release()
		}
		require.NoError(t, ix.Close())
	}
	files, err := os.ReadDir(filepath.Join(origin, "index"))
	require.NoError(t, err)
	require.Greater(t, len(files), 3)
	ways := map[string]func(t *testing.T, path string, size int64){
		"removed": func(t *testing.T, path string, _ int64) { t.Helper(); require.NoError(t, os.Remove(path)) },
		"emptied": func(t *testing.T, path string, _ int64) { t.Helper(); require.NoError(t, os.Truncate(path, 0)) },
		"halved":  func(t *testing.T, path string, size int64) { t.Helper(); require.NoError(t, os.Truncate(path, size/2)) },
		"garbage": func(t *testing.T, path string, size int64) {
			t.Helper()
			require.NoError(t, os.WriteFile(path, imagetest.Bytes(8, min(size, 1<<20)), 0o600))
		},
		"a flipped byte": func(t *testing.T, path string, size int64) {
			t.Helper()
			if size > 0 {
				flip(t, path, min(size-1, 60))
			}
		},
	}
	for _, file := range files {
		for name, way := range ways {
			t.Run(file.Name()+" "+name, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "state")
				require.NoError(t, exec.CommandContext(t.Context(), "cp", "-a", origin, dir).Run()) // with the attributes
				path := filepath.Join(dir, "index", file.Name())
				info, err := os.Stat(path)
				require.NoError(t, err)
				way(t, path, info.Size())
				ix, err := indextest.TryOpen(t, srv, index.Options{Dir: dir})
				if err != nil {
					require.ErrorIs(t, err, index.ErrCorrupt)
					require.Contains(t, index.Sentence(err), "fsck --repair")
					require.NotContains(t, index.Sentence(err), "\n")
					to, err := index.SetAside(dir)
					require.NoError(t, err)
					require.True(t, strings.HasPrefix(to, filepath.Join(dir, "index.damaged-")))
					require.DirExists(t, to)
					ix = indextest.Open(t, srv, index.Options{Dir: dir})
				}
				report, err := ix.Check(t.Context(), index.CheckOptions{})
				require.NoError(t, err)
				require.Zero(t, report.Remaining, report.Problems)
				require.True(t, bytes.Equal(content, readAll(t, open(t, ix, byName(t, ix, "c/i:t")), block)))
				require.Len(t, ix.AllDrafts(), 1)
				_, ok := ix.Draft(at("lab", "unfinished.part"))
				require.True(t, ok)
			})
		}
	}
}
