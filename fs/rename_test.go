package fs_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/indextest"
)

// TestRename: mv retags, and sends no bytes.
func TestRename(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	one, two := sif(t, 1<<20, 1), sif(t, 1<<20, 2)
	for _, c := range []struct{ name, command, tree string }{
		{"a file to another tag", "mv c/x:1.sif c/x:2.sif", "c/x:2.sif=1 c/x:2/1 c/y:1.sif=2 c/y:1/2"},
		{"a file to another collection", "mkdir d; mv c/x:1.sif d/", "c/y:1.sif=2 c/y:1/2 d/x:1.sif=1 d/x:1/1"},
		{"a file to the library", "mv c/x:1.sif .", "c/y:1.sif=2 c/y:1/2 library/x:1.sif=1 library/x:1/1"},
		{"a file onto another", "mv c/x:1.sif c/y:1.sif", "c/y:1.sif=1 c/y:1/1 c/y:1/2"},
		{"a version into another tag", "mv c/x:1/*.sif c/y:1/", "c/y:1.sif=1 c/y:1/1 c/y:1/2"},
		{"a version to a tag's file", "mv c/x:1/*.sif c/z:9.sif", "c/y:1.sif=2 c/y:1/2 c/z:9.sif=1 c/z:9/1"},
		{"a tag's directory", "mv c/x:1 c/z:7", "c/y:1.sif=2 c/y:1/2 c/z:7.sif=1 c/z:7/1"},
		{"a tag's directory to another collection", "mkdir d; mv c/x:1 d/", "c/y:1.sif=2 c/y:1/2 d/x:1.sif=1 d/x:1/1"},
		{"a collection", "mv c d", "d/x:1.sif=1 d/x:1/1 d/y:1.sif=2 d/y:1/2"},
		{"a collection into another", "mkdir d; mv c d/", "d/c/x:1.sif=1 d/c/x:1/1 d/c/y:1.sif=2 d/c/y:1/2"},
		{"upper case", "mv c/X:1.sif c/Z:1.sif", "c/y:1.sif=2 c/y:1/2 c/z:1.sif=1 c/z:1/1"},
		{"and write to the new name", "mv c/x:1.sif c/z:1.sif; cp $TWO c/z:1.sif", "c/y:1.sif=2 c/y:1/2 c/z:1.sif=2 c/z:1/1 c/z:1/2"},
		{"and write to the old name", "mv c/x:1.sif c/z:1.sif; cp $TWO c/x:1.sif", "c/x:1.sif=2 c/x:1/2 c/y:1.sif=2 c/y:1/2 c/z:1.sif=1 c/z:1/1"},
		{"there and back", "mv c/x:1.sif c/z:1.sif; mv c/z:1.sif c/x:1.sif", "c/x:1.sif=1 c/x:1/1 c/y:1.sif=2 c/y:1/2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			indextest.Put(t, user, "c/x:1", one, nil)
			indextest.Put(t, user, "c/y:1", two, nil)
			m := fstest.Mount(t, srv, fstest.Options{})
			m.Sh("cat c/*.sif > /dev/null") // the kernel knows every entry
			srv.ResetRequests()
			m.Sh(c.command, "TWO="+local(t, "two", two))
			require.Zero(t, uploads(srv))
			require.Equal(t, strings.Split(c.tree, " "), tree(m, one, two))
			indextest.Eventually(t, func() bool { return strings.Join(tree(m, one, two), " ") == c.tree }, "and it stays so")
			m.Unmount()
			m.Remount()
			require.Equal(t, strings.Split(c.tree, " "), tree(m, one, two), "after a remount")
			m.Sh("rm -r *")
			require.Zero(t, images(user))
		})
	}
}

// tree lists the images in a mount: "c/x:1.sif=1" for a tag's file with the first content, "c/x:1/1" for a version.
func tree(m *fstest.M, contents ...[]byte) []string {
	text := m.Sh(`find . -name '*.s*if*' -type f | sort | sed 's#^\./##' | xargs -r sha256sum`)
	for i, content := range contents {
		n := string(rune('1' + i))
		text = strings.ReplaceAll(text, sha(content), n)
		text = strings.ReplaceAll(text, "/"+md5sum(content)+".sif", "/"+n)
	}
	var all []string
	for line := range strings.Lines(text) {
		number, path, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if strings.HasSuffix(path, ".sif") {
			path += "=" + number
		}
		all = append(all, path)
	}
	return all
}

// TestRenameRefused: what cannot be a name says so, and nothing moves.
func TestRenameRefused(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := sif(t, 1<<20, 1)
	indextest.Put(t, srv.User(""), "c/x:1", content, nil)
	indextest.Put(t, srv.User(""), "d/y:1", content, nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	rename := `python3 -c 'import os, sys; os.rename(sys.argv[1], sys.argv[2])' `
	for _, c := range []struct{ from, to, errno string }{
		{"c/x:1.sif", "c/notes.txt", "Operation not permitted"},
		{"c/x:1.sif", "c/a:b:c.sif", "Operation not permitted"},
		{"c/x:1.sif", "c/x:" + strings.Repeat("t", 120) + ".sif", "File name too long"},
		{"c/x:1.sif", ".sregfs/x:1.sif", "Read-only file system"},
		{"c/x:1", "c/plain", "Operation not permitted"},
		{"c/x:1", "d/y:1", "Directory not empty"},
		{"c", "d", "Directory not empty"},
		{"c", "d:1", "Operation not permitted"},
		{"c", "shared-with-me", "Directory not empty"},
		{".sregfs/status", "c/x.txt", "Read-only file system"},
		{"c/none:1.sif", "c/x:2.sif", "No such file or directory"},
	} {
		out := m.Fail(rename + c.from + " " + c.to)
		if c.to != "shared-with-me" {
			require.Contains(t, out, c.errno, "%s -> %s", c.from, c.to)
		}
	}
	require.Equal(t, []string{"c/x:1.sif=1", "c/x:1/1", "d/y:1.sif=1", "d/y:1/1"}, tree(m, content))
}

// TestRenameHalf: half an image does not become one by its name.
func TestRenameHalf(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{})
	content := sif(t, 1<<20, 1)
	m.Sh("mkdir c; cp " + local(t, "half", content[:500_000]) + " c/x.part")
	require.Contains(t, m.Fail("mv c/x.part c/x:1.sif"), "No data available")
	require.Equal(t, "x.part", m.Sh("ls c"))
	m.Sh("tail -c +500001 " + local(t, "src", content) + " >> c/x.part; mv c/x.part c/x:1.sif")
	requireOnDrive(t, srv.User(""), "c/x:1", content)
}

// TestRemove: rm trashes, one version at a time, and rm -r takes everything in whichever order.
func TestRemove(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	one, two := sif(t, 300_000, 1), sif(t, 300_000, 2)
	m := fstest.Mount(t, srv, fstest.Options{})
	fill := func() {
		m.Sh("mkdir -p c/d; cp $ONE c/x:1.sif; sleep 0.02; cp $TWO c/x:1.sif; cp $ONE c/y:1.sif; cp $ONE c/d/z:1.sif; echo note > c/note.txt",
			"ONE="+local(t, "one", one), "TWO="+local(t, "two", two))
		require.Equal(t, 4, images(user))
	}
	fill()
	m.Sh("rm c/x:1.sif")
	require.Equal(t, sha(one), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0], "the version before it is the newest")
	m.Sh("rm c/x:1/*")
	m.Sh("test ! -e c/x:1.sif")
	require.Equal(t, "d\nnote.txt\ny:1\ny:1.sif", m.Sh("ls c"))
	require.Contains(t, m.Fail("rmdir c"), "Directory not empty")
	require.Contains(t, m.Fail("rmdir c/y:1"), "Directory not empty")
	m.Sh("rm -r c")
	for _, command := range []string{
		"rm -r c", "rm -r c/*; rmdir c", "find c -delete", "rm -r c/x:1 c/x:1.sif c/y:1 c/y:1.sif c/d c/note.txt; rmdir c",
		"rm -r c/x:1.sif c/x:1 c/y:1.sif c/y:1 c/note.txt c/d; rmdir c", "rm -rf c",
		"python3 -c 'import shutil; shutil.rmtree(\"c\")'",
	} {
		fill()
		m.Sh(command)
		require.Empty(t, m.Sh("ls"), command)
		require.Zero(t, images(user), command)
	}
	for _, f := range user.Files() {
		if f.Properties["type"] == "container" {
			require.True(t, f.Trashed, "rm trashes, it does not delete")
		}
	}
	require.Empty(t, m.Sh("ls .sregfs/drafts"))
}

// TestMkdir: directories are remembered, and a tag's directory takes versions.
func TestMkdir(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("mkdir -p a/b/c; mkdir a/x:1; test -d a/x:1; test -d A/X:1")
	m.Unmount()
	m.Remount()
	require.Equal(t, "a\na/b\na/b/c\na/x:1", m.Sh("find * | sort"))
	for _, c := range []struct{ command, errno string }{
		{"mkdir a", "File exists"}, {"mkdir a/x:1", "File exists"}, {"mkdir none/b", "No such file"}, {"mkdir a/x.sif", "Invalid argument"},
		{"mkdir x:1", "Operation not permitted"}, {"mkdir a/x:1/b", "Read-only file system"}, {"mkdir .sregfs", "File exists"},
		{"mkdir shared-with-me", "File exists"}, {"mkdir .hidden", "Invalid argument"}, {"mkdir a/" + strings.Repeat("x", 256), "File name too long"},
		{"rmdir a", "Directory not empty"}, {"rmdir none", "No such file"}, {"mkdir .sregfs/x", "Read-only file system"},
	} {
		require.Contains(t, m.Fail(c.command), c.errno, c.command)
	}
	m.Sh("rmdir a/x:1 a/b/c a/b a")
	require.Empty(t, m.Sh("ls"))
}
