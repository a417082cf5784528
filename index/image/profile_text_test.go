package image_test

import (
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image"
)

func TestProfileTooLongForProperties(t *testing.T) {
	// every returns a profile of single blocks, one every step blocks, shuffled.
	every := func(size, step int64) image.Profile {
		r := image.NewRecording(size)
		for _, i := range rand.New(rand.NewPCG(3, 4)).Perm(int(size / step / block)) {
			r.Read(int64(i)*step*block, 1)
		}
		return r.Profile()
	}
	// sent returns p as another machine gets it.
	sent := func(t *testing.T, p image.Profiles, size int64) image.Profiles {
		t.Helper()
		got, err := image.ParseProfiles(p.Properties(size), size)
		require.NoError(t, err)
		saneBoth(t, got, size)
		return got
	}
	t.Run("is joined", func(t *testing.T) {
		const size = 100 << 20
		p := every(size, 4)
		require.Len(t, p, 400)
		got := sent(t, recorded(p), size)
		require.Less(t, len(got.Recorded), len(p))
		for _, s := range p {
			require.True(t, covers(got.Recorded, s.Off, s.Len), "nothing is lost")
		}
	})
	t.Run("is cut at the end", func(t *testing.T) {
		const size = 50 << 30
		p := every(size, 1000)
		require.Len(t, p, 819)
		got := sent(t, recorded(p), size)
		require.Greater(t, len(got.Recorded), 100)
		require.Equal(t, p[:len(got.Recorded)], got.Recorded, "what is needed last goes")
	})
	t.Run("is cut where it was not recorded", func(t *testing.T) {
		const size = 50 << 30
		p := image.Profiles{Recorded: every(size, 1000)[:50], Static: every(size, 999)}
		got := sent(t, p, size)
		require.Equal(t, p.Recorded, got.Recorded)
		require.Greater(t, len(got.Static), 50)
		require.Equal(t, p.Static[:len(got.Static)], got.Static)
	})
}

// TestProfileFormat pins the format of the package documentation: images with these properties are in Drive.
func TestProfileFormat(t *testing.T) {
	const size = 241627136 // 3687 blocks
	p := image.Profile{{Off: 0, Len: 3 * block}, {Off: 3679 * block, Len: 7*block + 127*512}, {Off: 100 * block, Len: block}}
	p[1].Len = size - p[1].Off
	code := []byte{1}
	code = binary.AppendUvarint(code, 3687)
	code = append(code, 2, 0, 2)
	code = append(binary.AppendVarint(code, 3679-3), 7)
	code = append(binary.AppendVarint(code, 100-3687), 0)
	require.Equal(t, []byte{1, 0xe7, 0x1c, 2, 0, 2, 0xb8, 0x39, 7, 0x85, 0x38, 0}, code)
	known := image.Profiles{Recorded: p[:2], Static: p[2:]}
	require.Equal(t, map[string]string{"sregfs.profile.0": "AeccAgACuDkHhTgA"}, known.Properties(size))
	got, err := image.ParseProfiles(map[string]string{"sregfs.profile.0": "AeccAgACuDkHhTgA", "maintainer": "ann@uni.edu"}, size)
	require.NoError(t, err)
	require.Equal(t, known, got)
}

func TestParseProfileRefuses(t *testing.T) {
	const size = 100 * block
	good := recorded(profileOf(size, image.Span{Off: 5 * block, Len: 1})).Properties(size)
	_, err := image.ParseProfiles(good, size)
	require.NoError(t, err)
	_, err = image.ParseProfiles(good, size+1)
	require.ErrorIs(t, err, image.ErrCorrupt, "another image's")
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"no base64":         {"%%%", image.ErrCorrupt},
		"a later version":   {coded(2, 0), image.ErrUnsupported},
		"nothing more":      {coded(1), image.ErrCorrupt},
		"no ranges counted": {coded(1, 100), image.ErrCorrupt},
		"half a range":      {coded(1, 100, 1, 0), image.ErrCorrupt},
		"before the image":  {coded(1, 100, 1, 1, 0), image.ErrCorrupt},
		"behind the image":  {coded(1, 100, 1, 200, 1, 0), image.ErrCorrupt},
		"beyond the image":  {coded(1, 100, 0, 0, 100), image.ErrCorrupt},
		"an endless number": {coded(1, 100, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0), image.ErrCorrupt},
		"too long":          {strings.Repeat("A", 109), image.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := image.ParseProfiles(map[string]string{"sregfs.profile.0": c.text}, size)
			require.ErrorIs(t, err, c.want)
			require.Zero(t, p)
		})
	}
	p, err := image.ParseProfiles(map[string]string{"sregfs.profile.1": coded(1)}, size)
	require.NoError(t, err, "no beginning: no profile")
	require.Zero(t, p)
	p, err = image.ParseProfiles(map[string]string{"sregfs.profile.0": coded(1, 100, 9, 0, 0)}, size)
	require.NoError(t, err, "more were said to be recorded than there are")
	require.Len(t, p.Recorded, 1)
}

// coded is what a property holds of these bytes.
func coded(b ...byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func TestSetProfile(t *testing.T) {
	const size = 1 << 40
	rnd := rand.New(rand.NewPCG(5, 6))
	long, short := anyProfile(rnd, size, 200), anyProfile(rnd, size, 3)
	props := map[string]string{"type": "container", "maintainer": "ann@uni.edu"}
	patch := func(p image.Patch) {
		t.Helper()
		for k, v := range p.Properties {
			require.Contains(t, k, "sregfs.profile.")
			if v == nil {
				delete(props, k)
			} else {
				props[k] = *v
			}
		}
		require.LessOrEqual(t, len(props), image.MaxProperties)
	}
	patch(image.SetProfiles(props, recorded(long), size))
	require.Len(t, props, 2+6)
	patch(image.SetProfiles(props, recorded(short), size))
	require.Len(t, props, 2+1, "what the shorter one does not need goes")
	got, err := image.ParseProfiles(props, size)
	require.NoError(t, err)
	require.Equal(t, recorded(short), got)
	require.Empty(t, image.SetProfiles(props, recorded(short), size).Properties, "nothing changes")
	require.Len(t, image.SetProfiles(props, recorded(long[:1]), size).Properties, 6, "another machine may set a longer one at this moment")
	require.NotEmpty(t, image.SetProfiles(props, image.Profiles{Static: short}, size).Properties)
	patch(image.SetProfiles(props, recorded(nil), size))
	require.Len(t, props, 2)

	for i := len(props); i < image.MaxProperties-1; i++ {
		props[strings.Repeat("x", i)] = "another application's"
	}
	patch(image.SetProfiles(props, recorded(long), size))
	require.Len(t, props, image.MaxProperties, "others have left room for one")
	got, err = image.ParseProfiles(props, size)
	require.NoError(t, err)
	require.Equal(t, long[:len(got.Recorded)], got.Recorded)
	require.NotEmpty(t, got.Recorded)
}

// A profile that came with an image takes no room from its labels.
func TestProfileLeavesLabelsTheirRoom(t *testing.T) {
	const size = 1 << 40
	profile := recorded(anyProfile(rand.New(rand.NewPCG(7, 8)), size, 200)).Properties(size)
	require.Len(t, profile, 6)
	labels := map[string]string{}
	for i := range 30 {
		labels["label"+strings.Repeat("x", i)] = "v"
	}
	ref := image.Ref{Collection: "c", Image: "i", Tag: "t", Version: md5Hex}
	without, err := image.Describe(ref, ".sif", labels, nil)
	require.NoError(t, err)
	with, err := image.Describe(ref, ".sif", labels, profile)
	require.NoError(t, err)
	within(t, with)
	require.Len(t, with.Properties, image.MaxProperties)
	require.Equal(t, image.Labels(without.Properties, ""), image.Labels(with.Properties, ""))
}
