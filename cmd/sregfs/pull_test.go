package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sregfs/drive/drivetest"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// media is what Drive sent of contents since the log was emptied, in bytes.
func (w *world) media() (n int64) {
	for _, r := range w.srv.Requests() {
		if r.Op == "media" {
			n += r.Out
		}
	}
	return n
}

// A pull that is interrupted leaves nothing half done, and the next fetches the rest alone.
func TestPullGoesOnAfterAnInterrupt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	sif := imagetest.SIF(t, 40<<20)
	f := indextest.Put(t, w.srv.User("ann@uni.edu"), "lab/big:1", sif, nil)
	ann.sregfs("search").ok(t)
	w.srv.ResetRequests()
	// One request of the middle is never answered, and then none any more.
	media := func() *drivetest.Rule {
		return drivetest.On("GET", "/drive/v3/files/"+f.ID).Query("alt", "media")
	}
	one := media().Nth(6).Stall()
	w.srv.Fault(one)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-q", "pull", "--name", "out/got.sif", "lab/big:1")
	cmd.Dir, cmd.Env = w.dir, ann.env()
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return one.Hits() > 0 }, time.Minute, time.Millisecond)
	w.srv.Fault(media().Stall())
	require.Eventually(t, func() bool { return cachedOnDisk(t, w.path("state", "ann@uni.edu")) >= 1<<20 }, time.Minute, 5*time.Millisecond)
	require.NoError(t, cmd.Process.Signal(unix.SIGINT))
	var exit *exec.ExitError
	err := cmd.Wait()
	require.True(t, errors.As(err, &exit), "%v: %s", err, errOut.String())
	require.Equal(t, exitInterrupted, exit.ExitCode(), errOut.String())
	require.Equal(t, 1, strings.Count(errOut.String(), "\n"), errOut.String())
	require.Equal(t, "out\n", ann.sh("find out").ok(t), "nothing half pulled")
	w.srv.ClearFaults()
	w.srv.ResetRequests()
	var held struct{ Bytes int64 }
	require.NoError(t, json.Unmarshal([]byte(ann.sregfs("--json", "unpin", "lab/big:1").ok(t)), &held))
	require.Positive(t, held.Bytes)
	require.Less(t, held.Bytes, int64(len(sif)))
	ann.sregfs("-q", "pull", "--name", "out/got.sif", "lab/big:1").ok(t)
	got, err := os.ReadFile(w.path("out", "got.sif"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(sif, got))
	require.Equal(t, int64(len(sif))-held.Bytes, w.media())
	w.srv.ResetRequests()
	ann.sregfs("-q", "pull", "lab/big:1").ok(t)
	require.Zero(t, w.media(), "the cache has it now")
}

// cachedOnDisk is how many bytes of the disk the block files of a state directory take.
func cachedOnDisk(t *testing.T, state string) (n int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(state, "blocks", "*"))
	require.NoError(t, err)
	for _, file := range files {
		var st unix.Stat_t
		if unix.Stat(file, &st) == nil {
			n += st.Blocks * 512
		}
	}
	return n
}

// What a killed pull or add left in a directory, the next takes away; what somebody writes there, and what is not ours,
// it leaves alone.
func TestPartsOfKilledPulls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	sif := imagetest.SIF(t, 4<<20)
	indextest.Put(t, w.srv.User("ann@uni.edu"), "lab/big:1", sif, nil)
	indextest.Put(t, w.srv.User("ann@uni.edu"), "lab/small:1", imagetest.SIF(t, 100_000, imagetest.Seed(3)), nil)
	out := w.path("o[u]t")
	require.NoError(t, os.MkdirAll(out, 0o755))
	for _, name := range []string{".notes.part", ".ABCDEFGHIJKLMNOPQRSTUVWXY1.part", "ABCDEFGHIJKLMNOPQRSTUVWXYZ.part"} {
		require.NoError(t, os.WriteFile(filepath.Join(out, name), nil, 0o600))
	}
	foreign := parts(t, out)
	w.srv.SetShape(drivetest.Shape{Total: 1 << 20})
	self, err := os.Executable()
	require.NoError(t, err)
	start := func(state string) *exec.Cmd {
		before := parts(t, out)
		cmd := exec.CommandContext(t.Context(), self, "-q", "pull", "--name", filepath.Join(out, "big.sif"), "lab/big:1")
		cmd.Env = w.as("ann@uni.edu", "SREGFS_STATE_DIR="+w.path(state)).env()
		require.NoError(t, cmd.Start())
		indextest.Eventually(t, func() bool {
			return slices.ContainsFunc(parts(t, out), func(path string) bool { return !slices.Contains(before, path) })
		}, "the pull writes")
		return cmd
	}
	killed := start("one")
	require.NoError(t, killed.Process.Kill())
	require.Error(t, killed.Wait())
	require.Len(t, parts(t, out), len(foreign)+1)

	running := start("two") // takes away what the first left
	require.NoError(t, running.Process.Signal(unix.SIGSTOP))
	require.Len(t, parts(t, out), len(foreign)+1)
	w.srv.SetShape(drivetest.Shape{})
	ann.sregfs("-q", "pull", "--name", filepath.Join(out, "small.sif"), "lab/small:1").ok(t) // and leaves the second's alone
	require.NoError(t, running.Process.Signal(unix.SIGCONT))
	require.NoError(t, running.Wait())
	got, err := os.ReadFile(filepath.Join(out, "big.sif"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(sif, got))
	require.ElementsMatch(t, append(foreign, filepath.Join(out, "big.sif"), filepath.Join(out, "small.sif")), parts(t, out))
}

// parts lists what is in dir.
func parts(t *testing.T, dir string) (paths []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, entry := range list {
		paths = append(paths, filepath.Join(dir, entry.Name()))
	}
	return paths
}

// disk mounts a file system made for the test, and returns where.
func disk(t *testing.T, kind string, args ...string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a disk needs root")
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", append(append([]string{"-t", kind}, args...), dir)...).CombinedOutput(); err != nil {
		t.Skipf("mounting a disk: %v: %s", err, out)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// A disk that is too full for the image is told before anything is fetched.
func TestPullOntoAFullDisk(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"without a mount", "with a mount"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			full := disk(t, "tmpfs", "-o", "size=2m", "tmpfs")
			ann := w.as("ann@uni.edu", "SREGISTRY_STORAGE="+filepath.Join(full, "shub"))
			indextest.Put(t, w.srv.User("ann@uni.edu"), "lab/big:1", imagetest.SIF(t, 5<<20), nil)
			if mode == "with a mount" {
				ann.mount()
			}
			oneLine(t, ann.sregfs("-q", "pull", "--name", filepath.Join(full, "x.sif"), "lab/big:1"), exitError, full, "no space left")
			oneLine(t, ann.sregfs("-q", "pull", "lab/big:1"), exitError, full, "no space left")
			files := ann.sh("find " + full + " -type f").ok(t)
			require.Empty(t, files)
			require.Less(t, w.media(), int64(4<<20), "the head of it at most, as of any image that is opened")
		})
	}
}

// On a disk with reflinks the file of a pull and the cache share their blocks, and
// neither shows what is done to the other.
func TestPullSharesBlocks(t *testing.T) {
	t.Parallel()
	image := filepath.Join(t.TempDir(), "disk") // the cache leaves a gigabyte of it to others
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, 3<<30))
	if out, err := exec.CommandContext(t.Context(), "mkfs.xfs", "-q", "-m", "reflink=1", image).CombinedOutput(); err != nil {
		t.Skipf("mkfs.xfs: %v: %s", err, out)
	}
	dir := disk(t, "xfs", "-o", "loop", image)
	w := newWorld(t)
	ann := w.as("ann@uni.edu", "SREGFS_STATE_DIR="+filepath.Join(dir, "state"), "SREGISTRY_STORAGE="+filepath.Join(dir, "shub"))
	sif := imagetest.SIF(t, 32<<20)
	indextest.Put(t, w.srv.User("ann@uni.edu"), "lab/big:1", sif, nil)
	ann.sregfs("search").ok(t)
	free := func() int64 {
		unix.Sync()
		var st unix.Statfs_t
		require.NoError(t, unix.Statfs(dir, &st))
		return int64(st.Bfree) * st.Bsize
	}
	before := free()
	ann.sregfs("pull", "lab/big:1").ok(t)
	took := before - free()
	require.Less(t, took, int64(48<<20), "32 MiB are there twice")
	require.Greater(t, took, int64(31<<20))
	path := strings.TrimSpace(ann.sregfs("get", "lab/big:1").ok(t))
	same := func() {
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(sif, got))
	}
	same()
	ann.sregfs("cache", "clear").ok(t)
	same()
	require.Greater(t, free(), before-int64(48<<20))

	// What the owner does to the file is not in the cache.
	ann.sregfs("pull", "--name", filepath.Join(dir, "mine.sif"), "lab/big:1").ok(t)
	ann.sh("printf damage | dd of=" + strconv.Quote(filepath.Join(dir, "mine.sif")) + " conv=notrunc status=none").ok(t)
	w.srv.ResetRequests()
	ann.sregfs("pull", "--name", filepath.Join(dir, "again.sif"), "lab/big:1").ok(t)
	require.Zero(t, w.requests("media"))
	path = filepath.Join(dir, "again.sif")
	same()
}

// BenchmarkPull pulls an image over a line of 50 MB/s, 25 of it on a connection, and
// tells the share of the line's time that it takes: 1 is as long as the bytes take.
func BenchmarkPull(b *testing.B) {
	const size, line = 256 << 20, 50_000_000
	for _, mode := range []string{"without a mount", "with a mount"} {
		b.Run(mode, func(b *testing.B) {
			w := newWorldIn(b, drivetest.Options{
				Users: []string{"ann@uni.edu", "bob@uni.edu"}, Dir: b.TempDir(),
				Shape: drivetest.Shape{Latency: 20 * time.Millisecond, PerConnection: line / 2, Total: line},
			})
			ann := w.as("ann@uni.edu")
			indextest.Put(b, w.srv.User("ann@uni.edu"), "lab/big:1", imagetest.SIF(b, size), nil)
			ann.sregfs("search").ok(b)
			var took time.Duration
			for b.Loop() {
				ann.sregfs("cache", "clear").ok(b)
				require.NoError(b, os.RemoveAll(w.path("got.sif")))
				mnt := ""
				if mode == "with a mount" { // a new one: the kernel keeps what it has read
					mnt = ann.mount()
				}
				start := time.Now()
				ann.sregfs("-q", "pull", "--name", "got.sif", "lab/big:1").ok(b)
				took += time.Since(start)
				if mnt != "" {
					ann.sregfs("umount", mnt).ok(b)
				}
			}
			b.ReportMetric(took.Seconds()/float64(b.N)/(float64(size)/line), "of-the-line's-time")
		})
	}
}
