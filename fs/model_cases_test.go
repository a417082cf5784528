package fs_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/indextest"
)

// What TestModel found, made small.

// TestDraftsKeepTheirDirectory: what is written in a collection is listed and can be reached, moved and removed when
// somebody else has taken the last image out of it.
func TestDraftsKeepTheirDirectory(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	files := []drivetest.File{
		indextest.Put(t, user, "c/n/x:1", sif(t, 60_000, 1), nil), indextest.Put(t, user, "d/x:1", sif(t, 60_000, 2), nil),
	}
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("echo one > c/n/notes.txt; echo two > d/x:1/notes.txt")
	for _, f := range files {
		require.NoError(t, user.Patch(f.ID, func(f *drivetest.File) { f.Trashed = true }))
	}
	m.Sh("echo now > .sregfs/refresh")
	const both = "c\nc/n\nc/n/notes.txt\nd\nd/x:1\nd/x:1/notes.txt"
	require.Equal(t, both, m.Sh("find * | sort"))
	m.Unmount()
	m.Remount()
	require.Equal(t, both, m.Sh("find * | sort"))
	m.Sh("mkdir c/m && rmdir c/m && mv c e && mv d f")
	require.Equal(t, "e\ne/n\ne/n/notes.txt\nf\nf/x:1\nf/x:1/notes.txt", m.Sh("find * | sort"))
	require.Equal(t, "one\ntwo", m.Sh("cat e/n/notes.txt f/x:1/notes.txt"))
	m.Sh("rm -r e f")
	require.Empty(t, m.Sh("ls -A; ls .sregfs/drafts"))
}

// TestTheLastDraftLeavesItsDirectory: rm -r and rmdir find the directories of the drafts they remove, though somebody else
// has taken the last image out.
func TestTheLastDraftLeavesItsDirectory(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	var files []drivetest.File
	for i, tag := range []string{"c/n/x:1", "d/x:1", "e/x:1"} {
		files = append(files, indextest.Put(t, user, tag, sif(t, 60_000, uint64(i)), nil))
	}
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("echo one > c/n/notes.txt; echo two > d/x:1/notes.txt; echo three > e/notes.txt")
	for _, f := range files {
		require.NoError(t, user.Patch(f.ID, func(f *drivetest.File) { f.Trashed = true }))
	}
	m.Sh("echo now > .sregfs/refresh; rm -r c d; mv e/notes.txt . && rmdir e")
	require.Equal(t, "notes.txt", m.Sh("ls -A"))
}

// TestAnEmptiedDirectoryMovesAlong: a directory that lost its last image here is kept until the mount ends, or until its
// collection moves: in the new place it is a directory like one made by mkdir, and remembered.
func TestAnEmptiedDirectoryMovesAlong(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	for i, tag := range []string{"c/n/y:1", "c/x:1", "e/m/y:1", "e/x:1"} {
		indextest.Put(t, srv.User(""), tag, sif(t, 60_000, uint64(i)), nil)
	}
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("rm c/n/y:1.sif e/m/y:1.sif; test -d c/n; test -d e/m; mv -T c d")
	require.Equal(t, "n\nx:1\nx:1.sif", m.Sh("ls d"))
	m.Kill()
	m.Remount()
	require.Equal(t, "d\nd/n\nd/x:1\nd/x:1.sif\ne\ne/x:1\ne/x:1.sif", m.Sh("find * -not -path '*:1/*' | sort"))
	m.Sh("rmdir d/n")
	m.Kill()
	m.Remount()
	require.Equal(t, "x:1\nx:1.sif", m.Sh("ls d"))
}

// TestDuplicatesGoTogether: files of one name and version show as one, so they are moved and removed as one.
func TestDuplicatesGoTogether(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	content := sif(t, 60_000, 1)
	var files []drivetest.File
	for range 3 {
		files = append(files, indextest.Put(t, user, "c/x:1", content, nil))
	}
	other := indextest.Put(t, user, "c/x:1", sif(t, 60_000, 2), nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("mv c/x:1.sif c/y:1.sif")
	require.Equal(t, "y:1\ny:1.sif", m.Sh("ls c"))
	m.Sh("mv -T c/y:1 c/z:1 && cmp c/z:1.sif c/z:1/" + other.MD5 + ".sif")
	require.Equal(t, "z:1\nz:1.sif", m.Sh("ls c"))
	m.Sh("rm c/z:1/" + files[0].MD5 + ".sif")
	require.Equal(t, other.MD5+".sif", m.Sh("ls c/z:1"))
	for _, f := range files {
		now, ok := user.File(f.ID)
		require.True(t, ok && now.Trashed, "in the bin, from where it can be had again")
	}
	for range 2 {
		indextest.Put(t, user, "d/x:1", content, nil)
	}
	m.Sh("echo now > .sregfs/refresh; rm -r c d")
	require.Empty(t, m.Sh("ls"))
}

// TestReplacedByRemovingFirst: programs that remove a name and make it anew, if it is not there, do not meet the version
// before the one they removed. Others see that one meanwhile, as after any rm.
func TestReplacedByRemovingFirst(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	m := fstest.Mount(t, srv, fstest.Options{})
	for i, command := range []string{
		`install -m 755 "$SRC" c/x:1.sif`,
		`cp "$SRC" "$SRC.moved" && mv "$SRC.moved" c/x:1.sif`,
		`cp --remove-destination "$SRC" c/x:1.sif`,
		`python3 -c 'import os, sys
os.unlink("c/x:1.sif")
assert not os.path.exists("c/x:1.sif")
fd = os.open("c/x:1.sif", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
os.write(fd, open(sys.argv[1], "rb").read())
os.close(fd)' "$SRC"`,
		`cp "$SRC" c/.part; python3 -c 'import os
os.unlink("c/x:1.sif")
os.rename("c/.part", "c/x:1.sif")
os.stat("c/x:1.sif")'`,
		// Threads of one program: one removes, another makes, and the first one finds it.
		`python3 -c 'import os, shutil, sys, threading
os.unlink("c/x:1.sif")
t = threading.Thread(target=shutil.copy, args=(sys.argv[1], "c/x:1.sif"))
t.start(); t.join()
os.stat("c/x:1.sif")' "$SRC"`,
	} {
		indextest.Put(t, user, "c/x:1", sif(t, 60_000, uint64(10*i+1)), nil)
		indextest.Put(t, user, "c/x:1", sif(t, 60_000, uint64(10*i+2)), nil)
		m.Sh("echo now > .sregfs/refresh")
		src := local(t, "src", sif(t, 60_000, uint64(10*i+3)))
		m.Sh(`cp "$SRC" "$SRC.copy" && `+command+` && cmp "$SRC.copy" c/x:1.sif`, "SRC="+src)
		before := local(t, "before", sif(t, 60_000, uint64(10*i+1)))
		m.Sh(`rm c/x:1.sif && cmp "$BEFORE" c/x:1.sif`, "BEFORE="+before)
	}
}

// TestAVersionsNameGoesBeforeADigest: a file whose content was replaced keeps the name of its version, and another one
// that has this for its digest does not take it.
func TestAVersionsNameGoesBeforeADigest(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	one, two := sif(t, 60_000, 1), sif(t, 61_000, 2)
	first := indextest.Put(t, user, "c/x:1", one, nil)
	require.NoError(t, user.Replace(first.ID, bytes.NewReader(two)))
	later := indextest.Put(t, user, "c/x:1@named", one, nil)
	require.NoError(t, user.Patch(later.ID, func(f *drivetest.File) { f.Modified = time.Now().Add(time.Minute) }))
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("cmp c/x:1/"+md5sum(one)+".sif $TWO && cmp c/x:1/named.sif $ONE && cmp c/x:1.sif $ONE", "ONE="+local(t, "one", one), "TWO="+local(t, "two", two))
}

// TestAVersionByItsNameKeepsIt: an image that was uploaded by hand, with a version in its name, is still called so when its
// bytes are pushed once more.
func TestAVersionByItsNameKeepsIt(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	content := sif(t, 60_000, 1)
	indextest.PutRaw(t, user, drivetest.File{Name: "c/x:1@named.sif", Properties: map[string]string{"type": "container"}}, content)
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("cp $SRC c/x:1.sif", "SRC="+local(t, "src", content))
	require.Equal(t, "named.sif", m.Sh("ls c/x:1"))
}
