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

// TestWithoutNetwork: promise 5. The tree lists, cached images are read, what is not cached says why, pushes wait in the
// journal and reach Drive when it is back.
func TestWithoutNetwork(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	cached, remote, pushed := sif(t, 2<<20, 1), sif(t, 2<<20, 2), sif(t, 2<<20, 3)
	indextest.Put(t, user, "c/cached:1", cached, nil)
	indextest.Put(t, user, "c/remote:1", remote, nil)
	m := fstest.Mount(t, srv, fstest.Options{Background: true, Timeout: 2 * time.Second})
	m.Sh("cat c/cached:1.sif > /dev/null")
	m.Unmount()
	gone := drivetest.On("*", "*").Cut(0)
	srv.Fault(gone)
	m.Remount()
	require.Equal(t, "cached:1\ncached:1.sif\nremote:1\nremote:1.sif", m.Sh("ls c"))
	require.Equal(t, sha(cached), strings.Fields(m.Sh("sha256sum c/cached:1.sif"))[0])
	require.Contains(t, m.Fail("cat c/remote:1.sif"), "Network is unreachable")
	m.Sh("cp " + local(t, "src", pushed) + " c/new:1.sif; df . > /dev/null")
	require.Equal(t, sha(pushed), strings.Fields(m.Sh("sha256sum c/new:1.sif"))[0])
	require.Contains(t, m.Sh("jq -r .ref .sregfs/transfers"), "c/new:1")
	srv.ClearFaults()
	m.Sh("sync c/new:1.sif")
	requireOnDrive(t, user, "c/new:1", pushed)
	require.Equal(t, sha(remote), strings.Fields(m.Sh("sha256sum c/remote:1.sif"))[0])
}

// TestExpiredGrant: what needs Drive says that somebody has to sign in; the rest works.
func TestExpiredGrant(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	cached := sif(t, 2<<20, 1)
	indextest.Put(t, user, "c/cached:1", cached, nil)
	indextest.Put(t, user, "c/remote:1", sif(t, 2<<20, 2), nil)
	m := fstest.Mount(t, srv, fstest.Options{Timeout: 5 * time.Second})
	m.Sh("cat c/cached:1.sif > /dev/null")
	user.RevokeTokens()
	require.Equal(t, sha(cached), strings.Fields(m.Sh("sha256sum c/cached:1.sif"))[0])
	require.Contains(t, m.Fail("cat c/remote:1.sif"), "Key has expired")
	src := local(t, "src", sif(t, 1<<20, 3))
	require.Contains(t, m.Fail("cp "+src+" c/new:1.sif"), "Key has expired")
	require.Contains(t, m.Log(), "sregfs login")
	m.Sh("cmp " + src + " c/new:1.sif")
}

// TestInterruptedPush: ^C ends the wait of close, not the upload.
func TestInterruptedPush(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{})
	content := sif(t, 2<<20, 1)
	srv.Fault(drivetest.On("PUT", "/upload/*").Status(503, "backendError"))
	// The shell has its background commands ignore ^C, unless told otherwise.
	_, code := m.Try("mkdir c\n env --default-signal=INT cp " + local(t, "src", content) + " c/x:1.sif & pid=$!\n" +
		"until grep -q x:1 .sregfs/transfers; do sleep 0.02; done; kill -INT $pid; wait $pid")
	require.Equal(t, 130, code)
	srv.ClearFaults()
	indextest.Eventually(t, func() bool { return images(srv.User("")) == 1 }, "the upload goes on")
	requireOnDrive(t, srv.User(""), "c/x:1", content)
}
