//go:build crash

package crash

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// points are all the crash points of the program.
var points = []string{
	"draft.created", "draft.moved", "draft.buried", "draft.unlinked", "draft.synced", "draft.sealed", "id.reserved", "session.opened",
	"session.recorded", "chunk.sent", "drive.answered", "uploaded", "committed", "draft.adopted", "disposed", "blocks.synced",
	"records.stored", "image.patched", "image.trashed",
}

func TestKilledAtEachPoint(t *testing.T) {
	t.Run("kill", func(t *testing.T) { killAtEachPoint(t, mode{push: "background"}) })
	cuts := []mode{{push: "background", disk: "ext4"}, {push: "close", disk: "ext4-writeback"}, {push: "background", disk: "xfs"}}
	if *kills < longRun { // one of them, another the next time
		cuts = cuts[*seed%3:][:1]
	}
	for _, mode := range cuts {
		t.Run("power cut, "+mode.disk, func(t *testing.T) { killAtEachPoint(t, mode) })
	}
}

func killAtEachPoint(t *testing.T, mode mode) {
	t.Helper()
	w := newWorld(t, mode)
	for _, point := range points {
		t.Log(point)
		err := w.m.start(point)
		if !errors.Is(err, errDied) {
			require.NoError(t, err, point)
			work := w.work
			if point == "chunk.sent" { // only what is larger than a chunk has more than one
				work = func(<-chan struct{}) func() { return func() {} } // and nobody removes it
				b, sum, err := w.k.content(20 << 20)
				require.NoError(t, err)
				if err := w.workers[0].push(w.workers[0].names[0], "a", b, sum); !dead(err) {
					require.NoError(t, err)
				}
			}
			wait := work(w.m.ended)
			w.m.died()
			if w.disk != nil {
				w.disk.cut(t)
			}
			wait()
			w.m.kill()
			total.kills.Add(1)
			if w.disk != nil {
				w.powerless()
			}
		}
		w.empty()
		w.judged()
		w.m.kill()
	}
}
