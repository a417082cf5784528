package fs_test

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// passthroughVariable names, for the process that serves one, the mount point and the file of a bare passthrough.
const passthroughVariable = "SREGFS_PASSTHROUGH"

// passthrough is the least that the FUSE library can do to serve one file of the disk: what it serves is what we are
// measured against.
type passthrough struct{ *os.File }

func (p passthrough) Root() (fusefs.Node, error) { return passthroughDir(p), nil }

type passthroughDir struct{ *os.File }

func (passthroughDir) Attr(_ context.Context, a *fuse.Attr) error {
	a.Mode = os.ModeDir | 0o755
	return nil
}

func (d passthroughDir) Lookup(context.Context, string) (fusefs.Node, error) {
	return passthrough(d), nil
}

func (p passthrough) Attr(_ context.Context, a *fuse.Attr) error {
	info, err := p.Stat()
	if err == nil {
		a.Inode, a.Mode, a.Size, a.Valid = 2, 0o644, uint64(info.Size()), time.Hour
	}
	return err
}

func (p passthrough) Read(_ context.Context, req *fuse.ReadRequest, resp *fuse.ReadResponse) error {
	n, err := p.ReadAt(resp.Data[:req.Size], req.Offset)
	resp.Data = resp.Data[:n]
	if n > 0 {
		return nil
	}
	return err
}

// servePassthrough serves file at dir until it is unmounted.
func servePassthrough(dir, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	c, err := fuse.Mount(dir, fuse.AsyncRead(), fuse.MaxReadahead(128<<10))
	if err != nil {
		return err
	}
	return fusefs.Serve(c, passthrough{f})
}

// mountPassthrough mounts a passthrough to file, in a process of its own, and returns the path of the file there.
func mountPassthrough(b *testing.B, file string) string {
	b.Helper()
	self, err := os.Executable()
	require.NoError(b, err)
	dir := b.TempDir()
	cmd := exec.CommandContext(b.Context(), self)
	cmd.Env = append(os.Environ(), passthroughVariable+"="+dir, "SREGFS_PASSTHROUGH_FILE="+file)
	cmd.Stderr = os.Stderr
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		_ = unix.Unmount(dir, unix.MNT_DETACH)
		_ = cmd.Wait()
	})
	path := filepath.Join(dir, "file")
	require.Eventually(b, func() bool {
		_, err := os.Stat(path)
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
	return path
}

// BenchmarkRead reads an image that is on disk through sregfs, through a bare passthrough of the FUSE library, and from
// the disk itself, in turns; the best turn of each counts. Its figures are MB/s of sequential reads (sequential), thousands
// of 4 KiB reads a second (random) and MB/s of pages that the kernel has (pages), and the ratios that count: of sregfs to
// the passthrough, and for pages to the disk's own file.
func BenchmarkRead(b *testing.B) {
	srv := drivetest.NewServer(b, drivetest.Options{})
	const size = 256 << 20
	content := imagetest.Bytes(1, size)
	indextest.Put(b, srv.User(""), "c/x:1", content, nil)
	m := fstest.Mount(b, srv, fstest.Options{})
	m.Sh("cat c/x:1.sif > /dev/null")
	file := local(b, "file", content)
	contenders := []struct{ name, path string }{
		{"sregfs", filepath.Join(m.Dir(), "c/x:1.sif")}, {"bazil", mountPassthrough(b, file)}, {"disk", file},
	}
	best := map[string]float64{}
	note := func(name string, rate float64) { best[name] = max(best[name], rate) }
	for b.Loop() {
		for _, c := range contenders {
			f, err := os.Open(c.path)
			require.NoError(b, err)
			if c.name != "disk" {
				forgetPages(b, f)
				note(c.name+"-sequential", readAll(b, f))
			}
			note(c.name+"-pages", readAll(b, f))
			if c.name != "disk" {
				forgetPages(b, f)
				note(c.name+"-random", readRandom(b, f))
			}
			require.NoError(b, f.Close())
		}
	}
	for name, rate := range best {
		b.ReportMetric(rate, name)
	}
	b.ReportMetric(best["sregfs-sequential"]/best["bazil-sequential"], "sequential-ratio")
	b.ReportMetric(best["sregfs-random"]/best["bazil-random"], "random-ratio")
	b.ReportMetric(best["sregfs-pages"]/best["disk-pages"], "pages-ratio")
}

// forgetPages takes the pages of f from the kernel.
func forgetPages(b *testing.B, f *os.File) {
	b.Helper()
	require.NoError(b, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
}

// readAll reads f from the beginning to its end and returns MB a second.
func readAll(b *testing.B, f *os.File) float64 {
	b.Helper()
	buf := make([]byte, 1<<20)
	total := 0
	start := time.Now()
	for {
		n, err := f.ReadAt(buf, int64(total))
		total += n
		if err != nil {
			break
		}
	}
	return float64(total) / 1e6 / time.Since(start).Seconds()
}

// readRandom reads 4 KiB of f here and there, and returns thousands of reads a second.
func readRandom(b *testing.B, f *os.File) float64 {
	b.Helper()
	require.NoError(b, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM))
	info, err := f.Stat()
	require.NoError(b, err)
	const reads = 20_000
	places := rand.New(rand.NewPCG(1, 2)).Perm(int(info.Size() / 4096))[:reads]
	buf := make([]byte, 4096)
	start := time.Now()
	for _, p := range places {
		_, err := f.ReadAt(buf, int64(p)*4096)
		require.NoError(b, err)
	}
	return reads / 1e3 / time.Since(start).Seconds()
}
