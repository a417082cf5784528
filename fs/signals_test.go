package fs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/indextest"
)

// alarmed makes one system call through libc, which repeats nothing, while a handled signal comes every few milliseconds.
const alarmed = `
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    if getattr(libc, name)(*args) < 0:
        sys.exit(f"{name}: {os.strerror(ctypes.get_errno())}")
signal.signal(signal.SIGALRM, lambda *_: None)
def alarm(on): signal.setitimer(signal.ITIMER_REAL, 0.02 * on, 0.02 * on)
`

// TestHandledSignals: no call that waits for Drive fails because its program handles a signal meanwhile. Go programs get
// such signals from their own runtime at any time.
func TestHandledSignals(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
	user := srv.User("")
	content := sif(t, 3<<20, 1)
	indextest.Put(t, user, "c/x:1", content, nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh(`mkdir d; cp "$SRC" d/y.part`, "SRC="+local(t, "y", sif(t, 200_000, 2)))
	srv.SetShape(drivetest.Shape{Latency: 500 * time.Millisecond})
	for _, c := range []struct{ name, call string }{
		{"share", `call("setxattr", b"c/x:1.sif", b"user.sregfs.share", b"bob@uni.edu", 11, 0)`},
		{"list who has access", `call("getxattr", b"c/x:1.sif", b"user.sregfs.shared", ctypes.create_string_buffer(4096), 4096)`},
		{"unshare", `call("setxattr", b"c/x:1.sif", b"user.sregfs.unshare", b"bob@uni.edu", 11, 0)`},
		{"set a label", `call("setxattr", b"c/x:1.sif", b"user.sregfs.label.k", b"v", 1, 0)`},
		{"remove a label", `call("removexattr", b"c/x:1.sif", b"user.sregfs.label.k")`},
		{"share a collection", `call("setxattr", b"c", b"user.sregfs.share", b"bob@uni.edu", 11, 0)`},
		{"command", `call("write", os.open(".sregfs/share", os.O_WRONLY), b"ls c/x:1\n", 9)`},
		{"read what an image says of itself", `call("open", b".sregfs/meta/c/x:1/labels.json", os.O_RDONLY)`},
		{"read", `fd = os.open("c/x:1.sif", os.O_RDONLY); call("pread", fd, ctypes.create_string_buffer(1000), 1000, ctypes.c_long(2000000))`},
		{"retag", `call("rename", b"c/x:1.sif", b"c/x:2.sif")`},
		{"publish", `call("rename", b"d/y.part", b"d/y:1.sif")`},
		{"remove", `call("unlink", b"c/x:2.sif")`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.Sh("python3 -c '" + alarmed + "alarm(1)\n" + c.call + "\nalarm(0)'")
		})
	}
	require.Equal(t, 1, images(user))
}

// TestLongReadOutlastsHandledSignals: a read that Drive keeps waiting longer than a signal's grace does not fail for a
// signal that its program handles, and does for one that ends it.
func TestLongReadOutlastsHandledSignals(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	indextest.Put(t, srv.User(""), "c/x:1", sif(t, 3<<20, 1), nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	srv.Fault(drivetest.On("GET", "/drive/v3/files/*").Query("alt", "media").Delay(4 * time.Second))
	m.Sh("python3 -c '" + alarmed + `fd = os.open("c/x:1.sif", os.O_RDONLY)
alarm(1)
call("pread", fd, ctypes.create_string_buffer(1000), 1000, ctypes.c_long(2000000))
alarm(0)'`)

	srv.ClearFaults()
	stall := drivetest.On("GET", "/drive/v3/files/*").Query("alt", "media").Stall()
	indextest.Put(t, srv.User(""), "c/z:1", sif(t, 3<<20, 2), nil)
	indextest.Eventually(t, func() bool { return strings.Contains(m.Sh("ls c"), "z:1.sif") }, "it is there")
	srv.Fault(stall)
	out, code := m.Try("timeout -s INT 1 cat c/z:1.sif > /dev/null")
	srv.ClearFaults()
	require.Equal(t, 124, code, "%s", out)
}
