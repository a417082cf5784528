package fs_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
)

// TestFree: df shows what Drive holds, with a quota and without.
func TestFree(t *testing.T) {
	t.Parallel()
	for name, quota := range map[string]int64{"unlimited": 0, "quota": 1 << 30} {
		t.Run(name, func(t *testing.T) {
			srv := drivetest.NewServer(t, drivetest.Options{})
			srv.User("").SetQuota(quota)
			m := fstest.Mount(t, srv, fstest.Options{})
			m.Sh("mkdir c; cp " + local(t, "src", sif(t, 1<<20, 1)) + " c/x:1.sif")
			m.Unmount()
			m.Remount()
			require.Equal(t, "1048576", strings.Fields(m.Sh("df -B1 --output=used ."))[1])
		})
	}
}
