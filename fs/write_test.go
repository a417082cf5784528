package fs_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// randomOrder writes the file SRC to the file DST in pieces of 64 KiB in random order.
const randomOrder = `
import os, random, sys
src = open(sys.argv[1], 'rb').read()
fd = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT | os.O_TRUNC)
at = list(range(0, len(src), 65536))
random.Random(7).shuffle(at)
for off in at:
    os.pwrite(fd, src[off:off+65536], off)
os.close(fd)
`

// TestWaysToPush: promise 1, by every program people copy with. Each must leave exactly the bytes on Drive when it exits 0.
func TestWaysToPush(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("mkdir c")
	script := local(t, "random.py", []byte(randomOrder))
	for i, way := range []struct{ name, command string }{
		{"cp", `cp "$SRC" c/x:1.sif`},
		{"cp -p", `cp -p "$SRC" c/x:1.sif`},
		{"cp -a", `cp -a "$SRC" c/x:1.sif`},
		{"cp without sparse tricks", `cp --sparse=always "$SRC" c/x:1.sif`},
		{"cat", `cat "$SRC" > c/x:1.sif`},
		{"two cats in a subshell", `( head -c 500000 "$SRC"; tail -c +500001 "$SRC"; : ) > c/x:1.sif`},
		{"two cats in a group", `{ head -c 500000 "$SRC"; tail -c +500001 "$SRC"; } > c/x:1.sif`},
		{"append", `head -c 500000 "$SRC" > c/x:1.sif || true; tail -c +500001 "$SRC" >> c/x:1.sif`},
		{"dd", `dd if="$SRC" of=c/x:1.sif bs=4k`},
		{"dd with fsync", `dd if="$SRC" of=c/x:1.sif bs=1M conv=fsync`},
		{"dd in place", `truncate -s $(stat -c %s "$SRC") c/y.part; dd if="$SRC" of=c/y.part bs=1M conv=notrunc; mv c/y.part c/x:1.sif`},
		{"random order", `python3 "$SCRIPT" "$SRC" c/x:1.sif`},
		{"rsync", `rsync "$SRC" c/x:1.sif`},
		{"rsync -a", `rsync -a "$SRC" c/x:1.sif`},
		{"rsync --inplace", `rsync -a --inplace "$SRC" c/x:1.sif`},
		{"rsync with xattrs", `rsync -aX "$SRC" c/x:1.sif`},
		{"install", `install -m 755 "$SRC" c/x:1.sif`},
		{"mv across", `cp "$SRC" "$TMP/moved"; mv "$TMP/moved" c/x:1.sif`},
		{"mv of a temporary name", `cp "$SRC" c/.x.tmp; mv c/.x.tmp c/x:1.sif`},
		{"tar", `cp "$SRC" "$TMP/x:1.sif"; tar -C "$TMP" --force-local -cf "$TMP/t.tar" x:1.sif; tar --force-local -xf "$TMP/t.tar" -C c`},
		{"python", `python3 -c 'import shutil, sys; shutil.copy(sys.argv[1], "c/x:1.sif")' "$SRC"`},
		{"python mmap", `python3 -c '
import mmap, sys
src = open(sys.argv[1], "rb").read()
f = open("c/x:1.sif", "w+b"); f.truncate(len(src))
with mmap.mmap(f.fileno(), len(src)) as p: p[:] = src
f.close()' "$SRC"`},
		{"tee", `tee c/x:1.sif < "$SRC" > /dev/null`},
		{"upper case", `cp "$SRC" C/X:1.SIF`},
		{"with its version", `cp "$SRC" "c/x:1@$MD5.sif"`},
		{"into the tag's directory", `mkdir c/x:1; cp "$SRC" c/x:1/`},
		{"into the tag's directory, with times", `mkdir c/x:1; cp -p "$SRC" c/x:1/any.sif; test -s c/x:1/any.sif`},
		{"rsync into the tag's directory", `mkdir c/x:1; rsync -a "$SRC" c/x:1/; rsync -a "$SRC" c/x:1/`},
		{"install into the tag's directory", `mkdir c/x:1; install "$SRC" c/x:1/`},
	} {
		t.Run(way.name, func(t *testing.T) {
			content := sif(t, 1<<20+12345, uint64(100+i))
			src := local(t, "src.sif", content)
			out, code := m.Try("set -e; "+way.command, "SRC="+src, "MD5="+md5sum(content), "SCRIPT="+script, "TMP="+filepath.Dir(local(t, "tmp", nil)))
			require.Zero(t, code, "%s\n%s", out, m.Log())
			f := requireOnDrive(t, user, "c/x:1", content)
			require.Equal(t, "c/x:1@"+md5sum(content)+".sif", f.Name)
			require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0])
			require.Equal(t, md5sum(content)+".sif", m.Sh("ls c/x:1"))
			m.Sh("rm -r c/*")
			require.Zero(t, images(user))
			require.Equal(t, "0", m.Sh(`grep -c . .sregfs/transfers || true; ls -A .sregfs/drafts`))
		})
	}
}

// TestPushAtTheTop: an image's name at the top belongs to the library.
func TestPushAtTheTop(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{})
	content := sif(t, 300_000, 1)
	m.Sh("cp "+local(t, "s", content)+" busybox.sif", "X=1")
	requireOnDrive(t, srv.User(""), "library/busybox:latest", content)
	require.Equal(t, "library", m.Sh("ls"))
	require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum busybox:latest.sif"))[0])
}

// TestOverwrite: who has the image open keeps its bytes, the name is the new image, the old one is a version.
func TestOverwrite(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	old, next := sif(t, 2<<20, 1), sif(t, 3<<20, 2)
	indextest.Put(t, user, "c/x:1", old, nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	src := local(t, "src.sif", next)
	for _, way := range []struct{ name, command string }{
		{"cp", `cp "$SRC" c/x:1.sif`},
		{"cat", `cat "$SRC" > c/x:1.sif`},
		{"rsync", `rsync -a "$SRC" c/x:1.sif`},
		{"rsync --inplace", `rsync --inplace "$SRC" c/x:1.sif`},
		{"dd notrunc, larger", `dd if="$SRC" of=c/x:1.sif bs=64k conv=notrunc`},
		{"truncate first", `truncate -s 0 c/x:1.sif; cp "$SRC" c/x:1.sif`},
		{"os.truncate", `python3 -c 'import os; os.truncate("c/x:1.sif", 0)'; cp "$SRC" c/x:1.sif`},
		{"mv of a draft", `cp "$SRC" c/x.part; mv c/x.part c/x:1.sif`},
		{"into the tag's directory", `cp "$SRC" c/x:1/`},
		{"rm first", `rm c/x:1.sif; cp "$SRC" c/x:1.sif; touch c/x:1.sif`},
	} {
		t.Run(way.name, func(t *testing.T) {
			m.Sh(`rm -rf c; mkdir c; cp "$OLD" c/x:1.sif; sleep 0.02`, "OLD="+local(t, "old", old))
			got := m.Sh(`exec 5< c/x:1.sif; head -c 1000 <&5 > /dev/null
				`+way.command+`
				( dd bs=64k status=none <&5 ) | wc -c
				cat /proc/self/fd/5 | sha256sum; stat -Lc %s /proc/self/fd/5
				sha256sum < c/x:1.sif; stat -c %s c/x:1.sif`, "SRC="+src)
			lines := strings.Split(got, "\n")
			require.Equal(t, []string{sha(next) + "  -", "3145728"}, lines[len(lines)-2:], "the name is the new image")
			require.Contains(t, got, sha(old), "the open file keeps its bytes")
			require.Contains(t, got, "2097152\n"+sha(next), "and its size")
			if way.name != "rm first" {
				require.Equal(t, 2, len(strings.Fields(m.Sh("ls c/x:1"))))
				require.Equal(t, sha(old), strings.Fields(m.Sh("sha256sum c/x:1/" + md5sum(old) + ".sif"))[0])
			}
		})
	}
}

// TestInPlaceChange: an image opened without truncation is copied first, and a change of it is a new version; without a
// change nothing happens.
func TestInPlaceChange(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	old := sif(t, 2<<20, 1)
	indextest.Put(t, srv.User(""), "c/x:1", old, nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh(`exec 5<> c/x:1.sif; exec 5>&-; dd if=/dev/null of=c/x:1.sif conv=notrunc; touch c/x:1.sif; chmod 700 c/x:1.sif`)
	require.Equal(t, 1, images(srv.User("")))
	require.Empty(t, m.Sh("ls .sregfs/drafts"))
	require.Zero(t, uploads(srv))

	changed := append([]byte(nil), old...)
	copy(changed[1_000_000:], "a signature")
	m.Sh(`printf 'a signature' | dd of=c/x:1.sif bs=1 seek=1000000 conv=notrunc`)
	require.Equal(t, sha(changed), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0])
	require.Equal(t, sha(old), strings.Fields(m.Sh("sha256sum c/x:1/" + md5sum(old) + ".sif"))[0])
	require.Equal(t, 2, images(srv.User("")))
}

// TestHalfAnImage: close says that it is half an image, the bytes are kept, and nothing is published.
func TestHalfAnImage(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	m := fstest.Mount(t, srv, fstest.Options{})
	content := sif(t, 2<<20, 1)
	half := local(t, "half", content[:1<<20])
	src := local(t, "src", content)
	m.Sh("mkdir c")
	out := m.Fail("cp " + half + " c/x:1.sif")
	require.Contains(t, out, "Invalid argument")
	require.Contains(t, m.Log(), "push c/x:1.sif")
	require.Zero(t, images(user))
	require.Equal(t, "1048576", m.Sh("stat -c %s c/x:1.sif"), "the bytes are kept under the name")
	require.Equal(t, 1, len(strings.Fields(m.Sh("ls .sregfs/drafts"))))
	m.Sh("tail -c +1048577 " + src + " >> c/x:1.sif")
	requireOnDrive(t, user, "c/x:1", content)
	require.Empty(t, m.Sh("ls .sregfs/drafts"))

	// With a published image the half one does not hide it, and a second try takes its place.
	other := sif(t, 2<<20, 2)
	m.Fail("cp " + local(t, "h", other[:1<<20]) + " c/x:1.sif")
	require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0])
	require.Equal(t, 1, len(strings.Fields(m.Sh("ls .sregfs/drafts"))))
	m.Sh("cp " + local(t, "o", other) + " c/x:1.sif")
	require.Equal(t, sha(other), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0])
	require.Empty(t, m.Sh("ls .sregfs/drafts"))
	require.Equal(t, "x:1\nx:1.sif", m.Sh("ls c"))

	// Changed in place, the image that is published is what is changed; what was left of a failed push is kept beside it.
	third := sif(t, 2<<20, 3)
	m.Fail("cp " + local(t, "t", third[:1<<20]) + " c/x:1.sif")
	m.Sh(`printf 'a signature' | dd of=c/x:1.sif bs=1 seek=1000000 conv=notrunc`)
	copy(other[1_000_000:], "a signature")
	require.Equal(t, sha(other), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0])
	require.Equal(t, sha(third[:1<<20]), strings.Fields(m.Sh("sha256sum c/x:1.sif.kept-*"))[0])
}

// TestForkWhileWriting: a program that starts another one in the middle of its writing has its descriptor closed there. What
// it has written so far is not an image yet.
func TestForkWhileWriting(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{})
	content := imagetest.Bytes(1, 3<<20) // any bytes are an image, and so is any part of them
	m.Sh(`mkdir c; python3 -c '
import os, subprocess, sys
src = open(sys.argv[1], "rb").read()
with open("c/x:1.img", "wb") as f:
    for off in range(0, len(src), 1 << 20):
        f.write(src[off:off+(1<<20)])
        f.flush()
        subprocess.run(["true"], check=True)
        subprocess.run(["true"], check=True, close_fds=False)
        if os.fork() == 0:
            os._exit(0)
        os.wait()
' "$SRC"`, "SRC="+local(t, "src", content))
	requireOnDrive(t, srv.User(""), "c/x:1", content)
	require.Equal(t, 1, uploads(srv))
}

// TestEmptyFile: a file nobody wrote to is neither an error nor an image.
func TestEmptyFile(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("mkdir c; touch c/x:1.sif; : > c/y:1.sif; test -e c/x:1.sif; test ! -s c/y:1.sif")
	require.Zero(t, images(srv.User("")))
	require.Equal(t, 2, len(strings.Fields(m.Sh("ls .sregfs/drafts"))))
	m.Sh("rm c/x:1.sif c/y:1.sif; rmdir c")
	require.Empty(t, m.Sh("ls .sregfs/drafts"))
}

// TestAnyBytes: what is no SIF is an image all the same, down to a single byte.
func TestAnyBytes(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("mkdir c")
	for name, content := range map[string][]byte{
		"one:1.sif": {7}, "zeros:1.img": make([]byte, 3<<20), "old:1.simg": imagetest.Simg(t, 1<<20), "noise:1.sqsh": imagetest.Bytes(5, 70_001),
	} {
		m.Sh("cp " + local(t, "s", content) + " c/" + name)
		m.Sh("echo 3 > /proc/sys/vm/drop_caches; cmp " + local(t, "s", content) + " c/" + name)
		requireOnDrive(t, srv.User(""), "c/"+name[:strings.IndexByte(name, '.')], content)
	}
}

// TestDrafts: any other name is a local file, until it is renamed to an image's.
func TestDrafts(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh(`mkdir c; echo hello > c/notes.txt; echo more >> c/notes.txt; cp c/notes.txt c/.hello.sif.Xa12; echo top > here.txt`)
	require.Equal(t, "hello\nmore", m.Sh("cat c/notes.txt"))
	require.Equal(t, ".hello.sif.Xa12\nnotes.txt", m.Sh("ls -A c"))
	require.Equal(t, "here.txt", m.Sh("ls -p | grep -v /"))
	require.Zero(t, images(srv.User("")))
	m.Unmount()
	m.Remount()
	require.Equal(t, "hello\nmore\ntop", m.Sh("cat c/notes.txt here.txt"))
	m.Sh("mv c/notes.txt c/n2.txt; rm c/n2.txt c/.hello.sif.Xa12 here.txt; rmdir c")
	require.Empty(t, m.Sh("ls -A; ls .sregfs/drafts"))
}

// TestRemoveWhileOpen: a draft removed while it is written goes nowhere, and its writer does not notice.
func TestRemoveWhileOpen(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{})
	src := local(t, "src", sif(t, 1<<20, 1))
	m.Sh("mkdir c; exec 5<> c/x:1.sif; head -c 5000 " + src + " >&5; rm c/x:1.sif; tail -c +5001 " + src + " >&5; cmp " + src + " /proc/self/fd/5; exec 5>&-; test ! -e c/x:1.sif")
	require.Zero(t, images(srv.User("")))
	require.Empty(t, m.Sh("ls .sregfs/drafts"))
}

// TestSamePushTwice: the same content again sends nothing, and under another name is a copy on the server.
func TestSamePushTwice(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{})
	content := sif(t, 1<<20, 1)
	src := local(t, "src", content)
	m.Sh("mkdir c; cp " + src + " c/x:1.sif; cp " + src + " c/x:1.sif; cp " + src + " c/y:2.sif")
	require.Equal(t, 2, images(srv.User("")))
	require.Equal(t, 1, uploads(srv))
	requireOnDrive(t, srv.User(""), "c/y:2", content)
}

// TestDriveFull: close says so, and the bytes are kept.
func TestDriveFull(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	srv.User("").SetQuota(1 << 20)
	m := fstest.Mount(t, srv, fstest.Options{})
	src := local(t, "src", sif(t, 2<<20, 1))
	out := m.Fail("mkdir c && cp " + src + " c/x:1.sif")
	require.Contains(t, out, "No space left on device")
	m.Sh("cmp " + src + " c/x:1.sif")
	require.Equal(t, "failed", m.Sh("getfattr --only-values -n user.sregfs.state c/x:1.sif"))
	srv.User("").SetQuota(0)
	m.Sh("cp " + src + " c/x:1.sif")
	require.Equal(t, 1, images(srv.User("")))
}

// TestBackgroundPush: close returns when the journal has the image, its name has the new bytes at once, and fsync waits
// for Drive.
func TestBackgroundPush(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	old, next := sif(t, 1<<20, 1), sif(t, 2<<20, 2)
	indextest.Put(t, user, "c/x:1", old, nil)
	m := fstest.Mount(t, srv, fstest.Options{Background: true})
	gate := drivetest.On("PUT", "/upload/*").Status(503, "backendError")
	srv.Fault(gate)
	m.Sh("cp " + local(t, "src", next) + " c/x:1.sif")
	require.Equal(t, 1, images(user))
	require.Equal(t, sha(next), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0])
	require.Equal(t, "pushing", m.Sh("getfattr --only-values -n user.sregfs.state c/x:1.sif"))
	srv.ClearFaults()
	m.Sh("sync c/x:1.sif")
	require.Equal(t, 2, images(user))
	m.Sh("sha256sum c/x:1.sif | grep " + sha(next))
}

// TestHolesAreZeros: what was never written reads as zeros, before and after the push.
func TestHolesAreZeros(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("mkdir c; truncate -s 64M c/x.part; printf x | dd of=c/x.part bs=1 seek=50000000 conv=notrunc; mv c/x.part c/x:1.sif")
	want := make([]byte, 64<<20)
	want[50_000_000] = 'x'
	require.Equal(t, sha(want), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0])
}

// TestOneAfterTheOther: programs that open a name while the last one's descriptor is just being let go.
func TestOneAfterTheOther(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	one, two := sif(t, 300_000, 1), sif(t, 300_000, 2)
	indextest.Put(t, srv.User(""), "c/x:1", one, nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh(`for i in $(seq 40); do
		touch c/x:1.sif && cp $ONE c/x:1.sif && stat c/x:1.sif > /dev/null && touch c/x:1.sif && cmp $ONE c/x:1.sif && cp $TWO c/x:1.sif && cmp $TWO c/x:1.sif || exit 1
	done`, "ONE="+local(t, "one", one), "TWO="+local(t, "two", two))
	require.Equal(t, 2, images(srv.User("")))
}

// TestManyAtOnce: pushes to different names, and to one name, side by side; each name ends as one of its contents.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	m := fstest.Mount(t, srv, fstest.Options{})
	var contents [][]byte
	command := "mkdir c; pids=\n"
	for i := range 12 {
		contents = append(contents, sif(t, 500_000, uint64(i)))
		src := local(t, "src", contents[i])
		command += "(cp " + src + " c/x" + string(rune('a'+i)) + ":1.sif) & pids=\"$pids $!\"\n(cp " + src + " c/.tmp$BASHPID && mv c/.tmp$BASHPID c/same:1.sif) & pids=\"$pids $!\"\n"
	}
	m.Sh(command + "for p in $pids; do wait $p || exit 1; done")
	for i, content := range contents {
		requireOnDrive(t, user, "c/x"+string(rune('a'+i))+":1", content)
	}
	got := strings.Fields(m.Sh("sha256sum c/same:1.sif"))[0]
	found := false
	for _, content := range contents {
		found = found || sha(content) == got
	}
	require.True(t, found)
	require.Equal(t, 24, images(user), "twelve names, and twelve versions of one")
	require.Empty(t, m.Sh("ls .sregfs/drafts; cat .sregfs/transfers"))
}

// TestFsyncSaysThatAPushFailed: in background mode close has returned long before, and fsync is where the outcome is told.
func TestFsyncSaysThatAPushFailed(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{Background: true})
	srv.User("").SetQuota(1000)
	m.Sh(`mkdir c && cp "$SRC" c/x:1.sif`, "SRC="+local(t, "x", sif(t, 100_000, 1)))
	require.Contains(t, m.Fail("sync c/x:1.sif"), "No space left")
	require.Contains(t, m.Fail("sync c/x:1.sif"), "No space left", "the second time too, when the push is parked")
	srv.User("").SetQuota(0)
}
