package fs_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
)

// TestThreeGigabytes: a large image goes through, whole.
func TestThreeGigabytes(t *testing.T) {
	if testing.Short() {
		t.Skip("3 GB through the emulator")
	}
	srv := drivetest.NewServer(t, drivetest.Options{Dir: t.TempDir()})
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("mkdir c; truncate -s 3000000001 c/big.part; printf end | dd of=c/big.part bs=1 seek=2999999000 conv=notrunc; mv c/big.part c/big:1.img")
	want := m.Sh("( head -c 2999999000 /dev/zero; printf end; head -c 998 /dev/zero ) | sha256sum")
	require.Equal(t, want, m.Sh("sha256sum < c/big:1.img"))
	require.Equal(t, 1, images(srv.User("")))
}
