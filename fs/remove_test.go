package fs_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
)

// TestRemovedIsGone: a process that removes the last version of a tag finds the tag's file gone, and can make it anew.
func TestRemovedIsGone(t *testing.T) {
	t.Parallel()
	for name, program := range map[string]string{
		"stat": `
try: os.stat("c/x:1.sif"); sys.exit("still there")
except FileNotFoundError: pass`,
		"read": `
try: open("c/x:1.sif", "rb"); sys.exit("still there")
except FileNotFoundError: pass`,
		"chmod": `
try: os.chmod("c/x:1.sif", 0o700); sys.exit("still there")
except FileNotFoundError: pass`,
		"write": ``,
	} {
		t.Run(name, func(t *testing.T) {
			srv := drivetest.NewServer(t, drivetest.Options{})
			m := fstest.Mount(t, srv, fstest.Options{})
			content := sif(t, 300_000, 1)
			src := local(t, "src", content)
			m.Sh("mkdir c; cp " + src + " c/x:1.sif")
			m.Sh("python3 - <<'E'\nimport os, sys\n" +
				"os.stat('c/x:1.sif'); os.unlink('c/x:1/' + os.listdir('c/x:1')[0])" + program +
				"\nopen('c/x:1.sif', 'wb').write(open('" + src + "', 'rb').read())\nE")
			requireOnDrive(t, srv.User(""), "c/x:1", content)
		})
	}
}

// TestMirror: rsync --delete, which takes the tag's directory for a stranger and empties it, sends the image again.
func TestMirror(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{})
	content := sif(t, 300_000, 1)
	src := local(t, "x:1.sif", content)
	for range 3 {
		m.Sh("rsync -a --delete $(dirname " + src + ")/ c/")
		require.Equal(t, "x:1\nx:1.sif", m.Sh("ls c"))
		requireOnDrive(t, srv.User(""), "c/x:1", content)
	}
}

// TestMovedDirectory: what mkdir made is under its new name at once, with all that is in it, and not under the old one.
func TestMovedDirectory(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{})
	content := sif(t, 300_000, 1)
	src := local(t, "src", content)
	m.Sh("mkdir -p a/sub; cp " + src + " a/x:1.sif; mv a b; ls -d b")
	require.Equal(t, "sub\nx:1\nx:1.sif", m.Sh("ls b"))
	m.Sh("cp " + src + " b/y:1.sif; mkdir a; cp " + src + " a/z:1.sif; mkdir b/sub/deep")
	require.Equal(t, "a a/z:1 a/z:1.sif b b/sub b/sub/deep b/x:1 b/x:1.sif b/y:1 b/y:1.sif", strings.Join(strings.Fields(
		m.Sh("find * ! -path '*:1/*' | sort")), " "))
	requireOnDrive(t, srv.User(""), "b/y:1", content)

	m.Sh("mkdir b/t:1; cp " + src + " b/t:1/; mv b/t:1 b/u:2; ls b/u:2 | grep -q sif; cp " + local(t, "other.sif", sif(t, 300_000, 2)) + " b/u:2/")
	require.Len(t, strings.Fields(m.Sh("ls b/u:2")), 2)
	m.Sh("test ! -e b/t:1")
	require.Equal(t, "b", m.Sh("mkdir c; cd c; mv ../c ../d; cd ../b; basename $(pwd)"))
}
