package fs_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/indextest"
)

// requests is how often the kernel has asked the mount something.
func requests(t *testing.T, m *fstest.M) int {
	t.Helper()
	text := m.Sh(`awk '$1 == "sregfs_kernel_requests_total" {print $2}' .sregfs/metrics`)
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// TestFewRequests: the kernel reads ahead in its largest pieces, keeps what it has read when the file is opened again, and
// asks nothing between two writes.
func TestFewRequests(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	const size, piece = 4 << 20, 128 << 10
	indextest.Put(t, srv.User(""), "c/x:1", sif(t, size, 1), nil)
	m := fstest.Mount(t, srv, fstest.Options{Poll: -1})
	asked := func(command string, env ...string) int {
		t.Helper()
		before := requests(t, m)
		m.Sh(command, env...)
		return requests(t, m) - before
	}
	const some = 40 // to walk, open, look at and close, here and for the figure itself
	m.Sh("cat c/x:1.sif > /dev/null")
	m.Sh("dd if=c/x:1.sif iflag=nocache count=0 status=none") // the kernel lets go of its pages
	n := asked("dd if=c/x:1.sif of=/dev/null bs=1M status=none")
	require.GreaterOrEqual(t, n, size/piece)
	require.Less(t, n, size/piece+some)
	require.Less(t, asked("cat c/x:1.sif > /dev/null"), some)
	m.Sh(`cp "$SRC" c/y:1.sif`, "SRC="+local(t, "y", sif(t, 40_000, 2))) // of no concern to x
	require.Less(t, asked("cat c/x:1.sif > /dev/null"), some)

	n = asked("dd if=/dev/zero of=c/draft bs=4k count=100 status=none")
	require.GreaterOrEqual(t, n, 100)
	require.Less(t, n, 100+some)
}

// TestNamesAreKept: who looks at names again does not ask us again, in a directory or from the top.
func TestNamesAreKept(t *testing.T) {
	t.Parallel()
	if linux(t) < 6_016 {
		t.Skip("this kernel cannot be told that all names are to be asked for anew, and asks each time")
	}
	srv := drivetest.NewServer(t, drivetest.Options{})
	const images = 50
	for i := range images {
		indextest.Put(t, srv.User(""), fmt.Sprintf("a/c%d/x%d:1", i%2, i), sif(t, 40_000, uint64(i)), nil)
	}
	m := fstest.Mount(t, srv, fstest.Options{Poll: -1})
	list := "LIST=" + t.TempDir() + "/list"
	m.Sh(`find a -type f > "$LIST"; xargs stat -c %n < "$LIST"`, list)
	before := requests(t, m)
	m.Sh(`for i in 1 2 3 4 5 6 7 8 9 10; do xargs stat -c %s < "$LIST"; done`, list)
	require.Less(t, requests(t, m)-before, images, "for ten looks at each, with three directories above it")
}

// linux is the version of the kernel: 6.16 is 6016.
func linux(t *testing.T) int {
	t.Helper()
	var u unix.Utsname
	require.NoError(t, unix.Uname(&u))
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	require.NoError(t, err)
	return 1000*major + minor
}

// TestKeptNamesChange: a name the kernel was given means something else with the next call after we know of it, whatever
// changed it, under all its spellings; and so does what stat says of the directories it is in.
func TestKeptNamesChange(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	one, two := sif(t, 40_000, 1), sif(t, 50_000, 2)
	indextest.Put(t, user, "a/c/x:latest", one, nil)
	other := indextest.Put(t, user, "a/c/q:1", one, nil)
	gone := indextest.Put(t, user, "a/d/y:1", one, nil)
	m := fstest.Mount(t, srv, fstest.Options{AllowOther: true, Poll: -1})
	const spellings = "a/c/x.sif a/c/x:latest.sif A/C/X:latest.sif"
	sizes := func() string { return strings.ReplaceAll(m.Sh("stat -c %s "+spellings), "\n", " ") }
	is := func(size int) { t.Helper(); require.Equal(t, fmt.Sprintf("%[1]d %[1]d %[1]d", size), sizes()) }
	refresh := func() { t.Helper(); m.Sh("echo > .sregfs/refresh") }
	is(len(one))
	is(len(one))
	times := m.Sh("stat -c %Y . a a/c a/c/x:latest")
	require.Equal(t, times, m.Sh("stat -c %Y . a a/c a/c/x:latest"))
	m.Sh("stat a/d/y:1.sif a/d/y:1 a/d a/c/q:1.sif A/c/Q:1 A/c/Q:1/*")

	// A new version from elsewhere, newer by a day.
	newer := indextest.Put(t, user, "a/c/x:latest", two, nil)
	require.NoError(t, user.Patch(newer.ID, func(f *drivetest.File) { f.Modified = f.Modified.AddDate(0, 0, 1) }))
	refresh()
	is(len(two))
	now := strings.Fields(m.Sh("stat -c %Y . a a/c a/c/x:latest"))
	for i, was := range strings.Fields(times) {
		require.NotEqual(t, was, now[i])
		require.Equal(t, now[0], now[i], "each has the time of the newest image in it")
	}

	// It is removed elsewhere; then here.
	require.NoError(t, user.Patch(newer.ID, func(f *drivetest.File) { f.Trashed = true }))
	refresh()
	is(len(one))
	require.NoError(t, user.Patch(newer.ID, func(f *drivetest.File) { f.Trashed = false }))
	refresh()
	is(len(two))
	m.Sh("rm a/c/x.sif")
	is(len(one))

	// It is written here.
	m.Sh(`cp "$SRC" a/c/x.sif`, "SRC="+local(t, "two", two))
	is(len(two))
	m.Sh("mv a/c/x.sif a/c/z:1.sif && stat a/c/z:1.sif")
	require.Contains(t, m.Fail("stat a/c/x.sif"), "No such file")
	require.Contains(t, m.Fail("stat A/C/X:latest.sif"), "No such file")
	m.Sh("mv a/c/z:1.sif a/c/x.sif")
	require.Contains(t, m.Fail("stat a/c/z:1.sif"), "No such file")
	is(len(two))

	// An image gets another name elsewhere, and a directory goes with its last image.
	require.NoError(t, user.Patch(other.ID, func(f *drivetest.File) { f.Properties["tag"] = "2" }))
	require.NoError(t, user.Patch(gone.ID, func(f *drivetest.File) { f.Trashed = true }))
	refresh()
	for _, name := range []string{"a/c/q:1.sif", "A/c/Q:1", "A/c/Q:1/" + other.MD5 + ".sif", "a/d"} {
		require.Contains(t, m.Fail("stat "+name), "No such file")
	}
	require.Equal(t, strconv.Itoa(len(one)), m.Sh("stat -c %s a/c/q:2.sif"))

	// Directories made and removed here.
	m.Sh("mkdir a/e a/c/w:1 && stat a/e a/c/w:1 && rmdir a/e a/c/w:1")
	require.Contains(t, m.Fail("stat a/e"), "No such file")
	require.Contains(t, m.Fail("stat a/c/w:1"), "No such file")
}
