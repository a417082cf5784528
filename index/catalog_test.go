package index_test

import (
	"encoding/json"
	"fmt"
	iofs "io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image"
	"sregfs/index/indextest"
)

func ref(t testing.TB, text string) image.Ref {
	t.Helper()
	r, err := image.Parse(text)
	require.NoError(t, err)
	return r
}

// names are the tags of a collection as text.
func names(c index.Collection) []string {
	out := []string{}
	for _, tag := range c.Tags {
		out = append(out, tag.Image+":"+tag.Tag)
	}
	return out
}

func collection(t testing.TB, ix *index.Index, space, path string) index.Collection {
	t.Helper()
	c, err := ix.Collection(space, path)
	require.NoError(t, err)
	return c
}

func TestCatalogue(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ann := srv.User("")
	first := indextest.Put(t, ann, "vsoch/hello-world:latest", []byte("one"), map[string]string{"maintainer": "ann@uni.edu"})
	second := indextest.Put(t, ann, "vsoch/hello-world:latest", []byte("two!"), nil)
	other := indextest.Put(t, ann, "vsoch/hello-world:pancakes", []byte("three"), nil)
	deep := indextest.Put(t, ann, "lab/team/tool:1.0", []byte("four"), nil)
	require.NoError(t, ann.Patch(second.ID, func(f *drivetest.File) { f.Modified = first.Modified.Add(time.Hour) }))
	ix := indextest.Open(t, srv, index.Options{})

	t.Run("collections nest", func(t *testing.T) {
		top := collection(t, ix, "", "")
		require.Equal(t, []string{"lab", "vsoch"}, top.Collections)
		require.Empty(t, top.Tags)
		lab := collection(t, ix, "", "lab")
		require.Equal(t, []string{"team"}, lab.Collections)
		require.Equal(t, []string{"tool:1.0"}, names(collection(t, ix, "", "lab/team")))
		require.Equal(t, []string{"hello-world:latest", "hello-world:pancakes"}, names(collection(t, ix, "", "vsoch")))
		_, err := ix.Collection("", "nobody")
		require.ErrorIs(t, err, iofs.ErrNotExist)
		require.False(t, top.Modified.IsZero())
	})
	t.Run("a tag shows its newest version and counts them", func(t *testing.T) {
		tag := collection(t, ix, "", "vsoch").Tags[0]
		require.Equal(t, 2, tag.Versions)
		require.Equal(t, second.ID, tag.Newest.File)
		require.Equal(t, second.MD5, tag.Newest.Version)
	})
	t.Run("lookup", func(t *testing.T) {
		for text, want := range map[string]string{
			"vsoch/hello-world":                      second.ID,
			"VSOCH/Hello-World:LATEST":               second.ID,
			"vsoch/hello-world:latest@" + first.MD5:  first.ID,
			"vsoch/hello-world@" + first.SHA256:      first.ID,
			"vsoch/hello-world:pancakes":             other.ID,
			"google-drive://vsoch/hello-world.sif":   second.ID,
			"lab/team/tool:1.0@" + upper(deep.MD5):   deep.ID,
			"vsoch/hello-world:latest@" + second.MD5: second.ID,
		} {
			img, err := ix.Lookup("", ref(t, text))
			require.NoError(t, err, text)
			require.Equal(t, want, img.File, text)
		}
		for _, text := range []string{"vsoch/hello", "vsoch/hello-world:late", "vsoch/hello-world@" + first.MD5[:31], "hello-world", "team/tool:1.0"} {
			_, err := ix.Lookup("", ref(t, text))
			require.ErrorIs(t, err, iofs.ErrNotExist, text)
		}
	})
	t.Run("an image knows what Drive said", func(t *testing.T) {
		img, err := ix.ByID(first.ID)
		require.NoError(t, err)
		require.Equal(t, "ann@uni.edu", img.Labels["maintainer"])
		require.Equal(t, "container", img.Properties["type"])
		require.Equal(t, int64(3), img.Size)
		require.Equal(t, first.MD5, img.MD5)
		require.Equal(t, first.SHA256, img.SHA256)
		require.Equal(t, first.HeadRevisionID, img.Revision)
		require.Equal(t, "ann@uni.edu", img.Owner)
		require.Equal(t, ".sif", img.Ext)
		require.True(t, img.Writable)
		require.WithinDuration(t, first.Created, img.Created, time.Second)
	})
	t.Run("versions are newest first", func(t *testing.T) {
		list, err := ix.Versions("", ref(t, "vsoch/hello-world"))
		require.NoError(t, err)
		require.Len(t, list, 2)
		require.Equal(t, second.ID, list[0].File)
		require.Equal(t, first.ID, list[1].File)
		_, err = ix.Versions("", ref(t, "vsoch/none"))
		require.ErrorIs(t, err, iofs.ErrNotExist)
	})
	t.Run("search is by substring, case and all", func(t *testing.T) {
		find := func(text string) []index.Image { return ix.Search(index.Query{Text: text}).Collect() }
		require.Len(t, find("hello"), 3)
		require.Empty(t, find("Hello"))
		require.Len(t, ix.Search(index.Query{Text: "Hello", AnyCase: true}).Collect(), 3)
		require.Len(t, find("ann@uni"), 1)
		require.Len(t, find(deep.ID[3:20]), 1)
		require.Equal(t, ix.Images(), find(""))
		require.Empty(t, find("no such thing"))
	})
	t.Run("resolve is exact", func(t *testing.T) {
		for text, want := range map[string]string{
			first.ID: first.ID, "vsoch/hello-world": second.ID, first.MD5: first.ID, first.SHA256: first.ID, upper(deep.MD5): deep.ID,
			"vsoch/hello-world:latest@" + first.MD5: first.ID, "lab/team/tool:1.0.sif": deep.ID,
		} {
			img, err := ix.Resolve(text)
			require.NoError(t, err, text)
			require.Equal(t, want, img.File, text)
		}
		for _, text := range []string{"hello", first.ID[:20], first.MD5[:16], "vsoch/hello-worl", strings.Repeat("0", 32)} {
			_, err := ix.Resolve(text)
			require.ErrorIs(t, err, iofs.ErrNotExist, text)
		}
		_, err := ix.Resolve("a//b")
		require.ErrorIs(t, err, index.ErrName)
	})
}

func upper(s string) string { return strings.ToUpper(s) }

func TestResolveAmbiguous(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	f := indextest.Put(t, srv.User(""), "a/x:1", []byte("same"), nil)
	indextest.Put(t, srv.User(""), "b/y:1", []byte("same"), nil)
	ix := indextest.Open(t, srv, index.Options{})
	_, err := ix.Resolve(f.MD5)
	require.ErrorIs(t, err, index.ErrAmbiguous)
	var amb *index.AmbiguousError
	require.ErrorAs(t, err, &amb)
	require.Len(t, amb.Candidates, 2)
	require.Contains(t, index.Sentence(err), f.ID)
}

func TestDuplicatesShowOnce(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ann := srv.User("")
	old := indextest.Put(t, ann, "c/i:t", []byte("same"), nil)
	young := indextest.Put(t, ann, "c/i:t", []byte("same"), nil)
	require.NoError(t, ann.Patch(young.ID, func(f *drivetest.File) { f.Modified = old.Modified.Add(time.Minute) }))
	ix := indextest.Open(t, srv, index.Options{})
	list, err := ix.Versions("", ref(t, "c/i:t"))
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, young.ID, list[0].File)
	require.Equal(t, 1, collection(t, ix, "", "c").Tags[0].Versions)
	img, err := ix.ByID(old.ID)
	require.NoError(t, err)
	require.Equal(t, "c/i:t@"+old.MD5, img.Ref.String())
	img, err = ix.Resolve(old.MD5)
	require.NoError(t, err, "duplicates of one name are not ambiguous")
	require.Equal(t, young.ID, img.File)

	require.NoError(t, ix.Remove(t.Context(), list[0]))
	list, err = ix.Versions("", ref(t, "c/i:t"))
	require.NoError(t, err)
	require.Equal(t, old.ID, list[0].File, "the other one shows now")
}

// Files of every era and from hostile hands appear, each once, and can be found again by what the listing says.
func TestForeignFiles(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ann := srv.User("")
	container := func(more map[string]string) map[string]string {
		props := map[string]string{"type": "container"}
		for k, v := range more {
			props[k] = v
		}
		return props
	}
	put := func(name string, props map[string]string) drivetest.File {
		return indextest.PutRaw(t, ann, drivetest.File{Name: name, Properties: container(props)}, []byte(name))
	}
	e0 := put("expfactory/expfactory:master.simg", map[string]string{"uri": "expfactory/expfactory:master", "collection": "expfactory", "image": "expfactory", "tag": "master", "version": "846442ecd7487f99fce3b8fb68ae15af"})
	e3 := put("c/i-t@846442ecd7487f99fce3b8fb68ae15af.simg", map[string]string{"uri": "c/i-t@846442ecd7487f99fce3b8fb68ae15af", "collection": "c", "image": "i", "tag": "t", "version": "846442ecd7487f99fce3b8fb68ae15af"})
	bare := put("plain.sif", nil)
	hostile := []drivetest.File{
		put("a", map[string]string{"collection": "..", "image": "../../etc/passwd", "tag": "x/y"}),
		put("b", map[string]string{"collection": ".sregfs", "image": "i", "tag": "t"}),
		put("c", map[string]string{"collection": "shared-with-me/../..", "image": "\x01\x02\n", "tag": ".."}),
		put(strings.Repeat("n", 300)+".sif", nil),
		put("d", map[string]string{"collection": "//", "image": strings.Repeat("i", 100), "tag": strings.Repeat("t", 100)}),
	}
	trashed := put("trashed.sif", nil)
	require.NoError(t, ann.Patch(trashed.ID, func(f *drivetest.File) { f.Trashed = true }))
	foreign := indextest.PutRaw(t, ann, drivetest.File{Name: "notes.txt"}, []byte("no image"))
	ix := indextest.Open(t, srv, index.Options{})

	img, err := ix.Resolve("expfactory/expfactory:master")
	require.NoError(t, err)
	require.Equal(t, e0.ID, img.File)
	require.Equal(t, ".simg", img.Ext)
	require.Equal(t, "846442ecd7487f99fce3b8fb68ae15af", img.Version)
	img, err = ix.Lookup("", ref(t, "c/i:t"))
	require.NoError(t, err)
	require.Equal(t, e3.ID, img.File)
	img, err = ix.Lookup("", ref(t, "library/plain"))
	require.NoError(t, err)
	require.Equal(t, bare.ID, img.File)
	require.Equal(t, bare.MD5, img.Version, "an image without a version has its MD5")

	for _, f := range []drivetest.File{trashed, foreign} {
		_, err = ix.ByID(f.ID)
		require.ErrorIs(t, err, iofs.ErrNotExist)
	}
	found := map[string]bool{}
	var walk func(path string)
	walk = func(path string) {
		c := collection(t, ix, "", path)
		for _, tag := range c.Tags {
			list, err := ix.Versions("", image.Ref{Collection: path, Image: tag.Image, Tag: tag.Tag})
			require.NoError(t, err)
			for _, img := range list {
				require.False(t, found[img.File], "shown twice")
				found[img.File] = true
			}
		}
		for _, sub := range c.Collections {
			if path == "" {
				walk(sub)
			} else {
				walk(path + "/" + sub)
			}
		}
	}
	walk("")
	for _, f := range append(hostile, e0, e3, bare) {
		require.True(t, found[f.ID], "%q is reachable by walking", f.Name)
	}
	require.Len(t, found, len(hostile)+3)
}

// Images travel as JSON between a mount and the commands that ask it, and mean the same on the other side.
func TestImagesTravelAsJSON(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	indextest.Put(t, srv.User(""), "vsoch/hello-world:latest", []byte("one"), map[string]string{"maintainer": "ann@uni.edu"})
	indextest.PutRaw(t, srv.User(""), drivetest.File{Name: "\x01\"/..", Properties: map[string]string{"type": "container"}}, nil)
	ix := indextest.Open(t, srv, index.Options{})
	images := ix.Images()
	b, err := json.Marshal(images)
	require.NoError(t, err)
	var back []index.Image
	require.NoError(t, json.Unmarshal(b, &back))
	require.Equal(t, images, back)
	for _, img := range images {
		for _, text := range []string{img.File, img.MD5} {
			got, err := index.Resolve(back, text)
			require.NoError(t, err)
			require.Equal(t, img, got)
		}
	}
	found := slices.DeleteFunc(back, func(img index.Image) bool { return !(index.Query{Text: "ann@"}).Finds(img) })
	require.Len(t, found, 1)
}

// The catalogue answers from memory: Drive may be gone.
func TestListingAsksNobody(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	for i := range 20 {
		indextest.Put(t, srv.User(""), fmt.Sprintf("c/i%d:t", i), []byte{byte(i)}, nil)
	}
	ix := indextest.Open(t, srv, index.Options{Poll: -1})
	srv.ResetRequests()
	for _, tag := range collection(t, ix, "", "c").Tags {
		_, err := ix.Lookup("", tag.Newest.Ref)
		require.NoError(t, err)
	}
	require.Len(t, ix.Images(), 20)
	require.Empty(t, srv.Requests())
}
