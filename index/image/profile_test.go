package image_test

import (
	"encoding/base64"
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

// recorded are profiles that know p alone, as they come back from their coded form.
func recorded(p image.Profile) image.Profiles {
	return image.Profiles{Recorded: p, Static: image.Profile{}}
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

// saneBoth requires it of what is known of an image's starts: nothing of it is known twice.
func saneBoth(t *testing.T, p image.Profiles, size int64) {
	t.Helper()
	sane(t, p.Recorded, size)
	sane(t, p.Static, size)
	for _, s := range p.Static {
		for b := s.Off; b < s.Off+s.Len; b += block {
			require.False(t, covers(p.Recorded, b, 1), "at %d", b)
		}
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
		props := recorded(p).Properties(size)
		within(t, image.Metadata{Properties: props})
		require.LessOrEqual(t, len(props), 6)
		got, err := image.ParseProfiles(props, size)
		require.NoError(t, err)
		saneBoth(t, got, size)
		if len(p) == 0 {
			require.Empty(t, props)
			require.Zero(t, got)
			continue
		}
		require.Equal(t, recorded(p), got, "sixty ranges fit as they are")
	}
}

// On this machine profiles are kept as they are, however long.
func TestProfilesEncode(t *testing.T) {
	const size = 50 << 30
	rnd := rand.New(rand.NewPCG(9, 10))
	for _, p := range []image.Profiles{
		recorded(anyProfile(rnd, size, 500)),
		{Recorded: image.Profile{}, Static: anyProfile(rnd, size, 500)},
		recorded(anyProfile(rnd, size, 400)).Merge(image.Profiles{Static: anyProfile(rnd, size, 100)}, size),
	} {
		got, err := image.DecodeProfiles(p.Encode(size), size)
		require.NoError(t, err)
		require.Equal(t, p, got)
	}
	_, err := image.DecodeProfiles(nil, size)
	require.ErrorIs(t, err, image.ErrCorrupt)
}

// What is known comes from many starts, on several machines, and from the image alone.
func TestProfilesMerge(t *testing.T) {
	const size = 100 * block
	at := func(list ...int64) image.Profile {
		var spans []image.Span
		for _, b := range list {
			spans = append(spans, image.Span{Off: b * block, Len: 1})
		}
		return profileOf(size, spans...)
	}
	static := image.Profiles{Static: at(0, 90, 40, 50)}
	first := static.Record(at(0, 90, 20, 40), size)
	require.Equal(t, image.Profiles{Recorded: at(0, 90, 20, 40), Static: at(50)}, first, "what was recorded is known for sure")
	require.Equal(t, image.Profiles{Recorded: at(0, 90, 20, 40, 60), Static: at(50)}, first.Record(at(60, 20), size), "the kernel had the beginning")
	require.Equal(t, image.Profiles{Recorded: at(0, 90, 20, 60, 40), Static: at(50)}, first.Record(at(0, 90, 60), size), "a start of its own")
	require.Equal(t, first, first.Record(nil, size))
	require.Equal(t, first, first.Merge(static, size))
	require.Equal(t, first, static.Merge(first, size))
	require.Equal(t, first.Bytes(), int64(5*block))
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

func FuzzProfile(f *testing.F) {
	f.Add("AeccAgACuDkHhTgA", "", int64(241627136))
	f.Add(strings.Repeat("AQEB", 27), "AAAA", int64(1))
	f.Fuzz(func(t *testing.T, one, two string, size int64) {
		p, err := image.ParseProfiles(map[string]string{"sregfs.profile.0": one, "sregfs.profile.1": two}, size)
		requireOwn(t, err)
		saneBoth(t, p, size)
		if len(p.Recorded)+len(p.Static) == 0 {
			return
		}
		again, err := image.ParseProfiles(p.Properties(size), size)
		require.NoError(t, err)
		require.Equal(t, p, again)
		saneBoth(t, p.Merge(image.Profiles{Recorded: p.Static, Static: p.Recorded}, size), size)
		saneBoth(t, p.Record(p.Static.Join(1<<20), size), size)
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
		props := recorded(p).Properties(size)
		within(t, image.Metadata{Properties: props})
		got, err := image.ParseProfiles(props, size)
		require.NoError(t, err)
		saneBoth(t, got, size)
		if len(p) > 0 {
			require.True(t, covers(got.Recorded[:1], p[0].Off, p[0].Len), "what is needed first comes first")
		}
	})
}
