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
// itself from a discovery document and speaks PUT chunks, 308, LF batches and overridden GETs.
func TestPythonClient(t *testing.T) {
	if out, err := exec.CommandContext(t.Context(), systemPython, "-c", "import googleapiclient, oauth2client, google_auth_httplib2").CombinedOutput(); err != nil {
		t.Skipf("Debian's python3-googleapi is not installed: %v: %s", err, bytes.TrimSpace(out))
	}
	run := func(t *testing.T, document ...string) {
		t.Helper()
		s := drivetest.NewServer(t, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
		dir := t.TempDir()
		require.NoError(t, s.User("ann@uni.edu").WriteCredentials(dir))
		require.NoError(t, s.User("robot@sregfs-emulator.iam.gserviceaccount.com").WriteServiceAccount(filepath.Join(dir, "service.json")))
		cmd := exec.CommandContext(t.Context(), systemPython, append([]string{"-B", "testdata/googleapi.py", s.URL(), dir}, document...)...)
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		require.NoError(t, err)
	}
	t.Run("built from the emulator's document", func(t *testing.T) { run(t) })
	t.Run("built from Google's document", func(t *testing.T) {
		module, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "google.golang.org/api").Output()
		if err != nil || len(bytes.TrimSpace(module)) == 0 {
			t.Skipf("the module that holds it is not at hand: %v", err)
		}
		run(t, filepath.Join(string(bytes.TrimSpace(module)), "drive", "v3", "drive-api.json"))
	})
}
