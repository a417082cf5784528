package fs_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/indextest"
)

// TestKilledDuringARename: a mount that is killed while the kernel holds a directory for a rename, and the directory
// changes on Drive at the same time, ends; and the next one takes its place.
func TestKilledDuringARename(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	file := indextest.Put(t, user, "c/x:1", sif(t, 100_000, 1), nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("cat c/x:1.sif > /dev/null && cp \"$SRC\" c/y.part", "SRC="+local(t, "y", sif(t, 100_000, 2)))
	stall := drivetest.On("PUT", "/upload/*").Stall()
	srv.Fault(stall)
	renamed := make(chan struct{})
	go func() { // ends with the mount
		defer close(renamed)
		m.Try("mv c/y.part c/y:1.sif")
	}()
	indextest.Eventually(t, func() bool { return stall.Hits() > 0 }, "it is being pushed")
	require.NoError(t, user.Patch(file.ID, func(f *drivetest.File) { f.Properties["tag"] = "2" }))
	require.Eventually(t, func() bool {
		out, _ := m.Try(`grep -ic '"tag": *"2"' .sregfs/images`)
		return out == "1\n"
	}, 20*time.Second, 50*time.Millisecond, "the mount knows")

	killed := make(chan struct{})
	go func() {
		defer close(killed)
		m.Kill()
	}()
	select {
	case <-killed:
	case <-time.After(20 * time.Second):
		m.Abort() // or this test would never end either
		t.Fatal("kill -9 did not end the mount")
	}
	<-renamed
	srv.ClearFaults()
	m.Remount()
	indextest.Eventually(t, func() bool { return images(user) == 2 }, "the push goes on")
	m.Sh("cat c/x:2.sif c/y:1.sif > /dev/null")
}
