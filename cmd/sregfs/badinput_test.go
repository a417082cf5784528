package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
)

func TestBadCredentials(t *testing.T) {
	t.Parallel()
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		nobody := w.as("ann@uni.edu", "SREGISTRY_GOOGLE_DRIVE_CREDENTIALS=")
		mnt := w.path("mnt")
		require.NoError(t, os.Mkdir(mnt, 0o755))
		for _, args := range [][]string{{"search"}, {"mount", mnt}, {"login"}, {"share", "--email", "bob@uni.edu", "a/b"}} {
			r := nobody.sregfs(append([]string{"-q"}, args...)...)
			require.Equal(t, exitSignIn, r.code, args)
			require.Equal(t, "ERROR You must export SREGISTRY_GOOGLE_DRIVE_CREDENTIALS to use Google Drive client\n"+
				"https://singularityhub.github.io/sregistry-cli/client-google-drive\n", r.err, args)
		}
		notMounted(t, mnt)
	})
	for name, text := range map[string]string{"broken": "{", "empty": "", "another kind": `{"some": "thing"}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			file := w.file("secrets.json", []byte(text))
			oneLine(t, w.as("ann@uni.edu", "SREGISTRY_GOOGLE_DRIVE_CREDENTIALS="+file).sregfs("-q", "search"), exitSignIn, file)
		})
	}
	t.Run("missing file", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		oneLine(t, w.as("ann@uni.edu", "SREGISTRY_GOOGLE_DRIVE_CREDENTIALS=/no/such.json").sregfs("-q", "search"), exitSignIn, "/no/such.json")
	})
	t.Run("never signed in", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		oneLine(t, w.as("ann@uni.edu", "SREGFS_TOKEN="+w.path("no-token")).sregfs("-q", "search"), exitSignIn, "sregfs login")
	})
	t.Run("expired grant", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.srv.User("ann@uni.edu").RevokeTokens()
		mnt := w.path("mnt")
		require.NoError(t, os.Mkdir(mnt, 0o755))
		oneLine(t, w.as("ann@uni.edu").sregfs("mount", mnt), exitSignIn, "sregfs login")
		notMounted(t, mnt)
	})
}

func TestExpiredGrantOnAWarmState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	ann.sregfs("push", "--name", "c/i:t", w.file("i.sif", imagetest.SIF(t, 300_000))).ok(t)
	w.srv.User("ann@uni.edu").RevokeTokens()
	mnt := ann.mount()
	require.Equal(t, "i:t\ni:t.sif\n", ann.sh("ls "+mnt+"/c").ok(t), "the tree lists without a grant")
	// What was pushed from here is in the cache: it is read without a grant too.
	ann.sh("cmp i.sif " + mnt + "/c/i:t.sif").ok(t)
	require.Contains(t, ann.sh("cp i.sif "+mnt+"/c/new:1.sif; echo $?").err, "Key has expired")
}

func TestBadMountPoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	mnt := ann.mount()
	other := w.as("bob@uni.edu")
	full := w.path("full")
	require.NoError(t, os.MkdirAll(filepath.Join(full, "something"), 0o755))
	inside := w.path("state", "bob@uni.edu", "inside")
	require.NoError(t, os.MkdirAll(inside, 0o755))
	file := w.file("file", nil)

	oneLine(t, other.sregfs("mount", w.path("missing")), exitNotFound, w.path("missing"), "mkdir")
	oneLine(t, other.sregfs("mount", full), exitConflict, full, "not empty")
	oneLine(t, other.sregfs("mount", inside), exitError, "state directory")
	oneLine(t, other.sregfs("mount", mnt), exitConflict, mnt)
	oneLine(t, other.sregfs("mount", file), exitError, file, "directory")
	empty := w.path("empty")
	require.NoError(t, os.Mkdir(empty, 0o755))
	oneLine(t, ann.sregfs("mount", empty), exitInUse, mnt)
	notMounted(t, empty)
	for _, dir := range []string{full, inside, empty} {
		notMounted(t, dir)
	}
	require.Empty(t, ann.sh("ls "+mnt).ok(t), "the first mount goes on")
}

func TestMountRefusedByTheHelper(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, os.MkdirAll(w.path("bin"), 0o755))
	require.NoError(t, os.WriteFile(w.path("bin", "fusermount3"), []byte("#!/bin/sh\necho 'fusermount3: user has no write access to mountpoint' >&2\nexit 1\n"), 0o755))
	mnt := w.path("mnt")
	require.NoError(t, os.Mkdir(mnt, 0o755))
	oneLine(t, w.as("ann@uni.edu", "PATH="+w.path("bin")+":"+os.Getenv("PATH")).sregfs("mount", mnt), exitError, mnt, "no write access to mountpoint")
	notMounted(t, mnt)
}

func TestBadUsage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	for _, args := range []string{"frobnicate", "mount", "pull", "push x.sif", "--timeout 0s search", "mount -o frob /tmp", "mount --push never /tmp",
		"mount --cache-size many /tmp", "share a/b", "search --no-such-flag", "push --name a:b:c:d/e i.sif"} {
		t.Run(args, func(t *testing.T) {
			r := ann.sregfs(strings.Fields(args)...)
			require.Equal(t, exitUsage, r.code, r.err)
			require.Contains(t, r.err, "ERROR ")
		})
	}
}

func TestBadNamesAndFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	sif := imagetest.SIF(t, 1<<20)
	whole, half := w.file("whole.sif", sif), w.file("half.sif", sif[:len(sif)/2])
	empty := w.file("empty.sif", nil)
	ann.sregfs("push", "--name", "c/one:1", whole).ok(t)

	oneLine(t, ann.sregfs("-q", "push", "--name", "c/i:t", "no-such.sif"), exitError, "no-such.sif does not exist")
	oneLine(t, ann.sregfs("-q", "push", "--name", "c/i:t", w.dir), exitError, w.dir)
	oneLine(t, ann.sregfs("-q", "push", "--name", "c/i:t", half), exitPartial, half)
	oneLine(t, ann.sregfs("-q", "push", "--name", "c/i:t", empty), exitPartial, empty)
	oneLine(t, ann.sregfs("-q", "push", "--name", "c/"+strings.Repeat("long", 25)+":t", whole), exitUsage, "bytes")
	oneLine(t, ann.sregfs("-q", "pull", "c/nothing"), exitNotFound, "c/nothing")
	oneLine(t, ann.sregfs("-q", "get", "c/on"), exitNotFound, "c/on")
	oneLine(t, ann.sregfs("-q", "pull", "--name", whole+"2", "c/one:10"), exitNotFound, "c/one:10")
	w.file("there.sif", []byte("mine"))
	oneLine(t, ann.sregfs("-q", "pull", "--name", w.path("there.sif"), "c/one:1"), exitConflict, "--force")
	oneLine(t, ann.sregfs("-q", "share", "--email", "not an address", "c/one:1"), exitError, "not an address")
	require.Equal(t, 1, images(w))

	mnt := ann.mount()
	for name, test := range map[string]struct{ script, text string }{
		"half image": {"cp half.sif %/c/half:1.sif", "Invalid argument"},
		"bad name":   {"cp whole.sif '%/c/a:b:c.sif'", "Invalid argument"},
		"too long":   {"cp whole.sif %/c/" + strings.Repeat("long", 25) + ":t.sif", "File name too long"},
		"symlink":    {"ln -s whole.sif %/c/link:1.sif", "Operation not permitted"},
		"hard link":  {"ln %/c/one:1.sif %/c/link:1.sif", "Operation not permitted"},
		"device":     {"mknod %/c/null:1.sif c 1 3", "Operation not permitted"},
		"bad mail":   {"setfattr -n user.sregfs.share -v nonsense %/c/one:1.sif", "Invalid argument"},
	} {
		t.Run(name, func(t *testing.T) {
			r := ann.sh(strings.ReplaceAll(test.script, "%", mnt))
			require.NotZero(t, r.code)
			require.Contains(t, r.err, test.text)
		})
	}
	require.Equal(t, 1, images(w), "nothing of it reached Drive")
	// The half is kept, listed, and can be completed.
	require.Contains(t, ann.sh("ls "+mnt+"/.sregfs/drafts "+mnt+"/c").ok(t), "half:1")
	ann.sh(fmt.Sprintf("cp half.sif %[1]s/c/later:1.sif; tail -c +%[2]d whole.sif | dd of=%[1]s/c/later:1.sif bs=64k seek=%[3]d oflag=seek_bytes conv=notrunc",
		mnt, len(sif)/2+1, len(sif)/2)).ok(t)
	ann.sh("cmp whole.sif " + mnt + "/c/later:1.sif").ok(t)
	require.Equal(t, 2, images(w))
}

func TestUnreachableDrive(t *testing.T) {
	t.Parallel()
	t.Run("at mount, nothing known", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		mnt := w.path("mnt")
		require.NoError(t, os.Mkdir(mnt, 0o755))
		nowhere := w.as("ann@uni.edu", "SREGFS_DRIVE_URL=http://127.0.0.1:1")
		oneLine(t, nowhere.sregfs("--timeout", "2s", "mount", mnt), exitNetwork)
		notMounted(t, mnt)
	})
	t.Run("at mount, registry known", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.as("ann@uni.edu").sregfs("push", "--name", "c/i:t", w.file("i.sif", imagetest.SIF(t, 300_000))).ok(t)
		nowhere := w.as("ann@uni.edu", "SREGFS_DRIVE_URL=http://127.0.0.1:1")
		mnt := nowhere.mount("--timeout", "2s")
		require.Equal(t, "i:t\ni:t.sif\n", nowhere.sh("ls "+mnt+"/c").ok(t))
	})
	t.Run("during a read", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.as("bob@uni.edu").sregfs("search").ok(t)
		w.as("ann@uni.edu").sregfs("push", "--name", "c/i:t", w.file("i.sif", imagetest.SIF(t, 300_000))).ok(t)
		require.NoError(t, os.RemoveAll(w.path("state", "ann@uni.edu")))
		ann := w.as("ann@uni.edu")
		mnt := ann.mount("--timeout", "2s")
		w.srv.Fault(drivetest.On("GET", "/drive/v3/files/*").Query("alt", "media").Cut(0))
		r := ann.sh("cat " + mnt + "/c/i:t.sif > out")
		require.NotZero(t, r.code)
		require.NotContains(t, r.err, "Input/output error")
		w.srv.ClearFaults()
		ann.sh("cmp i.sif " + mnt + "/c/i:t.sif").ok(t)
	})
}

func TestKilledMountAndAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	w.file("i.sif", imagetest.SIF(t, 300_000))
	mnt := ann.mount()
	ann.sh("mkdir " + mnt + "/c && cp i.sif " + mnt + "/c/i:t.sif && cp i.sif " + mnt + "/c/notes.txt").ok(t)
	holder, held := index.Holder(w.path("state", "ann@uni.edu"))
	require.True(t, held)
	require.NoError(t, syscall.Kill(holder.PID, syscall.SIGKILL))
	w.released("ann@uni.edu")
	ann.sregfs("mount", mnt).ok(t)
	ann.sh("cmp i.sif " + mnt + "/c/i:t.sif && cmp i.sif " + mnt + "/c/notes.txt").ok(t)
	ann.sregfs("umount", mnt).ok(t)
	notMounted(t, mnt)
}

func TestUmountWaitsForPushes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	w.file("i.sif", imagetest.SIF(t, 4<<20))
	mnt := ann.mount("--push", "background")
	w.srv.SetShape(drivetest.Shape{PerConnection: 4 << 20})
	ann.sh("mkdir " + mnt + "/c && cp i.sif " + mnt + "/c/i:t.sif").ok(t)
	ann.sregfs("umount", mnt).ok(t)
	require.Equal(t, 1, images(w))
	notMounted(t, mnt)
}

// Whoever waits for a push that cannot go on is told why, and what else there is.
func TestUmountSaysWhatAPushWaitsFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	w.file("i.sif", imagetest.SIF(t, 300_000))
	mnt := ann.mount("--timeout", "2s")
	w.srv.Fault(drivetest.On("GET", "/drive/v3/files/generateIds").Status(503, "backendError"))
	require.NotZero(t, ann.sh("mkdir "+mnt+"/c && cp i.sif "+mnt+"/c/i:t.sif").code)
	r := ann.sh("$SREGFS umount " + mnt + ` 2> said & pid=$!
for i in $(seq 1200); do grep -q -e --no-wait said && break; sleep 0.05; done
kill $pid; cat said >&2; wait $pid`)
	require.NotZero(t, r.code, "it waits")
	require.Contains(t, r.err, "c/i:t")
	require.Contains(t, r.err, ": Google Drive ")
	require.Contains(t, r.err, "--no-wait")
	w.srv.ClearFaults()
	ann.sregfs("umount", mnt).ok(t)
	require.Equal(t, 1, images(w))
}

func TestUmountOfNoMount(t *testing.T) {
	w := newWorld(t)
	oneLine(t, w.as("ann@uni.edu").sregfs("umount", t.TempDir()), exitError, "is not a mount point")
}

func TestInterruptedMountCleansUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	mnt := w.path("mnt")
	require.NoError(t, os.Mkdir(mnt, 0o755))
	r := ann.sh(`"$SREGFS" mount -f ` + strconv.Quote(mnt) + ` & pid=$!
for i in $(seq 300); do mountpoint -q ` + strconv.Quote(mnt) + ` && break; sleep 0.1; done
mountpoint -q ` + strconv.Quote(mnt) + ` || exit 97
kill -INT $pid; wait $pid`)
	require.Zero(t, r.code, r.err)
	notMounted(t, mnt)
}

func notMounted(t testing.TB, dir string) {
	t.Helper()
	mounted, err := isMountPoint(dir)
	require.NoError(t, err)
	if mounted {
		_ = exec.CommandContext(t.Context(), "fusermount3", "-u", "-z", dir).Run()
	}
	require.False(t, mounted, "%s is still mounted", dir)
}
