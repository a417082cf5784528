//go:build soak

package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
)

const (
	ann = "ann@uni.edu"
	bob = "bob@uni.edu"
)

// world is everything that takes part.
type world struct {
	srv      *drivetest.Server
	h        *history
	machines []*machine
	writers  []*writer
	faults   []*drivetest.Rule

	stop chan struct{} // closed when it is time to stop
	wg   sync.WaitGroup
}

func TestSoak(t *testing.T) {
	t.Logf("-for %v -seed %d", *duration, *seed)
	begin := time.Now()
	w := &world{srv: drivetest.NewServer(t, drivetest.Options{Users: []string{ann, bob}}), h: newHistory(), stop: make(chan struct{})}
	w.shape()
	for _, m := range []struct{ name, person, beneath string }{{"ann's first", ann, ""}, {"ann's second", ann, ""}, {"bob's", bob, "shared-with-me/" + ann}} {
		machine := newMachine(t, w.srv, m.name, m.person, m.beneath)
		machine.start()
		w.machines = append(w.machines, machine)
	}
	for i := range 4 {
		wr := &writer{m: w.machines[i%2], h: w.h, user: w.srv.User(ann), guest: bob, dice: rand.New(rand.NewPCG(*seed, uint64(i)))}
		for n := range 3 {
			wr.images = append(wr.images, &image{collection: fmt.Sprintf("lab%d", i), name: fmt.Sprintf("i%d", n), tags: map[string][]*version{}})
		}
		w.writers = append(w.writers, wr)
	}
	for i, n := range []int{6, 5, 5} {
		w.machines[i].read(n, *seed+uint64(i), w.h.hear)
	}
	for _, wr := range w.writers {
		w.wg.Go(func() { wr.work(w.stop) })
	}
	for _, m := range w.machines {
		w.wg.Go(func() { w.watch(m) })
	}
	w.wg.Go(w.emptyBin)

	warm := w.operate(t, begin)
	end := w.calm(t)
	close(w.stop)
	w.wg.Wait()
	for _, m := range w.machines {
		m.stopReading()
	}
	w.requireNothingWrong(t)
	w.judge(t)
	w.summary(t, begin, warm, end)
	requireFlat(t, warm, end)
	w.clear(t)
}

// shape makes the Drive slow and faulty: 50 to 300 ms for each request, and one in twenty fails.
func (w *world) shape() {
	w.srv.SetShape(drivetest.Shape{Latency: 50 * time.Millisecond})
	on := func() *drivetest.Rule { return drivetest.On("*", "*") }
	media := func() *drivetest.Rule { return drivetest.On("GET", "/drive/v3/files/*").Query("alt", "media") }
	w.faults = []*drivetest.Rule{
		media().Chance(0.01).Cut(70_000),
		media().Chance(0.005).ShortBody(),
		drivetest.On("PUT", "/upload/*").Chance(0.01).CutRequest(100_000),
		drivetest.On("PUT", "/upload/*").Chance(0.01).DropReply(),
		on().Chance(0.01).Status(503, "backendError"),
		on().Chance(0.005).Status(500, "internalError"),
		on().Chance(0.005).Status(502, "").HTML(),
		on().Chance(0.01).Status(403, "userRateLimitExceeded"),
		on().Chance(0.005).Status(429, "rateLimitExceeded").RetryAfter(time.Second),
		on().Chance(0.005).Cut(0),
	}
	w.srv.Fault(w.faults...)
	for _, ms := range []int{250, 150, 100, 50} {
		w.srv.Fault(on().Chance(0.25).Delay(time.Duration(ms) * time.Millisecond))
	}
}

// operate takes mounts away and brings them back until the time is over. It returns the figures of the first machine after
// a fifth of the time, and when its cache has been full: until then it fills up. They are nil if that never came.
func (w *world) operate(t *testing.T, begin time.Time) (warm figures) {
	t.Helper()
	two, bobs := w.machines[1], w.machines[2] // the first one lives through it all
	pause := max(5*time.Second, min(time.Minute, *duration/10))
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-w.h.failed:
			w.requireNothingWrong(t)
		case <-tick.C:
		}
		spent := time.Since(begin)
		if warm == nil && spent > *duration/5 && w.machines[0].full() {
			warm = w.calm(t)
		}
		if spent > *duration {
			return warm
		}
		switch m := []*machine{two, bobs}[n/2%2]; n % 2 {
		case 0:
			m.kill()
			w.h.mu.Lock()
			w.h.tally.kills++
			w.h.mu.Unlock()
		case 1:
			m.remount()
			w.h.mu.Lock()
			w.h.tally.remounts++
			w.h.mu.Unlock()
		}
	}
}

// watch looks at the whole tree and at the reports of a mount, again and again.
func (w *world) watch(m *machine) {
	for {
		select {
		case <-w.stop:
			return
		case <-w.h.failed:
			return
		case <-time.After(time.Second):
		}
		m.gate.RLock()
		from := now()
		err := w.list(m)
		if err == nil {
			_, err = m.status()
		}
		if err == nil {
			_, err = m.metrics()
		}
		m.gate.RUnlock()
		if err != nil && !m.wasDown(from, now()) {
			w.h.fail("watch %s: %v", m.name, err)
			return
		}
		w.h.mu.Lock()
		w.h.tally.looks++
		w.h.mu.Unlock()
	}
}

// list is ls -lR. What goes between reading a directory and looking at its entries, or between opening and reading it, is
// no error.
func (w *world) list(m *machine) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ls", "-lR", m.dir)
	cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		return errors.New("ls -lR hangs")
	}
	for line := range strings.Lines(stderr.String()) {
		if !strings.Contains(line, "No such file or directory") && !strings.Contains(line, "Stale file handle") {
			return fmt.Errorf("ls -lR: %w: %s", err, line)
		}
	}
	return nil
}

// emptyBin deletes for good what was removed a while ago, so that the Drive does not grow without end.
func (w *world) emptyBin() {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	seen := map[string]time.Time{}
	for {
		select {
		case <-w.stop:
			return
		case <-w.h.failed:
			return
		case <-tick.C:
		}
		w.srv.ResetRequests()
		user := w.srv.User(ann)
		for _, f := range user.Files() {
			switch since, ok := seen[f.ID]; {
			case !f.Trashed:
			case !ok:
				seen[f.ID] = time.Now()
			case time.Since(since) > 2*lag:
				delete(seen, f.ID)
				if err := user.Delete(f.ID); err != nil {
					w.h.fail("empty the bin: %v", err)
				}
			}
		}
	}
}

func (w *world) requireNothingWrong(t *testing.T) {
	t.Helper()
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	if len(w.h.wrong) > 0 {
		requests := w.srv.Requests()
		for _, r := range requests[max(0, len(requests)-500):] {
			t.Log(r.String())
		}
	}
	require.Empty(t, w.h.wrong, "%s", strings.Join(w.h.wrong, "\n"))
}

// clear unmounts, and looks whether anything is left.
func (w *world) clear(t *testing.T) {
	t.Helper()
	for _, m := range w.machines {
		m.gate.Lock()
		m.unmount()
		m.gate.Unlock()
	}
	mounts, err := os.ReadFile("/proc/mounts")
	require.NoError(t, err)
	for _, m := range w.machines {
		require.NotContains(t, string(mounts), m.dir)
	}
}
