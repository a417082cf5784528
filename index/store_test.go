package index

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"sregfs/drive"
)

// alone is an index without a Drive whose registry is the folder "root".
func alone(t *testing.T, dir string) *Index {
	t.Helper()
	ix, err := Open(t.Context(), Options{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ix.Close()) })
	if ix.remote.pinned().ID == "" {
		require.NoError(t, ix.pin(rootRecord{Name: DefaultRoot, ID: "root"}))
	}
	return ix
}

// Listings and the feed lag: what they say late, in whatever order, ends as the newest of it.
func TestNewsInAnyOrder(t *testing.T) {
	f := sampleFile()
	old, now, gone := f, f, f
	old.Version, old.Name = 3, "c/old:t.sif"
	gone.Version, gone.Trashed = 9, true
	ix := alone(t, t.TempDir())
	has := func() bool { _, err := ix.ByID(f.ID); return err == nil }

	require.NoError(t, ix.store([]drive.File{now}, nil, news{}))
	require.NoError(t, ix.store([]drive.File{old}, nil, news{}))
	img, err := ix.ByID(f.ID)
	require.NoError(t, err)
	require.Equal(t, now.Name, img.Name)

	stale := gone
	stale.Version = 2
	require.NoError(t, ix.store([]drive.File{stale}, nil, news{}))
	require.True(t, has(), "it was in the bin before, not after")
	require.NoError(t, ix.store([]drive.File{gone}, nil, news{}))
	require.False(t, has())

	require.NoError(t, ix.store([]drive.File{now}, nil, news{asked: time.Now()}))
	require.True(t, has())
	require.NoError(t, ix.store(nil, []string{f.ID}, news{}))
	require.False(t, has(), "a tombstone has no version")

	require.NoError(t, ix.store([]drive.File{now}, nil, news{asked: time.Now()}))
	require.NoError(t, ix.store(nil, []string{f.ID}, news{}))
	sure, doubtful := ix.credible([]drive.File{now})
	require.Empty(t, sure, "what is gone is not brought back by a listing")
	require.Equal(t, []string{f.ID}, doubtful)
	require.NoError(t, ix.store([]drive.File{now}, nil, news{}))
	require.False(t, has(), "nor by one that was looked through before it went")

	asked := time.Now()
	require.NoError(t, ix.store([]drive.File{now}, nil, news{asked: asked}))
	require.True(t, has(), "Drive was asked for it, and says so")
	require.NoError(t, ix.store(nil, []string{f.ID}, news{}))
	require.NoError(t, ix.store([]drive.File{now}, nil, news{asked: asked}))
	require.False(t, has(), "that was before")
	require.NoError(t, ix.store([]drive.File{now}, nil, news{asked: time.Now()}))
	require.True(t, has())
	sure, doubtful = ix.credible([]drive.File{now})
	require.Len(t, sure, 1, "there is a record, and no note any more")
	require.Empty(t, doubtful)
}

// Whoever finds the token finds every record it stands for, in the next process too; the records may be many and large.
func TestTokenComesWithItsRecords(t *testing.T) {
	dir := t.TempDir()
	ix := alone(t, dir)
	files := make([]drive.File, 400)
	gone := make([]string, 0, len(files))
	for i := range files {
		files[i] = sampleFile()
		files[i].ID = strconv.Itoa(i)
		files[i].Description = strings.Repeat("d", i%64*1024)
		if i%2 == 0 {
			gone = append(gone, files[i].ID)
		}
	}
	require.NoError(t, ix.store(files, nil, news{token: "one"}))
	require.NoError(t, ix.store(nil, gone, news{token: "two"}))
	check := func(ix *Index) {
		require.Equal(t, "two", ix.remote.get().token)
		mine, _ := ix.cat.count()
		require.Equal(t, len(files)-len(gone), mine)
		require.Len(t, ix.Images(), len(files)-len(gone))
	}
	check(ix)
	require.NoError(t, ix.Close())
	check(alone(t, dir))
}

// A reply to our own write counts at once, and publishing is the same however often and late.
func TestAdoptAndPublish(t *testing.T) {
	ix := alone(t, t.TempDir())
	f := sampleFile()
	var img Image
	require.NoError(t, ix.writing(func(txn *badger.Txn) (err error) {
		img, err = ix.adopt(txn, f)
		return err
	}))
	require.Equal(t, f.ID, img.File)
	require.Equal(t, "container", img.Properties["type"])
	_, err := ix.ByID(f.ID)
	require.Error(t, err, "not before it is published")
	for range 3 {
		ix.publish(f.ID, "unknown")
	}
	_, err = ix.ByID(f.ID)
	require.NoError(t, err)
	require.Len(t, ix.Images(), 1)

	elsewhere := f
	elsewhere.ID, elsewhere.Parents = "other", []string{"elsewhere"}
	err = ix.writing(func(txn *badger.Txn) error {
		_, err := ix.adopt(txn, elsewhere)
		return err
	})
	require.ErrorIs(t, err, errNoImage)
}
