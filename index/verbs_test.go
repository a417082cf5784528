package index_test

import (
	iofs "io/fs"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image"
	"sregfs/index/indextest"
)

func byName(t *testing.T, ix *index.Index, name string) index.Image {
	t.Helper()
	img, err := ix.Lookup("", ref(t, name))
	require.NoError(t, err)
	return ix.Describe(img)
}

func TestRemove(t *testing.T) {
	for _, tt := range []struct {
		how              index.Removal
		err              error
		inDrive, trashed bool
	}{
		{index.RemoveTrash, nil, true, true},
		{index.RemoveDelete, nil, false, false},
		{index.RemoveDeny, index.ErrReadOnly, true, false},
	} {
		t.Run(string(tt.how), func(t *testing.T) {
			srv := drivetest.NewServer(t, drivetest.Options{})
			f := indextest.Put(t, srv.User(""), "c/i:t", []byte("1"), nil)
			ix := indextest.Open(t, srv, index.Options{Remove: tt.how})
			require.ErrorIs(t, ix.Remove(t.Context(), byName(t, ix, "c/i:t")), tt.err)
			now, ok := srv.User("").File(f.ID)
			require.Equal(t, tt.inDrive, ok)
			require.Equal(t, tt.trashed, now.Trashed)
			require.Equal(t, tt.err != nil, has(ix, f.ID))
			indextest.Refresh(t, ix)
			require.Equal(t, tt.err != nil, has(ix, f.ID))
		})
	}
	t.Run("twice is once", func(t *testing.T) {
		srv := drivetest.NewServer(t, drivetest.Options{})
		f := indextest.Put(t, srv.User(""), "c/i:t", []byte("1"), nil)
		ix := indextest.Open(t, srv, index.Options{Poll: -1})
		img := byName(t, ix, "c/i:t")
		require.NoError(t, srv.User("").Delete(f.ID))
		require.NoError(t, ix.Remove(t.Context(), img))
		require.False(t, has(ix, f.ID))
	})
}

func TestReadOnly(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	indextest.Put(t, srv.User(""), "c/i:t", []byte("1"), nil)
	ix := indextest.Open(t, srv, index.Options{ReadOnly: true, Poll: -1})
	img := byName(t, ix, "c/i:t")
	srv.ResetRequests()
	value := "v"
	_, retag := ix.Retag(t.Context(), img, ref(t, "c/j:t"))
	_, label := ix.SetLabel(t.Context(), img, "k", &value)
	_, share := ix.Share(t.Context(), img, index.Invite{Email: "ben@uni.edu"})
	for _, err := range []error{
		ix.Remove(t.Context(), img), retag, label, share, ix.Unshare(t.Context(), img, "ben@uni.edu"), ix.Mkdir("d"), ix.Rmdir("c"),
	} {
		require.ErrorIs(t, err, index.ErrReadOnly)
	}
	require.Empty(t, srv.Requests())
}

func TestRetag(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ann := srv.User("")
	old := indextest.Put(t, ann, "c/i:old", []byte("old"), map[string]string{"maintainer": "ann@uni.edu"})
	there := indextest.Put(t, ann, "d/j:new", []byte("there"), nil)
	// Another machine's clock is ahead.
	require.NoError(t, ann.Patch(there.ID, func(f *drivetest.File) { f.Modified = time.Now().Add(time.Hour) }))
	ix := indextest.Open(t, srv, index.Options{Poll: -1})
	srv.ResetRequests()
	img, err := ix.Retag(t.Context(), byName(t, ix, "c/i:old"), ref(t, "D/j:new"))
	require.NoError(t, err)
	for _, r := range srv.Requests() {
		require.Equal(t, "files.update", r.Op, "no bytes move")
	}
	require.Equal(t, "d/j:new@"+old.MD5, img.Ref.String())
	require.Equal(t, "ann@uni.edu", img.Labels["maintainer"])
	require.Equal(t, old.HeadRevisionID, img.Revision)
	_, err = ix.Lookup("", ref(t, "c/i:old"))
	require.ErrorIs(t, err, iofs.ErrNotExist)
	require.Equal(t, old.ID, byName(t, ix, "d/j:new").File, "the name now means what was moved onto it")
	require.Equal(t, there.ID, byName(t, ix, "d/j:new@"+there.MD5).File, "what it meant before is a version")
	now, _ := ann.File(old.ID)
	require.Equal(t, "d/j:new@"+old.MD5+".sif", now.Name)
	require.Equal(t, now.Name, now.Properties["storage"])
	require.Equal(t, "j", now.Properties["image"])

	t.Run("a name that does not fit changes nothing", func(t *testing.T) {
		srv.ResetRequests()
		_, err := ix.Retag(t.Context(), img, image.Ref{Collection: "d", Image: strings.Repeat("x", 100), Tag: "t"})
		require.ErrorIs(t, err, index.ErrTooLong)
		require.Empty(t, srv.Requests())
		require.Equal(t, old.ID, byName(t, ix, "d/j:new").File)
	})
	t.Run("gone meanwhile", func(t *testing.T) {
		require.NoError(t, ann.Delete(there.ID))
		_, err := ix.Retag(t.Context(), byName(t, ix, "d/j:new@"+there.MD5), ref(t, "d/k:1"))
		require.ErrorIs(t, err, iofs.ErrNotExist)
		indextest.Eventually(t, func() bool { return !has(ix, there.ID) }, "it is looked at again")
	})
}

func TestSetLabel(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ann := srv.User("")
	old := indextest.Put(t, ann, "c/i:t", []byte("old"), nil)
	young := indextest.Put(t, ann, "c/i:t", []byte("young"), nil)
	require.NoError(t, ann.Patch(young.ID, func(f *drivetest.File) { f.Modified = old.Modified.Add(time.Second) }))
	ix := indextest.Open(t, srv, index.Options{Poll: -1})
	img, err := ix.ByID(old.ID)
	require.NoError(t, err)
	short, long := "value", strings.Repeat("long ", 100)
	img, err = ix.SetLabel(t.Context(), img, "org.label-schema.name", &short)
	require.NoError(t, err)
	require.Equal(t, short, img.Labels["org.label-schema.name"])
	img, err = ix.SetLabel(t.Context(), img, "usage", &long)
	require.NoError(t, err)
	require.Equal(t, long, img.Labels["usage"], "what fits no property is kept beside them")
	require.Equal(t, young.ID, byName(t, ix, "c/i:t").File, "a label makes no old version the newest")
	img, err = ix.SetLabel(t.Context(), img, "usage", nil)
	require.NoError(t, err)
	require.NotContains(t, img.Labels, "usage")
	require.Equal(t, short, img.Labels["org.label-schema.name"])
	now, _ := ann.File(old.ID)
	require.Equal(t, short, now.Properties["org.label-schema.name"])
	require.Equal(t, "c", now.Properties["collection"])
}

func TestShare(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{Users: []string{"ann@uni.edu", "ben@uni.edu"}})
	f := indextest.Put(t, srv.User(""), "c/i:t", []byte("1"), nil)
	ix := indextest.Open(t, srv, index.Options{Poll: -1})
	img := byName(t, ix, "c/i:t")
	p, err := ix.Share(t.Context(), img, index.Invite{Email: "ben@uni.edu"})
	require.NoError(t, err)
	require.Equal(t, "reader", p.Role)
	again, err := ix.Share(t.Context(), img, index.Invite{Email: "BEN@uni.edu"})
	require.NoError(t, err)
	require.Equal(t, p.ID, again.ID)
	p, err = ix.Share(t.Context(), img, index.Invite{Email: "ben@uni.edu", Role: "writer"})
	require.NoError(t, err)
	require.Equal(t, "writer", p.Role)
	list, err := ix.Permissions(t.Context(), img)
	require.NoError(t, err)
	require.Len(t, list, 2)
	now, _ := srv.User("").File(f.ID)
	require.Len(t, now.Permissions, 2)

	srv.ResetRequests()
	for _, in := range []index.Invite{{Email: ""}, {Email: "ben"}, {Email: "Ben <ben@uni.edu>"}, {Email: "ben@uni.edu", Role: "owner"}} {
		_, err := ix.Share(t.Context(), img, in)
		require.ErrorIs(t, err, index.ErrInvalid, "%+v", in)
		require.NotContains(t, index.Sentence(err), "refused the request.", "the particulars are said")
	}
	require.Empty(t, srv.Requests())

	require.NoError(t, ix.Unshare(t.Context(), img, "Ben@uni.edu"))
	require.ErrorIs(t, ix.Unshare(t.Context(), img, "ben@uni.edu"), iofs.ErrNotExist)
	require.ErrorIs(t, ix.Unshare(t.Context(), img, "ann@uni.edu"), index.ErrInvalid, "the owner stays")
	list, err = ix.Permissions(t.Context(), img)
	require.NoError(t, err)
	require.Len(t, list, 1)

	srv.Fault(drivetest.On("POST", "/drive/v3/files/*/permissions").Status(403, "sharingRateLimitExceeded"))
	_, err = ix.Share(t.Context(), img, index.Invite{Email: "ben@uni.edu"})
	require.ErrorIs(t, err, index.ErrQuota)
}
