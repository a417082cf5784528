package drive_test

import (
	"fmt"
	iofs "io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
)

func images(t *testing.T, pages func(func([]drive.File, error) bool)) (names []string) {
	t.Helper()
	seen := map[string]bool{}
	for files, err := range pages {
		require.NoError(t, err)
		for _, f := range files {
			if !seen[f.ID] {
				names = append(names, f.Name)
			}
			seen[f.ID] = true
		}
	}
	return names
}

func TestImagesAreThoseOfTheFolder(t *testing.T) {
	w := start(t, drivetest.Options{})
	registry, other := w.folder("sregistry"), w.folder("other")
	content := noise(1000)
	put := w.put("vsoch/hello:latest@x.sif", content, registry)
	w.put("elsewhere", content, other)
	_, err := w.user.Put(drivetest.File{Name: "no image", Parents: []string{registry}}, nil)
	require.NoError(t, err)
	binned := w.put("in the bin", content, registry)
	require.NoError(t, w.user.Patch(binned.ID, func(f *drivetest.File) { f.Trashed = true }))

	require.Equal(t, []string{put.Name}, images(t, w.Images(t.Context(), registry)))
	f, err := w.Get(t.Context(), put.ID)
	require.NoError(t, err)
	require.True(t, f.IsImage())
	require.Equal(t, drive.File{
		ID: put.ID, Name: put.Name, MimeType: drive.ImageType, Parents: []string{registry}, Size: 1000,
		MD5: md5Hex(content), SHA256: put.SHA256, HeadRevision: put.HeadRevisionID, Version: f.Version,
		Properties: map[string]string{"type": "container"}, Created: f.Created, Modified: f.Modified,
		OwnedByMe: true, Owner: "ann@uni.edu", OwnerName: f.OwnerName,
		CanEdit: true, CanShare: true, CanDownload: true, CanTrash: true,
	}, f)
	require.WithinDuration(t, time.Now(), f.Modified, time.Minute)
	for _, err := range w.Images(t.Context(), `it's a \ folder`) {
		require.ErrorIs(t, err, iofs.ErrNotExist)
	}
}

func TestImagesOfManyPages(t *testing.T) {
	w := start(t, drivetest.Options{})
	registry := w.folder("sregistry")
	for i := range 2100 {
		w.put(fmt.Sprint(i), nil, registry)
	}
	require.Len(t, images(t, w.Images(t.Context(), registry)), 2100)
	require.Equal(t, 3, w.requests("files.list"))

	t.Run("a refused page token starts over", func(t *testing.T) {
		refuse := drivetest.On("GET", "/drive/v3/files").Query("pageToken", "*").Status(400, "invalid").Nth(2)
		w.srv.Fault(refuse)
		require.Len(t, images(t, w.Images(t.Context(), registry)), 2100)
		require.Equal(t, 1, refuse.Hits())
	})
	t.Run("but not for ever", func(t *testing.T) {
		w.srv.ClearFaults()
		w.srv.Fault(drivetest.On("GET", "/drive/v3/files").Query("pageToken", "*").Status(400, "invalid"))
		var last error
		for _, err := range w.Images(t.Context(), registry) {
			last = err
		}
		require.ErrorIs(t, last, drive.ErrInvalid)
	})
	t.Run("the caller may stop", func(t *testing.T) {
		w.srv.ClearFaults()
		w.srv.ResetRequests()
		for _, err := range w.Images(t.Context(), registry) {
			require.NoError(t, err)
			break
		}
		require.Equal(t, 1, w.requests("files.list"))
	})
}

// A folder in a shared drive is listed there: the default corpus holds only what the account opened.
func TestImagesOfASharedDrive(t *testing.T) {
	w := start(t, drivetest.Options{})
	asked := make(chan url.Values, 1)
	shared := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/drive/v3/files/folder" {
			_, _ = rw.Write([]byte(`{"driveId":"0ADrive"}`))
			return
		}
		asked <- r.URL.Query()
		_, _ = rw.Write([]byte(`{"files":[{"id":"1","name":"an image"}]}`))
	}))
	t.Cleanup(shared.Close)
	c, err := drive.New(drive.Options{URL: shared.URL, Auth: w.auth})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.Equal(t, []string{"an image"}, images(t, c.Images(t.Context(), "folder")))
	q := <-asked
	require.Equal(t, "drive", q.Get("corpora"))
	require.Equal(t, "0ADrive", q.Get("driveId"))
	require.Equal(t, "true", q.Get("supportsAllDrives"))
	require.Equal(t, "true", q.Get("includeItemsFromAllDrives"))
}

func TestFolder(t *testing.T) {
	w := start(t, drivetest.Options{})
	_, _, err := w.Folder(t.Context(), "sregistry")
	require.ErrorIs(t, err, iofs.ErrNotExist)

	binned := w.folder("sregistry")
	require.NoError(t, w.user.Patch(binned, func(f *drivetest.File) { f.Trashed = true }))
	w.folder("SRegistry")
	inside := w.folder("inside")
	_, err = w.user.Put(drivetest.File{Name: "sregistry", MimeType: drive.FolderType, Parents: []string{inside}}, nil)
	require.NoError(t, err)
	_, _, err = w.Folder(t.Context(), "sregistry")
	require.ErrorIs(t, err, iofs.ErrNotExist, "neither the bin, nor another case, nor elsewhere")

	id := w.id()
	made, err := w.CreateFolder(t.Context(), id, "sregistry")
	require.NoError(t, err)
	require.Equal(t, id, made.ID)
	again, err := w.CreateFolder(t.Context(), id, "sregistry")
	require.NoError(t, err)
	require.Equal(t, made, again)
	_, err = w.CreateFolder(t.Context(), id, "something else")
	require.ErrorIs(t, err, iofs.ErrExist)

	// Drive's times are whole milliseconds: of folders made within one, the same is found on every machine.
	at := func(created time.Time) string {
		f, err := w.user.Put(drivetest.File{Name: "sregistry", MimeType: drive.FolderType, Created: created}, nil)
		require.NoError(t, err)
		return f.ID
	}
	twins := []string{at(made.Created.Add(time.Millisecond)), at(made.Created.Add(time.Millisecond))}
	slices.Sort(twins)
	found, more, err := w.Folder(t.Context(), "sregistry")
	require.NoError(t, err)
	require.Equal(t, id, found.ID, "the oldest")
	require.Len(t, more, 2)
	require.Equal(t, twins, []string{more[0].ID, more[1].ID})

	_, _, err = w.Folder(t.Context(), `o'clock \ `)
	require.ErrorIs(t, err, iofs.ErrNotExist)
}

func TestFolderIsFoundThoughNamesLag(t *testing.T) {
	w := start(t, drivetest.Options{Quirks: drivetest.Quirks{NameLag: time.Hour}})
	id := w.folder("sregistry")
	found, _, err := w.Folder(t.Context(), "sregistry")
	require.NoError(t, err)
	require.Equal(t, id, found.ID)
}

func TestChanges(t *testing.T) {
	w := start(t, drivetest.Options{})
	token, err := w.StartPageToken(t.Context())
	require.NoError(t, err)
	changes, next, err := w.Changes(t.Context(), token)
	require.NoError(t, err)
	require.Empty(t, changes)

	kept, gone := w.put("kept", noise(10)), w.put("gone", nil)
	require.NoError(t, w.user.Patch(kept.ID, func(f *drivetest.File) { f.Trashed = true }))
	require.NoError(t, w.user.Delete(gone.ID))
	changes, next, err = w.Changes(t.Context(), next)
	require.NoError(t, err)
	require.Len(t, changes, 2, "one of each file")
	for _, c := range changes {
		switch c.ID {
		case kept.ID:
			require.True(t, c.File.Trashed)
			require.True(t, c.File.IsImage())
			require.EqualValues(t, 10, c.File.Size)
		default:
			require.Equal(t, gone.ID, c.ID)
			require.True(t, c.Removed)
			require.Nil(t, c.File)
		}
		require.WithinDuration(t, time.Now(), c.Time, time.Minute)
	}
	changes, _, err = w.Changes(t.Context(), next)
	require.NoError(t, err)
	require.Empty(t, changes)

	t.Run("of many pages", func(t *testing.T) {
		for i := range 1500 {
			w.put(fmt.Sprint(i), nil)
		}
		changes, after, err := w.Changes(t.Context(), next)
		require.NoError(t, err)
		require.Len(t, changes, 1500)
		require.NotEqual(t, next, after)
	})
	t.Run("a refused token", func(t *testing.T) {
		_, _, err := w.Changes(t.Context(), "rubbish")
		require.ErrorIs(t, err, drive.ErrToken)
		w.srv.Fault(drivetest.On("GET", "/drive/v3/changes").Status(410, "gone").Times(1))
		_, _, err = w.Changes(t.Context(), next)
		require.ErrorIs(t, err, drive.ErrToken)
		w.srv.Fault(drivetest.On("GET", "/drive/v3/changes").Status(403, "rateLimitExceeded").Times(1))
		_, _, err = w.Changes(t.Context(), next)
		require.NoError(t, err, "a rate limit is not about the token")
	})
}
