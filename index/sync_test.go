package index_test

import (
	"fmt"
	iofs "io/fs"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/indextest"
)

// lists counts the listing requests among those the server saw.
func lists(srv *drivetest.Server) (n int) {
	for _, r := range srv.Requests() {
		if r.Op == "files.list" {
			n++
		}
	}
	return n
}

func has(ix *index.Index, id string) bool {
	_, err := ix.ByID(id)
	return err == nil
}

func TestWarmOpenListsNothing(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	before := indextest.Put(t, srv.User(""), "c/i:1", []byte("1"), nil)
	dir, c := t.TempDir(), indextest.Client(t, srv, srv.User(""))
	ix := indextest.Open(t, srv, index.Options{Dir: dir, Drive: c})
	require.Positive(t, lists(srv))
	require.NoError(t, ix.Close())

	gone := indextest.Put(t, srv.User(""), "c/i:2", []byte("2"), nil)
	require.NoError(t, srv.User("").Delete(before.ID))
	srv.ResetRequests()
	ix = indextest.Open(t, srv, index.Options{Dir: dir, Drive: c})
	indextest.Eventually(t, func() bool { return has(ix, gone.ID) && !has(ix, before.ID) }, "changes while away")
	require.Zero(t, lists(srv))
}

func TestRemoteChangesAppear(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ann := srv.User("")
	keep := indextest.Put(t, ann, "c/keep:1", []byte("keep"), nil)
	ix := indextest.Open(t, srv, index.Options{})

	f := indextest.Put(t, ann, "c/new:1", []byte("1"), nil)
	indextest.Eventually(t, func() bool { return has(ix, f.ID) }, "a new image")

	require.NoError(t, ann.Patch(f.ID, func(f *drivetest.File) {
		f.Properties["collection"], f.Properties["tag"] = "d", "2"
	}))
	indextest.Eventually(t, func() bool { _, err := ix.Lookup("", ref(t, "d/new:2")); return err == nil }, "a retag")
	_, err := ix.Lookup("", ref(t, "c/new:1"))
	require.ErrorIs(t, err, iofs.ErrNotExist)

	require.NoError(t, ann.Patch(f.ID, func(f *drivetest.File) { f.Trashed = true }))
	indextest.Eventually(t, func() bool { return !has(ix, f.ID) }, "into the bin")
	_, err = ix.Collection("", "d")
	require.ErrorIs(t, err, iofs.ErrNotExist, "a collection goes with its last image")
	require.NoError(t, ann.Patch(f.ID, func(f *drivetest.File) { f.Trashed = false }))
	indextest.Eventually(t, func() bool { return has(ix, f.ID) }, "and back")

	elsewhere, err := ann.Put(drivetest.File{Name: "elsewhere", MimeType: drive.FolderType}, nil)
	require.NoError(t, err)
	require.NoError(t, ann.Patch(f.ID, func(f *drivetest.File) { f.Parents = []string{elsewhere.ID} }))
	indextest.Eventually(t, func() bool { return !has(ix, f.ID) }, "out of the folder")

	require.NoError(t, ann.Delete(keep.ID))
	indextest.Eventually(t, func() bool { return !has(ix, keep.ID) }, "deleted for good")
	require.Empty(t, ix.Images())
}

func TestRefusedTokenListsAfresh(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ann := srv.User("")
	a := indextest.Put(t, ann, "c/a:1", []byte("1"), nil)
	ix := indextest.Open(t, srv, index.Options{Poll: -1})
	require.NoError(t, ann.Delete(a.ID))
	b := indextest.Put(t, ann, "c/b:1", []byte("2"), nil)
	srv.Fault(drivetest.On("GET", "/drive/v3/changes").Status(400, "invalid").Times(1))
	indextest.Refresh(t, ix)
	require.False(t, has(ix, a.ID), "the listing lacks it, and files.get confirms that it is gone")
	require.True(t, has(ix, b.ID))
	srv.ResetRequests()
	indextest.Refresh(t, ix)
	require.Zero(t, lists(srv), "the new token is good")
}

// A listing that does not know an image yet takes nothing away that Drive confirms by id.
func TestLaggingListingRemovesNothing(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{Quirks: drivetest.Quirks{ListLag: time.Hour}})
	ann := srv.User("")
	ix := indextest.Open(t, srv, index.Options{Poll: -1, RootID: indextest.Root(t, ann)})
	f := indextest.Put(t, ann, "c/a:1", []byte("1"), nil)
	indextest.Refresh(t, ix)
	require.True(t, has(ix, f.ID), "the feed knows it")
	srv.Fault(drivetest.On("GET", "/drive/v3/changes").Status(400, "invalid").Times(1))
	srv.ResetRequests()
	indextest.Refresh(t, ix)
	require.Positive(t, lists(srv))
	require.True(t, has(ix, f.ID))
}

// What is pushed just before the first listing may be neither in that, which lags, nor in the feed, which begins after.
func TestFirstListingIsRepeated(t *testing.T) {
	var ahead atomic.Int64 // of Drive's clock
	srv := drivetest.NewServer(t, drivetest.Options{
		Now:    func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		Quirks: drivetest.Quirks{ListLag: time.Minute}, Users: []string{"ann@uni.edu", "ben@uni.edu"},
	})
	ann, ben := srv.User("ann@uni.edu"), srv.User("ben@uni.edu")
	root := indextest.Root(t, ann)
	mine, his := indextest.Put(t, ann, "c/a:1", []byte("1"), nil), indextest.Put(t, ben, "c/b:1", []byte("2"), nil)
	_, err := indextest.Client(t, srv, ben).Share(t.Context(), his.ID, drive.Invite{Email: ann.Email(), Role: "reader"})
	require.NoError(t, err)
	ix := indextest.Open(t, srv, index.Options{Poll: -1, RootID: root, Drive: indextest.Client(t, srv, ann)})
	require.Empty(t, ix.Images())
	ahead.Store(int64(2 * time.Minute))
	srv.ResetRequests()
	indextest.Refresh(t, ix)
	require.Zero(t, lists(srv))
	index.Later(ix, index.Soon)
	indextest.Refresh(t, ix)
	require.True(t, has(ix, mine.ID))
	require.True(t, has(ix, his.ID))
	srv.ResetRequests()
	index.Later(ix, index.Soon)
	indextest.Refresh(t, ix)
	require.Zero(t, lists(srv), "from now on an hour is enough")
}

func TestRecordsWithoutDrive(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	f := indextest.Put(t, srv.User(""), "c/a:1", []byte("1"), map[string]string{"k": "v"})
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir})
	require.NoError(t, ix.Close())

	t.Run("unreachable", func(t *testing.T) {
		c, err := drive.New(drive.Options{URL: "http://127.0.0.1:1", Auth: nil, Timeout: time.Second})
		require.NoError(t, err)
		t.Cleanup(c.Close)
		ix := indextest.Open(t, srv, index.Options{Dir: dir, Drive: c})
		img, err := ix.Lookup("", ref(t, "c/a:1"))
		require.NoError(t, err)
		require.Equal(t, f.ID, img.File)
		require.Equal(t, "v", ix.Describe(img).Labels["k"])
		indextest.Eventually(t, func() bool { return ix.Status().Error != "" }, "status says so")
	})
	t.Run("none at all", func(t *testing.T) {
		ix, err := index.Open(t.Context(), index.Options{Dir: dir})
		require.NoError(t, err)
		require.Len(t, ix.Images(), 1)
		require.Equal(t, index.Detached, ix.Status().State)
		require.ErrorIs(t, ix.Refresh(t.Context()), index.ErrSignIn)
		require.NoError(t, ix.Close())
	})
	t.Run("and no records", func(t *testing.T) {
		down := indextest.Client(t, srv, srv.User(""))
		srv.User("").RevokeTokens()
		_, err := indextest.TryOpen(t, srv, index.Options{Drive: down})
		require.ErrorIs(t, err, index.ErrSignIn)
	})
}

func TestDriveComesBack(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ix := indextest.Open(t, srv, index.Options{})
	srv.Fault(drivetest.On("GET", "/drive/v3/changes").Status(403, "accessNotConfigured"))
	indextest.Eventually(t, func() bool { return ix.Status().State != index.Online }, "status tells")
	require.NotEmpty(t, ix.Status().Error)
	f := indextest.Put(t, srv.User(""), "c/a:1", []byte("1"), nil)
	srv.ClearFaults()
	indextest.Eventually(t, func() bool { return has(ix, f.ID) }, "it follows again")
	require.Equal(t, index.Online, ix.Status().State)
	require.Empty(t, ix.Status().Error)
}

func TestRemovedComesBackFromTheBin(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ann := srv.User("")
	f := indextest.Put(t, ann, "c/a:1", []byte("1"), nil)
	ix := indextest.Open(t, srv, index.Options{Poll: -1})
	require.NoError(t, ix.Remove(t.Context(), byName(t, ix, "c/a:1")))
	indextest.Refresh(t, ix)
	require.False(t, has(ix, f.ID))
	require.NoError(t, ann.Patch(f.ID, func(f *drivetest.File) { f.Trashed = false }))
	indextest.Refresh(t, ix)
	indextest.Eventually(t, func() bool { return has(ix, f.ID) }, "somebody took it out of the bin")
}

// A large registry is shown before what others share is known, and that follows soon.
func TestLargeRegistry(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{Users: []string{"ann@uni.edu", "ben@uni.edu"}})
	ann, ben := srv.User("ann@uni.edu"), srv.User("ben@uni.edu")
	root := indextest.Root(t, ann)
	for i := range 1100 {
		indextest.PutRaw(t, ann, drivetest.File{Name: fmt.Sprintf("i%d.sif", i), Properties: map[string]string{"type": "container"}, Parents: []string{root}}, nil)
	}
	f := indextest.Put(t, ben, "c/i:t", []byte("his"), nil)
	_, err := indextest.Client(t, srv, ben).Share(t.Context(), f.ID, drive.Invite{Email: ann.Email(), Role: "reader"})
	require.NoError(t, err)
	ix := indextest.Open(t, srv, index.Options{})
	require.Len(t, names(collection(t, ix, "", "library")), 1100)
	indextest.Eventually(t, func() bool { return has(ix, f.ID) }, "shared")
}

// News that is older than what a reply to our own write said is no news.
func TestOldNewsIsIgnored(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{Quirks: drivetest.Quirks{ChangesLag: time.Hour}})
	ann := srv.User("")
	f := indextest.Put(t, ann, "c/a:1", []byte("1"), nil)
	ix := indextest.Open(t, srv, index.Options{Poll: -1})
	img, err := ix.ByID(f.ID)
	require.NoError(t, err)
	_, err = ix.Retag(t.Context(), img, ref(t, "c/b:2"))
	require.NoError(t, err)
	indextest.Refresh(t, ix)
	img, err = ix.Lookup("", ref(t, "c/b:2"))
	require.NoError(t, err)
	require.Equal(t, f.ID, img.File)
	require.Equal(t, []string{"b:2"}, names(collection(t, ix, "", "c")))
}

func TestSharedWithMe(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{Users: []string{"ann@uni.edu", "ben@uni.edu"}})
	ann, ben := srv.User("ann@uni.edu"), srv.User("ben@uni.edu")
	mine := indextest.Put(t, ann, "c/i:t", []byte("mine"), nil)
	his := indextest.Put(t, ben, "c/i:t", []byte("his"), nil)
	tool := indextest.Put(t, ben, "lab/tool:1", []byte("tool"), nil)
	later := indextest.Put(t, ben, "lab/tool:2", []byte("later"), nil)
	ixBen := indextest.Open(t, srv, index.Options{Drive: indextest.Client(t, srv, ben)})
	share := func(id string) {
		img, err := ixBen.ByID(id)
		require.NoError(t, err)
		_, err = ixBen.Share(t.Context(), img, index.Invite{Email: "ann@uni.edu"})
		require.NoError(t, err)
	}
	share(his.ID)
	share(tool.ID)
	ix := indextest.Open(t, srv, index.Options{})

	require.Equal(t, []string{"ben@uni.edu"}, ix.Owners())
	require.Equal(t, []string{"c", "lab"}, collection(t, ix, "ben@uni.edu", "").Collections)
	require.Equal(t, []string{"c"}, collection(t, ix, "", "").Collections)
	img, err := ix.Resolve("c/i:t")
	require.NoError(t, err)
	require.Equal(t, mine.ID, img.File, "a stranger's image never shadows mine")
	img, err = ix.Resolve("lab/tool:1")
	require.NoError(t, err)
	require.Equal(t, tool.ID, img.File)
	require.Equal(t, "ben@uni.edu", img.Space)
	require.False(t, img.Writable)
	require.ErrorIs(t, ix.Remove(t.Context(), img), index.ErrReadOnly)
	_, err = ix.Retag(t.Context(), img, ref(t, "lab/tool:9"))
	require.ErrorIs(t, err, index.ErrReadOnly)

	share(later.ID)
	indextest.Eventually(t, func() bool { return has(ix, later.ID) }, "shared while mounted")
	for _, id := range []string{his.ID, tool.ID, later.ID} {
		img, err := ixBen.ByID(id)
		require.NoError(t, err)
		require.NoError(t, ixBen.Unshare(t.Context(), img, "Ann@uni.edu"))
	}
	indextest.Eventually(t, func() bool { return len(ix.Owners()) == 0 }, "taken back")
	require.Len(t, ix.Images(), 1)
}
