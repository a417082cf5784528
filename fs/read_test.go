package fs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// randomRead compares pairs of files, in pieces of 4 KiB in random order.
const randomRead = `
import os, random, sys
files = sys.argv[1:]
pairs = [(os.open(a, os.O_RDONLY), os.open(b, os.O_RDONLY)) for a, b in zip(files[::2], files[1::2])]
at = []
for a, b in pairs:
    size = os.fstat(a).st_size
    assert size == os.fstat(b).st_size, size
    at += [(a, b, off) for off in range(0, size, 4096)]
random.shuffle(at)
for a, b, off in at:
    assert os.pread(a, 4096, off) == os.pread(b, 4096, off), off
`

// mmapRead compares two files by mmap.
const mmapRead = `
import mmap, sys
a, b = open(sys.argv[1], 'rb'), open(sys.argv[2], 'rb')
with mmap.mmap(a.fileno(), 0, prot=mmap.PROT_READ) as p, mmap.mmap(b.fileno(), 0, prot=mmap.PROT_READ) as q:
    assert p[:] == q[:]
`

const dropCaches = "echo 3 > /proc/sys/vm/drop_caches\n"

// TestRead: the bytes read are the bytes pushed, whole, in random pieces by 16 processes at once, and by mmap; before,
// during and after other images are pushed.
func TestRead(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	random, mapped := local(t, "random.py", []byte(randomRead)), local(t, "mapped.py", []byte(mmapRead))
	contents := map[string][]byte{
		"sif": sif(t, 9<<20+77, 1), "simg": imagetest.Simg(t, 5<<20), "zeros": make([]byte, 4<<20), "one": {1}, "page": imagetest.Bytes(3, 4096),
	}
	for name, content := range contents {
		indextest.Put(t, user, "c/"+name+":1", content, nil)
	}
	m := fstest.Mount(t, srv, fstest.Options{})
	other := local(t, "other", sif(t, 3<<20, 99))
	var pairs []string
	for name, content := range contents {
		pairs = append(pairs, "c/"+name+":1.sif", local(t, name, content))
	}
	for _, during := range []string{"before", "during", "after"} {
		t.Run(during, func(t *testing.T) {
			push := ":"
			if during == "during" {
				push = "for i in 1 2 3 4 5 6 7 8; do cp " + other + " c/other:$i.sif && rm c/other:$i.sif || exit 1; done"
			}
			m.Sh(dropCaches + "(" + push + ") & pids=$!; for i in $(seq 16); do python3 " + random + " " + strings.Join(pairs, " ") +
				" & pids=\"$pids $!\"; done; for p in $pids; do wait $p || exit 1; done")
			for name, content := range contents {
				file := "c/" + name + ":1.sif"
				require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum " + file))[0])
				m.Sh(dropCaches + "python3 " + mapped + " " + file + " " + local(t, name, content))
			}
		})
	}
}

// TestColdReadersShareOneFetch: each byte is fetched once, however many read it, and pages are kept over reopening.
func TestColdReadersShareOneFetch(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := sif(t, 6<<20, 1)
	indextest.Put(t, srv.User(""), "c/x:1", content, nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	srv.ResetRequests()
	m.Sh("pids=; for i in $(seq 8); do cmp c/x:1.sif " + local(t, "x", content) + " & pids=\"$pids $!\"; done; for p in $pids; do wait $p || exit 1; done")
	var fetched int64
	for _, r := range srv.Requests() {
		if r.Op == "media" {
			fetched += r.Out
		}
	}
	require.Equal(t, int64(len(content)), fetched)
}

// TestNothingIsFetchedToList: ls, stat and find touch no content and no network.
func TestNothingIsFetchedToList(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	for i := range 50 {
		indextest.Put(t, srv.User(""), fmt.Sprintf("c/x%d:1", i), imagetest.Bytes(uint64(i), 1000), nil)
	}
	m := fstest.Mount(t, srv, fstest.Options{Poll: -1})
	m.Sh("ls; df . > /dev/null")
	srv.ResetRequests()
	require.Equal(t, "50", m.Sh("ls -lR c > /dev/null; find . -name '*.sif' -type f | xargs stat > /dev/null; ls c/*.sif | wc -l"))
	require.Empty(t, srv.Requests())
}

// TestReadFault: a passing fault is waited out; a lasting one is an error of read, with its errno, and the mount goes on.
func TestReadFault(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := sif(t, 3<<20, 1)
	indextest.Put(t, srv.User(""), "c/x:1", content, nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	srv.Fault(drivetest.On("GET", "/drive/v3/files/*").Query("alt", "media").Status(503, "backendError").Times(2))
	require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0])

	indextest.Put(t, srv.User(""), "c/y:1", sif(t, 1<<20, 2), nil)
	m.Sh("echo now > .sregfs/refresh")
	srv.Fault(drivetest.On("GET", "/drive/v3/files/*").Query("alt", "media").Status(403, "downloadQuotaExceeded"))
	require.Contains(t, m.Fail("cat c/y:1.sif > /dev/null"), "Disk quota exceeded")
	require.Contains(t, m.Log(), "read c/y:1")
	require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0], "what is cached is read")
	srv.ClearFaults()
	m.Sh("setfattr -n user.sregfs.prefetch -v 1 c/y:1.sif && cat c/y:1.sif > /dev/null") // who asks for it need not wait
}

// TestInterruptedRead: a reader that is killed ends at once though Drive stalls.
func TestInterruptedRead(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	indextest.Put(t, srv.User(""), "c/x:1", sif(t, 3<<20, 1), nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	srv.Fault(drivetest.On("GET", "/drive/v3/files/*").Query("alt", "media").Stall())
	out, code := m.Try("timeout -s INT 1 cat c/x:1.sif > /dev/null")
	require.Equal(t, 124, code, out)
	_, code = m.Try("timeout -s KILL 1 cat c/x:1.sif > /dev/null")
	require.Equal(t, 137, code)
	srv.ClearFaults()
}

// TestOpenFileOutlivesItsName: an image that is removed, or loses its tag, on Drive or here, is read to its end.
func TestOpenFileOutlivesItsName(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	content := sif(t, 4<<20, 1)
	for _, how := range []struct{ name, command string }{
		{"rm", "rm c/x:1.sif"}, {"mv", "mv c/x:1.sif c/y:2.sif"}, {"rm -r", "rm -r c"},
	} {
		t.Run(how.name, func(t *testing.T) {
			indextest.Put(t, user, "c/x:1", content, nil)
			m := fstest.Mount(t, srv, fstest.Options{})
			got := m.Sh("exec 5< c/x:1.sif; head -c 10 <&5 > /dev/null; " + how.command + "; stat -Lc %s /proc/self/fd/5; cat /proc/self/fd/5 | sha256sum; test ! -e c/x:1.sif")
			require.Equal(t, fmt.Sprintf("%d\n%s  -", len(content), sha(content)), got)
			m.Try("rm -rf c")
		})
	}
}

// TestColdAfterRestart: the cache survives, and what is not cached is fetched.
func TestColdAfterRestart(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := sif(t, 5<<20, 1)
	indextest.Put(t, srv.User(""), "c/x:1", content, nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("cat c/x:1.sif > /dev/null")
	inode := m.Sh("stat -c %i c/x:1.sif c/x:1")
	require.Equal(t, "local", m.Sh("getfattr --only-values -n user.sregfs.state c/x:1.sif"))
	m.Unmount()
	m.Remount()
	require.Equal(t, inode, m.Sh("stat -c %i c/x:1.sif c/x:1"), "inode numbers are stable")
	srv.ResetRequests()
	require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0])
	for _, r := range srv.Requests() {
		require.NotEqual(t, "media", r.Op)
	}
	m.Unmount()
	require.NoError(t, os.RemoveAll(filepath.Join(m.State(), "blocks")))
	m.Remount()
	require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0])
}
