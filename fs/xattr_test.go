package fs_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/indextest"
)

func TestXattrs(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := sif(t, 3<<20, 1)
	file := indextest.Put(t, srv.User(""), "c/x:1", content, map[string]string{"maintainer": "ann", "org.label-schema.usage": "run it"})
	m := fstest.Mount(t, srv, fstest.Options{})
	get := func(name string) string {
		t.Helper()
		return m.Sh("getfattr --only-values -n user.sregfs." + name + " c/x:1.sif")
	}
	for name, want := range map[string]string{
		"id": file.ID, "uri": "c/x:1@" + md5sum(content), "collection": "c", "image": "x", "tag": "1", "version": md5sum(content), "md5": md5sum(content),
		"sha256": sha(content), "size": "3145728", "owner": "ann@uni.edu", "state": "remote", "cached": "0",
		"url": srv.URL() + "/drive/v3/files/" + file.ID + "?alt=media", "shared": "ann@uni.edu owner", "fetched": "nothing",
		"label.maintainer": "ann", "label.org.label-schema.usage": "run it", "labels": `{"maintainer":"ann","org.label-schema.usage":"run it"}`,
		"created": file.Created.UTC().Format("2006-01-02T15:04:05Z"), "modified": file.Modified.UTC().Format("2006-01-02T15:04:05Z"),
	} {
		require.Equal(t, want, get(name), name)
		require.Equal(t, name != "shared", strings.Contains(m.Sh("getfattr c/x:1.sif"), "user.sregfs."+name+"\n"), name)
		require.Contains(t, m.Fail("setfattr -n user.sregfs."+map[bool]string{true: name, false: "id"}[name[0] != 'l']+" -v v c/x:1.sif"), "Operation not supported")
	}
	for _, name := range []string{"share", "unshare", "pin", "unpin", "prefetch", "refresh", "nonsense", "label.none"} {
		require.Contains(t, m.Fail("getfattr -n user.sregfs."+name+" c/x:1.sif"), "No such attribute", name)
		require.NotContains(t, m.Sh("getfattr c/x:1.sif"), "user.sregfs."+name+"\n")
	}
	m.Sh("setfattr -n user.sregfs.prefetch -v 1 c/x:1.sif")
	require.Equal(t, "local", get("state"))
	require.Equal(t, "3145728", get("cached"))
	m.Sh("setfattr -n user.sregfs.pin -v 1 c/x:1.sif; setfattr -n user.sregfs.unpin -v 1 c/x:1.sif; setfattr -n user.sregfs.refresh -v 1 .")

	// Labels are written to Drive, at once.
	m.Sh("setfattr -n user.sregfs.label.maintainer -v bob c/x:1.sif; setfattr -n user.sregfs.label.new -v 'a b' c/x:1.sif")
	require.Equal(t, "bob", get("label.maintainer"))
	f, _ := srv.User("").File(file.ID)
	require.Equal(t, "bob", f.Properties["maintainer"])
	require.Equal(t, "a b", f.Properties["new"])
	m.Sh("setfattr -x user.sregfs.label.new c/x:1.sif")
	f, _ = srv.User("").File(file.ID)
	require.NotContains(t, f.Properties, "new")
	require.Contains(t, m.Fail("setfattr -x user.sregfs.label.new c/x:1.sif"), "No such attribute")
	require.Contains(t, m.Fail("setfattr -x user.sregfs.id c/x:1.sif"), "Operation not supported")

	// Foreign names and too small buffers.
	require.Contains(t, m.Fail("setfattr -n user.other -v 1 c/x:1.sif"), "Operation not supported")
	require.Contains(t, m.Fail("getfattr -n user.other c/x:1.sif"), "No such attribute")
	require.Contains(t, m.Fail("setfattr -n user.sregfs.state -v 1 c/x:1"), "Operation not supported")
	m.Sh(`python3 -c '
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
buf = ctypes.create_string_buffer(2)
assert c.getxattr(b"c/x:1.sif", b"user.sregfs.size", None, 0) == 7
assert c.getxattr(b"c/x:1.sif", b"user.sregfs.size", buf, 2) == -1 and ctypes.get_errno() == 34
assert c.listxattr(b"c/x:1.sif", None, 0) > 100
assert c.listxattr(b"c/x:1.sif", buf, 2) == -1 and ctypes.get_errno() == 34
for flags, name, errno in (1, "maintainer", 17), (2, "none", 61):
    try: os.setxattr("c/x:1.sif", "user.sregfs.label." + name, b"v", flags)
    except OSError as e: assert e.errno == errno, e
    else: assert False, name
'`)
	// A copy carries nothing along that would change its source or target.
	before := len(srv.User("").Files())
	m.Sh("cp -a c/x:1.sif c/copy:1.sif; cp --preserve=xattr c/x:1.sif " + t.TempDir() + "/; rsync -aX " + local(t, "r", content) + " c/r:1.sif")
	require.Len(t, srv.User("").Files(), before+2)
}

// What lists or copies all attributes must not wait for Drive, which may be far away or not there at all.
func TestListedAttributesAskNobody(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	indextest.Put(t, srv.User(""), "c/x:1", sif(t, 1<<20, 1), map[string]string{"maintainer": "ann"})
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("cat c/x:1.sif")
	srv.ResetRequests()
	m.Sh("getfattr -d c/x:1.sif; cp -a c/x:1.sif " + t.TempDir())
	for _, r := range srv.Requests() {
		require.True(t, strings.HasPrefix(r.Op, "changes."), "%s %s", r.Op, r.Path)
	}
}
