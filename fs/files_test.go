package fs_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/indextest"
)

// dirents reads a directory from the descriptor's offset to its end.
func dirents(t *testing.T, fd int) (all []fuse.DirEntry) {
	t.Helper()
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		require.NoError(t, err)
		if n == 0 {
			return all
		}
		for rest := buf[:n]; len(rest) > 0; {
			var e fuse.DirEntry
			rest = rest[e.Parse(rest):]
			all = append(all, e)
		}
	}
}

// TestLargeDirectory: every entry comes once, and from each place that telldir gives, seekdir goes on with the same rest,
// whatever is added and removed meanwhile.
func TestLargeDirectory(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	const n = 1000
	for i := range n {
		indextest.Put(t, srv.User(""), fmt.Sprintf("big/image-%04d:1", i), []byte{byte(i)}, nil)
	}
	m := fstest.Mount(t, srv, fstest.Options{})
	fd, err := unix.Open(filepath.Join(m.Dir(), "big"), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	all := dirents(t, fd)
	names := map[string]bool{}
	for _, e := range all {
		require.False(t, names[e.Name], "%s comes twice", e.Name)
		names[e.Name] = true
	}
	require.Len(t, names, 2+2*n, "., .., and a file and a directory for each image")
	m.Sh("rm big/image-0000:1.sif; echo x > big/notes.txt")
	dice := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		i := dice.IntN(len(all) - 1)
		_, err := unix.Seek(fd, int64(all[i].Off), unix.SEEK_SET)
		require.NoError(t, err)
		require.Equal(t, all[i+1:], dirents(t, fd), "after entry %d", i)
	}
	_, err = unix.Seek(fd, 0, unix.SEEK_SET)
	require.NoError(t, err)
	again := map[string]bool{}
	for _, e := range dirents(t, fd) {
		again[e.Name] = true
	}
	require.NotContains(t, again, "image-0000:1.sif", "rewinddir reads anew")
	require.Contains(t, again, "notes.txt")
}

// TestListingWhileNamesChange: what is there all the time is listed each time, once.
func TestListingWhileNamesChange(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	for i := range 300 {
		indextest.Put(t, srv.User(""), fmt.Sprintf("c/stays-%03d:1", i), []byte{1}, nil)
	}
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh(`(while [ ! -e c/stop ]; do for i in 1 2 3 4 5; do echo x > c/a$i; mv c/a$i c/z$i; done; rm c/z*; done) & pid=$!
		for i in $(seq 20); do n=$(ls c | grep -c '^stays-'); [ $n = 600 ] || { echo "$n entries"; exit 1; }; done
		for i in $(seq 8); do n=$(ls -l c 2> /dev/null | grep -c ' stays-'); [ $n = 600 ] || { echo "$n entries with attributes"; exit 1; }; done
		touch c/stop; wait $pid`)
}

// TestOpenFilesKeepWhatTheyAre: a draft that is removed or replaced stays what it was for who has it open.
func TestOpenFilesKeepWhatTheyAre(t *testing.T) {
	t.Parallel()
	m := fstest.Mount(t, drivetest.NewServer(t, drivetest.Options{}), fstest.Options{})
	m.Sh(`mkdir c; echo old > c/a; echo new > c/b; exec 5<> c/a; mv c/b c/a
		[ "$(cat c/a)" = new ] && [ "$(cat <&5)" = old ] && [ "$(stat -Lc %h /proc/self/fd/5)" = 0 ]
		echo more >&5; [ "$(cat c/a)" = new ] && [ "$(stat -Lc %s /proc/self/fd/5)" = 9 ]
		exec 6<> c/a; rm c/a; echo more >&6; [ "$(stat -Lc %s-%h /proc/self/fd/6)" = 9-0 ] && ! [ -e c/a ]
		exec 5>&- 6>&-; [ -z "$(ls c; ls .sregfs/drafts)" ]`)
}

// fileCalls are the calls that file systems often get wrong, on a draft and an image. Each line is a test of its own.
var fileCalls = []struct{ name, python string }{
	{"copy_file_range out of an image", `
a, b = os.open("c/x:1.sif", os.O_RDONLY), os.open("c/d", os.O_RDWR | os.O_CREAT)
while os.copy_file_range(a, b, 1 << 20): pass
assert os.pread(b, 1 << 30, 0) == image`},
	{"copy_file_range from another file system", `
a, b = os.open(src, os.O_RDONLY), os.open("c/d", os.O_RDWR | os.O_CREAT)
try:
    while os.copy_file_range(a, b, 1 << 20): pass
    assert os.pread(b, 1 << 30, 0) == image
except OSError as e:
    assert e.errno in (errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS), e`},
	{"sendfile", `
a, b = os.open("c/x:1.sif", os.O_RDONLY), os.open("c/d", os.O_RDWR | os.O_CREAT)
while os.sendfile(b, a, None, 1 << 20): pass
assert os.pread(b, 1 << 30, 0) == image`},
	{"splice", `
r, w = os.pipe()
a, b = os.open("c/x:1.sif", os.O_RDONLY), os.open("c/d", os.O_RDWR | os.O_CREAT)
while n := os.splice(a, w, 65536):
    while n: n -= os.splice(r, b, n)
assert os.pread(b, 1 << 30, 0) == image`},
	{"sparse writing", `
f = os.open("c/d", os.O_RDWR | os.O_CREAT)
os.pwrite(f, b"end", 10_000_000)
assert os.fstat(f).st_size == 10_000_003
assert os.pread(f, 5, 9_999_998) == b"\0\0end" and os.pread(f, 4, 5_000_000) == bytes(4)
assert os.lseek(f, 0, os.SEEK_DATA) == 0 and os.lseek(f, 0, os.SEEK_HOLE) == 10_000_003`},
	{"no hole in an image", `
f = os.open("c/x:1.sif", os.O_RDONLY)
assert os.lseek(f, 7, os.SEEK_DATA) == 7 and os.lseek(f, 7, os.SEEK_HOLE) == len(image)
refused(errno.ENXIO, os.lseek, f, len(image), os.SEEK_DATA)`},
	{"reading at and after the end", `
f = os.open("c/x:1.sif", os.O_RDONLY)
assert os.pread(f, 100, len(image) - 3) == image[-3:] and os.pread(f, 100, len(image)) == b"" and os.pread(f, 1, 1 << 40) == b""`},
	{"O_DIRECT", `
f = os.open("c/x:1.sif", os.O_RDONLY | os.O_DIRECT)
m = mmap.mmap(-1, 8192)
assert os.preadv(f, [m], 4096) == 8192 and m[:] == image[4096:12288]`},
	{"O_APPEND by two", `
a, b = (os.open("c/d", os.O_WRONLY | os.O_CREAT | os.O_APPEND) for _ in "ab")
for i in range(100): os.write(a, b"aaaa"); os.write(b, b"bb")
assert open("c/d").read() == "aaaabb" * 100`},
	{"O_EXCL", `
os.close(os.open("c/d", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
refused(errno.EEXIST, os.open, "c/d", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
refused(errno.EEXIST, os.open, "c/x:1.sif", os.O_CREAT | os.O_EXCL | os.O_WRONLY)`},
	{"wrong kinds", `
refused(errno.EISDIR, os.open, "c", os.O_WRONLY)
refused(errno.ENOTDIR, os.open, "c/x:1.sif/y", os.O_RDONLY)
refused(errno.ENOTDIR, os.rmdir, "c/x:1.sif")
refused(errno.EISDIR, os.unlink, "c/x:1")
refused(errno.ENOTEMPTY, os.rmdir, "c")
refused(errno.ENOENT, os.open, "c/none", os.O_RDONLY)`},
	{"what a registry does not have", `
refused(errno.EPERM, os.symlink, "a", "c/l")
refused(errno.EPERM, os.link, "c/x:1.sif", "c/l")
refused(errno.EPERM, os.mkfifo, "c/p")
refused(errno.EPERM, os.mknod, "c/n", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
refused(errno.EOPNOTSUPP, os.open, "c", os.O_TMPFILE | os.O_RDWR)
refused(errno.EOPNOTSUPP, os.setxattr, "c/x:1.sif", "user.other", b"1")
refused(errno.EPERM, os.truncate, "c/x:1/" + os.listdir("c/x:1")[0], 1)`},
	{"modes, owners and times are accepted", `
before = os.stat("c/x:1.sif")
os.chmod("c/x:1.sif", 0o600); os.chown("c/x:1.sif", 12, 34); os.utime("c/x:1.sif", (1, 2))
after = os.stat("c/x:1.sif")
assert before == after, (before, after)`},
	{"mapping a draft", `
f = os.open("c/d", os.O_RDWR | os.O_CREAT)
os.ftruncate(f, 100_000)
with mmap.mmap(f, 100_000) as m:
    m[50_000:50_005] = b"hello"
    m.flush()
    assert os.pread(f, 5, 50_000) == b"hello"
os.fsync(f); os.fdatasync(f); os.ftruncate(f, 10)
assert os.fstat(f).st_size == 10`},
	{"allocation", `
f = os.open("c/d", os.O_RDWR | os.O_CREAT)
os.posix_fallocate(f, 0, 1_000_000)
assert os.fstat(f).st_size == 1_000_000
os.pwrite(f, b"x" * 20_000, 0)
fallocate = ctypes.CDLL(None, use_errno=True).fallocate
fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
assert fallocate(f, 3, 4096, 8192) == 0, "punch a hole"
assert os.pread(f, 20_000, 0) == b"x" * 4096 + bytes(8192) + b"x" * (20_000 - 12288)
assert fallocate(f, 8, 0, 4096) == -1 and ctypes.get_errno() == errno.EOPNOTSUPP, "collapse"`},
	{"locks", `
a, b = (os.open("c/x:1.sif", os.O_RDONLY) for _ in "ab")
fcntl.flock(a, fcntl.LOCK_EX)
refused(errno.EWOULDBLOCK, fcntl.flock, b, fcntl.LOCK_EX | fcntl.LOCK_NB)
fcntl.flock(a, fcntl.LOCK_UN); fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB)
d = os.open("c/d", os.O_RDWR | os.O_CREAT)
fcntl.lockf(d, fcntl.LOCK_EX | fcntl.LOCK_NB, 10)
if os.fork() == 0:
    e = os.open("c/d", os.O_RDWR)
    refused(errno.EAGAIN, fcntl.lockf, e, fcntl.LOCK_EX | fcntl.LOCK_NB, 10)
    fcntl.lockf(e, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 20)
    os._exit(0)
assert os.wait()[1] == 0`},
	{"a directory in use", `
os.mkdir("c/sub"); os.chdir("c/sub")
assert os.listdir(".") == [] and os.path.basename(os.getcwd()) == "sub"
os.rmdir("../sub")
refused(errno.ENOENT, os.stat, "../sub")
refused((errno.ENOENT, errno.ESTALE), open, "f", "w")`},
	{"statx and statvfs", `
s = os.stat("c/x:1.sif")
assert stat.S_ISREG(s.st_mode) and s.st_nlink == 1 and s.st_size == len(image) and s.st_blocks * 512 >= len(image)
assert s.st_ino == [e for e in os.scandir("c") if e.name == "x:1.sif"][0].inode()
v = os.statvfs("c")
assert v.f_namemax == 255 and v.f_bsize > 0`},
	{"long names", `
open("c/" + "n" * 255, "w").close()
refused(errno.ENAMETOOLONG, open, "c/" + "n" * 256, "w")`},
}

const fileCallsHead = `
import ctypes, errno, fcntl, mmap, os, stat, sys
src = sys.argv[1]
image = open(src, "rb").read()
def refused(want, call, *args):
    want = want if isinstance(want, tuple) else (want,)
    try:
        call(*args)
    except OSError as e:
        assert e.errno in want, f"{call.__name__}{args}: {e}, want {[os.strerror(w) for w in want]}"
    else:
        assert False, f"{call.__name__}{args} succeeded"
`

// TestFileCalls: images and drafts answer the less usual system calls as other files do, or refuse with the errno that
// programs understand.
func TestFileCalls(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	image := sif(t, 1<<20+777, 1)
	indextest.Put(t, srv.User(""), "c/x:1", image, nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	src := local(t, "src", image)
	for _, c := range fileCalls {
		t.Run(c.name, func(t *testing.T) {
			script := filepath.Join(t.TempDir(), "call.py")
			require.NoError(t, os.WriteFile(script, []byte(fileCallsHead+c.python), 0o644))
			m.Sh(`python3 "$SCRIPT" "$SRC"`, "SCRIPT="+script, "SRC="+src)
			m.Sh("rm -f .sregfs/drafts/*")
			require.Equal(t, 1, images(srv.User("")))
			require.Equal(t, sha(image), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0])
		})
	}
}
