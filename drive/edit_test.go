package drive_test

import (
	"bytes"
	iofs "io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
)

func TestUpdate(t *testing.T) {
	w := start(t, drivetest.Options{})
	f, err := w.user.Put(drivetest.File{
		Name: "old", MimeType: drive.ImageType, Description: "text",
		Properties: map[string]string{"type": "container", "tag": "a", "org.label-schema.x": "1", "kept": "k"},
	}, bytes.NewReader([]byte("abc")))
	require.NoError(t, err)
	name, description, tag := "new", "", "b"
	got, err := w.Update(t.Context(), f.ID, drive.Patch{
		Name: &name, Description: &description,
		Properties: map[string]*string{"tag": &tag, "org.label-schema.x": nil, "never": nil},
	})
	require.NoError(t, err)
	require.Equal(t, "new", got.Name)
	require.Empty(t, got.Description)
	require.Equal(t, map[string]string{"type": "container", "tag": "b", "kept": "k"}, got.Properties)
	require.Equal(t, f.HeadRevisionID, got.HeadRevision, "the content is untouched")

	same, err := w.Update(t.Context(), f.ID, drive.Patch{})
	require.NoError(t, err)
	require.Equal(t, got.Properties, same.Properties)
	only, err := w.Update(t.Context(), f.ID, drive.Patch{Properties: map[string]*string{"kept": nil}})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"type": "container", "tag": "b"}, only.Properties)
	_, err = w.Update(t.Context(), "nowhere", drive.Patch{Name: &name})
	require.ErrorIs(t, err, iofs.ErrNotExist)
}

func TestTrashAndDelete(t *testing.T) {
	w := start(t, drivetest.Options{})
	f := w.put("x", []byte("abc"))
	trashed := func() bool {
		got, ok := w.user.File(f.ID)
		require.True(t, ok)
		return got.Trashed
	}
	require.NoError(t, w.Trash(t.Context(), f.ID))
	require.True(t, trashed())
	require.NoError(t, w.Untrash(t.Context(), f.ID))
	require.False(t, trashed())

	drop := drivetest.On("DELETE", "/drive/v3/files/*").DropReply().Times(1)
	w.srv.Fault(drop)
	require.NoError(t, w.Delete(t.Context(), f.ID), "the lost try did it")
	require.Equal(t, 1, drop.Hits())
	_, ok := w.user.File(f.ID)
	require.False(t, ok)
	require.ErrorIs(t, w.Delete(t.Context(), f.ID), iofs.ErrNotExist)
	require.ErrorIs(t, w.Trash(t.Context(), f.ID), iofs.ErrNotExist)
}

func TestCopy(t *testing.T) {
	w := start(t, drivetest.Options{})
	folder := w.folder("sregistry")
	original, err := w.user.Put(drivetest.File{
		Name: "a", MimeType: drive.ImageType, Parents: []string{folder}, Description: "old",
		Properties: map[string]string{"type": "container", "tag": "a", "only.there": "x"},
	}, bytes.NewReader([]byte("abc")))
	require.NoError(t, err)
	want := drive.NewFile{ID: w.id(), Name: "b", Parent: folder, Properties: map[string]string{"type": "container", "tag": "b"}}

	drop := drivetest.On("POST", "/drive/v3/files/*/copy").DropReply().Times(1)
	w.srv.Fault(drop)
	made, err := w.Copy(t.Context(), original.ID, want)
	require.NoError(t, err)
	require.Equal(t, 1, drop.Hits())
	require.Equal(t, want.ID, made.ID)
	require.Equal(t, "b", made.Name)
	require.Equal(t, want.Properties, made.Properties, "and nothing of the original's")
	require.Empty(t, made.Description)
	require.Equal(t, original.MD5, made.MD5)
	require.Equal(t, []string{folder}, made.Parents)
	require.Len(t, w.user.Files(), 3, "one copy")

	again, err := w.Copy(t.Context(), original.ID, want)
	require.NoError(t, err)
	require.Equal(t, made.ID, again.ID)
	want.Name = "c"
	_, err = w.Copy(t.Context(), original.ID, want)
	require.ErrorIs(t, err, iofs.ErrExist, "the id stands for another file")
	want.ID = ""
	fresh, err := w.Copy(t.Context(), original.ID, want)
	require.NoError(t, err)
	require.NotEmpty(t, fresh.ID)
	_, err = w.Copy(t.Context(), "nowhere", want)
	require.ErrorIs(t, err, iofs.ErrNotExist)
}

// A create whose reply is lost is not repeated into a second folder.
func TestCreateFolderOnce(t *testing.T) {
	for name, fault := range map[string]*drivetest.Rule{
		"reply lost":  drivetest.On("POST", "/drive/v3/files").DropReply().Times(2),
		"error after": drivetest.On("POST", "/drive/v3/files").Status(500, "backendError").After().Times(1),
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, drivetest.Options{})
			id := w.id()
			w.srv.Fault(fault)
			f, err := w.CreateFolder(t.Context(), id, "sregistry")
			require.NoError(t, err)
			require.Equal(t, id, f.ID)
			require.Positive(t, fault.Hits())
			require.Len(t, w.user.Files(), 1)
		})
	}
}

func TestAbout(t *testing.T) {
	w := start(t, drivetest.Options{})
	w.user.SetQuota(1 << 30)
	w.put("x", noise(5000))
	about, err := w.About(t.Context())
	require.NoError(t, err)
	require.Equal(t, "ann@uni.edu", about.Email)
	require.EqualValues(t, 1<<30, about.Limit)
	require.EqualValues(t, 5000, about.UsageInDrive)
	require.Positive(t, about.MaxUpload)
	w.user.SetQuota(0)
	about, err = w.About(t.Context())
	require.NoError(t, err)
	require.Zero(t, about.Limit, "unlimited")

	w.user.SetQuota(6000)
	_, err = w.BeginUpload(t.Context(), drive.NewFile{ID: w.id(), Name: "y", Size: 5000})
	require.ErrorIs(t, err, drive.ErrFull)
}

func TestGenerateIDs(t *testing.T) {
	w := start(t, drivetest.Options{})
	ids, err := w.GenerateIDs(t.Context(), 20)
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, id := range ids {
		seen[id] = true
	}
	require.Len(t, seen, 20)
}
