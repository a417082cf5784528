package main

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index"
)

// TestStatus: a mount that hangs is named and does not hide the others; files that are no images are counted.
func TestStatus(t *testing.T) {
	w := newWorld(t)
	ann, bob := w.as("ann@uni.edu"), w.as("bob@uni.edu")
	hangs, works := ann.mount(), bob.mount()
	bob.sh("mkdir " + works + "/c; echo note > " + works + "/c/note.txt").ok(t)
	holder, held := index.Holder(w.path("state", "ann@uni.edu"))
	require.True(t, held)
	require.NoError(t, syscall.Kill(holder.PID, syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(holder.PID, syscall.SIGCONT) })

	r := bob.sregfs("status")
	require.Equal(t, exitError, r.code)
	require.Contains(t, r.err, hangs+" does not answer as a mount of sregfs")
	require.Contains(t, r.out, works+"\n  account   bob@uni.edu\n")
	require.Contains(t, r.out, "\n  drafts    1 file")
	require.Contains(t, bob.sregfs("status", works).ok(t), "bob@uni.edu")
}

// TestUmountBusy: a mount that is in use says so and stays, unless it is to go all the same.
func TestUmountBusy(t *testing.T) {
	ann := newWorld(t).as("ann@uni.edu")
	mnt := ann.mount()
	oneLine(t, ann.sh("cd "+mnt+"; $SREGFS umount "+mnt), exitConflict, "busy", "--lazy")
	ann.sh("ls " + mnt).ok(t)
	ann.sh("cd " + mnt + "; $SREGFS umount --lazy " + mnt).ok(t)
}
