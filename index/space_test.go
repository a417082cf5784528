package index_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// smallDisk mounts a file system of size MiB, and returns where.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+"m"); err != nil {
		t.Skip("mounting a small disk:", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// fillUp takes what is left of a disk; the function returned gives it back.
func fillUp(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	require.NoError(t, err)
	p := make([]byte, 64<<10)
	for {
		if _, err := f.Write(p); err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			break
		}
	}
	require.NoError(t, f.Close())
	return func() { require.NoError(t, os.Remove(path)) }
}

func TestAFullStateDiskLosesNothing(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	disk := smallDisk(t, "80")
	dir, cache := filepath.Join(disk, "state"), t.TempDir()
	o := index.Options{Dir: dir, CacheDir: cache, Poll: -1}
	ix, err := indextest.TryOpen(t, srv, o)
	require.NoError(t, err)
	content := imagetest.SIF(t, 3*block)
	img := push(t, write(t, ix, at("c", "i:t.sif"), content))
	d := write(t, ix, at("c", "j:t.sif"), content[:2*block])

	free := fillUp(t, disk)
	_, err = d.WriteAt(t.Context(), content[2*block:], 2*block)
	require.ErrorIs(t, err, syscall.ENOSPC)
	_, err = ix.CreateDraft(at("c", "k:t.sif"))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, "is full")
	require.ErrorIs(t, ix.Mkdir("new"), syscall.ENOSPC)
	r, err := ix.OpenImage(img)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, readAll(t, r, block)), "reads go on")
	require.NoError(t, r.Close())
	require.ErrorIs(t, ix.Evict(img), syscall.ENOSPC)
	require.Equal(t, img.Size, ix.Cached(img), "what cannot be recorded as gone stays")
	d.Release()
	require.NoError(t, ix.Close())

	free()
	free = fillUp(t, disk) // with what was given back at the end
	_, err = indextest.TryOpen(t, srv, o)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, "is full")
	free()
	ix = indextest.Open(t, srv, o)
	require.True(t, bytes.Equal(content, readAll(t, open(t, ix, img), block)))
	back, ok := ix.Draft(at("c", "j:t.sif"))
	require.True(t, ok)
	back.Acquire()
	defer back.Release()
	_, err = back.WriteAt(t.Context(), content[2*block:], 2*block)
	require.NoError(t, err)
	require.Equal(t, img.MD5, push(t, back).MD5)
	report, err := ix.Check(t.Context(), index.CheckOptions{})
	require.NoError(t, err)
	require.Zero(t, report.Remaining, report.Problems)
}

// The cache takes the room of the disk, and gives it back to what is written; that it leaves the records theirs no size
// of the room it was told to leave to others changes.
func TestTheCacheGivesWayToDrafts(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	var ids []string
	for _, name := range []string{"c/i:1", "c/i:2", "c/i:3", "c/i:4"} {
		ids = append(ids, put(t, srv, name, imagetest.Bytes(uint64(len(ids)), 10<<20)))
	}
	dir := filepath.Join(smallDisk(t, "48"), "state")
	ix := indextest.Open(t, srv, index.Options{Dir: dir, CacheSize: 1 << 30, CacheMinFree: 1})
	for _, id := range ids {
		readAll(t, open(t, ix, byID(t, ix, id)), 128<<10)
	}
	before := ix.CacheStats()
	require.Greater(t, before.Used, int64(14<<20))

	content := imagetest.SIF(t, 16<<20)
	img := push(t, write(t, ix, at("c", "j:t.sif"), content))
	require.Equal(t, int64(len(content)), img.Size)
	require.Less(t, ix.CacheStats().Used-ix.Cached(img), before.Used)

	d, err := ix.CreateDraft(at("c", "k:t.sif"))
	require.NoError(t, err)
	d.Acquire()
	defer d.Release()
	kept := ix.CacheStats().Used
	require.ErrorIs(t, d.Allocate(t.Context(), 0, 0, 1<<40), syscall.ENOSPC)
	require.Equal(t, kept, ix.CacheStats().Used, "nothing goes for what cannot fit in any case")
}

func TestAFullCacheDiskServesUncached(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content, other := imagetest.Bytes(1, 12*block+5), imagetest.Bytes(2, 6*block)
	id, otherID := put(t, srv, "c/i:t", content), put(t, srv, "c/j:t", other)
	disk := smallDisk(t, "8")
	cache := filepath.Join(disk, "cache")
	dir := t.TempDir()
	// A budget that the disk cannot hold, and nothing left free: it is the disk that says no.
	ix := indextest.Open(t, srv, index.Options{Dir: dir, CacheDir: cache, CacheSize: 100 * block, CacheMinFree: 1})
	img := byID(t, ix, id)
	for range 2 {
		require.True(t, bytes.Equal(content, readAll(t, open(t, ix, img), 128<<10)))
	}
	free := fillUp(t, disk)
	require.True(t, bytes.Equal(content, readAll(t, open(t, ix, img), 128<<10)))
	require.True(t, bytes.Equal(other, readAll(t, open(t, ix, byID(t, ix, otherID)), 128<<10)))
	require.Positive(t, ix.CacheStats().Uncached)
	free()
	require.True(t, bytes.Equal(other, readAll(t, open(t, ix, byID(t, ix, otherID)), 128<<10)))
	report, err := ix.Check(t.Context(), index.CheckOptions{})
	require.NoError(t, err)
	require.Zero(t, report.Remaining, report.Problems)
}

func TestAReadOnlyCacheDiskServesWhatIsThere(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content, other := imagetest.Bytes(1, 4*block+5), imagetest.Bytes(2, 6*block)
	id, otherID := put(t, srv, "c/i:t", content), put(t, srv, "c/j:t", other)
	disk := smallDisk(t, "40")
	o := index.Options{Dir: t.TempDir(), CacheDir: filepath.Join(disk, "cache"), CacheMinFree: 1}
	ix, err := indextest.TryOpen(t, srv, o)
	require.NoError(t, err)
	require.NoError(t, ix.Prefetch(t.Context(), byID(t, ix, id)))
	readOnly := func(on bool) {
		t.Helper()
		flags := uintptr(unix.MS_REMOUNT)
		if on {
			flags |= unix.MS_RDONLY
		}
		require.NoError(t, unix.Mount("tmpfs", disk, "tmpfs", flags, ""))
	}
	look := func(ix *index.Index) {
		t.Helper()
		srv.ResetRequests()
		r, err := ix.OpenImage(byID(t, ix, id))
		require.NoError(t, err)
		require.True(t, bytes.Equal(content, readAll(t, r, 128<<10)))
		require.NoError(t, r.Close())
		_, sum := fetched(srv, id)
		require.Zero(t, sum, "what is there is read from there")
		r, err = ix.OpenImage(byID(t, ix, otherID))
		require.NoError(t, err)
		require.True(t, bytes.Equal(other, readAll(t, r, 128<<10)))
		require.NoError(t, r.Close())
		require.Zero(t, ix.Cached(byID(t, ix, otherID)))
	}
	indextest.Eventually(t, func() bool { // as soon as no file is open for writing
		return unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, "") == nil
	}, "remounted read-only while running")
	look(ix)
	require.NoError(t, ix.Close())
	ix, err = indextest.TryOpen(t, srv, o)
	require.NoError(t, err, "read-only before the start")
	look(ix)
	require.NoError(t, ix.Close())
	readOnly(false)
	ix = indextest.Open(t, srv, o)
	require.NoError(t, ix.Prefetch(t.Context(), byID(t, ix, otherID)))
	report, err := ix.Check(t.Context(), index.CheckOptions{})
	require.NoError(t, err)
	require.Zero(t, report.Remaining, report.Problems)
}

// loopDisk is an ext4 file system of size MiB in a file, and fail makes every use of it an EIO from then on.
func loopDisk(t *testing.T, size int64) (dir string, fail func()) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a disk needs root")
	}
	dir = filepath.Join(t.TempDir(), "disk")
	image := dir + ".ext4"
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, size<<20))
	if out, err := exec.CommandContext(t.Context(), "mkfs.ext4", "-q", image).CombinedOutput(); err != nil {
		t.Skipf("making an ext4: %v: %s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), "mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		t.Skipf("mounting an ext4: %v: %s", err, out)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) }) // frees the loop device too
	return dir, func() {
		t.Helper()
		f, err := os.Open(dir)
		require.NoError(t, err)
		const goDown, noLogFlush = 0x8004587d, 2 // EXT4_IOC_SHUTDOWN (fs/ext4/ext4.h of the kernel)
		require.NoError(t, unix.IoctlSetPointerInt(int(f.Fd()), goDown, noLogFlush))
		require.NoError(t, f.Close())
	}
}

// remount makes the disk of a tmpfs read-only, or writable again.
func remount(t *testing.T, dir string, flags uintptr) {
	t.Helper()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|flags, ""))
}

func TestAReadOnlyStateDiskIsSaid(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	disk := smallDisk(t, "80")
	o := index.Options{Dir: filepath.Join(disk, "state"), CacheDir: t.TempDir()}
	ix, err := indextest.TryOpen(t, srv, o)
	require.NoError(t, err)
	write(t, ix, at("c", "unfinished.part"), []byte("half")).Release()
	require.NoError(t, ix.Close())
	remount(t, disk, unix.MS_RDONLY)
	for _, dir := range []string{o.Dir, filepath.Join(disk, "another")} {
		_, err = indextest.TryOpen(t, srv, index.Options{Dir: dir, CacheDir: o.CacheDir})
		require.ErrorIs(t, err, syscall.EROFS)
		said := index.Sentence(err)
		require.NotContains(t, said, "\n")
		require.Contains(t, said, dir)
		require.Contains(t, said, "read-only")
		require.Contains(t, said, "SREGFS_STATE_DIR")
	}
	_, held := index.Holder(o.Dir)
	require.False(t, held)
	remount(t, disk, 0)
	ix = indextest.Open(t, srv, o)
	_, ok := ix.Draft(at("c", "unfinished.part"))
	require.True(t, ok)
}

// A cache disk that answers every call with an error costs the cache, and no reader notices.
func TestABrokenCacheDiskServesUncached(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content, other := imagetest.Bytes(1, 4*block+5), imagetest.Bytes(2, 6*block)
	id, otherID := put(t, srv, "c/i:t", content), put(t, srv, "c/j:t", other)
	disk, fail := loopDisk(t, 64)
	o := index.Options{Dir: t.TempDir(), CacheDir: filepath.Join(disk, "cache"), CacheMinFree: 1}
	ix, err := indextest.TryOpen(t, srv, o)
	require.NoError(t, err)
	img := byID(t, ix, id)
	require.NoError(t, ix.Prefetch(t.Context(), img))
	held, err := ix.OpenImage(img)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, readAll(t, held, 128<<10)))
	fail()
	look := func(ix *index.Index) {
		t.Helper()
		for file, want := range map[string][]byte{id: content, otherID: other} {
			r, err := ix.OpenImage(byID(t, ix, file))
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, readAll(t, r, 128<<10)))
			require.NoError(t, r.Close())
		}
	}
	require.True(t, bytes.Equal(content, readAll(t, held, 128<<10)), "who had it open")
	require.NoError(t, held.Close())
	look(ix)
	pushed := push(t, write(t, ix, at("c", "k:t.sif"), imagetest.SIF(t, block)))
	require.NotEmpty(t, pushed.MD5)
	if err := ix.Close(); err != nil {
		require.ErrorIs(t, err, syscall.EIO)
	}
	ix = indextest.Open(t, srv, o) // it starts without a cache
	look(ix)
}

// A state disk that answers every call with an error: nothing more is acknowledged, what is known is served, and the
// program ends of its own accord.
func TestABrokenStateDiskIsSaid(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.SIF(t, 2*block)
	id := put(t, srv, "c/i:t", content)
	disk, fail := loopDisk(t, 128)
	o := index.Options{
		Dir: filepath.Join(disk, "state"), CacheDir: t.TempDir(), CacheMinFree: 1, Poll: -1, Drive: indextest.Client(t, srv, srv.User("")),
	}
	ix, err := index.Open(t.Context(), o)
	require.NoError(t, err)
	img := byID(t, ix, id)
	require.NoError(t, ix.Prefetch(t.Context(), img))
	d := write(t, ix, at("c", "j:t.sif"), content)
	fail()
	_, err = d.WriteAt(t.Context(), []byte("more"), 0)
	require.ErrorIs(t, err, syscall.EIO)
	_, err = d.Push(t.Context())
	require.ErrorIs(t, err, syscall.EIO)
	_, err = ix.CreateDraft(at("c", "k:t.sif"))
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorIs(t, ix.Mkdir("new"), syscall.EIO)
	r, err := ix.OpenImage(img)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, readAll(t, r, block)))
	require.NoError(t, r.Close())
	require.Len(t, srv.User("").Files(), 2, "the folder and the image: nothing was sent")
	d.Release()
	require.Error(t, ix.Close())
	_, err = index.Open(t.Context(), o)
	require.ErrorIs(t, err, syscall.EIO)
	require.NotContains(t, index.Sentence(err), "\n")
}
