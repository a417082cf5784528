package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/index/image/imagetest"
)

func TestShell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu", "SHELL=/bin/bash")
	w.file("i.sif", imagetest.SIF(t, 300_000))
	ann.sregfs("push", "--name", "lab/tool:1", "i.sif").ok(t)
	here := w.dir

	t.Run("of its own", func(t *testing.T) {
		require.Equal(t, "lab\ntool:1\ntool:1.sif\n", ann.sregfs("-q", "shell", "-c", "ls; ls lab").ok(t))
		out := ann.sregfs("shell", "-c", "pwd; cmp \"$IMAGE\" "+here+"/i.sif && echo same", "lab/tool").err
		require.Equal(t, "ERROR image lab/tool does not exist; did you mean lab/tool:1?\n", out, "the tag is latest where none is said")
		out = ann.sregfs("shell", "-c", "pwd; echo $SREGFS_MOUNT; cmp \"$IMAGE\" "+here+"/i.sif && echo same", "lab/tool:1").ok(t)
		require.True(t, strings.HasPrefix(out, "[client|google-drive] [database|badger://"), out)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		require.Equal(t, lines[3]+"/lab", lines[2])
		require.Equal(t, "same", lines[4])
		require.NoDirExists(t, lines[3], "unmounted, and nothing left")
	})
	t.Run("what is pushed in it is in Drive after it", func(t *testing.T) {
		ann.sregfs("shell", "-c", "cp "+here+"/i.sif lab/again:1.sif").ok(t)
		require.Equal(t, 2, images(w))
	})
	t.Run("its exit code", func(t *testing.T) {
		r := ann.sregfs("-q", "shell", "-c", "exit 42")
		require.Equal(t, 42, r.code)
		require.Empty(t, r.err)
	})
	t.Run("where it is mounted already", func(t *testing.T) {
		mnt := ann.mount()
		require.Equal(t, mnt+"\n", ann.sregfs("-q", "shell", "-c", "pwd").ok(t))
		mounted, err := isMountPoint(mnt)
		require.NoError(t, err)
		require.True(t, mounted)
		ann.sregfs("umount", mnt).ok(t)
	})
	t.Run("interrupted, the mount goes too", func(t *testing.T) {
		self, err := os.Executable()
		require.NoError(t, err)
		cmd := exec.CommandContext(t.Context(), self, "-q", "shell", "-c", "echo $SREGFS_MOUNT > "+here+"/where; trap 'exit 7' TERM; while :; do sleep 0.1; done")
		cmd.Env = ann.env()
		require.NoError(t, cmd.Start())
		require.Eventually(t, func() bool { b, _ := os.ReadFile(w.path("where")); return len(b) > 0 }, time.Minute, 20*time.Millisecond)
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		_ = cmd.Wait()
		require.Equal(t, 7, cmd.ProcessState.ExitCode())
		dir, err := os.ReadFile(w.path("where"))
		require.NoError(t, err)
		require.NoDirExists(t, strings.TrimSpace(string(dir)))
	})
	t.Run("without credentials", func(t *testing.T) {
		r := w.as("bob@uni.edu", "SREGISTRY_GOOGLE_DRIVE_CREDENTIALS=").sregfs("shell")
		require.Equal(t, exitSignIn, r.code)
		require.Equal(t, "ERROR You must export SREGISTRY_GOOGLE_DRIVE_CREDENTIALS to use Google Drive client\nhttps://singularityhub.github.io/sregistry-cli/client-google-drive\n", r.err)
	})
}

// Called by the registry tool's name, the program takes what that takes.
func TestAsTheTool(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	w.file("i.sif", imagetest.SIF(t, 300_000))
	run := func(args string) result { return ann.sh("ln -sf \"$SREGFS\" sregistry && ./sregistry " + args) }

	out := run("").ok(t)
	require.True(t, strings.HasPrefix(out, "\nSingularity Registry Global Client v"), out)
	require.Equal(t, "dev\n", run("version").ok(t))
	run("push --name google-drive://vsoch/hello:1 --unknown-flag i.sif").ok(t)
	require.Contains(t, run("search --endpoint somewhere hello").ok(t), "Found 1 containers")
	require.Contains(t, run("--quiet get google_drive://vsoch/hello:1").ok(t), "alt=media")
	require.Contains(t, run("get drive://vsoch/hello:1").ok(t), "alt=media")
	require.Equal(t, exitUsage, run("frobnicate").code)
	require.Equal(t, exitUsage, run("push").code)
	r := run("build x y")
	require.Equal(t, exitError, r.code)
	require.Contains(t, r.err, "ERROR build is not implemented for google-drive")
	require.Contains(t, run("backend ls").ok(t), "google-drive")
	require.Equal(t, exitUsage, ann.sregfs("search", "--unknown-flag").code, "by its own name it is strict")
	require.Contains(t, w.as("ann@uni.edu", "SREGFS_COMPAT=1").sregfs("search", "--unknown-flag").ok(t), "vsoch/hello:1")
}
