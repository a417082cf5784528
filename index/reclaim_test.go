package index_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// TestUnrecordedBlocksGoBackToTheDisk has a block file hold what a killed program wrote and did not come to record.
func TestUnrecordedBlocksGoBackToTheDisk(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(1, 96<<20)
	id := indextest.Put(t, srv.User(""), "c/x:1", content, nil).ID
	dir := t.TempDir()
	ix, err := indextest.TryOpen(t, srv, index.Options{Dir: dir, Complete: index.CompleteNever})
	require.NoError(t, err)
	r := open(t, ix, byID(t, ix, id))
	require.Equal(t, content[:block], readRange(t, r, 0, block))
	require.NoError(t, r.Close())
	require.NoError(t, ix.Close())

	paths := blockFiles(t, dir)
	require.Len(t, paths, 1)
	change(t, paths[0], func(f *os.File) error {
		_, err := f.WriteAt(content[64<<20:68<<20], 64<<20)
		return err
	})

	ix = indextest.Open(t, srv, index.Options{Dir: dir, Complete: index.CompleteNever})
	require.Positive(t, ix.Cached(byID(t, ix, id)))
	require.Less(t, ix.Cached(byID(t, ix, id)), int64(48<<20))
	report, err := ix.Check(t.Context(), index.CheckOptions{})
	require.NoError(t, err)
	require.Empty(t, report.Problems)
	require.Equal(t, content[64<<20:64<<20+block], readRange(t, open(t, ix, byID(t, ix, id)), 64<<20, block))
}

func readRange(t *testing.T, r *index.Reader, off, n int64) []byte {
	t.Helper()
	p := make([]byte, n)
	_, err := r.ReadAt(t.Context(), p, off)
	require.NoError(t, err)
	return p
}
