package drivetest_test

import (
	"bytes"
	"crypto/md5" //nolint:gosec // Drive's checksum
	"encoding/hex"
	"io"
	"math/rand"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"sregfs/drive/drivetest"
)

// googleClient is Google's own Go library, signed in as u.
func googleClient(t *testing.T, s *drivetest.Server, u *drivetest.User) *drive.Service {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: &oauth2.Transport{
		Source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: u.AccessToken()}), Base: transport,
	}}
	svc, err := drive.NewService(t.Context(), option.WithHTTPClient(client), option.WithEndpoint(s.URL()+"/drive/v3/"))
	require.NoError(t, err)
	return svc
}

// noise is n bytes that differ everywhere, the same in each run.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.New(rand.NewSource(int64(n))).Read(b)
	return b
}

func md5Hex(b []byte) string {
	sum := md5.Sum(b) //nolint:gosec // Drive's checksum
	return hex.EncodeToString(sum[:])
}

// download is the content of a file, as the library reads it.
func download(t *testing.T, svc *drive.Service, id string) []byte {
	t.Helper()
	resp, err := svc.Files.Get(id).Context(t.Context()).Download()
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return b
}

// googleReason is the reason of an error of the library.
func googleReason(t *testing.T, err error) string {
	t.Helper()
	var e *googleapi.Error
	require.ErrorAs(t, err, &e)
	require.NotEmpty(t, e.Errors, "%+v", e)
	return e.Errors[0].Reason
}

// chunks are the Content-Range headers of the upload requests so far.
func chunks(s *drivetest.Server) (ranges []string) {
	for _, q := range s.Requests() {
		if strings.HasPrefix(q.Op, "upload.chunk") || strings.HasPrefix(q.Op, "upload.query") {
			ranges = append(ranges, q.ContentRange)
		}
	}
	return ranges
}

func TestGoogleGoUploads(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{})
	svc := googleClient(t, s, s.User(""))
	const step = googleapi.MinUploadChunkSize
	for _, c := range []struct {
		name   string
		size   int
		ranges []string
	}{
		{"empty", 0, nil},
		{"small, multipart", 1000, nil},
		{"chunks", 3*step + 5, []string{"bytes 0-262143/*", "bytes 262144-524287/*", "bytes 524288-786431/*", "bytes 786432-786436/786437"}},
		{"an aligned stream, finished by an empty chunk", 2 * step, []string{"bytes 0-262143/*", "bytes 262144-524287/*", "bytes */524288"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.ResetRequests()
			content := noise(c.size)
			// A reader whose end cannot be foreseen, like a pipe.
			f, err := svc.Files.Create(&drive.File{Name: c.name, Properties: map[string]string{"type": "container"}}).
				Media(io.MultiReader(bytes.NewReader(content)), googleapi.ChunkSize(step), googleapi.ContentType("application/octet-stream")).
				Fields("id,size,md5Checksum,properties,headRevisionId").Context(t.Context()).Do()
			require.NoError(t, err)
			require.EqualValues(t, c.size, f.Size)
			require.Equal(t, md5Hex(content), f.Md5Checksum)
			require.Equal(t, "container", f.Properties["type"])
			require.Equal(t, c.ranges, chunks(s))
			require.Equal(t, content, append([]byte{}, download(t, svc, f.Id)...))

			again, err := svc.Files.Update(f.Id, nil).Media(bytes.NewReader(append(content, 'x')), googleapi.ChunkSize(step)).
				Fields("id,size,headRevisionId,properties").Context(t.Context()).Do()
			require.NoError(t, err)
			require.Equal(t, f.Id, again.Id)
			require.EqualValues(t, c.size+1, again.Size)
			require.NotEqual(t, f.HeadRevisionId, again.HeadRevisionId)
			require.Equal(t, f.Properties, again.Properties)
		})
	}
}

func TestGoogleGoUploadSurvivesFaults(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{})
	svc := googleClient(t, s, s.User(""))
	for _, rule := range []*drivetest.Rule{
		drivetest.On("POST", "/upload/*").Query("upload_id", "*").Nth(2).Status(503, "backendError"),
		drivetest.On("POST", "/upload/*").Query("upload_id", "*").Nth(3).Status(503, "backendError").After(),
		drivetest.On("POST", "/upload/*").Query("upload_id", "*").Nth(2).Status(429, "rateLimitExceeded"),
		drivetest.On("POST", "/upload/*").Query("upload_id", "*").Nth(2).Status(502, "").HTML(),
	} {
		t.Run(rule.String(), func(t *testing.T) {
			s.ClearFaults()
			s.Fault(rule)
			content := noise(4*googleapi.MinUploadChunkSize + 77)
			f, err := svc.Files.Create(&drive.File{Name: "f"}).Media(bytes.NewReader(content), googleapi.ChunkSize(googleapi.MinUploadChunkSize)).
				Fields("id,md5Checksum").Context(t.Context()).Do()
			require.NoError(t, err)
			require.Equal(t, md5Hex(content), f.Md5Checksum)
			require.Equal(t, 1, rule.Hits())
		})
	}
}

func TestGoogleGoDownload(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{})
	svc := googleClient(t, s, s.User(""))
	content := noise(3_000_000)
	f := put(t, s.User(""), "f", string(content))
	require.Equal(t, content, download(t, svc, f.ID))
	call := svc.Files.Get(f.ID).Context(t.Context())
	call.Header().Set("Range", "bytes=1000000-1999999")
	resp, err := call.Download()
	require.NoError(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusPartialContent, resp.StatusCode)
	require.Equal(t, "bytes 1000000-1999999/3000000", resp.Header.Get("Content-Range"))
	require.Equal(t, content[1_000_000:2_000_000], got)
	call.Header().Set("Range", "bytes=3000000-")
	_, err = call.Download() //nolint:bodyclose // an error has none
	require.Equal(t, "requestedRangeNotSatisfiable", googleReason(t, err))
}

func TestGoogleGoFiles(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{})
	svc := googleClient(t, s, s.User(""))
	ctx := t.Context()
	folder, err := svc.Files.Create(&drive.File{Name: "sregistry", MimeType: "application/vnd.google-apps.folder"}).Context(ctx).Do()
	require.NoError(t, err)
	ids, err := svc.Files.GenerateIds().Count(3).Space("drive").Context(ctx).Do()
	require.NoError(t, err)
	require.Len(t, ids.Ids, 3)
	for i, id := range ids.Ids {
		_, err := svc.Files.Create(&drive.File{Id: id, Name: string(rune('a' + i)), Parents: []string{folder.Id}, Properties: map[string]string{"tag": "x", "uri": "y"}}).Context(ctx).Do()
		require.NoError(t, err)
	}
	_, err = svc.Files.Create(&drive.File{Id: ids.Ids[0], Name: "a"}).Context(ctx).Do()
	require.Equal(t, "fileIdInUse", googleReason(t, err))

	var names []string
	pages := 0
	err = svc.Files.List().Q("'"+folder.Id+"' in parents and trashed = false").PageSize(2).OrderBy("name desc").
		Fields("nextPageToken", "files(id,name,properties)").Pages(ctx, func(page *drive.FileList) error {
		for _, f := range page.Files {
			names = append(names, f.Name)
		}
		pages++
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"c", "b", "a"}, names)
	require.Equal(t, 2, pages)

	f, err := svc.Files.Update(ids.Ids[0], &drive.File{Properties: map[string]string{"tag": "z"}, NullFields: []string{"Properties.uri"}}).
		Fields("properties").Context(ctx).Do()
	require.NoError(t, err)
	require.Equal(t, map[string]string{"tag": "z"}, f.Properties)

	copied, err := svc.Files.Copy(ids.Ids[0], &drive.File{Name: "copy"}).Fields("id,name,properties,parents").Context(ctx).Do()
	require.NoError(t, err)
	require.Equal(t, "copy", copied.Name)
	require.Equal(t, f.Properties, copied.Properties)
	require.Equal(t, []string{folder.Id}, copied.Parents)

	_, err = svc.Files.Update(ids.Ids[1], &drive.File{Trashed: true}).Context(ctx).Do()
	require.NoError(t, err)
	got, err := svc.Files.Update(ids.Ids[1], &drive.File{Trashed: false, ForceSendFields: []string{"Trashed"}}).Fields("trashed").Context(ctx).Do()
	require.NoError(t, err)
	require.False(t, got.Trashed)
	require.NoError(t, svc.Files.Delete(ids.Ids[1]).Context(ctx).Do())
	_, err = svc.Files.Get(ids.Ids[1]).Context(ctx).Do()
	require.Equal(t, "notFound", googleReason(t, err))

	about, err := svc.About.Get().Fields("user", "storageQuota").Context(ctx).Do()
	require.NoError(t, err)
	require.Equal(t, "ann@uni.edu", about.User.EmailAddress)
}

func TestGoogleGoSharingAndChanges(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
	ann, bob := googleClient(t, s, s.User("ann@uni.edu")), googleClient(t, s, s.User("bob@uni.edu"))
	ctx := t.Context()
	f := put(t, s.User("ann@uni.edu"), "f", "shared content")
	start, err := bob.Changes.GetStartPageToken().Context(ctx).Do()
	require.NoError(t, err)
	_, err = bob.Files.Get(f.ID).Context(ctx).Do()
	require.Equal(t, "notFound", googleReason(t, err))

	p, err := ann.Permissions.Create(f.ID, &drive.Permission{Type: "user", Role: "reader", EmailAddress: "bob@uni.edu"}).
		SendNotificationEmail(false).Fields("id").Context(ctx).Do()
	require.NoError(t, err)
	require.Equal(t, "shared content", string(download(t, bob, f.ID)))
	_, err = bob.Files.Update(f.ID, &drive.File{Name: "mine"}).Context(ctx).Do()
	require.Equal(t, "insufficientFilePermissions", googleReason(t, err))
	shared, err := bob.Files.List().Q("sharedWithMe and trashed = false").Fields("files(id,owners(emailAddress))").Context(ctx).Do()
	require.NoError(t, err)
	require.Len(t, shared.Files, 1)
	require.Equal(t, "ann@uni.edu", shared.Files[0].Owners[0].EmailAddress)

	listed, err := ann.Permissions.List(f.ID).Fields("permissions(id,role,emailAddress)").Context(ctx).Do()
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(listed.Permissions, func(q *drive.Permission) bool { return q.Id == p.Id && q.EmailAddress == "bob@uni.edu" }))
	_, err = ann.Permissions.Update(f.ID, p.Id, &drive.Permission{Role: "writer"}).Context(ctx).Do()
	require.NoError(t, err)

	feed := func(token string) *drive.ChangeList {
		list, err := bob.Changes.List(token).Fields("nextPageToken", "newStartPageToken", "changes(fileId,removed,file(name))").Context(ctx).Do()
		require.NoError(t, err)
		require.Empty(t, list.NextPageToken)
		return list
	}
	seen := feed(start.StartPageToken)
	require.Len(t, seen.Changes, 1, "one entry for one file")
	require.Equal(t, "f", seen.Changes[0].File.Name)
	require.NoError(t, ann.Permissions.Delete(f.ID, p.Id).Context(ctx).Do())
	seen = feed(seen.NewStartPageToken)
	require.Len(t, seen.Changes, 1)
	require.True(t, seen.Changes[0].Removed)
	require.Nil(t, seen.Changes[0].File)
	_, err = bob.Files.Get(f.ID).Context(ctx).Do()
	require.Equal(t, "notFound", googleReason(t, err))
}
