package index_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/indextest"
)

// A power cut may leave a file that was made and not yet written to: the records open nevertheless, whole.
func TestAnEmptyLogOfTheRecords(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir})
	require.NoError(t, ix.Mkdir("kept"))
	require.NoError(t, ix.Close())
	for _, name := range []string{"00099.mem", "000099.vlog", "000099.sst"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "index", name), nil, 0o600))
	}
	ix = indextest.Open(t, srv, index.Options{Dir: dir})
	_, err := ix.Collection("", "kept")
	require.NoError(t, err)
	require.NoError(t, ix.Close())
	indextest.Open(t, srv, index.Options{Dir: dir})
}
