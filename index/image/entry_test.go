package image_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"sregfs/index/image"
)

func TestParseEntry(t *testing.T) {
	for _, test := range []struct {
		name string
		want image.Ref
		ext  string
	}{
		{"hello-world:latest.sif", image.Ref{Image: "hello-world", Tag: "latest"}, ".sif"},
		{"hello-world.sif", image.Ref{Image: "hello-world", Tag: "latest"}, ".sif"},
		{"Hello-World.SIMG", image.Ref{Image: "Hello-World", Tag: "latest"}, ".simg"},
		{"hello-world:1.2@ed97.img", image.Ref{Image: "hello-world", Tag: "1.2", Version: "ed97"}, ".img"},
		{"hello-world@ed97.sqsh", image.Ref{Image: "hello-world", Tag: "latest", Version: "ed97"}, ".sqsh"},
		{"hello-world:latest", image.Ref{Image: "hello-world", Tag: "latest"}, ""},
		{"hello-world:latest@ed97", image.Ref{Image: "hello-world", Tag: "latest", Version: "ed97"}, ""},
		{"b%2Fc:5000%2fc.sif", image.Ref{Image: "b/c", Tag: "5000/c"}, ".sif"},
		{"x%2Esif:latest.sif", image.Ref{Image: "x.sif", Tag: "latest"}, ".sif"},
		{"my.image.sif", image.Ref{Image: "my.image", Tag: "latest"}, ".sif"},
		{"100%.sif", image.Ref{Image: "100%", Tag: "latest"}, ".sif"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ref, ext, ok := image.ParseEntry(test.name)
			require.True(t, ok)
			require.Equal(t, test.want, ref)
			require.Equal(t, test.ext, ext)
		})
	}
}

// TestTemporaryNamesAreDrafts: names that programs give to files on their way are never image names.
func TestTemporaryNamesAreDrafts(t *testing.T) {
	for _, name := range []string{
		"", ".", "..", "notes.txt", "hello", "x.part", "x.tmp", "Makefile",
		".hello.sif.Xa12", ".hello:latest.sif.Xa12b3", ".sif", ".hello.sif", ".~lock.x.sif#", // rsync, hidden, LibreOffice
		"x.sif~", "#x.sif#", ".x.sif.swp", "~x.sif", "~syncthing~x.sif.tmp", // editors, sync tools
		"x.sif.part", "hello:latest.sif.part", "hello:latest.sif.crdownload", "x:1.sif.filepart", "x:1.sif.1", // downloads
		"x:latest.sif~", "x:latest~", "x:", ":latest", "x.sif.gz", "sedAb12Cd",
	} {
		t.Run(name, func(t *testing.T) {
			_, _, ok := image.ParseEntry(name)
			require.False(t, ok)
		})
	}
}

// TestBadImageNamesAreNoDrafts: a name that means to be an image is refused, not quietly kept as a draft.
func TestBadImageNamesAreNoDrafts(t *testing.T) {
	for _, name := range []string{"a:b:c.sif", "x:.sif", ":t.sif", "@v.sif", "x@.sif", "a%41.sif", "x.sif.sif", "x\n.sif", "x :1.sif",
		strings.Repeat("x", 200) + ".sif"} {
		t.Run(name, func(t *testing.T) {
			ref, ext, ok := image.ParseEntry(name)
			require.True(t, ok)
			require.NotEmpty(t, ext)
			ref.Collection = "c"
			require.ErrorIs(t, ref.Check(), image.ErrName)
		})
	}
}

func TestEncodeName(t *testing.T) {
	for text, want := range map[string]string{
		"vsoch":          "vsoch",
		"ann@uni.edu":    "ann@uni.edu",
		"":               "%00",
		".":              "%2E",
		"..":             "%2E.",
		"../x":           "%2E.%2Fx",
		".sregfs":        "%2Esregfs",
		"shared-with-me": "%73hared-with-me",
		"Shared-With-Me": "%53hared-With-Me",
		"a:b":            "a%3Ab",
		"x.sif":          "x%2Esif",
		"x.SIF.part":     "x%2ESIF.part",
		"~x":             "%7Ex",
		"x~":             "x%7E",
		" x ":            "%20x%20",
		"a b":            "a b",
		"a\nb\x7f":       "a%0Ab%7F",
		"50%":            "50%",
		"%41":            "%2541",
		"%%2/":           "%%2%2F",
		"\xff":           "%FF",
		"größe":          "größe",
		"\u202e":         "%E2%80%AE",
	} {
		t.Run(text, func(t *testing.T) {
			require.Equal(t, want, image.EncodeName(text))
			if text != "" {
				back, err := image.DecodeName(want)
				require.NoError(t, err)
				require.Equal(t, text, back)
			}
		})
	}
	for _, foreign := range []string{"%41", "x%2esif%41", "a:b", ".x", "..", "a%2"[:2] + "%61"} {
		_, err := image.DecodeName(foreign)
		require.ErrorIs(t, err, image.ErrName, foreign)
	}
	text, err := image.DecodeName("%2e.%2fx")
	require.NoError(t, err, "the case of escapes does not matter")
	require.Equal(t, "../x", text)
}

func TestLongNamesAreShortened(t *testing.T) {
	a, b := strings.Repeat("ä", 300), strings.Repeat("ä", 301)
	require.LessOrEqual(t, len(image.EncodeName(a)), 255)
	require.True(t, utf8.ValidString(image.EncodeName(a)))
	require.NotEqual(t, image.EncodeName(a), image.EncodeName(b))
	for _, hostile := range []string{a, strings.Repeat("/", 100), strings.Repeat("\x80", 400), strings.Repeat(".sif.", 99), strings.Repeat("%41", 99)} {
		r := image.Ref{Collection: "c", Image: hostile, Tag: hostile, Version: hostile}
		full := r.TagDir() + "@" + r.VersionFile(".sqsh")
		require.LessOrEqual(t, len(full), 255)
		ref, _, ok := image.ParseEntry(full)
		require.True(t, ok)
		require.Equal(t, r.TagDir(), ref.TagDir(), "the key of a shortened name is the name")
		require.Equal(t, r.VersionFile(""), ref.VersionFile(""))
	}
}

func TestSplitExt(t *testing.T) {
	for name, want := range map[string][2]string{
		"x.sif": {"x", ".sif"}, "x.SimG": {"x", ".simg"}, "x.img": {"x", ".img"}, "x.sqsh": {"x", ".sqsh"},
		"x": {"x", ""}, ".sif": {".sif", ""}, "x.sifter": {"x.sifter", ""}, "": {"", ""},
	} {
		base, ext := image.SplitExt(name)
		require.Equal(t, want, [2]string{base, ext}, name)
	}
}

// FuzzEncodeName: whatever Drive holds becomes a harmless directory entry, and comes back.
func FuzzEncodeName(f *testing.F) {
	for _, s := range []string{"..", "a/b", "%2F", "x.sif", "shared-with-me", strings.Repeat("ä/", 200), "\xff%", ".sif~.img", "%%41"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, s, tag string) {
		name := image.EncodeName(s)
		harmless(t, name)
		text, err := image.DecodeName(name)
		require.NoError(t, err)
		if s != "" && 3*len(s) <= 255 {
			require.Equal(t, s, text)
		}
		require.Equal(t, strings.ToLower(image.EncodeName(text)), strings.ToLower(name))

		r := image.Ref{Collection: "c", Image: s, Tag: tag}
		dir := r.TagDir()
		harmless(t, dir+".simg")
		ref, ext, ok := image.ParseEntry(dir)
		require.True(t, ok, "%q", dir)
		require.Empty(t, ext)
		require.Equal(t, dir, ref.TagDir())
		ref, ext, ok = image.ParseEntry(r.TagFile(".simg"))
		require.True(t, ok)
		require.Equal(t, ".simg", ext)
		require.Equal(t, dir, ref.TagDir())
		if r.Check() == nil {
			require.Equal(t, image.Ref{Image: s, Tag: tag}, ref)
		}
	})
}

// FuzzParseEntry: no directory entry makes it panic, and what it takes for an image is found again under its own name.
func FuzzParseEntry(f *testing.F) {
	for _, s := range []string{"hello-world:latest@ed97.sif", "a%2Fb:c", "x:1.sif.part", "@.sif", ":::.img", "%zz.sif"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		ref, ext, ok := image.ParseEntry(name)
		if !ok {
			return
		}
		again, ext2, ok := image.ParseEntry(ref.TagDir() + ext)
		require.True(t, ok)
		require.Equal(t, ext, ext2)
		require.Equal(t, ref.TagDir(), again.TagDir())
		ref.Collection, ref.Version = "c", ""
		if ref.Check() == nil {
			require.Equal(t, ref.Image, again.Image)
			require.Equal(t, ref.Tag, again.Tag)
		}
	})
}

// harmless fails unless name can be a visible entry of any directory.
func harmless(t *testing.T, name string) {
	t.Helper()
	require.NotEmpty(t, name)
	require.LessOrEqual(t, len(name), 255)
	require.True(t, utf8.ValidString(name))
	require.NotContains(t, ".~# ", name[:1])
	require.NotContains(t, name, "/")
	require.NotContains(t, name, "\x00")
	require.False(t, image.Reserved(name))
}
