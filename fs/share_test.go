package fs_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/indextest"
)

// TestTwoMounts: what one mount of a registry pushes, retags or trashes the other shows, without remounting.
func TestTwoMounts(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	a, b := fstest.Mount(t, srv, fstest.Options{}), fstest.Mount(t, srv, fstest.Options{})
	one, two := sif(t, 1<<20, 1), sif(t, 1<<20, 2)
	shows := func(m *fstest.M, name string, content []byte) {
		t.Helper()
		indextest.Eventually(t, func() bool {
			out, code := m.Try("sha256sum " + name)
			if content == nil {
				return code != 0
			}
			return strings.HasPrefix(out, sha(content))
		}, name)
	}
	a.Sh("mkdir c; cp " + local(t, "one", one) + " c/x:1.sif")
	shows(b, "c/x:1.sif", one)
	b.Sh("cp " + local(t, "two", two) + " c/x:1.sif")
	shows(a, "c/x:1.sif", two)
	shows(a, "c/x:1/"+md5sum(one)+".sif", one)
	a.Sh("mv c/x:1.sif c/y:1.sif")
	shows(b, "c/y:1.sif", two)
	shows(b, "c/x:1.sif", nil)
	b.Sh("setfattr -n user.sregfs.label.maintainer -v ann c/y:1.sif")
	indextest.Eventually(t, func() bool {
		out, _ := a.Try("getfattr --only-values -n user.sregfs.label.maintainer c/y:1.sif")
		return out == "ann"
	}, "the label")
	// What a has open stays readable when b overwrites and then removes it.
	out := a.Sh(`exec 5< c/y:1.sif; head -c 4096 <&5 > /dev/null
		cp ` + local(t, "one", one) + ` ` + b.Dir() + `/c/y:1.sif; rm ` + b.Dir() + `/c/y:1/` + md5sum(two) + `.sif
		while grep -q ` + md5sum(two) + ` .sregfs/images; do echo > .sregfs/refresh; done
		cat /proc/self/fd/5 | sha256sum`)
	require.Contains(t, out, sha(two))
	a.Sh("rm -r c")
	indextest.Eventually(t, func() bool { return b.Sh("ls") == "" }, "nothing is left")
}

// TestShare: all forms of sharing reach the other's mount, and revoking takes the image away.
func TestShare(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
	one, two := sif(t, 1<<20, 1), sif(t, 1<<20, 2)
	indextest.Put(t, srv.User(""), "c/x:1", one, nil)
	indextest.Put(t, srv.User(""), "c/d/y:1", two, nil)
	ann := fstest.Mount(t, srv, fstest.Options{})
	bob := fstest.Mount(t, srv, fstest.Options{User: "bob@uni.edu"})
	require.Empty(t, bob.Sh("ls"))
	there := func(name string, want bool) {
		t.Helper()
		indextest.Eventually(t, func() bool {
			bob.Sh("echo > .sregfs/refresh")
			_, code := bob.Try("test -f shared-with-me/ann@uni.edu/" + name)
			return (code == 0) == want
		}, name)
	}
	for _, c := range []struct{ name, share, unshare string }{
		{"attribute of the tag's file", "setfattr -n user.sregfs.share -v bob@uni.edu c/x:1.sif", "setfattr -n user.sregfs.unshare -v bob@uni.edu c/x:1.sif"},
		{"attribute with a role", "setfattr -n user.sregfs.share -v bob@uni.edu:writer c/x:1.sif", "setfattr -n user.sregfs.unshare -v bob@uni.edu c/x:1.sif"},
		{"attribute of a version", "setfattr -n user.sregfs.share -v bob@uni.edu c/x:1/*.sif", "setfattr -n user.sregfs.unshare -v bob@uni.edu c/x:1/*.sif"},
		{"attribute of the tag's directory", "setfattr -n user.sregfs.share -v bob@uni.edu c/x:1", "setfattr -n user.sregfs.unshare -v bob@uni.edu c/x:1"},
		{"control file", "echo 'bob@uni.edu c/x:1 reader' > .sregfs/share", "echo 'rm bob@uni.edu c/x:1' > .sregfs/share"},
		{"control file, all options", "echo 'bob@uni.edu c/x:1 commenter notify=no message=look at this' > .sregfs/share", "printf 'rm bob@uni.edu c/x:1' > .sregfs/share"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ann.Sh(c.share)
			there("c/x:1.sif", true)
			require.Equal(t, sha(one), strings.Fields(bob.Sh("sha256sum shared-with-me/ann@uni.edu/c/x:1.sif"))[0])
			require.Contains(t, ann.Sh("getfattr --only-values -n user.sregfs.shared c/x:1.sif"), "bob@uni.edu")
			require.Contains(t, ann.Sh("exec 5<> .sregfs/share; echo 'ls c/x:1' >&5; cat <&5"), "bob@uni.edu")
			ann.Sh(c.unshare)
			there("c/x:1.sif", false)
			require.NotContains(t, ann.Sh("getfattr --only-values -n user.sregfs.shared c/x:1.sif"), "bob@uni.edu")
		})
	}
	ann.Sh("setfattr -n user.sregfs.share -v bob@uni.edu c")
	there("c/x:1.sif", true)
	there("c/d/y:1.sif", true)
	require.Equal(t, []string{"c/d/y:1.sif=2", "c/d/y:1/2", "c/x:1.sif=1", "c/x:1/1"}, strings.Fields(strings.ReplaceAll(strings.Join(tree(bob, one, two), " "), "shared-with-me/ann@uni.edu/", "")))
	for _, command := range []string{
		"rm shared-with-me/ann@uni.edu/c/x:1.sif", "cp /etc/hostname shared-with-me/ann@uni.edu/c/z:1.sif", "cp /etc/hostname shared-with-me/ann@uni.edu/c/x:1.sif",
		"mkdir shared-with-me/ann@uni.edu/e", "mkdir shared-with-me/e", "rmdir shared-with-me/ann@uni.edu/c", "rmdir shared-with-me",
		"python3 -c 'import os; os.rename(\"shared-with-me/ann@uni.edu/c\", \"c\")'", "touch shared-with-me/x",
		"python3 -c 'import os; os.rename(\"shared-with-me/ann@uni.edu/c/x:1.sif\", \"x:1.sif\")'",
	} {
		out := bob.Fail(command)
		require.True(t, strings.Contains(out, "Read-only file system") || strings.Contains(out, "Operation not permitted"), "%s: %s", command, out)
	}
	require.Equal(t, 2, images(srv.User("")))
	bob.Sh("cp shared-with-me/ann@uni.edu/c/x:1.sif mine:1.sif")
	requireOnDrive(t, srv.User("bob@uni.edu"), "library/mine:1", one)
}

// TestShareErrors: the errno reaches setfattr and the writer of the control file, the words the answer and the log.
func TestShareErrors(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	indextest.Put(t, srv.User(""), "c/x:1", []byte("content"), nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	require.Contains(t, m.Fail("setfattr -n user.sregfs.share -v nonsense c/x:1.sif"), "Invalid argument")
	require.Contains(t, m.Fail("setfattr -n user.sregfs.share -v ann@uni.edu:boss c/x:1.sif"), "Invalid argument")
	require.Contains(t, m.Fail("echo 'nonsense c/x:1' > .sregfs/share"), "Invalid argument")
	require.Contains(t, m.Sh("cat .sregfs/share"), "nonsense")
	require.Contains(t, m.Fail("echo 'bob@uni.edu c/none:1' > .sregfs/share"), "No such file")
	require.Contains(t, m.Fail("echo hello > .sregfs/share"), "Invalid argument")
	require.Contains(t, m.Sh("cat .sregfs/share"), "usage:")
	srv.Fault(drivetest.On("POST", "/drive/v3/files/*/permissions").Status(403, "sharingRateLimitExceeded"))
	require.Contains(t, m.Fail("setfattr -n user.sregfs.share -v bob@uni.edu c/x:1.sif"), "Disk quota exceeded")
}
