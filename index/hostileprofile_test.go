package index_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// A profile is advice of strangers: whatever it says, what is read is right, and little is read in vain.
func TestHostileProfiles(t *testing.T) {
	const size = 160 << 20
	srv := drivetest.NewServer(t, drivetest.Options{Dir: t.TempDir()})
	content := imagetest.Bytes(1, 1<<20)
	f, err := srv.User("").Put(drivetest.File{
		Name: "c/i:t.sif", MimeType: drive.ImageType, Parents: []string{indextest.Root(t, srv.User(""))},
		Properties: map[string]string{"type": "container", "collection": "c", "image": "i", "tag": "t"},
	}, io.LimitReader(&repeated{content: content}, size))
	require.NoError(t, err)
	client := indextest.Client(t, srv, srv.User(""))
	huge := func(spans ...image.Span) map[string]string {
		r := image.NewRecording(size)
		for _, s := range spans {
			r.Read(s.Off, s.Len)
		}
		return image.Profiles{Recorded: r.Profile()}.Properties(size)
	}
	scattered := func() map[string]string {
		var spans []image.Span
		for off := int64(1 << 20); off < size; off += 5 << 20 {
			spans = append(spans, image.Span{Off: off, Len: 1})
		}
		return huge(spans...)
	}
	part := strings.Repeat("A", 108)
	for name, props := range map[string]map[string]string{
		"nonsense":                {"sregfs.profile.0": "no base64 at all: %%%", "sregfs.profile.1": "\x00\x01"},
		"bytes":                   {"sregfs.profile.0": part, "sregfs.profile.1": part, "sregfs.profile.2": part, "sregfs.profile.3": part, "sregfs.profile.4": part, "sregfs.profile.5": part},
		"a later version":         {"sregfs.profile.0": "_wAA"},
		"another image's":         image.Profiles{Recorded: image.Profile{{Off: 0, Len: 64 << 10}}}.Properties(size / 2),
		"beyond the end":          image.Profiles{Recorded: image.Profile{{Off: size - 1<<16, Len: 1 << 40}}}.Properties(size),
		"overlapping":             image.Profiles{Recorded: image.Profile{{Off: 0, Len: 50 << 20}, {Off: 1 << 20, Len: 60 << 20}, {Off: 0, Len: 50 << 20}}}.Properties(size),
		"six huge ranges":         huge(image.Span{Off: 0, Len: 30 << 20}, image.Span{Off: 40 << 20, Len: 30 << 20}, image.Span{Off: 80 << 20, Len: 30 << 20}, image.Span{Off: 120 << 20, Len: 30 << 20}, image.Span{Off: 155 << 20, Len: 2 << 20}, image.Span{Off: 158 << 20, Len: 1 << 20}),
		"the whole image":         huge(image.Span{Off: 0, Len: size}),
		"the whole, not recorded": image.Profiles{Static: image.Profile{{Off: 0, Len: size}}}.Properties(size),
		"here and there":          scattered(),
	} {
		t.Run(name, func(t *testing.T) {
			patch := drive.Patch{Properties: map[string]*string{}}
			for i := range 6 {
				patch.Properties[fmt.Sprintf("sregfs.profile.%d", i)] = nil
			}
			for k, v := range props {
				patch.Properties[k] = &v
			}
			_, err := client.Update(t.Context(), f.ID, patch)
			require.NoError(t, err)
			ix := indextest.Open(t, srv, index.Options{})
			img := byID(t, ix, f.ID)
			srv.ResetRequests()
			r := open(t, ix, img)
			p := make([]byte, 4096)
			for _, off := range []int64{0, size - 4096, 77 << 20, 100<<20 + 123} {
				_, err := r.ReadAt(t.Context(), p, off)
				require.NoError(t, err)
				want := make([]byte, len(p))
				for i := range want {
					want[i] = content[(off+int64(i))%(1<<20)]
				}
				require.True(t, bytes.Equal(want, p), "at %d", off)
			}
			require.NoError(t, r.Close())
			require.NoError(t, ix.Close())
			ranges, sum := fetched(srv, f.ID)
			t.Logf("%d requests, %d MiB", len(ranges), sum>>20)
			require.LessOrEqual(t, sum, int64(52<<20), "16 MiB of the profile, and 32 MiB around four reads that it does not name")
			require.LessOrEqual(t, len(ranges), 80)
		})
	}
}

// repeated is content over and over.
type repeated struct {
	content []byte
	at      int
}

func (r *repeated) Read(p []byte) (n int, err error) {
	n = copy(p, r.content[r.at:])
	r.at = (r.at + n) % len(r.content)
	return n, nil
}
