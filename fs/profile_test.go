package fs_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/image"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// What the properties of an image say of its starts is advice of strangers: whatever it is, the bytes are right.
func TestProfilesOfStrangers(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(1, 6<<20)
	size := int64(len(content))
	all := image.Profile{{Off: 0, Len: size}}
	images := map[string]map[string]string{
		"none":     nil,
		"good":     image.Profiles{Recorded: image.Profile{{Off: 0, Len: 64 << 10}, {Off: 5 << 20, Len: 128 << 10}}}.Properties(size),
		"whole":    image.Profiles{Recorded: all}.Properties(size),
		"nonsense": {"sregfs.profile.0": "!?", "sregfs.profile.3": strings.Repeat("A", 100)},
		"others":   image.Profiles{Static: image.Profile{{Off: 0, Len: 64 << 10}}}.Properties(2 * size),
	}
	for name, props := range images {
		ref := image.Ref{Collection: "c", Image: name, Tag: "1"}
		m, err := image.Describe(ref, ".sif", nil, props)
		require.NoError(t, err)
		indextest.PutRaw(t, srv.User(""), drivetest.File{Name: m.Name, Properties: m.Properties}, content)
	}
	m := fstest.Mount(t, srv, fstest.Options{})
	require.Equal(t, "recorded 196608 static 0", m.Sh("getfattr --only-values -n user.sregfs.profile c/good:1.sif"))
	require.Equal(t, "recorded 0 static 0", m.Sh("getfattr --only-values -n user.sregfs.profile c/nonsense:1.sif"))
	require.Empty(t, m.Sh("getfattr --only-values -n user.sregfs.labels c/good:1.sif | tr -d '{}'"), "a profile is no label")
	for name := range images {
		file := "c/" + name + ":1.sif"
		require.Equal(t, sha(content[5<<20:]), strings.Fields(m.Sh("tail -c +5242881 " + file + " | sha256sum"))[0], name)
		require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum " + file))[0], name)
	}
	require.Equal(t, "recorded 196608 static 0", m.Sh("getfattr --only-values -n user.sregfs.profile c/good:1.sif"), "a copy is no start")
}
