package fs_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/indextest"
)

// What TestModel found, made small.

// TestDraftsKeepTheirDirectory: what is written in a collection is listed and can be reached, moved and removed when
// somebody else has taken the last image out of it.
func TestDraftsKeepTheirDirectory(t *testing.T) {
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

// TestDuplicatesGoTogether: files of one name and version show as one, so they are moved and removed as one.
func TestDuplicatesGoTogether(t *testing.T) {
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
