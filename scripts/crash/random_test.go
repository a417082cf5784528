//go:build crash

package crash

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestKilledAtRandomMoments(t *testing.T) {
	modes := []struct {
		name  string
		share int // of the kills, in tenths
		mode  mode
	}{
		{"close", 1, mode{push: "close"}},
		{"background", 1, mode{push: "background"}},
		{"and the Drive", 2, mode{push: "close", drive: true}},
		{"and the line", 1, mode{push: "background", line: true}},
		{"and everything", 2, mode{push: "background", drive: true, line: true, disk: "ext4"}},
		{"power cut, ext4", 1, mode{push: "close", disk: "ext4"}},
		{"power cut, ext4-writeback", 1, mode{push: "background", disk: "ext4-writeback"}},
		{"power cut, xfs", 1, mode{push: "background", disk: "xfs"}},
	}
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) { killAtRandom(t, m.mode, (*kills*m.share+9)/10) })
	}
}

func killAtRandom(t *testing.T, mode mode, kills int) {
	t.Helper()
	w := newWorld(t, mode)
	for before := total.kills.Load(); total.kills.Load()-before < int64(kills); {
		calm := w.trouble()
		// A life with workers, ended at a point or at any moment.
		armed := ""
		if w.dice.IntN(2) == 0 {
			armed = fmt.Sprintf("%s:%d", points[w.dice.IntN(len(points))], 1+w.dice.IntN(4))
		}
		if w.m.cmd == nil {
			err := w.m.start(armed)
			if errors.Is(err, errDied) {
				total.kills.Add(1)
				err = w.m.start("")
			}
			require.NoError(t, err)
		}
		wait := w.work(make(chan struct{}))
		after := time.NewTimer(time.Duration(50+w.dice.IntN(1500)) * time.Millisecond)
		select {
		case <-w.m.ended:
		case <-after.C:
		}
		w.end()
		wait()
		// Lives without, that end before they have emptied the journal.
		for range w.dice.IntN(3) {
			require.NoError(t, w.m.start(""))
			<-time.After(time.Duration(w.dice.IntN(150)) * time.Millisecond)
			w.end()
		}
		// And one that empties it.
		w.empty()
		calm()
		w.judged()
		if w.dice.IntN(2) == 0 { // else it works on
			w.end()
		}
	}
	if w.m.cmd != nil {
		w.end()
	}
	w.empty()
	w.judged()
}
