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

// TestANameThatDriveIsAboutToHave: in background mode rm and mv of an image whose push has just reached Drive wait for
// it, and then act on the image.
func TestANameThatDriveIsAboutToHave(t *testing.T) {
	t.Parallel()
	for name, command := range map[string]string{
		"rm": "rm c/x:1.sif && test ! -e c/x:1/NEW.sif",
		"mv": "mv c/x:1.sif c/y:1.sif && ls c/y:1/NEW.sif",
		// A directory moves with what is on its way to it.
		"mv of the collection": "mv c d && ls d/x:1/NEW.sif && test ! -e c",
		"mv of the tag":        "mv c/x:1 c/y:2 && ls c/y:2/NEW.sif",
	} {
		t.Run(name, func(t *testing.T) {
			srv := drivetest.NewServer(t, drivetest.Options{})
			user := srv.User("")
			file := indextest.Put(t, user, "c/x:1", sif(t, 100_000, 1), nil)
			require.NoError(t, user.Patch(file.ID, func(f *drivetest.File) { f.Modified = f.Modified.Add(time.Hour) }))
			m := fstest.Mount(t, srv, fstest.Options{Background: true})
			content := sif(t, 100_000, 2)
			patch := drivetest.On("PATCH", "/drive/v3/files/*").Nth(1).Delay(time.Second) // to be the newest in spite of the hour
			srv.Fault(patch)
			m.Sh(`cp "$SRC" c/x:1.sif`, "SRC="+local(t, "x", content))
			indextest.Eventually(t, func() bool { return patch.Hits() > 0 }, "Drive has it, and it is not yet an image here")
			m.Sh(strings.ReplaceAll(command, "NEW", md5sum(content)))
			m.Sh("ls .sregfs/drafts | wc -l | grep -qx 0")
		})
	}
}

// TestATruncateThatIsRefusedLeavesNothing: half an image is none, and what was refused is not found later.
func TestATruncateThatIsRefusedLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, background := range []bool{false, true} {
		srv := drivetest.NewServer(t, drivetest.Options{})
		m := fstest.Mount(t, srv, fstest.Options{Background: background})
		content := sif(t, 100_000, 1)
		m.Sh(`mkdir c; cp "$SRC" c/x:1.sif`, "SRC="+local(t, "x", content))
		require.Contains(t, m.Fail("truncate -s 5000 c/x:1.sif"), "Invalid argument")
		require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0])
		m.Sh("rm -r c; test ! -e c")
	}
}

// TestLedToADraftThatIsAnImageByNow: between the look-up and the open of one open(2) a push may arrive. Here it is one that
// the mount before began.
func TestLedToADraftThatIsAnImageByNow(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	file := indextest.Put(t, user, "c/x:1", sif(t, 100_000, 1), nil)
	require.NoError(t, user.Patch(file.ID, func(f *drivetest.File) { f.Modified = f.Modified.Add(time.Hour) }))
	m := fstest.Mount(t, srv, fstest.Options{Background: true})
	content := sif(t, 100_000, 2)
	src := local(t, "x", content)
	srv.Fault(drivetest.On("PUT", "/upload/*").Stall())
	m.Sh(`cp "$SRC" c/x:1.sif`, "SRC="+src)
	m.Kill()
	srv.ClearFaults()
	srv.Fault(drivetest.On("PATCH", "/drive/v3/files/*").Nth(1).Delay(3 * time.Second)) // meanwhile the draft has the name
	m.Remount()
	m.Sh(`python3 - <<'E'
import json, os, time
led = [os.open("c/x:1.sif", os.O_PATH) for i in range(3)]
while json.load(open(".sregfs/status"))["pushes"]: time.sleep(0.02)
def path(i): return f"/proc/self/fd/{led[i]}"
assert open(path(0), "rb").read() == open(os.environ["SRC"], "rb").read()
os.close(os.open(path(1), os.O_RDWR))
try: os.truncate(path(2), 5000)
except OSError as e: assert e.errno == 22, e
else: raise SystemExit("half an image was taken")
E`, "SRC="+src)
	require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0])
}

// TestRemovedThoughItCameBackTwice: in background mode, too, rm takes away what the name showed.
func TestRemovedThoughItCameBackTwice(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{Background: true})
	srv.Fault(drivetest.On("GET", "/drive/v3/files/*").Delay(500 * time.Millisecond)) // how a push learns that it is there
	one, two := sif(t, 100_000, 1), sif(t, 100_000, 2)
	m.Sh(`mkdir c; cp "$ONE" c/x:1.sif; cp "$TWO" c/x:1.sif; cp "$ONE" c/x:1.sif; rm c/x:1.sif`, "ONE="+local(t, "one", one), "TWO="+local(t, "two", two))
	require.Equal(t, sha(two), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0])
	indextest.Eventually(t, func() bool { return m.Sh("ls c/x:1") == md5sum(two)+".sif" }, "and the other version alone is left")
}
