package fs_test

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
)

// posixDeviations are the tests of posixtest that do not pass, with what they say then and why it is so. One that passes
// nevertheless fails TestPosix, so the table stays true. doc.go tells the same as limits.
var posixDeviations = map[string]struct{ says, why string }{
	"FcntlFlockLocksFile": {"returned <nil>, expected EAGAIN", "the test wants a lock of a process to shut out the same process; Linux has no such locks"},
	"FileBasic":           {"got mode 100644, want 100755", "modes are not kept: a draft is 0644, under an image's name 0755"},
	"Link":                {"Link: .*operation not permitted", "no hard links: EPERM"},
	"LinkUnlinkRename":    {"Link .*operation not permitted", "no hard links: EPERM"},
	"OpenAt":              {"stale file handle", "a directory is its path: a descriptor of it does not follow when it is renamed, ESTALE"},
	"OpenSymlinkRace":     {"Symlink: operation not permitted", "no symbolic links: EPERM"},
	"SetattrSymlink":      {"symlink: .*operation not permitted", "no symbolic links: EPERM"},
	"SymlinkReadlink":     {"Symlink: .*operation not permitted", "no symbolic links: EPERM"},
	"Tmpfile":             {"does not support O_TMPFILE: operation not supported", "no files without a name: EOPNOTSUPP"},
	"XAttr":               {"Setxattr: operation not supported", "attributes are the image's labels; a draft has none to set: ENOTSUP"},
	"XAttrLarge":          {"Setxattr: operation not supported", "attributes are the image's labels; a draft has none to set: ENOTSUP"},
}

// posixVariable names the directory for TestPosixCase, which runs in a process of its own.
const posixVariable = "SREGFS_POSIX_DIR"

// TestPosixCase runs one test of posixtest for TestPosix.
func TestPosixCase(t *testing.T) {
	dir := os.Getenv(posixVariable)
	if dir == "" {
		t.Skip("it is a part of TestPosix")
	}
	posixtest.All[filepath.Base(dir)](t, dir)
}

// TestPosix: drafts are files like any others, but for the deviations of the table.
func TestPosix(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{})
	passed := 0
	for _, name := range slices.Sorted(maps.Keys(posixtest.All)) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(m.Dir(), "posix", name)
			require.NoError(t, os.MkdirAll(dir, 0o755))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], "-test.run", "^TestPosixCase$", "-test.v", "-test.count", "1")
			cmd.Env = append(os.Environ(), posixVariable+"="+dir)
			out, err := cmd.CombinedOutput()
			require.NoError(t, ctx.Err(), "it hangs: %s", out)
			pass := err == nil && strings.Contains(string(out), "--- PASS: TestPosixCase")
			deviation, deviates := posixDeviations[name]
			switch {
			case pass:
				passed++
				require.False(t, deviates, "it passes: take it out of the table")
			case deviates:
				require.Regexp(t, regexp.MustCompile(deviation.says), string(out))
				t.Logf("deviates: %s", deviation.why)
			default:
				require.Fail(t, "it fails", "%s", out)
			}
		})
	}
	t.Logf("%d of %d pass, %d deviate", passed, len(posixtest.All), len(posixDeviations))
}
