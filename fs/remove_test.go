package fs_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
)

// TestRemovedIsGone: a process that removes the last version of a tag finds the tag's file gone, and can make it anew.
func TestRemovedIsGone(t *testing.T) {
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
