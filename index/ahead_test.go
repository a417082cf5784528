package index_test

import (
	"bytes"
	"cmp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
)

// Who says that all will be read has all of it asked for before anything is read, each byte once, and no long request last.
func TestWhole(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(1, 48<<20+5)
	id := put(t, srv, "c/i:t", content)
	g := newGate(t, srv)
	ix := g.open(t, srv, index.Options{})
	r := open(t, ix, byID(t, ix, id))
	g.let(func(extent) bool { return false })
	r.Whole()
	g.until(t, "connections are in use", func(asked []extent) bool { return len(asked) >= 12 })
	g.let(nil)
	asked := g.until(t, "all is asked for", func(asked []extent) bool {
		n := int64(0)
		for _, e := range asked {
			n += e.last - e.first + 1
		}
		return n >= int64(len(content))
	})
	slices.SortFunc(asked, func(a, b extent) int { return cmp.Compare(a.first, b.first) })
	next, most := int64(0), int64(0)
	for _, e := range asked {
		require.Equal(t, next, e.first, asked)
		next = e.last + 1
		most = max(most, next-e.first)
		if e.first >= 44<<20 {
			require.LessOrEqual(t, next-e.first, int64(1<<20), asked)
		}
	}
	require.Equal(t, int64(len(content)), next)
	require.Greater(t, most, int64(4<<20), asked)
	require.True(t, bytes.Equal(content, readAll(t, r, 1<<20)))
}
