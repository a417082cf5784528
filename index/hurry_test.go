package index_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// A start that nobody knows brings the rest of the image while the line is idle between its misses, and only then.
func TestAnUnknownStartHurries(t *testing.T) {
	const size, missed = 96 << 20, 40 << 20
	content := imagetest.Bytes(3, size)
	for name, c := range map[string]struct {
		reads    int           // blocks of a profile that are read before something is missed
		rtt      time.Duration // of the line
		complete index.Completion
		hurries  bool
	}{
		"a start":                       {8, time.Second, index.CompleteIdle, true},
		"a look":                        {2, time.Second, index.CompleteIdle, false},
		"a line that is slow":           {8, time.Millisecond, index.CompleteIdle, false},
		"nobody wants the rest of them": {8, time.Second, index.CompleteNever, false},
	} {
		t.Run(name, func(t *testing.T) {
			srv := drivetest.NewServer(t, drivetest.Options{})
			id := put(t, srv, "c/i:t", content)
			g := newGate(t, srv)
			ix := indextest.Open(t, srv, index.Options{Drive: g.client(t, srv), Complete: c.complete})
			img := byID(t, ix, id)
			r := open(t, ix, img)
			for i := range c.reads {
				ends(t, reads(t, r, content, int64(i)*image.ProfileBlock, 1000))
			}
			indextest.Eventually(t, func() bool {
				demand, other := index.InTheAir(ix)
				return demand+other == 0
			}, "the line says nothing new")
			before := len(g.until(t, "", func([]extent) bool { return true }))
			g.let(func(extent) bool { return false })
			index.Line(ix, c.rtt, 20e6)
			done := reads(t, r, content, missed, 1000)
			asked := g.until(t, "the miss is asked for", func(asked []extent) bool {
				return len(asked) > before && (!c.hurries || ix.CacheStats().Fetched["rest"].Requests >= 4)
			})[before:]
			if !c.hurries {
				require.Zero(t, ix.CacheStats().Fetched["rest"])
			}
			for _, e := range asked {
				require.True(t, e.first >= missed-16<<20, "what follows the miss comes first: %v", asked)
			}
			g.let(nil)
			ends(t, done)
			require.NoError(t, r.Close())
		})
	}
}
