package image_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image"
)

// TestIdentifyEras has a file of every era of the registry, as it lies in Drive (compare the eras of names in the
// registry tool's history: dashes before tags, md5 and sha256 versions, doubled storage versions, kept case).
func TestIdentifyEras(t *testing.T) {
	ref := func(collection, img, tag, version string) image.Ref {
		return image.Ref{Collection: collection, Image: img, Tag: tag, Version: version}
	}
	for _, test := range []struct {
		name  string
		file  string
		props map[string]string
		want  image.Ref
		ext   string
	}{
		{"E0, no version in the uri", "expfactory/expfactory:master.simg", map[string]string{
			"type": "container", "uri": "expfactory/expfactory:master", "collection": "expfactory", "image": "expfactory",
			"tag": "master", "version": md5Hex, "storage": "expfactory/expfactory:master.simg",
		}, ref("expfactory", "expfactory", "master", md5Hex), ".simg"},
		{"E1", "vsoch/hello-world:latest@" + md5Hex + ".simg", map[string]string{
			"type": "container", "uri": "vsoch/hello-world:latest@" + md5Hex, "collection": "vsoch", "image": "hello-world",
			"tag": "latest", "version": md5Hex,
		}, ref("vsoch", "hello-world", "latest", md5Hex), ".simg"},
		{"E2, case of the tag kept", "vsoch/hello-world:Latest@" + md5Hex + ".simg", map[string]string{
			"uri": "vsoch/hello-world:Latest@" + md5Hex, "collection": "vsoch", "image": "hello-world", "tag": "Latest", "version": md5Hex,
		}, ref("vsoch", "hello-world", "Latest", md5Hex), ".simg"},
		{"E3, dash before the tag", "vsoch/hello-world-latest@" + md5Hex + ".simg", map[string]string{
			"uri": "vsoch/hello-world-latest@" + md5Hex, "collection": "vsoch", "image": "hello-world", "tag": "latest",
			"version": md5Hex, "tag_uri": "vsoch/hello-world-latest", "storage_uri": "vsoch/hello-world-latest@" + md5Hex,
		}, ref("vsoch", "hello-world", "latest", md5Hex), ".simg"},
		{"E4, doubled storage version", "vsoch/hello-world-latest@" + md5Hex + ".sif", map[string]string{
			"uri": "vsoch/hello-world-latest@" + md5Hex, "collection": "vsoch", "image": "hello-world", "tag": "latest",
			"version": md5Hex, "storage_version": "vsoch/hello-world-latest@" + md5Hex + "@" + md5Hex + ".sif", "original": "x",
		}, ref("vsoch", "hello-world", "latest", md5Hex), ".sif"},
		{"E5", "vsoch/hello:latest@" + sha256Hex + ".sif", map[string]string{
			"uri": "vsoch/hello:latest@" + sha256Hex, "url": "vsoch/hello@" + sha256Hex, "collection": "vsoch", "image": "hello",
			"tag": "latest", "version": strings.ToUpper(sha256Hex), "maintainer": "ann@uni.edu",
		}, ref("vsoch", "hello", "latest", sha256Hex), ".sif"},
		{"before 0.1.38, slashes in the image", "a/b/c:t@" + md5Hex + ".simg", map[string]string{
			"collection": "a", "image": "b/c", "tag": "t", "version": md5Hex,
		}, ref("a/b", "c", "t", md5Hex), ".simg"},
		{"slashes in the tag", "x.sif", map[string]string{"collection": "library", "image": "reg", "tag": "5000/c/i"},
			ref("library", "reg", "5000/c/i", ""), ".sif"},
		{"only a uri", "whatever", map[string]string{"type": "container", "uri": "c/i:t@" + md5Hex}, ref("c", "i", "t", md5Hex), ".sif"},
		{"uri fills what properties lack", "whatever", map[string]string{"uri": "c/i:t@" + md5Hex, "image": "i"}, ref("c", "i", "t", md5Hex), ".sif"},
		{"a uri of another image does not give its tag", "whatever", map[string]string{"uri": "c/i-t@v", "collection": "c", "image": "i"},
			ref("c", "i", "latest", "v"), ".sif"},
		{"only a file name", "c/d/i:t@v.img", map[string]string{"type": "container"}, ref("c/d", "i", "t", "v"), ".img"},
		{"uploaded by hand", "hello-world.simg", map[string]string{"type": "container"}, ref("library", "hello-world", "latest", ""), ".simg"},
		{"uploaded by hand, no extension", "My Image", nil, ref("library", "My Image", "latest", ""), ".sif"},
		{"extension from storage", "hello", map[string]string{"storage": "c/hello:latest.simg", "image": "hello"},
			ref("library", "hello", "latest", ""), ".simg"},
		{"no name at all", "", nil, ref("library", "unnamed", "latest", ""), ".sif"},
		{"hostile file name", "../x.sif", nil, ref("library", "../x", "latest", ""), ".sif"},
		{"hostile file name, absolute", "/etc/passwd", nil, ref("library", "/etc/passwd", "latest", ""), ".sif"},
		{"hostile image", "f", map[string]string{"image": "../../x"}, ref("library", "../../x", "latest", ""), ".sif"},
		{"hostile collection", "f", map[string]string{"collection": "//a//../b/", "image": "i"}, ref("a/../b", "i", "latest", ""), ".sif"},
		{"control characters", "f", map[string]string{"collection": "c", "image": "i\x00\n", "tag": "\x1b[2J"},
			ref("c", "i\x00\n", "\x1b[2J", ""), ".sif"},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, image.Identity{Ref: test.want, Ext: test.ext}, image.Identify(test.file, test.props))
		})
	}
}

func FuzzIdentify(f *testing.F) {
	f.Add("c/i:t@v.sif", "c/i:t@v", "c", "i", "t", "v", "c/i:t@v.sif")
	f.Add("../x", "", "//", "b/c", "", "", "")
	f.Add(strings.Repeat("a/", 100), "@", "..", "/", ":", "@", ".sif")
	f.Fuzz(func(t *testing.T, name, uri, collection, img, tag, version, storage string) {
		props := map[string]string{}
		for k, v := range map[string]string{"uri": uri, "collection": collection, "image": img, "tag": tag, "version": version, "storage": storage} {
			if v != "" {
				props[k] = v
			}
		}
		id := image.Identify(name, props)
		require.NotEmpty(t, id.Image)
		require.NotEmpty(t, id.Tag)
		require.Contains(t, []string{".sif", ".simg", ".img", ".sqsh"}, id.Ext)
		segments := strings.Split(id.Dir(), "/")
		require.LessOrEqual(t, len(segments), 12)
		for _, s := range segments {
			harmless(t, s)
		}
		harmless(t, id.TagFile(id.Ext))
		ref, ext, ok := image.ParseEntry(id.TagFile(id.Ext))
		require.True(t, ok)
		require.Equal(t, id.Ext, ext)
		require.Equal(t, id.TagDir(), ref.TagDir())
	})
}
