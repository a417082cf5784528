package fs_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// TestEveryFormResolves: all text forms of a name mean the image, listed or not.
func TestEveryFormResolves(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := sif(t, 1<<20, 1)
	indextest.Put(t, srv.User(""), "vsoch/hello-world:latest", content, nil)
	indextest.Put(t, srv.User(""), "library/busybox:latest", content, nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	version := md5sum(content)
	for _, name := range []string{
		"vsoch/hello-world:latest.sif", "vsoch/hello-world.sif", "vsoch/hello-world:latest.simg", "VSOCH/Hello-World:Latest.SIF", "vsoch/hello-world:latest@" + version + ".sif",
		"vsoch/hello-world:latest@" + version, "vsoch/hello-world@" + version + ".sif", "vsoch/hello-world:latest/" + version + ".sif", "vsoch/hello-world:latest/" + strings.ToUpper(version) + ".sif",
		"vsoch/hello-world:latest/" + sha(content) + ".sif", "vsoch/hello-world:latest@" + sha(content) + ".sif", "busybox.sif", "busybox:latest.sif", "busybox:latest/" + version + ".sif", "library/busybox.sif",
	} {
		require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum < " + name))[0], name)
	}
	require.Equal(t, "library\nvsoch", m.Sh("ls"))
	require.Equal(t, "hello-world:latest\nhello-world:latest.sif", m.Sh("ls vsoch"))
	for _, name := range []string{"vsoch/hello", "vsoch/hello.sif", "vsoch/hello-world:lat.sif", "vsoch/hello-world:latest@ed97.sif", "vsoch/hello-world:latest/x.sif", "vsoc", "busybox", "shared-with-me", "vsoch/.sregfs"} {
		m.Sh("test ! -e " + name)
	}
}

// TestHostileNames: names on Drive that a file system cannot hold neither escape nor collide nor hide each other.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	long := strings.Repeat("long", 20)
	names := []map[string]string{
		{"collection": "../../x", "image": "../y", "tag": "../z"},
		{"collection": "..", "image": "..", "tag": ".."},
		{"collection": "a/b/../c", "image": "i/j", "tag": "t/u"},
		{"collection": ".sregfs", "image": "status", "tag": "1"},
		{"collection": "shared-with-me", "image": "x", "tag": "1"},
		{"collection": "c", "image": "new\nline", "tag": "bell\a"},
		{"collection": "c", "image": "x", "tag": "1.sif"},
		{"collection": "c", "image": "x", "tag": "1"},
		{"collection": "c", "image": "x:1", "tag": "2"},
		{"collection": "c", "image": "x", "tag": "1:2"},
		{"collection": "c:1", "image": "x", "tag": "1"},
		{"collection": "c.sif", "image": "x", "tag": "1"},
		{"collection": "c", "image": "%2e%2e", "tag": "%"},
		{"collection": "", "image": "", "tag": ""},
		{"collection": "/", "image": "/", "tag": "/"},
		{"collection": "c", "image": "ünïcödé", "tag": "日本"},
		{"collection": "c", "image": "\xff\xfe", "tag": "1"},
		{"collection": long, "image": long, "tag": long},
		{"collection": "c", "image": "UPPER", "tag": "Case"},
		{"collection": "c", "image": "~x#", "tag": "-rf *"},
		{"collection": "c", "image": "caf\u00e9", "tag": "1"},  // one letter,
		{"collection": "c", "image": "cafe\u0301", "tag": "1"}, // and two that look like it
		{"collection": "c", "image": "x\u202egnp.sif", "tag": "1"},
		{"collection": "c", "image": "x\u200b", "tag": "1"},
		{"collection": "c", "image": "x\x1b[2J\u009b", "tag": "1"},
		{"collection": strings.Repeat("\u00e9", 55), "image": "x", "tag": "1"},
	}
	var contents [][]byte
	put := func(f drivetest.File) {
		content := imagetest.Bytes(uint64(len(contents)), 2000)
		contents = append(contents, content)
		indextest.PutRaw(t, user, f, content)
	}
	for _, props := range names {
		props["type"] = "container"
		put(drivetest.File{Name: "n", Properties: props})
	}
	for _, name := range []string{"only a name.sif", "../x", "a\x01b.simg", strings.Repeat("x", 300), "c/e0:t.simg", ""} {
		put(drivetest.File{Name: name, Properties: map[string]string{"type": "container"}})
	}
	m := fstest.Mount(t, srv, fstest.Options{})
	listed := m.Sh(`find . -type f -print0 | xargs -0 sha256sum --zero | tr '\0\n' '\n?'`)
	for i, content := range contents {
		require.Equal(t, 2, strings.Count(listed, sha(content)), "image %d shows as the file of its tag and as a version\n%s", i, listed)
	}
	for line := range strings.Lines(listed) {
		_, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		require.Equal(t, filepath.Clean(path), strings.TrimPrefix(path, "./"))
		for part := range strings.SplitSeq(path, "/") {
			require.LessOrEqual(t, len(part), 255)
		}
	}
	for _, bad := range []string{"\x1b", "\u009b", "\u202e", "\u200b", "\a"} {
		require.NotContains(t, listed, bad, "a listing on a terminal")
	}
	require.NotContains(t, m.Sh("ls -A"), ".sregfs")
	require.Empty(t, m.Sh("ls shared-with-me 2>/dev/null || true"))
	out, err := exec.CommandContext(t.Context(), "find", filepath.Dir(m.Dir()), "-maxdepth", "1", "-newer", m.Dir()).CombinedOutput()
	require.NoError(t, err)
	require.NotContains(t, string(out), "/x")
	m.Sh("rm -r ./*")
	require.Zero(t, images(user))
}

// TestNamesThatDifferInCase: they are one tag, whose versions are all there; none hides behind another.
func TestNamesThatDifferInCase(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	var contents [][]byte
	for i, name := range []string{"lab/tool:1", "LAB/Tool:1", "Lab/TOOL:1"} {
		ref := strings.FieldsFunc(name, func(r rune) bool { return r == '/' || r == ':' })
		contents = append(contents, imagetest.Bytes(uint64(i), 2000))
		indextest.PutRaw(t, srv.User(""), drivetest.File{Name: name, Properties: map[string]string{
			"type": "container", "collection": ref[0], "image": ref[1], "tag": ref[2], "version": md5sum(contents[i]),
		}}, contents[i])
	}
	m := fstest.Mount(t, srv, fstest.Options{})
	require.Len(t, strings.Fields(m.Sh("ls")), 1)
	require.Len(t, strings.Fields(m.Sh("ls LAB")), 2, "the tag and its directory")
	for _, content := range contents {
		require.Contains(t, m.Sh("sha256sum lab/tool:1/"+md5sum(content)+".sif"), sha(content))
	}
}

// TestNamesThatMayNotBe: who creates an image under a name that cannot be one hears it at once.
func TestNamesThatMayNotBe(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("mkdir c")
	src := local(t, "src", sif(t, 300_000, 1))
	for name, errno := range map[string]string{
		"c/a:b:c.sif": "Invalid argument", "c/:1.sif": "Invalid argument", "c/x:.sif": "Invalid argument", "c/x:1": "Invalid argument",
		"c/x:1@.sif": "Invalid argument", "c/" + strings.Repeat("x", 100) + ":1.sif": "File name too long", "c/" + strings.Repeat("x", 256): "File name too long",
		"shared-with-me": "Operation not permitted", "c/x:" + strings.Repeat("t", 80) + ".sif": "File name too long",
	} {
		out := m.Fail("cp " + src + " '" + name + "'")
		require.Contains(t, out, errno, name)
	}
	require.Zero(t, images(srv.User("")))
	require.Contains(t, m.Log(), "bytes", "how much is too long")
}
