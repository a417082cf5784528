package index_test

import (
	"fmt"
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

func TestDirectoriesAreRemembered(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir})
	srv.ResetRequests()
	require.ErrorIs(t, ix.Mkdir("lab/team"), iofs.ErrNotExist, "no parent")
	require.NoError(t, ix.Mkdir("Lab"))
	require.ErrorIs(t, ix.Mkdir("lab"), iofs.ErrExist)
	require.NoError(t, ix.Mkdir("lab/team"))
	require.NoError(t, ix.Mkdir("lab/tool:1.0"))
	require.ErrorIs(t, ix.Mkdir("lab/tool:1.0"), iofs.ErrExist)
	for _, bad := range []string{"", "..", "lab/..", "a:b", ".sregfs", "shared-with-me", "lab/team/x:y:z", "a\x01b", "lab/i:t@v", "lab/i:t/sub"} {
		require.Error(t, ix.Mkdir(bad), "%q", bad)
	}
	require.ErrorIs(t, ix.Mkdir(strings.Repeat("d", 300)), index.ErrTooLong)
	require.NoError(t, ix.Close())

	ix = indextest.Open(t, srv, index.Options{Dir: dir, Poll: -1})
	require.Equal(t, []string{"lab"}, collection(t, ix, "", "").Collections)
	lab := collection(t, ix, "", "LAB")
	require.Equal(t, []string{"team"}, lab.Collections)
	require.Len(t, lab.Tags, 1)
	require.Equal(t, index.Tag{Image: "tool", Tag: "1.0"}, lab.Tags[0])
	require.False(t, lab.Modified.IsZero())
	list, err := ix.Versions("", image.Ref{Collection: "lab", Image: "tool", Tag: "1.0"})
	require.NoError(t, err)
	require.Empty(t, list)

	require.ErrorIs(t, ix.Rmdir("lab"), index.ErrNotEmpty)
	require.NoError(t, ix.Rmdir("lab/Tool:1.0"))
	require.ErrorIs(t, ix.Rmdir("lab/tool:1.0"), iofs.ErrNotExist)
	require.NoError(t, ix.Rmdir("lab/team"))
	require.NoError(t, ix.Rmdir("lab"))
	require.Empty(t, collection(t, ix, "", "").Collections)
	require.NoError(t, ix.Close())
	ix = indextest.Open(t, srv, index.Options{Dir: dir})
	require.Empty(t, collection(t, ix, "", "").Collections)
}

// What `rm -r collection` does, in its order.
func TestEmptiedDirectoriesStayUntilRemoved(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ann := srv.User("")
	for _, name := range []string{"a/b/i:t", "a/b/i:t", "a/j:t"} {
		indextest.Put(t, ann, name, []byte(name+ann.Email()), nil)
	}
	ix := indextest.Open(t, srv, index.Options{})
	require.ErrorIs(t, ix.Rmdir("a/b"), index.ErrNotEmpty)
	require.ErrorIs(t, ix.Rmdir("a/b/i:t"), index.ErrNotEmpty)
	for _, img := range ix.Images() {
		require.NoError(t, ix.Remove(t.Context(), img))
	}
	require.Empty(t, names(collection(t, ix, "", "a/b")), "an emptied tag is not listed,")
	_, err := ix.Versions("", ref(t, "a/b/i:t"))
	require.NoError(t, err, "and can still be opened")
	indextest.Refresh(t, ix)
	for _, dir := range []string{"a/b/i:t", "a/b", "a/j:t", "a"} {
		require.NoError(t, ix.Rmdir(dir), dir)
	}
	require.Empty(t, collection(t, ix, "", "").Collections)
}

// The feed may tell of our own removal before Drive's reply does. The directory stays all the same.
func TestEmptiedDirectoriesStayWhoeverSaysSo(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	file := indextest.Put(t, srv.User(""), "a/i:t", []byte("i"), nil)
	ix := indextest.Open(t, srv, index.Options{Poll: 5 * time.Millisecond})
	img, err := ix.ByID(file.ID)
	require.NoError(t, err)
	srv.Fault(drivetest.On("PATCH", "/drive/v3/files/*").Nth(1).DropReply())
	require.NoError(t, ix.Remove(t.Context(), img))
	require.NoError(t, ix.Rmdir("a/i:t"))
	require.NoError(t, ix.Rmdir("a"))
}

// Collections keep the names they are stored under, and go by them.
func TestHostileDirectoriesCanBeRemoved(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	hostile := []string{"..", "a/../b", "a/b/..", ".sregfs", "a//b", "x:y", "shared-with-me", "a/b:c/d", strings.Repeat("n", 90) + "/" + "\x01"}
	for i, collection := range hostile {
		indextest.PutRaw(t, srv.User(""), drivetest.File{Name: fmt.Sprint(i), Properties: map[string]string{
			"type": "container", "collection": collection, "image": "i", "tag": "t",
		}}, []byte(collection))
	}
	ix := indextest.Open(t, srv, index.Options{})
	var clean func(path string)
	clean = func(path string) {
		c := collection(t, ix, "", path)
		for _, sub := range c.Collections {
			if path != "" {
				sub = path + "/" + sub
			}
			clean(sub)
			require.NoError(t, ix.Rmdir(sub), "%q", sub)
		}
		for _, tag := range c.Tags {
			require.ErrorIs(t, ix.Rmdir(path), index.ErrNotEmpty)
			require.NoError(t, ix.Remove(t.Context(), tag.Newest))
			require.NoError(t, ix.Rmdir(path+"/"+tag.Newest.TagDir()))
		}
	}
	clean("")
	require.Empty(t, ix.Images())
	require.Empty(t, collection(t, ix, "", "").Collections)
}

func TestMadeDirectoryTakesImages(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ix := indextest.Open(t, srv, index.Options{})
	require.NoError(t, ix.Mkdir("c"))
	require.NoError(t, ix.Mkdir("c/i:t"))
	f := indextest.Put(t, srv.User(""), "c/i:t", []byte("1"), nil)
	indextest.Eventually(t, func() bool { return has(ix, f.ID) }, "an image in it")
	require.Equal(t, 1, collection(t, ix, "", "c").Tags[0].Versions)
	require.NoError(t, srv.User("").Delete(f.ID))
	indextest.Eventually(t, func() bool { return !has(ix, f.ID) }, "gone again")
	require.Equal(t, []string{"i:t"}, names(collection(t, ix, "", "c")), "what was made stays")
}
