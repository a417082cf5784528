package fs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs"
	"sregfs/fs/fstest"
	"sregfs/index/indextest"
)

func TestCheckMountPoint(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	state := filepath.Join(tmp, "state")
	require.NoError(t, os.MkdirAll(filepath.Join(state, "inside"), 0o755))
	empty := filepath.Join(tmp, "empty")
	require.NoError(t, os.Mkdir(empty, 0o755))
	full := filepath.Join(tmp, "full")
	require.NoError(t, os.MkdirAll(filepath.Join(full, "x"), 0o755))
	link := filepath.Join(tmp, "link")
	require.NoError(t, os.Symlink(state, link))
	for _, c := range []struct{ dir, want string }{
		{filepath.Join(tmp, "none"), "does not exist"},
		{local(t, "file", nil), "is not a directory"},
		{full, "is not empty"},
		{filepath.Join(state, "inside"), "inside the state directory"},
		{state, "inside the state directory"},
		{filepath.Join(link, "inside"), "inside the state directory"},
		{tmp, "is inside the mount point"},
		{"/proc", "is busy"},
	} {
		require.ErrorContains(t, fs.CheckMountPoint(t.Context(), c.dir, state), c.want, c.dir)
	}
	require.NoError(t, fs.CheckMountPoint(t.Context(), empty, state))
	require.NoError(t, fs.CheckMountPoint(t.Context(), empty, filepath.Join(tmp, "state that is not there yet")))
}

// TestMountRefused: what is in the way of a mount is said in one sentence, and nothing is left mounted.
func TestMountRefused(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{})
	_, err := fstest.TryMount(t, srv, fstest.Options{Dir: m.Dir()})
	require.ErrorContains(t, err, "a registry is mounted there already")
	_, err = fstest.TryMount(t, srv, fstest.Options{State: m.State()})
	require.ErrorContains(t, err, m.Dir(), "says who has the state")
	_, err = fstest.TryMount(t, srv, fstest.Options{Dir: t.TempDir() + "/none"})
	require.ErrorContains(t, err, "does not exist")
	mounts, err := fs.Mounts()
	require.NoError(t, err)
	found := 0
	for _, mt := range mounts {
		if mt.Dir == m.Dir() {
			found++
		}
	}
	require.Equal(t, 1, found)
	m.Sh("ls")
}

// TestKillAndMountAgain: after kill -9 the next mount at the same place takes the dead one away, and nothing is lost.
func TestKillAndMountAgain(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := sif(t, 2<<20, 1)
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("mkdir c; cp " + local(t, "src", content) + " c/x:1.sif; cp c/x:1.sif c/y.part; sync c/y.part")
	m.Kill()
	_, code := m.Try("ls")
	require.NotZero(t, code)
	m.Remount()
	require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0])
	require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum c/y.part"))[0])
	m.Sh("mv c/y.part c/y:1.sif")
	requireOnDrive(t, srv.User(""), "c/y:1", content)
}

// TestUnmountFromOutside: the mount ends when anybody unmounts it.
func TestUnmountFromOutside(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{})
	require.ErrorContains(t, fs.Unmount(t.Context(), t.TempDir(), false), "is not a mount point")
	require.NoError(t, fs.Unmount(t.Context(), m.Dir(), false))
	require.NoError(t, m.Ended())
}

// TestUnmountBusy: with a file open the mount leaves the tree at once, and the reader gets its bytes.
func TestUnmountBusy(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := sif(t, 2<<20, 1)
	indextest.Put(t, srv.User(""), "c/x:1", content, nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	require.Contains(t, m.Fail("exec 5< c/x:1.sif; cd /; umount "+m.Dir()), "busy")
	require.Equal(t, sha(content), strings.Fields(m.Sh("exec 5< c/x:1.sif; cd /; umount -l " + m.Dir() + "; sha256sum <&5"))[0])
	require.NoError(t, m.Ended())
}

// TestAutoUnmount: with the option a dead mount goes by itself.
func TestAutoUnmount(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{AutoUnmount: true})
	m.Sh("ls")
	m.Kill()
	indextest.Eventually(t, func() bool { _, err := os.Stat(m.Dir()); return err == nil }, "unmounted")
	m.Remount()
	m.Sh("ls")
}

// TestReadOnlyMount: nothing can be changed, and everything be read.
func TestReadOnlyMount(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := sif(t, 1<<20, 1)
	indextest.Put(t, srv.User(""), "c/x:1", content, nil)
	m := fstest.Mount(t, srv, fstest.Options{ReadOnly: true})
	require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0])
	for _, command := range []string{
		"cp /etc/hostname c/y:1.sif", "cp /etc/hostname c/x:1.sif", "rm c/x:1.sif", "mv c/x:1.sif c/y:1.sif", "mkdir d", "rmdir c/x:1", "touch c/n",
		"setfattr -n user.sregfs.share -v bob@uni.edu c/x:1.sif", "setfattr -n user.sregfs.label.a -v b c/x:1.sif",
	} {
		require.Contains(t, m.Fail(command), "Read-only file system", command)
	}
	require.Equal(t, 1, images(srv.User("")))
}

// TestOtherUsers: without allow_other nobody else gets in; with it others read, and only the owner and root change.
func TestOtherUsers(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := sif(t, 1<<20, 1)
	indextest.Put(t, srv.User(""), "c/x:1", content, nil)
	const nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups "
	place := func(t *testing.T) string {
		t.Helper()
		dir, err := os.MkdirTemp("/tmp", "sregfs-test-") //nolint:usetesting // t.TempDir is closed to others
		require.NoError(t, err)
		require.NoError(t, os.Chmod(dir, 0o755))
		t.Cleanup(func() { require.NoError(t, os.Remove(dir)) })
		return dir
	}
	t.Run("mine alone", func(t *testing.T) {
		m := fstest.Mount(t, srv, fstest.Options{Dir: place(t)})
		require.Contains(t, m.Fail(nobody+"ls "+m.Dir()), "Permission denied")
	})
	t.Run("allow_root", func(t *testing.T) {
		m := fstest.Mount(t, srv, fstest.Options{Dir: place(t), AllowRoot: true})
		require.Contains(t, m.Fail(nobody+"ls "+m.Dir()), "Permission denied")
		m.Sh("ls c")
	})
	t.Run("allow_other", func(t *testing.T) {
		m := fstest.Mount(t, srv, fstest.Options{Dir: place(t), AllowOther: true})
		require.Equal(t, sha(content), strings.Fields(m.Sh(nobody + "sha256sum c/x:1.sif"))[0])
		for _, command := range []string{
			"cp /etc/hostname c/y:1.sif", "cp /etc/hostname c/x:1.sif", "rm -f c/x:1.sif", "mv c/x:1.sif c/y:1.sif", "mkdir d", "touch c/n",
			"setfattr -n user.sregfs.share -v bob@uni.edu c/x:1.sif", "sh -c 'echo bob@uni.edu c/x:1 > .sregfs/share'",
			"setfattr -n user.sregfs.unshare -v bob@uni.edu c/x:1.sif", "setfattr -n user.sregfs.label.a -v b c/x:1.sif", "setfattr -x user.sregfs.label.a c/x:1.sif",
			"setfattr -n user.sregfs.pin -v 1 c/x:1.sif", "setfattr -n user.sregfs.refresh -v 1 c/x:1.sif", "setfattr -n user.sregfs.share -v bob@uni.edu c",
			"getfattr -n user.sregfs.shared c/x:1.sif", "ls .sregfs", "cat .sregfs/status", "cat .sregfs/transfers", "cat .sregfs/images", "cat .sregfs/metrics",
			"cat .sregfs/share", "ls .sregfs/id", "ls .sregfs/meta", "ls .sregfs/drafts", "truncate -s 0 c/x:1.sif", "rmdir c/x:1", "ln c/x:1.sif c/y:1.sif",
			"dd if=/dev/null of=c/x:1.sif conv=notrunc oflag=append",
		} {
			out := m.Fail(nobody + command)
			require.True(t, strings.Contains(out, "Permission denied") || strings.Contains(out, "Operation not permitted"), "%s: %s", command, out)
		}
		require.Equal(t, 1, images(srv.User("")))
		require.Contains(t, m.Sh(nobody+"getfattr -d c/x:1.sif"), "user.sregfs.uri", "what the image says of itself")
		// What the kernel knows from the owner's looking does not help the others.
		m.Sh("cat .sregfs/status .sregfs/images; getfattr -n user.sregfs.shared c/x:1.sif")
		require.Contains(t, m.Fail(nobody+"cat .sregfs/status"), "Permission denied")
	})
}

// TestUnmountWaitsForNobody: what the kernel reads ahead for a program that is gone does not keep the mount when Drive is
// silent.
func TestUnmountWaitsForNobody(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	indextest.Put(t, srv.User(""), "c/x:1", sif(t, 3<<20, 1), nil)
	m := fstest.Mount(t, srv, fstest.Options{Timeout: time.Minute})
	stall := drivetest.On("GET", "/drive/v3/files/*").Query("alt", "media").Stall()
	srv.Fault(stall)
	out, code := m.Try("timeout -s KILL 1 cat c/x:1.sif > /dev/null")
	require.Equal(t, 137, code, "%s", out)
	require.Positive(t, stall.Hits())
	begin := time.Now()
	m.Unmount()
	require.Less(t, time.Since(begin), 8*time.Second, "fstest makes it end by force after 10 s")
}
