//go:build crash

package crash

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// world is a Drive, a line to it, a mount, and those who work on it.
type world struct {
	t       *testing.T
	mode    mode
	dice    *rand.Rand
	drive   *remote
	line    *line // nil: straight to the Drive
	disk    *disk // nil: the state is on the machine's own disk
	m       *mount
	k       *maker
	workers []*worker
	guests  []*guest
	log     uploads
}

// mode is how the program works, and what goes wrong besides the kills of the mount.
type mode struct {
	push  string // --push
	drive bool   // the Drive is killed
	line  bool   // the line is cut
	disk  string // of kinds: the power is cut
}

// The cache is smaller than the guests, so that reading them evicts.
const (
	guestSize = 3 << 20
	guestsNow = 4
	cacheSize = "8MB"
)

func newWorld(t *testing.T, mode mode) *world {
	t.Helper()
	w := &world{t: t, mode: mode, dice: rand.New(rand.NewPCG(*seed, 99)), k: newMaker(*seed), log: uploads{at: map[string]int64{}}}
	state := filepath.Join(t.TempDir(), "state")
	if mode.disk != "" {
		w.disk = newDisk(t, mode.disk)
		state = filepath.Join(w.disk.dir, "state")
	}
	w.drive = newDrive(t)
	url := w.drive.url()
	if mode.line {
		w.line = newLine(t, w.drive.address)
		url = w.line.url()
	}
	w.m = newMount(t, w.drive, url, state, "--push", mode.push, "--cache-size", cacheSize)
	require.NoError(t, w.m.start(""), "which makes the registry's folder")
	for i := range guestsNow {
		g, err := newGuest(w.drive, w.k, fmt.Sprintf("guest%d", i), guestSize)
		require.NoError(t, err)
		w.guests = append(w.guests, g)
		eventually(t, func() error { return g.readAll(w.m) })
	}
	for i := range 4 {
		w.workers = append(w.workers, newWorker(i, w, mode.push == "background"))
	}
	w.m.kill()
	t.Logf("-seed %d", *seed)
	return w
}

func (w *world) names() (all []*name) {
	for _, worker := range w.workers {
		all = append(all, worker.names...)
	}
	return all
}

// work lets the workers work until stop is closed or the mount dies; no other error may occur.
func (w *world) work(stop <-chan struct{}) (wait func()) {
	var wg sync.WaitGroup
	errs := make([]error, len(w.workers))
	for i, worker := range w.workers {
		wg.Go(func() {
			for errs[i] == nil {
				select {
				case <-stop:
					return
				default:
					errs[i] = worker.something()
				}
			}
		})
	}
	return func() {
		w.t.Helper()
		wg.Wait()
		for i, err := range errs {
			if !dead(err) {
				require.NoError(w.t, err, "worker %d", i)
			}
		}
	}
}

// trouble makes what the mode says until calm is called, which returns when everything works again.
func (w *world) trouble() (calm func()) {
	var wg sync.WaitGroup
	over := make(chan struct{})
	dice := rand.New(rand.NewPCG(w.dice.Uint64(), 7))
	refused := false
	happens := []func() error{func() error { // the next call's token is refused: it is refreshed, and saved
		if refused {
			return nil // once in a life: refused twice in a row, the sign-in is over
		}
		refused = true
		return w.drive.fault("GET /drive/v3/changes status=401 reason=authError times=1")
	}}
	if w.mode.drive {
		happens = append(happens, func() error {
			total.driveKills.Add(1)
			return w.drive.kill(time.Duration(dice.IntN(200)) * time.Millisecond)
		})
	}
	if w.line != nil {
		happens = append(happens, func() error {
			total.lineCuts.Add(1)
			if dice.IntN(2) == 0 {
				w.line.cut()
			} else {
				w.line.silence(time.Duration(dice.IntN(400)) * time.Millisecond)
			}
			return nil
		})
	}
	var err error
	wg.Go(func() {
		for err == nil {
			select {
			case <-over:
				return
			case <-time.After(time.Duration(50+dice.IntN(400)) * time.Millisecond):
				err = happens[dice.IntN(len(happens))]()
			}
		}
	})
	return func() {
		w.t.Helper()
		close(over)
		wg.Wait()
		require.NoError(w.t, err)
		require.NoError(w.t, w.drive.clearFaults()) // a life may end before it meets its own
	}
}

// end ends the mount's life, if it did not end by itself: by a power cut where there is one, but for some.
func (w *world) end() {
	w.t.Helper()
	cut := w.disk != nil && w.dice.IntN(4) > 0
	if cut {
		w.m.freeze()
		w.disk.cut(w.t)
	}
	w.m.kill()
	total.kills.Add(1)
	if cut {
		w.powerless()
	}
}

// powerless brings the power back after a cut; what was only in memory is gone.
func (w *world) powerless() {
	w.t.Helper()
	total.cuts.Add(1)
	w.disk.restore(w.t)
	for _, n := range w.names() {
		n.kept = n.synced
	}
}

// empty mounts and lets the journal empty itself.
func (w *world) empty() {
	w.t.Helper()
	if w.m.cmd == nil {
		require.NoError(w.t, w.m.start(""))
	}
	w.m.drain()
}

// judged judges, and looks at what the Drive was sent.
func (w *world) judged() {
	w.t.Helper()
	w.judge()
	require.NoError(w.t, w.log.add(w.drive.log))
	pushes := 0
	for _, worker := range w.workers {
		pushes += worker.pushes
	}
	require.LessOrEqual(w.t, len(w.log.at), pushes, "an upload was begun again")
}
