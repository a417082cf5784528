package fs_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/image/imagetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(passthroughVariable); dir != "" {
		if err := servePassthrough(dir, os.Getenv("SREGFS_PASSTHROUGH_FILE")); err != nil {
			panic(err)
		}
		return
	}
	fstest.Main(m)
}

// local writes content to a file outside the mount and returns its path.
func local(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, content, 0o644))
	return path
}

// sif is an image of its own for each seed.
func sif(t testing.TB, size int64, seed uint64) []byte {
	t.Helper()
	return imagetest.SIF(t, size, imagetest.Seed(seed))
}

func sha(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func md5sum(content []byte) string {
	sum := md5.Sum(content)
	return hex.EncodeToString(sum[:])
}

// onDrive finds the untrashed file whose uri property begins with uri, and returns its content.
func onDrive(t testing.TB, user *drivetest.User, uri string) (drivetest.File, []byte) {
	t.Helper()
	var found []drivetest.File
	for _, f := range user.Files() {
		if !f.Trashed && (f.Properties["uri"] == uri || (len(f.Properties["uri"]) > len(uri) && f.Properties["uri"][:len(uri)+1] == uri+"@")) {
			found = append(found, f)
		}
	}
	require.Len(t, found, 1, uri)
	r, err := user.Content(found[0].ID)
	require.NoError(t, err)
	defer r.Close()
	content, err := io.ReadAll(r)
	require.NoError(t, err)
	return found[0], content
}

// requireOnDrive requires that Drive holds exactly content under uri.
func requireOnDrive(t testing.TB, user *drivetest.User, uri string, content []byte) drivetest.File {
	t.Helper()
	f, got := onDrive(t, user, uri)
	require.True(t, bytes.Equal(content, got), "%s: Drive holds %d other bytes, want %d", uri, len(got), len(content))
	return f
}

// images counts the untrashed images of user.
func images(user *drivetest.User) int {
	n := 0
	for _, f := range user.Files() {
		if !f.Trashed && f.Properties["type"] == "container" {
			n++
		}
	}
	return n
}

// uploads counts the upload sessions that were begun.
func uploads(srv *drivetest.Server) int {
	n := 0
	for _, r := range srv.Requests() {
		if r.Op == "upload.begin" {
			n++
		}
	}
	return n
}
