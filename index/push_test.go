package index_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

func at(collection, name string) index.Place { return index.Place{Collection: collection, Name: name} }

// write creates a draft at p and writes content to it in order, as cp does.
func write(t testing.TB, ix *index.Index, p index.Place, content []byte) *index.Draft {
	t.Helper()
	d, err := ix.CreateDraft(p)
	require.NoError(t, err)
	d.Acquire()
	t.Cleanup(d.Release)
	for off := 0; off < len(content); off += 128 << 10 {
		n, err := d.WriteAt(t.Context(), content[off:min(len(content), off+128<<10)], int64(off))
		require.NoError(t, err)
		require.Equal(t, min(128<<10, len(content)-off), n)
	}
	return d
}

func push(t testing.TB, d *index.Draft) index.Image {
	t.Helper()
	img, err := d.Push(t.Context())
	require.NoError(t, err)
	return img
}

// onDrive are the images in user's registry, those in the bin left out.
func onDrive(srv *drivetest.Server) []drivetest.File {
	var out []drivetest.File
	for _, f := range srv.User("").Files() {
		if f.Properties["type"] == "container" && !f.Trashed {
			out = append(out, f)
		}
	}
	return out
}

func sent(srv *drivetest.Server) (n int64) {
	for _, r := range srv.Requests() {
		if strings.HasPrefix(r.Path, "/upload/") {
			n += r.In
		}
	}
	return n
}

// draftFiles are the names in the state's drafts directory.
func draftFiles(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "drafts"))
	require.NoError(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestPushedImagesAreOnDriveAndInTheCache(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir, Poll: -1})
	content := imagetest.SIF(t, 5*block+321, imagetest.Labels{"maintainer": "ann@uni.edu"})
	d := write(t, ix, at("vsoch", "hello-world:latest.sif"), content)
	require.True(t, d.Dirty())
	found, ok := ix.Draft(at("vsoch", "hello-world:latest.sif"))
	require.True(t, ok)
	require.Same(t, d, found)
	img := push(t, d)

	sum := md5.Sum(content)
	require.Equal(t, hex.EncodeToString(sum[:]), img.Version)
	require.Equal(t, "vsoch/hello-world:latest", img.Short())
	files := onDrive(srv)
	require.Len(t, files, 1)
	require.Equal(t, img.File, files[0].ID)
	require.Equal(t, "ann@uni.edu", files[0].Properties["maintainer"])
	require.Equal(t, img.Version, files[0].Properties["version"])
	require.Equal(t, hex.EncodeToString(sum[:]), files[0].MD5)
	require.Equal(t, 1, countOp(srv, "upload.begin"))

	require.False(t, d.Dirty())
	_, ok = ix.Draft(at("vsoch", "hello-world:latest.sif"))
	require.False(t, ok, "the name is the image's now")
	require.Empty(t, ix.Pushes())
	require.Empty(t, draftFiles(t, dir))
	require.Equal(t, img.Size, ix.Cached(img), "what was pushed is cached")
	srv.ResetRequests()
	found2, err := ix.Lookup("", image.Ref{Collection: "vsoch", Image: "hello-world", Tag: "latest"})
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, readAll(t, open(t, ix, found2), 128<<10)))
	p := make([]byte, 1000)
	_, err = d.ReadAt(t.Context(), p, 4096)
	require.NoError(t, err, "who has it open reads on")
	require.True(t, bytes.Equal(content[4096:5096], p))
	ranges, _ := fetched(srv, img.File)
	require.Empty(t, ranges)
}

func countOp(srv *drivetest.Server, op string) (n int) {
	for _, r := range srv.Requests() {
		if r.Op == op {
			n++
		}
	}
	return n
}

func TestTheSamePushedTwiceIsOneFile(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ix := indextest.Open(t, srv, index.Options{})
	content := imagetest.SIF(t, 2*block)
	first := push(t, write(t, ix, at("c", "i:t.sif"), content))
	srv.ResetRequests()
	second := push(t, write(t, ix, at("c", "i:t.sif"), content))
	require.Equal(t, first.File, second.File)
	require.Zero(t, sent(srv), "no second upload")
	require.Len(t, onDrive(srv), 1)

	t.Run("under a second tag it is copied on Drive", func(t *testing.T) {
		srv.ResetRequests()
		other := push(t, write(t, ix, at("c", "i:u.sif"), content))
		require.NotEqual(t, first.File, other.File)
		require.Zero(t, sent(srv))
		require.Equal(t, 1, countOp(srv, "files.copy"))
		require.Len(t, onDrive(srv), 2)
		require.Equal(t, other.Size, ix.Cached(other))
	})
	t.Run("an older version becomes the newest again", func(t *testing.T) {
		next := push(t, write(t, ix, at("c", "i:t.sif"), imagetest.SIF(t, 3*block, imagetest.Seed(2))))
		newest, err := ix.Lookup("", image.Ref{Collection: "c", Image: "i", Tag: "t"})
		require.NoError(t, err)
		require.Equal(t, next.File, newest.File)
		srv.ResetRequests()
		push(t, write(t, ix, at("c", "i:t.sif"), content))
		require.Zero(t, sent(srv))
		newest, err = ix.Lookup("", image.Ref{Collection: "c", Image: "i", Tag: "t"})
		require.NoError(t, err)
		require.Equal(t, first.File, newest.File)
	})
	t.Run("a trashed one is sent again", func(t *testing.T) {
		for _, f := range onDrive(srv) {
			require.NoError(t, srv.User("").Patch(f.ID, func(f *drivetest.File) { f.Trashed = true }))
		}
		img := push(t, write(t, ix, at("c", "i:t.sif"), content))
		require.NotEqual(t, first.File, img.File)
		require.Len(t, onDrive(srv), 1)
	})
}

func TestPushesOfTheSameContentAtOnceMakeOneFile(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ix := indextest.Open(t, srv, index.Options{})
	content := imagetest.SIF(t, block)
	var wg sync.WaitGroup
	for _, name := range []string{"i:t.sif", "i:t.simg", "i:u.sif", "I:T.sif"} {
		d := write(t, ix, at("c", name), content)
		wg.Go(func() {
			if _, err := d.Push(t.Context()); err != nil {
				t.Error(name, err)
			}
		})
	}
	wg.Wait()
	require.Len(t, onDrive(srv), 2, "one for each tag")
	require.Equal(t, 1, countOp(srv, "upload.begin"))
}

func TestPushFile(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir})
	path := filepath.Join(t.TempDir(), "x.sif")
	imagetest.SIFFile(t, path, 3*block)
	name := ref(t, "c/i:t")
	var last int64
	img, err := ix.PushFile(t.Context(), path, name, ".sif", func(done, total int64) { last = done })
	require.NoError(t, err)
	require.Equal(t, int64(3*block), img.Size)
	require.Equal(t, img.Size, last)
	require.FileExists(t, path)

	require.NoError(t, os.Truncate(path, 2*block))
	_, err = ix.PushFile(t.Context(), path, name, ".sif", nil)
	require.ErrorIs(t, err, index.ErrPartial)
	require.Empty(t, ix.AllDrafts(), "the file is the user's: nothing is left behind")
	_, err = ix.PushFile(t.Context(), path+"none", name, ".sif", nil)
	require.ErrorIs(t, err, iofs.ErrNotExist)
}

func TestNamesTooLongAreRefusedBeforeSending(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ix := indextest.Open(t, srv, index.Options{})
	d := write(t, ix, at(strings.Repeat("c", 120), "i:t.sif"), imagetest.SIF(t, block))
	srv.ResetRequests()
	_, err := d.Push(t.Context())
	require.ErrorIs(t, err, index.ErrTooLong)
	require.Zero(t, sent(srv))
}

func TestASourceThatIsGoneIsSent(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ix := indextest.Open(t, srv, index.Options{Poll: -1})
	content := imagetest.SIF(t, block)
	first := push(t, write(t, ix, at("c", "i:t.sif"), content))
	require.NoError(t, srv.User("").Delete(first.File))
	img := push(t, write(t, ix, at("c", "i:u.sif"), content))
	require.Len(t, onDrive(srv), 1)
	require.Equal(t, img.File, onDrive(srv)[0].ID)
	require.Equal(t, 2, countOp(srv, "upload.begin"))
}
