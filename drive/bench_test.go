package drive_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
)

// One bounded request of a block from an emulated Drive on the same machine: what the client itself costs.
func BenchmarkReadRange(b *testing.B) {
	srv := drivetest.NewServer(b, drivetest.Options{})
	dir := b.TempDir()
	require.NoError(b, srv.User("").WriteCredentials(dir))
	auth, err := drive.OpenAuth(drive.AuthOptions{Credentials: filepath.Join(dir, "client_secrets.json"), Token: filepath.Join(dir, "token.json")})
	require.NoError(b, err)
	c, err := drive.New(drive.Options{URL: srv.URL(), Auth: auth})
	require.NoError(b, err)
	b.Cleanup(c.Close)
	const block = 1 << 20
	f, err := srv.User("").Put(drivetest.File{Name: "image"}, bytes.NewReader(make([]byte, block)))
	require.NoError(b, err)
	p := make([]byte, block)
	b.SetBytes(block)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, c.ReadRange(b.Context(), contentOf(f), p, 0, nil))
	}
}
