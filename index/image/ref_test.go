package image_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"sregfs/index/image"
)

const (
	md5Hex    = "ed9755a0871f04db3e14971bec56a33f"
	sha256Hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		text string
		want image.Ref
	}{
		{"hello-world", image.Ref{Collection: "library", Image: "hello-world", Tag: "latest"}},
		{"hello-world:2.0", image.Ref{Collection: "library", Image: "hello-world", Tag: "2.0"}},
		{"vsoch/hello-world", image.Ref{Collection: "vsoch", Image: "hello-world", Tag: "latest"}},
		{"VSoch/Hello-World:Latest", image.Ref{Collection: "vsoch", Image: "hello-world", Tag: "latest"}},
		{"a/b/c/i:t@" + md5Hex, image.Ref{Collection: "a/b/c", Image: "i", Tag: "t", Version: md5Hex}},
		{"c/i@" + strings.ToUpper(sha256Hex), image.Ref{Collection: "c", Image: "i", Tag: "latest", Version: sha256Hex}},
		{"google-drive://c/i:t.sif", image.Ref{Collection: "c", Image: "i", Tag: "t"}},
		{"google_drive://c/i:t", image.Ref{Collection: "c", Image: "i", Tag: "t"}},
		{"Drive://c/i", image.Ref{Collection: "c", Image: "i", Tag: "latest"}},
		{"c/i.simg", image.Ref{Collection: "c", Image: "i", Tag: "latest"}},
		{"c/i:1.0.IMG", image.Ref{Collection: "c", Image: "i", Tag: "1.0"}},
		{"c/i:t@v1.sqsh", image.Ref{Collection: "c", Image: "i", Tag: "t", Version: "v1"}},
		{"my.lab/hello.sifter", image.Ref{Collection: "my.lab", Image: "hello.sifter", Tag: "latest"}},
		{"c/i.img-tools:v1.sifted", image.Ref{Collection: "c", Image: "i.img-tools", Tag: "v1.sifted"}},
		{"labor/größe 2:ß", image.Ref{Collection: "labor", Image: "größe 2", Tag: "ß"}},
		{"c/100%:50%x", image.Ref{Collection: "c", Image: "100%", Tag: "50%x"}},
	} {
		t.Run(test.text, func(t *testing.T) {
			got, err := image.Parse(test.text)
			require.NoError(t, err)
			require.Equal(t, test.want, got)
			again, err := image.Parse(got.String())
			require.NoError(t, err)
			require.Equal(t, got, again)
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, test := range []struct{ text, reason string }{
		{"", "image name is empty"},
		{"drive://", "image name is empty"},
		{"/a/b", "collection is empty"},
		{"c//i", "collection is empty"},
		{"c/", "image name is empty"},
		{"c/i:", "tag is empty"},
		{"c/i@", "nothing after the \"@\""},
		{"c/i:t@", "nothing after the \"@\""},
		{"reg:5000/c/i", "holds ':'"},
		{"c/i:a:b", "holds ':'"},
		{"c/i@a/b", "holds '/'"},
		{"a@b/c", "holds '/'"},
		{"c/i@sha256:" + sha256Hex, "holds ':'"},
		{"../i", "begins with '.'"},
		{"c/../i", "begins with '.'"},
		{"c/..", "begins with '.'"},
		{".sregfs/i", "begins with '.'"},
		{"Shared-With-Me/c/i", "is reserved"},
		{"c/.i.sif.Xa12", "begins with '.'"},
		{"c/i~", "ends with '~'"},
		{"c/i.sif.sif", "holds a file extension"},
		{"c/i.sif.part", "holds a file extension"},
		{"x.img/i", "holds a file extension"},
		{"c/i\x00", "unprintable"},
		{"c/i\n", "unprintable"},
		{"c/\u202egpj", "unprintable"},
		{"c/i\xff", "not UTF-8"},
		{"c/a%2Fb", "holds the escape"},
		{" c/i", "blank"},
		{"c/i ", "blank"},
	} {
		t.Run(test.text, func(t *testing.T) {
			_, err := image.Parse(test.text)
			require.ErrorIs(t, err, image.ErrName)
			require.NotErrorIs(t, err, image.ErrTooLong)
			require.ErrorContains(t, err, test.reason)
		})
	}
	for name, text := range map[string]string{
		"image":   "c/" + strings.Repeat("x", 91),
		"tag":     "c/i:" + strings.Repeat("x", 300),
		"version": "c/i@" + strings.Repeat("a", 65),
		"segment": strings.Repeat("x", 256) + "/i",
		"depth":   strings.Repeat("x/", 13) + "i",
	} {
		t.Run("too long "+name, func(t *testing.T) {
			_, err := image.Parse(text)
			require.ErrorIs(t, err, image.ErrTooLong)
			require.ErrorIs(t, err, image.ErrName)
		})
	}
}

func TestFoldIgnoresCase(t *testing.T) {
	a := image.Ref{Collection: "Lib", Image: "Hello", Tag: "V1", Version: "ABC"}
	require.Equal(t, image.Ref{Collection: "lib", Image: "hello", Tag: "v1", Version: "abc"}, a.Fold())
	require.NotEqual(t, image.Ref{Image: "a\xff"}.Fold(), image.Ref{Image: "a\xfe"}.Fold(), "bytes that are not UTF-8 stay apart")
	for c := rune(0); c <= unicode.MaxRune; c++ {
		once := image.Ref{Image: string(c)}.Fold()
		if once != once.Fold() {
			t.Fatalf("%U changes when folded twice", c)
		}
	}
}

func TestStringIsSafeToPrint(t *testing.T) {
	r := image.Ref{Collection: "..", Image: "a/b\x1b[2J", Tag: "x:y", Version: "v@w"}
	require.Equal(t, "%2E./a%2Fb%1B[2J:x%3Ay@v%40w", r.String())
	require.Equal(t, "%2E./a%2Fb%1B[2J:x%3Ay", r.Short())
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"vsoch/hello-world:latest@" + md5Hex, "a/b/c", "drive://x.sif", "c/%41", "İ/ẞ:Ⱥ", "c/i:t@", "é.sif~"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := image.Parse(text)
		if err != nil {
			require.True(t, errors.Is(err, image.ErrName))
			return
		}
		again, err := image.Parse(r.String())
		require.NoError(t, err)
		require.Equal(t, r, again)
		require.Equal(t, r, r.Fold())
		require.Equal(t, r.Collection, r.Dir(), "a valid name needs no escapes")
		require.Equal(t, r.Image+":"+r.Tag, r.TagDir())
		entry, ext, ok := image.ParseEntry(r.TagFile(".sif"))
		require.True(t, ok)
		require.Equal(t, ".sif", ext)
		require.Equal(t, image.Ref{Image: r.Image, Tag: r.Tag}, entry)
	})
}
