package main

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index"
	"sregfs/index/image/imagetest"
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
	require.Contains(t, r.err, "the mount at "+hangs+" does not answer")
	require.Contains(t, r.out, works+"\n  account   bob@uni.edu\n")
	require.Contains(t, r.out, "\n  drafts    1 file")
	require.Contains(t, bob.sregfs("status", works).ok(t), "bob@uni.edu")
}

// What was asked of Drive is said, by what it was for, and for the images that are open.
func TestStatusSaysWhatWasFetched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	require.NoError(t, os.WriteFile(w.path("x.sif"), imagetest.SIF(t, 1<<20), 0o600))
	ann.sh("$SREGFS push --name lab/x:1 x.sif").ok(t)
	require.NoError(t, os.RemoveAll(w.path("state", "ann@uni.edu", "blocks")))
	mnt := ann.mount()
	out := ann.sh("exec 3<" + mnt + "/lab/x:1.sif; cat <&3 >/dev/null; $SREGFS status").ok(t)
	require.Regexp(t, `\n  fetched   \d+ requests?, 1\.0 MiB \(`, out)
	require.Regexp(t, `\n  open      lab/x:1\S*, 1\.0 MiB of 1\.0 MiB here; \d+ requests?`, out)
}

// TestUmountBusy: a mount that is in use says so and stays, unless it is to go all the same.
func TestUmountBusy(t *testing.T) {
	t.Parallel()
	ann := newWorld(t).as("ann@uni.edu")
	mnt := ann.mount()
	oneLine(t, ann.sh("cd "+mnt+"; $SREGFS umount "+mnt), exitConflict, "busy", "--lazy")
	ann.sh("ls " + mnt).ok(t)
	ann.sh("cd " + mnt + "; $SREGFS umount --lazy " + mnt).ok(t)
}

// On a machine of many, each hears of their own mounts.
func TestStatusLeavesTheMountsOfOthersOut(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("becoming another user needs root")
	}
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	mnt := ann.mount()
	public, err := os.MkdirTemp("/tmp", "sregfs-test-") //nolint:usetesting // t.TempDir is closed to others
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(public)) })
	require.NoError(t, os.Chmod(public, 0o755))
	r := ann.sh("cp $SREGFS " + public + "/sregfs && chmod 755 " + public + "/sregfs && cd / && HOME=/nowhere setpriv --reuid=65534 --regid=65534 --clear-groups " +
		"env -u SREGFS_STATE_DIR " + public + "/sregfs status")
	require.Zero(t, r.code, r.err)
	require.NotContains(t, r.out+r.err, mnt)
	require.Contains(t, ann.sregfs("status").ok(t), mnt)
}
