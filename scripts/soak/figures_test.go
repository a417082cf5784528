//go:build soak

package soak

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// figures are of one mount, by the names of .sregfs/metrics.
type figures map[string]float64

// collections is how often the mount's memory must have been collected since work stopped, until its figures tell what it
// keeps: one collection may have begun before that, and a pool gives up what it holds with the second one.
const collections = 3

const gcCycles = "gc_cycles_total" // of .sregfs/metrics

// settling is how long what was begun before is given to end.
const settling = 5 * time.Second

// calm stops all work on the first machine for a moment, and returns its figures: the least of several looks, because what
// was begun before may still be ending. The looks themselves make the garbage that has the memory collected.
func (w *world) calm(t *testing.T) figures {
	t.Helper()
	m := w.machines[0]
	m.pause()
	defer m.goOn()
	m.gate.Lock()
	defer m.gate.Unlock()
	m.drain()
	least := figures{}
	begun := time.Now()
	first := 0.0
	for n := 0; ; n++ {
		got, err := m.metrics()
		require.NoError(t, err)
		if n == 0 {
			first = got[gcCycles]
		}
		for name, v := range got {
			if old, ok := least[name]; !ok || v < old {
				least[name] = v
			}
		}
		if got[gcCycles] >= first+collections && time.Since(begun) > settling {
			return least
		}
	}
}

// bounds say what may be more at the end than after the first fifth, when nobody works: a factor and an addition.
var bounds = map[string]struct{ factor, more float64 }{
	"goroutines":     {1, 8},           // besides those of more connections
	"open_fds":       {1, 36},          // 24 idle connections, as many as the client keeps for content, and the block files of what is cached just now
	"heap_bytes":     {1.25, 16 << 20}, // what the catalogue and the journal's tables hold just now
	"resident_bytes": {1.25, 48 << 20}, // what Badger maps and memory tables fill up once
}

func requireFlat(t *testing.T, warm, end figures) {
	t.Helper()
	if warm == nil {
		t.Log("the cache of the first machine never was full: too short to tell what grows")
		return
	}
	for name, b := range bounds {
		most := warm[name]*b.factor + b.more
		if name == "goroutines" { // an idle connection has two, and a descriptor, of which there is a bound too
			most += 2 * max(0, end["open_fds"]-warm["open_fds"])
		}
		require.LessOrEqual(t, end[name], most, "%s grew", name)
	}
}

// summary is the one line to remember.
func (w *world) summary(t *testing.T, begin time.Time, warm, end figures) {
	t.Helper()
	faults, evicted := 0, 0.0
	for _, r := range w.faults {
		faults += r.Hits()
	}
	for _, m := range w.machines {
		m.mu.Lock()
		for _, n := range m.evicted {
			evicted += n
		}
		m.mu.Unlock()
	}
	g := w.h.tally
	t.Logf("soaked %.1f minutes: %d reads of %.2f GB checked (%d of growing files, %d failures explained), %d pushes, %d retags, %d removals, %d shares, "+
		"%d looks at the tree; %d faults, %.2f GB evicted, %d remounts, %d kills; RSS %.0f→%.0f MB, heap %.0f→%.0f MB, descriptors %.0f→%.0f, goroutines %.0f→%.0f",
		time.Since(begin).Minutes(), g.reads, float64(g.bytes)/1e9, g.growing, g.explained, g.pushes, g.retags, g.removals, g.shares,
		g.looks, faults, evicted/1e9, g.remounts, g.kills, warm["resident_bytes"]/1e6, end["resident_bytes"]/1e6, warm["heap_bytes"]/1e6, end["heap_bytes"]/1e6,
		warm["open_fds"], end["open_fds"], warm["goroutines"], end["goroutines"])
}
