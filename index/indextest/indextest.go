package indextest

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // the registry's version is an MD5
	"encoding/hex"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image"
)

// Poll is how often an index opened here polls the changes feed.
const Poll = 30 * time.Millisecond

// Client signs user in and returns a client of their Drive.
func Client(t testing.TB, srv *drivetest.Server, user *drivetest.User) *drive.Client {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, user.WriteCredentials(dir))
	auth, err := drive.OpenAuth(drive.AuthOptions{
		Credentials: filepath.Join(dir, "client_secrets.json"), Token: filepath.Join(dir, "token.json"), Save: true,
	})
	require.NoError(t, err)
	c, err := drive.New(drive.Options{URL: srv.URL(), Auth: auth, Timeout: 20 * time.Second})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// Open opens an index of srv's default user, or with o as it is where o says so: the zero Options mean a fresh state
// directory, a signed-in client and a quick poll. It is closed when t ends, unless the test did so.
func Open(t testing.TB, srv *drivetest.Server, o index.Options) *index.Index {
	t.Helper()
	ix, err := TryOpen(t, srv, o)
	require.NoError(t, err)
	return ix
}

// TryOpen is Open for tests that expect an error.
func TryOpen(t testing.TB, srv *drivetest.Server, o index.Options) (*index.Index, error) {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Drive == nil {
		o.Drive = Client(t, srv, srv.User(""))
	}
	if o.Poll == 0 {
		o.Poll = Poll
	}
	ix, err := index.Open(t.Context(), o)
	if err == nil {
		t.Cleanup(func() { require.NoError(t, ix.Close()) })
	}
	return ix, err
}

// Root returns the id of user's registry folder, which it makes if there is none.
func Root(t testing.TB, user *drivetest.User) string {
	t.Helper()
	for _, f := range user.Files() {
		if f.Name == index.DefaultRoot && f.MimeType == drive.FolderType && !f.Trashed {
			return f.ID
		}
	}
	f, err := user.Put(drivetest.File{Name: index.DefaultRoot, MimeType: drive.FolderType}, nil)
	require.NoError(t, err)
	return f.ID
}

// Put puts an image called name, as image.Parse reads it, into user's registry; its version is the content's MD5 unless
// name has one. labels are added to its properties.
func Put(t testing.TB, user *drivetest.User, name string, content []byte, labels map[string]string) drivetest.File {
	t.Helper()
	ref, err := image.Parse(name)
	require.NoError(t, err)
	if ref.Version == "" {
		sum := md5.Sum(content) //nolint:gosec // see above
		ref.Version = hex.EncodeToString(sum[:])
	}
	m, err := image.Describe(ref, ".sif", labels, nil)
	require.NoError(t, err)
	return PutRaw(t, user, drivetest.File{Name: m.Name, Properties: m.Properties, Description: m.Description}, content)
}

// PutRaw puts a file with whatever name and properties into user's registry, of the registry's type unless f has one.
func PutRaw(t testing.TB, user *drivetest.User, f drivetest.File, content []byte) drivetest.File {
	t.Helper()
	if f.MimeType == "" {
		f.MimeType = drive.ImageType
	}
	if f.Parents == nil {
		f.Parents = []string{Root(t, user)}
	}
	f, err := user.Put(f, bytes.NewReader(content))
	require.NoError(t, err)
	return f
}

// Eventually waits for cond, which a change on Drive is expected to bring about within a few polls.
func Eventually(t testing.TB, cond func() bool, what string) {
	t.Helper()
	require.Eventually(t, cond, time.Minute, 5*time.Millisecond, what)
}

// Refresh makes ix ask Drive now.
func Refresh(t testing.TB, ix *index.Index) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, ix.Refresh(ctx))
}
