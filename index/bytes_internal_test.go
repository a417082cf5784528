package index

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBitmap(t *testing.T) {
	for _, n := range []int64{0, 1, 63, 64, 65, 1000} {
		b := newBitmap(n)
		want := map[int64]bool{}
		random := rand.New(rand.NewPCG(1, uint64(n)))
		for range n {
			i := random.Int64N(n)
			require.Equal(t, !want[i], b.set(i))
			want[i] = true
			if j := random.Int64N(n); random.IntN(3) == 0 {
				require.Equal(t, want[j], b.clear(j))
				delete(want, j)
			}
		}
		require.Equal(t, int64(len(want)), b.count())
		again, err := parseBitmap(n, b.bytes())
		require.NoError(t, err)
		for i := range n {
			require.Equal(t, want[i], again.has(i))
			require.Equal(t, want[i], again.hasAll(i, i))
		}
		b.setAll()
		require.True(t, b.full())
		require.Equal(t, n, b.count())
	}
}

func FuzzBitmap(f *testing.F) {
	f.Add(int64(9), []byte{0xff, 0x01})
	f.Add(int64(9), []byte{0xff, 0x02})
	f.Fuzz(func(t *testing.T, n int64, data []byte) {
		b, err := parseBitmap(n, data)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		require.Equal(t, string(data), string(b.bytes()))
	})
}

func TestTheRecordOfALargeImageIsSmall(t *testing.T) {
	have := newBitmap(blocksOf(10 << 30))
	have.setAll()
	sums := newSumTable(have.n)
	for i := range have.n {
		sums.set(i, uint32(i)*2654435761)
	}
	b, err := cacheRecord{File: "id", Revision: "r", Size: 10 << 30, Block: blockSize, Have: have.bytes(), Sums: encodeSums(have, sums)}.encode()
	require.NoError(t, err)
	require.Less(t, len(b), 500_000)
	_, again, parsed, err := decodeCacheRecord(b)
	require.NoError(t, err)
	require.True(t, again.full())
	require.Equal(t, sums.get(77777), parsed.get(77777))
}

func FuzzCacheRecord(f *testing.F) {
	good, err := cacheRecord{File: "id", Revision: "r", Size: 3 * blockSize, Block: blockSize, Have: []byte{5}, Sums: []byte("12345678"), Used: time.Unix(1, 0)}.encode()
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte(`{"v":1,"file":"x","size":9223372036854775807}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, have, sums, err := decodeCacheRecord(data)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		require.LessOrEqual(t, have.count(), have.n)
		require.Equal(t, string(r.Sums), string(encodeSums(have, sums)))
		b, err := r.encode()
		require.NoError(t, err)
		again, _, _, err := decodeCacheRecord(b)
		require.NoError(t, err)
		require.True(t, again.Used.Equal(r.Used))
		again.Used = r.Used
		require.Equal(t, r, again)
	})
}

func FuzzDraftRecord(f *testing.F) {
	good, err := draftRecord{Place: Place{"c", "", "i:t.sif"}, State: StateSending, File: "id", Session: "s", Size: 7}.encode()
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte(`{"v":2,"state":"draft"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeDraftRecord(data)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		b, err := r.encode()
		require.NoError(t, err)
		again, err := decodeDraftRecord(b)
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}

func TestTurnsComeInOrder(t *testing.T) {
	var queue turns
	first, second, third := queue.ticket("k", nil), queue.ticket("k", nil), queue.ticket("k", nil)
	other := queue.ticket("other", nil)
	require.NoError(t, first.wait(t.Context()))
	require.NoError(t, other.wait(t.Context()))
	over, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, second.wait(over), context.Canceled)
	second.leave()
	first.leave()
	require.NoError(t, third.wait(t.Context()))
	third.leave()
	other.leave()
	require.Empty(t, queue.queues)
}

func TestPlaces(t *testing.T) {
	cases := []struct {
		place    Place
		ref, ext string // "" = a plain draft
	}{
		{Place{"c", "", "i:t.sif"}, "c/i:t", ".sif"},
		{Place{"c/d", "", "I:T.SIMG"}, "c/d/i:t", ".simg"},
		{Place{"", "", "i.sif"}, "library/i:latest", ".sif"},
		{Place{"c", "i:t", "whatever.sif"}, "c/i:t", ".sif"},
		{Place{"c", "i:t", "whatever.part"}, "", ""},
		{Place{"c", "i:t", ".x.sif"}, "", ""},
		{Place{"c", "", "i:t"}, "", ""},
		{Place{"c", "", ".i:t.sif.Xa12"}, "", ""},
		{Place{"c", "", "notes.txt"}, "", ""},
	}
	for _, c := range cases {
		ref, ext, ok := c.place.Ref()
		require.Equal(t, c.ref != "", ok, c.place)
		if ok {
			require.Equal(t, c.ref, ref.String())
			require.Equal(t, c.ext, ext)
		}
		b, err := json.Marshal(c.place)
		require.NoError(t, err)
		var again Place
		require.NoError(t, json.Unmarshal(b, &again))
		require.Equal(t, c.place, again)
	}
}
