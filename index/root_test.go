package index_test

import (
	iofs "io/fs"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/indextest"
)

func folders(u *drivetest.User, name string) (ids []string) {
	for _, f := range u.Files() {
		if f.MimeType == drive.FolderType && f.Name == name && !f.Trashed {
			ids = append(ids, f.ID)
		}
	}
	return ids
}

func TestRootIsMadeOnce(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	var wg sync.WaitGroup
	ids := make([]string, 2)
	for i := range ids {
		c := indextest.Client(t, srv, srv.User(""))
		wg.Go(func() {
			ix, err := indextest.TryOpen(t, srv, index.Options{Drive: c})
			if err == nil {
				ids[i] = ix.Status().RootID
			}
		})
	}
	wg.Wait()
	made := folders(srv.User(""), "sregistry")
	require.Len(t, made, 1, "two machines that start at once agree")
	require.Equal(t, []string{made[0], made[0]}, ids)
}

func TestReadOnlyMakesNoFolder(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ix := indextest.Open(t, srv, index.Options{ReadOnly: true, Poll: -1})
	require.Empty(t, srv.User("").Files())
	require.Empty(t, collection(t, ix, "", "").Collections)
	f := indextest.Put(t, srv.User(""), "c/a:1", []byte("1"), nil)
	indextest.Refresh(t, ix)
	require.True(t, has(ix, f.ID), "a folder made later is found")
}

func TestSecondFolderIsReported(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ann := srv.User("")
	first, err := ann.Put(drivetest.File{Name: "sregistry", MimeType: drive.FolderType, Created: time.Now().Add(-time.Hour)}, nil)
	require.NoError(t, err)
	second, err := ann.Put(drivetest.File{Name: "sregistry", MimeType: drive.FolderType}, nil)
	require.NoError(t, err)
	f := indextest.PutRaw(t, ann, drivetest.File{Name: "x.sif", Parents: []string{second.ID}, Properties: map[string]string{"type": "container"}}, []byte("x"))
	ix := indextest.Open(t, srv, index.Options{})
	require.Equal(t, first.ID, ix.Status().RootID)
	require.Equal(t, []string{second.ID}, ix.Status().OtherRoots)
	require.False(t, has(ix, f.ID))
}

// A folder of the name that is made later, in the browser, is told of by the next listing.
func TestSecondFolderAppears(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ann := srv.User("")
	root := indextest.Root(t, ann)
	ix := indextest.Open(t, srv, index.Options{Poll: -1})
	require.Empty(t, ix.Status().OtherRoots)
	second, err := ann.Put(drivetest.File{Name: "sregistry", MimeType: drive.FolderType}, nil)
	require.NoError(t, err)
	index.Later(ix, 2*time.Hour)
	indextest.Refresh(t, ix)
	require.Equal(t, []string{second.ID}, ix.Status().OtherRoots)
	require.Equal(t, root, ix.Status().RootID)
	require.NoError(t, ann.Delete(second.ID))
	index.Later(ix, 2*time.Hour)
	indextest.Refresh(t, ix)
	require.Empty(t, ix.Status().OtherRoots)
}

// A folder that is deleted and made anew in the browser is another one: it is not taken for the old, nor filled, until
// somebody says so.
func TestRootMadeAnew(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ann, dir := srv.User(""), t.TempDir()
	old := indextest.Root(t, ann)
	indextest.Put(t, ann, "c/a:1", []byte("1"), nil)
	ix := indextest.Open(t, srv, index.Options{Dir: dir, Poll: -1})
	require.NoError(t, ann.Delete(old))
	anew, err := ann.Put(drivetest.File{Name: "sregistry", MimeType: drive.FolderType}, nil)
	require.NoError(t, err)
	f := indextest.PutRaw(t, ann, drivetest.File{Name: "b.sif", Parents: []string{anew.ID}, Properties: map[string]string{"type": "container"}}, []byte("2"))
	for range 2 {
		err := ix.Refresh(t.Context())
		require.ErrorIs(t, err, iofs.ErrNotExist)
		require.Contains(t, index.Sentence(err), old)
		require.False(t, has(ix, f.ID))
		require.NoError(t, ix.Close())
		ix = indextest.Open(t, srv, index.Options{Dir: dir, Poll: -1})
	}
	require.NoError(t, ix.Close())
	ix = indextest.Open(t, srv, index.Options{Dir: dir, Poll: -1, RootID: anew.ID})
	require.True(t, has(ix, f.ID))
	require.Len(t, folders(ann, "sregistry"), 1)
}

// twoFolders is a Drive on which two machines made a folder each, before listings showed either the other's; settle
// makes them look again, later.
func twoFolders(t *testing.T) (ann *drivetest.User, first, second *index.Index, settle func(*index.Index)) {
	t.Helper()
	var ahead atomic.Int64 // of Drive's clock
	srv := drivetest.NewServer(t, drivetest.Options{
		Now:    func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		Quirks: drivetest.Quirks{ListLag: time.Minute},
	})
	first = indextest.Open(t, srv, index.Options{Poll: -1})
	second = indextest.Open(t, srv, index.Options{Poll: -1})
	require.NotEqual(t, first.Status().RootID, second.Status().RootID)
	return srv.User(""), first, second, func(ix *index.Index) {
		ahead.Store(int64(2 * time.Minute))
		index.Later(ix, index.Soon)
		indextest.Refresh(t, ix)
	}
}

func TestLaterOfTwoFoldersYields(t *testing.T) {
	ann, first, second, settle := twoFolders(t)
	own := second.Status().RootID
	f := indextest.PutRaw(t, ann, drivetest.File{
		Name: "x.sif", Parents: []string{first.Status().RootID}, Properties: map[string]string{"type": "container"},
	}, []byte("x"))
	settle(first)
	settle(second)
	require.Equal(t, first.Status().RootID, second.Status().RootID)
	require.True(t, has(first, f.ID))
	require.True(t, has(second, f.ID))
	require.Equal(t, []string{own}, first.Status().OtherRoots)
	require.Equal(t, []string{own}, second.Status().OtherRoots)
}

// Images must not vanish: a folder that holds some does not yield.
func TestFolderInUseDoesNotYield(t *testing.T) {
	ann, first, second, settle := twoFolders(t)
	own := second.Status().RootID
	f := indextest.PutRaw(t, ann, drivetest.File{
		Name: "x.sif", Parents: []string{own}, Properties: map[string]string{"type": "container"},
	}, []byte("x"))
	indextest.Refresh(t, second)
	settle(second)
	require.Equal(t, own, second.Status().RootID)
	require.True(t, has(second, f.ID))
	require.Equal(t, []string{first.Status().RootID}, second.Status().OtherRoots)
}

func TestPinnedRootIsNotReplaced(t *testing.T) {
	for name, lose := range map[string]func(u *drivetest.User, id string) error{
		"trashed": func(u *drivetest.User, id string) error {
			return u.Patch(id, func(f *drivetest.File) { f.Trashed = true })
		},
		"deleted": (*drivetest.User).Delete,
	} {
		t.Run(name, func(t *testing.T) {
			srv := drivetest.NewServer(t, drivetest.Options{})
			ann, dir := srv.User(""), t.TempDir()
			root := indextest.Root(t, ann)
			ix := indextest.Open(t, srv, index.Options{Dir: dir})
			require.NoError(t, lose(ann, root))
			indextest.Eventually(t, func() bool { return ix.Status().State == index.Failing }, "the feed tells")
			require.Contains(t, ix.Status().Error, root)
			require.NoError(t, ix.Close())

			ix = indextest.Open(t, srv, index.Options{Dir: dir, Poll: -1})
			err := ix.Refresh(t.Context())
			require.ErrorIs(t, err, iofs.ErrNotExist)
			require.Contains(t, index.Sentence(err), "--root-id")
			require.Empty(t, folders(ann, "sregistry"), "no new one is made in silence")
			if name == "trashed" {
				require.NoError(t, ann.Patch(root, func(f *drivetest.File) { f.Trashed = false }))
				require.NoError(t, ix.Refresh(t.Context()), "restored")
			}
		})
	}
}

func TestAnotherRootIsListedAfresh(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ann, dir := srv.User(""), t.TempDir()
	in := indextest.Put(t, ann, "c/in:1", []byte("in"), nil)
	other, err := ann.Put(drivetest.File{Name: "other", MimeType: drive.FolderType}, nil)
	require.NoError(t, err)
	out := indextest.PutRaw(t, ann, drivetest.File{Name: "out.sif", Parents: []string{other.ID}, Properties: map[string]string{"type": "container"}}, []byte("x"))
	for _, step := range []struct {
		name     string
		o        index.Options
		has, not string
	}{
		{"by default", index.Options{}, in.ID, out.ID},
		{"by name", index.Options{Root: "other"}, out.ID, in.ID},
		{"by id, as it was", index.Options{RootID: other.ID}, out.ID, in.ID},
		{"by id", index.Options{RootID: indextest.Root(t, ann)}, in.ID, out.ID},
		{"by default again", index.Options{}, in.ID, out.ID},
	} {
		step.o.Dir = dir
		ix := indextest.Open(t, srv, step.o)
		require.True(t, has(ix, step.has), step.name)
		require.False(t, has(ix, step.not), step.name)
		require.NoError(t, ix.Close())
	}
	_, err = indextest.TryOpen(t, srv, index.Options{RootID: in.ID})
	require.ErrorIs(t, err, iofs.ErrInvalid, "an image is no folder")
	_, err = indextest.TryOpen(t, srv, index.Options{RootID: "nobody"})
	require.ErrorIs(t, err, iofs.ErrNotExist)
}

// The state is of one account: another one sees nothing of it change, and is told so; nor does another root let it in.
func TestAnotherAccountIsRefused(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{Users: []string{"ann@uni.edu", "ben@uni.edu"}})
	ann, ben := srv.User("ann@uni.edu"), srv.User("ben@uni.edu")
	a := indextest.Put(t, ann, "c/a:1", []byte("a"), nil)
	b := indextest.Put(t, ben, "c/b:1", []byte("b"), nil)
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir, Poll: -1})
	require.True(t, has(ix, a.ID))
	require.NoError(t, ix.Close())
	for _, o := range []index.Options{{}, {Known: true}, {Poll: -1}} {
		o.Dir, o.Drive = dir, indextest.Client(t, srv, ben)
		ix = indextest.Open(t, srv, o)
		srv.ResetRequests()
		err := ix.Refresh(t.Context())
		require.ErrorIs(t, err, index.ErrSignIn)
		require.ErrorIs(t, ix.Refresh(t.Context()), index.ErrSignIn)
		require.Contains(t, index.Sentence(err), "signed in as ben@uni.edu, and what is here is of ann@uni.edu")
		require.LessOrEqual(t, len(srv.Requests()), 1, "asked once")
		require.True(t, has(ix, a.ID))
		require.False(t, has(ix, b.ID))
		require.Equal(t, "ann@uni.edu", ix.Status().Account)
		require.NoError(t, ix.Close())
	}
	_, err := indextest.TryOpen(t, srv, index.Options{Dir: dir, Root: "other", Drive: indextest.Client(t, srv, ben)})
	require.ErrorIs(t, err, index.ErrSignIn)
	require.Empty(t, folders(ben, "other"))
}

// A shared folder can be a registry: --root-id of somebody else's.
func TestRootOfSomebodyElse(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{Users: []string{"ann@uni.edu", "ben@uni.edu"}})
	ann, ben := srv.User("ann@uni.edu"), srv.User("ben@uni.edu")
	f := indextest.Put(t, ann, "c/a:1", []byte("a"), nil)
	root := indextest.Root(t, ann)
	_, err := indextest.Client(t, srv, ann).Share(t.Context(), root, drive.Invite{Email: ben.Email(), Role: "reader"})
	require.NoError(t, err)
	ix := indextest.Open(t, srv, index.Options{RootID: root, Drive: indextest.Client(t, srv, ben)})
	img, err := ix.Resolve("c/a:1")
	require.NoError(t, err)
	require.Equal(t, f.ID, img.File)
	require.Empty(t, img.Space)
	require.False(t, img.Writable)
}
