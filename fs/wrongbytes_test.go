package fs_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/indextest"
)

// TestWrongBytesAreNotTaken: promise 2, against a network that changes bytes. Whoever reads an image to its end gets the
// right bytes or an error; and what was wrong once is nowhere kept, not in the kernel either.
func TestWrongBytesAreNotTaken(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{Poll: -1})
	for i, size := range []int64{300_000, 5 << 20, 40 << 20} {
		content := sif(t, size, uint64(i+1))
		indextest.Put(t, srv.User(""), "c/x:1", content, nil)
		m.Sh("echo > .sregfs/refresh")
		srv.Fault(drivetest.On("GET", "/drive/v3/files/*").Query("alt", "media").Corrupt().Times(1))
		if out, code := m.Try("cat c/x:1.sif | sha256sum"); code == 0 {
			require.Contains(t, out, sha(content))
		} else {
			require.Contains(t, out, "Bad message")
		}
		srv.ClearFaults()
		require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0])
		m.Sh("rm c/x:1.sif")
	}
}
