package fs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/indextest"
)

// TestNothingHangs: connections that are taken and never answered. What is known is shown at once; what asks Drive ends
// with an errno in time; and whoever does not want to wait is let go.
func TestNothingHangs(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	content := sif(t, 300_000, 1)
	for i := range 12 {
		indextest.Put(t, user, fmt.Sprintf("c/x%d:1", i), sif(t, 300_000, uint64(i+10)), nil)
	}
	indextest.Put(t, user, "c/cached:1", content, nil)
	m := fstest.Mount(t, srv, fstest.Options{Timeout: faultTime, Poll: 100 * time.Millisecond})
	m.Sh("cat c/cached:1.sif > /dev/null")
	srv.Fault(drivetest.On("*", "*").Stall())
	src := local(t, "src.sif", sif(t, 300_000, 2))

	for _, command := range []string{
		"ls -lR", "stat c/x0:1.sif", "getfattr -d -m - c/x0:1.sif", "jq . .sregfs/status", "cat .sregfs/transfers .sregfs/metrics",
		"cat c/cached:1.sif", "df .", "mkdir d", "cp $SRC d/draft.part", "echo c/x0:1 > .sregfs/record",
	} {
		began := time.Now()
		m.Sh(command, "SRC="+src)
		require.Less(t, time.Since(began), faultTime+2*time.Second, command)
	}
	for _, command := range []string{
		"cat c/x0:1.sif", "head -c 100 c/x1:1.sif", "cp $SRC c/new:1.sif", "mv c/x2:1.sif c/y2:1.sif", `python3 -c 'import os; os.rename("d/draft.part", "d/draft:1.sif")'`, "rm c/x3:1.sif",
		"setfattr -n user.sregfs.share -v bob@uni.edu c/x4:1.sif", "setfattr -n user.sregfs.share -v bob@uni.edu c", "setfattr -n user.sregfs.label.a -v b c/x5:1.sif",
		"getfattr -n user.sregfs.shared c/x6:1.sif", "setfattr -n user.sregfs.prefetch -v 1 c/x7:1.sif", "echo > .sregfs/refresh", "mv c e",
		"cat c/x8:1.sif & cat c/x9:1.sif & cat c/x10:1.sif & cat c/x11:1.sif & wait -n",
	} {
		began := time.Now()
		out := m.Fail(command, "SRC="+src)
		require.Equal(t, "ETIMEDOUT", outcomeOf(out, 1), "%s\n%s", command, out)
		require.Less(t, time.Since(began), faultLate, command)
	}
	for _, signal := range []string{"INT", "TERM", "KILL"} {
		for _, command := range []string{
			"cat c/x0:1.sif", "cp $SRC c/z:1.sif", "mv c/x2:1.sif c/y2:1.sif", "rm c/x3:1.sif", "setfattr -n user.sregfs.share -v bob@uni.edu c/x4:1.sif",
		} {
			began := time.Now()
			// A read goes on for two seconds, in case that its data comes.
			m.Sh(fmt.Sprintf("env --default-signal=INT %s & pid=$!; sleep 0.3; kill -%s $pid; ! wait $pid", command, signal), "SRC="+src)
			require.Less(t, time.Since(began), faultLate, "%s %s", signal, command)
		}
	}
	srv.ClearFaults()
	m.Sh("sync c/new:1.sif; sha256sum c/x*:1.sif > /dev/null")
	require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum c/cached:1.sif"))[0])
	_, new1 := onDrive(t, user, "c/new:1")
	require.Equal(t, sha(sif(t, 300_000, 2)), sha(new1))
}

// TestARenameThatWaits: rename(2) of a draft says that Drive has not answered, though the draft has its new name. Its bytes
// are there, its push goes on, and sync waits for that.
func TestARenameThatWaits(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := sif(t, 300_000, 1)
	m := fstest.Mount(t, srv, fstest.Options{Timeout: faultTime})
	src := "SRC=" + local(t, "src.sif", content)
	m.Sh("mkdir c; cp $SRC c/x.part", src)
	srv.Fault(drivetest.On("*", "/upload/*").Stall())
	require.Contains(t, m.Fail(`python3 -c 'import os; os.rename("c/x.part", "c/x:1.sif")'`), "Connection timed out")
	m.Sh("test ! -e c/x.part; cmp $SRC c/x:1.sif; jq -e '.final | not' .sregfs/transfers", src)
	require.Contains(t, m.Fail("mv c/x.part c/x:1.sif"), "No such file") // so says mv the first time too: it looks what became of it
	srv.ClearFaults()
	m.Sh("sync c/x:1.sif; ! grep . .sregfs/transfers")
	requireOnDrive(t, srv.User(""), "c/x:1", content)
}

// TestASignInIsNoticed: who has to sign in again does so beside the mount; the push that waited goes on by itself.
func TestASignInIsNoticed(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	content := sif(t, 300_000, 1)
	m := fstest.Mount(t, srv, fstest.Options{Timeout: faultTime})
	user.RevokeTokens()
	m.Sh("mkdir c")
	require.Contains(t, m.Fail("cp "+local(t, "src.sif", content)+" c/x:1.sif"), "Key has expired")
	require.Zero(t, images(user))
	m.SignIn(user)
	indextest.Eventually(t, func() bool { return images(user) == 1 }, "the push goes on")
	requireOnDrive(t, user, "c/x:1", content)
	m.Sh("ls c; cat c/x:1.sif > /dev/null")
}

// TestPushesToOddServers: Drive keeps less of a chunk than it was sent, moves the session, or fails on a total.
func TestPushesToOddServers(t *testing.T) {
	t.Parallel()
	for name, quirks := range map[string]drivetest.Quirks{
		"keeps a little of each chunk": {PersistAtMost: 5 << 20},
		"moves the session":            {MoveSession: true},
		"fails on a total":             {StatusStarOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			srv := drivetest.NewServer(t, drivetest.Options{Quirks: quirks})
			m := fstest.Mount(t, srv, fstest.Options{})
			content := sif(t, 33<<20, 1)
			m.Sh("mkdir c; cp " + local(t, "src.sif", content) + " c/x:1.sif")
			requireOnDrive(t, srv.User(""), "c/x:1", content)
		})
	}
}
