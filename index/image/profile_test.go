package image_test

import (
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
