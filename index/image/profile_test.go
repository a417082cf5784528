package image_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image"
)

const block = image.ProfileBlock

// profileOf is the profile of a start that reads these spans of an image of size bytes.
func profileOf(size int64, reads ...image.Span) image.Profile {
	r := image.NewRecording(size)
	for _, s := range reads {
		r.Read(s.Off, s.Len)
	}
	return r.Profile()
}

// sane requires what every profile of an image of size bytes holds to: whole blocks inside the image, none twice, ranges
// that don't touch, within MaxProfile.
func sane(t *testing.T, p image.Profile, size int64) {
	t.Helper()
	seen := map[int64]bool{}
	for _, s := range p {
		require.Positive(t, s.Len)
		require.GreaterOrEqual(t, s.Off, int64(0))
		require.LessOrEqual(t, s.Off+s.Len, size)
		require.Zero(t, s.Off%block)
		require.True(t, s.Len%block == 0 || s.Off+s.Len == size)
		for b := s.Off / block; b*block < s.Off+s.Len; b++ {
			require.False(t, seen[b], "block %d twice", b)
			seen[b] = true
		}
	}
	for _, s := range p {
		require.False(t, seen[s.Off/block-1], "ranges touch at %d", s.Off)
	}
	require.LessOrEqual(t, p.Bytes(), int64(image.MaxProfile))
}

// covers says whether n bytes from off are in p.
func covers(p image.Profile, off, n int64) bool {
	for _, s := range p {
		if s.Off <= off && off+n <= s.Off+s.Len {
			return true
		}
	}
	return false
}

func TestRecording(t *testing.T) {
	const size = 100*block + 1000
	for name, c := range map[string]struct {
		reads []image.Span
		want  image.Profile
	}{
		"nothing":              {nil, image.Profile{}},
		"one byte is a block":  {[]image.Span{{Off: 7*block + 5, Len: 1}}, image.Profile{{Off: 7 * block, Len: block}}},
		"by first need":        {[]image.Span{{Off: 50 * block, Len: 1}, {Off: 0, Len: 1}, {Off: 50 * block, Len: 9}}, image.Profile{{Off: 50 * block, Len: block}, {Off: 0, Len: block}}},
		"neighbours are one":   {[]image.Span{{Off: 9 * block, Len: 1}, {Off: 0, Len: 1}, {Off: 8 * block, Len: 1}, {Off: 10 * block, Len: block}}, image.Profile{{Off: 8 * block, Len: 3 * block}, {Off: 0, Len: block}}},
		"the end is short":     {[]image.Span{{Off: 100 * block, Len: 5 * block}}, image.Profile{{Off: 100 * block, Len: 1000}}},
		"outside is not noted": {[]image.Span{{Off: size, Len: 1}, {Off: -1, Len: 5}, {Off: 3, Len: 0}, {Off: 3, Len: -1}}, image.Profile{}},
		"without overflow":     {[]image.Span{{Off: 99 * block, Len: math.MaxInt64}}, image.Profile{{Off: 99 * block, Len: block + 1000}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := profileOf(size, c.reads...)
			require.Equal(t, c.want, p)
			sane(t, p, size)
		})
	}
	t.Run("a copy fills it", func(t *testing.T) {
		r := image.NewRecording(1 << 40)
		require.True(t, r.Read(5, 100))
		require.False(t, r.Read(1<<30, 1<<39))
		require.True(t, r.Full())
		require.False(t, r.Read(1<<39, 1))
		p := r.Profile()
		require.Equal(t, int64(image.MaxProfile), p.Bytes())
		require.Equal(t, image.Span{Off: 0, Len: block}, p[0], "what came first stays")
	})
}

func TestJoin(t *testing.T) {
	const size = 1000 * block
	p := profileOf(size, image.Span{Off: 500 * block, Len: 1}, image.Span{Off: 10 * block, Len: 1}, image.Span{Off: 503 * block, Len: 1}, image.Span{Off: 13 * block, Len: block})
	require.Equal(t, p, p.Join(0))
	require.Equal(t, p, p.Join(block))
	joined := image.Profile{{Off: 500 * block, Len: 4 * block}, {Off: 10 * block, Len: 4 * block}}
	require.Equal(t, joined, p.Join(2*block))
	require.Equal(t, image.Profile{{Off: 10 * block, Len: 494 * block}}, p.Join(size))
	require.Empty(t, image.Profile(nil).Join(5))
}

func TestMergeProfiles(t *testing.T) {
	const size = 1000 * block
	at := func(n int64) image.Span { return image.Span{Off: n * block, Len: 1} }
	long := profileOf(size, at(0), at(990), at(300), at(310), at(320), at(330))
	short := profileOf(size, at(0), at(990), at(700))
	p := image.MergeProfiles(size, long, short)
	sane(t, p, size)
	require.Equal(t, profileOf(size, at(0), at(990), at(300), at(700), at(310), at(320), at(330)), p,
		"the short start does not wait for the end of the long one")
	require.Equal(t, p, image.MergeProfiles(size, p, long, short), "what is known is not counted twice")
	require.Equal(t, long, image.MergeProfiles(size, long))
	require.Empty(t, image.MergeProfiles(size))
	t.Run("bounded", func(t *testing.T) {
		const huge = 1 << 40
		var all []image.Profile
		for i := range int64(10) {
			all = append(all, profileOf(huge, image.Span{Off: i << 30, Len: 1 << 30}))
		}
		p := image.MergeProfiles(huge, all...)
		sane(t, p, huge)
		require.Equal(t, int64(image.MaxProfile), p.Bytes())
		require.Len(t, p, 10, "each start keeps its beginning")
	})
}

// anyProfile is a profile as a start makes it: reads of some blocks all over the image, or here and there.
func anyProfile(rnd *rand.Rand, size int64, ranges int) image.Profile {
	r := image.NewRecording(size)
	for range ranges {
		r.Read(rnd.Int64N(size), 1+rnd.Int64N(6*block))
	}
	return r.Profile()
}

func TestProfileTravelsInProperties(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		size := 1 + rnd.Int64N(1<<rnd.IntN(42))
		p := anyProfile(rnd, size, rnd.IntN(60))
		props := p.Properties(image.Recorded, size)
		within(t, image.Metadata{Properties: props})
		require.LessOrEqual(t, len(props), 6)
		got, _, err := image.ParseProfile(props, size)
		require.NoError(t, err)
		sane(t, got, size)
		if len(p) == 0 {
			require.Empty(t, props)
			require.Nil(t, got)
			continue
		}
		require.Equal(t, p, got, "sixty ranges fit as they are")
	}
}

// On this machine a profile is kept as it is, however long.
func TestProfileEncode(t *testing.T) {
	const size = 50 << 30
	rnd := rand.New(rand.NewPCG(9, 10))
	for _, from := range []image.Origin{image.Recorded, image.Static} {
		p := anyProfile(rnd, size, 500)
		got, origin, err := image.DecodeProfile(p.Encode(from, size), size)
		require.NoError(t, err)
		require.Equal(t, p, got)
		require.Equal(t, from, origin)
		_, origin, err = image.ParseProfile(p.Properties(from, size), size)
		require.NoError(t, err)
		require.Equal(t, from, origin, "in properties too")
	}
	_, _, err := image.DecodeProfile(nil, size)
	require.ErrorIs(t, err, image.ErrCorrupt)
}

func TestProfileThen(t *testing.T) {
	const size = 100 * block
	first := profileOf(size, image.Span{Off: 50 * block, Len: block}, image.Span{Off: 10 * block, Len: block})
	second := profileOf(size, image.Span{Off: 0, Len: block}, image.Span{Off: 50 * block, Len: block}, image.Span{Off: 30 * block, Len: block})
	require.Equal(t, profileOf(size, image.Span{Off: 50 * block, Len: block}, image.Span{Off: 10 * block, Len: block}, image.Span{Off: 0, Len: block},
		image.Span{Off: 30 * block, Len: block}), first.Then(second, size))
	require.Equal(t, first, first.Then(first, size))
	require.Equal(t, first, image.Profile(nil).Then(first, size))
}

func TestProfileTooLongForProperties(t *testing.T) {
	// every returns a profile of single blocks, one every step blocks, shuffled.
	every := func(size, step int64) image.Profile {
		r := image.NewRecording(size)
		for _, i := range rand.New(rand.NewPCG(3, 4)).Perm(int(size / step / block)) {
			r.Read(int64(i)*step*block, 1)
		}
		return r.Profile()
	}
	t.Run("is joined", func(t *testing.T) {
		const size = 100 << 20
		p := every(size, 4)
		require.Len(t, p, 400)
		got, _, err := image.ParseProfile(p.Properties(image.Recorded, size), size)
		require.NoError(t, err)
		sane(t, got, size)
		require.Less(t, len(got), len(p))
		for _, s := range p {
			require.True(t, covers(got, s.Off, s.Len), "nothing is lost")
		}
	})
	t.Run("is cut at the end", func(t *testing.T) {
		const size = 50 << 30
		p := every(size, 1000)
		require.Len(t, p, 819)
		got, _, err := image.ParseProfile(p.Properties(image.Recorded, size), size)
		require.NoError(t, err)
		sane(t, got, size)
		require.Greater(t, len(got), 100)
		require.Equal(t, p[:len(got)], got, "what is needed last goes")
	})
}

// TestProfileFormat pins the format of the package documentation: images with these properties are in Drive.
func TestProfileFormat(t *testing.T) {
	const size = 241627136 // 3687 blocks
	p := image.Profile{{Off: 0, Len: 3 * block}, {Off: 3679 * block, Len: 7*block + 127*512}, {Off: 100 * block, Len: block}}
	p[1].Len = size - p[1].Off
	code := []byte{1}
	code = binary.AppendUvarint(code, 3687)
	code = append(code, 0, 2)
	code = append(binary.AppendVarint(code, 3679-3), 7)
	code = append(binary.AppendVarint(code, 100-3687), 0)
	require.Equal(t, []byte{1, 0xe7, 0x1c, 0, 2, 0xb8, 0x39, 7, 0x85, 0x38, 0}, code)
	require.Equal(t, map[string]string{"sregfs.profile.0": "AeccAAK4OQeFOAA"}, p.Properties(image.Recorded, size))
	got, _, err := image.ParseProfile(map[string]string{"sregfs.profile.0": "AeccAAK4OQeFOAA", "maintainer": "ann@uni.edu"}, size)
	require.NoError(t, err)
	require.Equal(t, p, got)
}

func TestParseProfileRefuses(t *testing.T) {
	const size = 100 * block
	good := profileOf(size, image.Span{Off: 5 * block, Len: 1}).Properties(image.Recorded, size)
	_, _, err := image.ParseProfile(good, size)
	require.NoError(t, err)
	_, _, err = image.ParseProfile(good, size+1)
	require.ErrorIs(t, err, image.ErrCorrupt, "another image's")
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"no base64":         {"%%%", image.ErrCorrupt},
		"a later version":   {"AwA", image.ErrUnsupported},
		"nothing more":      {"AQ", image.ErrCorrupt},
		"half a range":      {"AWQA", image.ErrCorrupt},
		"before the image":  {"AWQBAA", image.ErrCorrupt},
		"behind the image":  {"AWTIAQA", image.ErrCorrupt},
		"beyond the image":  {"AWQAZA", image.ErrCorrupt},
		"an endless number": {"AWT_____________AA", image.ErrCorrupt},
		"too long":          {strings.Repeat("A", 109), image.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			p, _, err := image.ParseProfile(map[string]string{"sregfs.profile.0": c.text}, size)
			require.ErrorIs(t, err, c.want)
			require.Nil(t, p)
		})
	}
	p, _, err := image.ParseProfile(map[string]string{"sregfs.profile.1": "AQ"}, size)
	require.NoError(t, err, "no beginning: no profile")
	require.Nil(t, p)
}

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
	patch(image.SetProfile(props, long, image.Recorded, size))
	require.Len(t, props, 2+6)
	patch(image.SetProfile(props, short, image.Recorded, size))
	require.Len(t, props, 2+1, "what the shorter one does not need goes")
	got, _, err := image.ParseProfile(props, size)
	require.NoError(t, err)
	require.Equal(t, short, got)
	require.Empty(t, image.SetProfile(props, short, image.Recorded, size).Properties, "nothing changes")
	require.Len(t, image.SetProfile(props, long[:1], image.Recorded, size).Properties, 6, "another machine may set a longer one at this moment")
	require.NotEmpty(t, image.SetProfile(props, short, image.Static, size).Properties)
	patch(image.SetProfile(props, nil, image.Recorded, size))
	require.Len(t, props, 2)

	for i := len(props); i < image.MaxProperties-1; i++ {
		props[strings.Repeat("x", i)] = "another application's"
	}
	patch(image.SetProfile(props, long, image.Recorded, size))
	require.Len(t, props, image.MaxProperties, "others have left room for one")
	got, _, err = image.ParseProfile(props, size)
	require.NoError(t, err)
	require.Equal(t, long[:len(got)], got)
	require.NotEmpty(t, got)
}

// A profile that came with an image takes no room from its labels.
func TestProfileLeavesLabelsTheirRoom(t *testing.T) {
	const size = 1 << 40
	profile := anyProfile(rand.New(rand.NewPCG(7, 8)), size, 200).Properties(image.Recorded, size)
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

func FuzzProfile(f *testing.F) {
	f.Add("AeccAAK4OQeFOAA", "", int64(241627136))
	f.Add(strings.Repeat("AQEB", 27), "AAAA", int64(1))
	f.Fuzz(func(t *testing.T, one, two string, size int64) {
		p, _, err := image.ParseProfile(map[string]string{"sregfs.profile.0": one, "sregfs.profile.1": two}, size)
		requireOwn(t, err)
		sane(t, p, size)
		if len(p) == 0 {
			return
		}
		again, _, err := image.ParseProfile(p.Properties(image.Recorded, size), size)
		require.NoError(t, err)
		require.Equal(t, p, again)
		sane(t, image.MergeProfiles(size, p, p.Join(1<<20)), size)
	})
}

// FuzzProfileOfReads makes profiles of reads, three bytes each, and sends them through properties.
func FuzzProfileOfReads(f *testing.F) {
	f.Add([]byte{0, 0, 1, 9, 9, 9, 255, 255, 255}, int64(1<<30))
	f.Fuzz(func(t *testing.T, reads []byte, size int64) {
		r := image.NewRecording(size)
		for ; len(reads) >= 3 && len(reads) < 1<<14; reads = reads[3:] {
			r.Read(int64(reads[0])<<20+int64(reads[1])*block, int64(reads[2])<<10)
		}
		p := r.Profile()
		sane(t, p, size)
		props := p.Properties(image.Recorded, size)
		within(t, image.Metadata{Properties: props})
		got, _, err := image.ParseProfile(props, size)
		require.NoError(t, err)
		sane(t, got, size)
		if len(p) > 0 {
			require.True(t, covers(got[:1], p[0].Off, p[0].Len), "what is needed first comes first")
		}
	})
}
