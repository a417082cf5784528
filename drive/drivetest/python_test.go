package drivetest_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
)

// systemPython is the interpreter that has Debian's python3-googleapi.
const systemPython = "/usr/bin/python3"

// TestPythonClient runs testdata/googleapi.py: Google's Python client, which nobody here wrote, builds
// itself from the discovery document and speaks PUT chunks, 308, LF batches and overridden GETs.
func TestPythonClient(t *testing.T) {
	if out, err := exec.CommandContext(t.Context(), systemPython, "-c", "import googleapiclient, oauth2client").CombinedOutput(); err != nil {
		t.Skipf("Debian's python3-googleapi is not installed: %v: %s", err, bytes.TrimSpace(out))
	}
	s := drivetest.NewServer(t, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
	dir := t.TempDir()
	require.NoError(t, s.User("ann@uni.edu").WriteCredentials(dir))
	require.NoError(t, s.User("robot@sregfs-emulator.iam.gserviceaccount.com").WriteServiceAccount(filepath.Join(dir, "service.json")))
	cmd := exec.CommandContext(t.Context(), systemPython, "-B", "testdata/googleapi.py", s.URL(), dir)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	require.NoError(t, err)
}
