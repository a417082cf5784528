package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index"
	"sregfs/index/image/imagetest"
)

// report runs fsck and reads what it says to programs.
func report(t *testing.T, p person, code int, args ...string) (r index.CheckReport) {
	t.Helper()
	out := p.sregfs(append([]string{"fsck", "--json"}, args...)...)
	require.Equal(t, code, out.code, out.err)
	require.NoError(t, json.Unmarshal([]byte(out.out), &r))
	require.Equal(t, 1, r.V)
	return r
}

// TestFsckAndCache damages what a person's machine holds, mounted and not, and has it found and repaired by the commands.
func TestFsckAndCache(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	content := imagetest.SIF(t, 3<<20)
	image := w.file("image.sif", content)
	ann.sregfs("push", "--name", "lab/tool:1", image).ok(t)
	require.Zero(t, report(t, ann, exitOK).Remaining)
	state := w.path("state", "ann@uni.edu")
	blocks := func() string {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(state, "blocks", "*"))
		require.NoError(t, err)
		require.Len(t, files, 1)
		return files[0]
	}
	spoil := func(off int64) {
		t.Helper()
		f, err := os.OpenFile(blocks(), os.O_RDWR, 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte("damage"), off)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}

	t.Run("without a mount", func(t *testing.T) {
		require.Contains(t, ann.sregfs("cache", "ls").ok(t), "lab/tool:1")
		require.Contains(t, ann.sregfs("cache", "verify").ok(t), "as on Drive")
		spoil(100)
		damaged := ann.sregfs("cache", "verify", "lab/tool:1")
		require.Equal(t, exitIntegrity, damaged.code)
		require.Contains(t, damaged.out, "1 of 24 cached blocks")
		ann.sregfs("cache", "verify").ok(t)
		spoil(2 << 20)
		r := report(t, ann, exitOK, "--offline")
		require.Len(t, r.Problems, 1)
		require.Equal(t, index.ProblemCache, r.Problems[0].Kind)
		require.NotEmpty(t, r.Problems[0].Repaired)
		require.False(t, r.Remote)
	})
	t.Run("through a mount", func(t *testing.T) {
		mnt := ann.mount()
		same := func() { t.Helper(); ann.sh("cmp " + image + " " + mnt + "/lab/tool:1.sif").ok(t) }
		same()
		spoil(1 << 20)
		r := report(t, ann, exitOK)
		require.True(t, r.Remote)
		require.Len(t, r.Problems, 1)
		require.Equal(t, int64(23), r.Blocks)
		spoil(5)
		ann.sh("echo 3 > /proc/sys/vm/drop_caches")
		same()
		require.Equal(t, exitNotFound, ann.sregfs("cache", "verify", "lab/none").code)
		require.Contains(t, ann.sregfs("cache", "clear", "lab/tool:1").ok(t), "freed")
		require.Empty(t, ann.sregfs("cache", "ls").ok(t))
		same()
		ann.sregfs("umount", mnt).ok(t)
		w.released("ann@uni.edu")
	})
	t.Run("an index that cannot be read", func(t *testing.T) {
		require.NoError(t, os.WriteFile(filepath.Join(state, "index", "MANIFEST"), []byte("no manifest"), 0o600))
		dir := w.path("mnt-damaged")
		require.NoError(t, os.Mkdir(dir, 0o700))
		oneLine(t, ann.sregfs("mount", dir), exitIntegrity, "damaged", "fsck --repair")
		r := report(t, ann, exitIntegrity)
		require.Equal(t, index.ProblemIndex, r.Problems[0].Kind)
		require.Equal(t, 1, r.Remaining)
		r = report(t, ann, exitOK, "--repair")
		require.Contains(t, r.Problems[0].Repaired, "index.damaged-")
		require.Equal(t, 1, r.Images)
		require.Zero(t, report(t, ann, exitOK).Remaining)
		ann.sregfs("cache", "verify").ok(t)
		aside, err := filepath.Glob(filepath.Join(state, "index.damaged-*"))
		require.NoError(t, err)
		require.Len(t, aside, 1)
	})
	t.Run("Drive cannot be reached", func(t *testing.T) {
		out := w.as("ann@uni.edu", "SREGFS_DRIVE_URL=http://127.0.0.1:1").sregfs("--timeout", "1s", "fsck")
		require.Equal(t, exitNetwork, out.code, out.out+out.err)
		require.True(t, strings.Contains(out.out, "Drive was not asked"), out.out)
	})
}
