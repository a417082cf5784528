package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image/imagetest"
)

// Of a link the image is taken that it leads to: the link alone would lead
// nowhere from the storage, and what it leads to is not the link's to give away.
func TestAddLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	data := imagetest.SIF(t, 100_000)
	w.file("i.sif", data)
	require.NoError(t, os.Symlink("i.sif", w.path("link.sif")))

	ann.sregfs("add", "--name", "lab/x:1", "link.sif").ok(t)
	place := strings.TrimSpace(ann.sregfs("get", "lab/x:1").ok(t))
	fi, err := os.Lstat(place)
	require.NoError(t, err)
	require.True(t, fi.Mode().IsRegular(), fi.Mode())
	got, err := os.ReadFile(place)
	require.NoError(t, err)
	require.Equal(t, data, got)
	require.NoFileExists(t, w.path("link.sif"), "moved")
	require.FileExists(t, w.path("i.sif"))
}

// What Drive cannot hold a mount's verb refuses as one without a mount does, and
// leaves nothing in the mount that would be in the way of a later push.
func TestPushNameTooLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	w.file("i.sif", imagetest.SIF(t, 100_000))
	name := strings.Repeat("a", 110) + "/b"
	want := ann.sregfs("-q", "push", "--name", name, "i.sif")
	oneLine(t, want, exitError, "has 119 bytes", "at most 80 fit", "cut 39")
	mnt := ann.mount()
	require.Equal(t, want, ann.sregfs("-q", "push", "--name", name, "i.sif"))
	require.NoDirExists(t, mnt+"/"+strings.Repeat("a", 110))
	require.Contains(t, ann.sregfs("search").ok(t), "No containers found")
}
