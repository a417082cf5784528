package index_test

import (
	iofs "io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// The state is closed to others, whatever stood there before and whatever the umask says.
func TestStateIsClosedToOthers(t *testing.T) {
	old := syscall.Umask(0)
	t.Cleanup(func() { syscall.Umask(old) })
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir, cache := filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "cache")
	for _, wide := range []string{dir, cache, filepath.Join(dir, "index"), filepath.Join(dir, "drafts")} {
		require.NoError(t, os.Mkdir(wide, 0o777))
	}
	indextest.Put(t, srv.User(""), "c/x:1", imagetest.Bytes(1, 3<<20), nil)
	ix := indextest.Open(t, srv, index.Options{Dir: dir, CacheDir: cache})
	img, err := ix.Resolve("c/x:1")
	require.NoError(t, err)
	require.NoError(t, ix.Prefetch(t.Context(), img))
	d, err := ix.CreateDraft(index.Place{Name: "notes.txt"})
	require.NoError(t, err)
	_, err = d.WriteAt(t.Context(), []byte("secret"), 0)
	require.NoError(t, err)
	files := 0
	for _, top := range []string{dir, cache} {
		require.NoError(t, filepath.WalkDir(top, func(path string, e iofs.DirEntry, err error) error {
			require.NoError(t, err)
			info, err := e.Info()
			require.NoError(t, err)
			if e.IsDir() {
				require.Equal(t, os.FileMode(0o700), info.Mode().Perm(), path)
				return nil
			}
			files++
			if filepath.Base(filepath.Dir(path)) != "index" { // Badger's own, behind their directory
				require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), path)
			}
			return nil
		}))
	}
	require.Greater(t, files, 4)
}

// A state or cache directory that is somebody else's is refused in a sentence, a link of theirs to one of mine as well.
func TestStateOfSomebodyElse(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("giving a directory away needs root")
	}
	srv := drivetest.NewServer(t, drivetest.Options{})
	theirs := filepath.Join(t.TempDir(), "theirs")
	require.NoError(t, os.Mkdir(theirs, 0o755))
	require.NoError(t, os.Chown(theirs, 65534, 65534))
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(t.TempDir(), link))
	for name, o := range map[string]index.Options{"state": {Dir: theirs}, "cache": {Dir: t.TempDir(), CacheDir: theirs}} {
		_, err := indextest.TryOpen(t, srv, o)
		require.ErrorIs(t, err, iofs.ErrPermission, name)
		require.Contains(t, index.Sentence(err), theirs+" belongs to user 65534", name)
	}
	left, err := os.ReadDir(theirs)
	require.NoError(t, err)
	require.Empty(t, left)
	info, err := os.Stat(theirs)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o755), info.Mode().Perm(), "it is not ours to close")

	indextest.Open(t, srv, index.Options{Dir: link})
	require.NoError(t, os.Lchown(link, 65534, 65534))
	_, err = indextest.TryOpen(t, srv, index.Options{Dir: link})
	require.ErrorIs(t, err, iofs.ErrPermission)
}
