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
	"path/filepath"
	"slices"
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
// a fifth of the time.
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
		if warm == nil && spent > *duration/5 {
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

// figures are of one mount, by the names of .sregfs/metrics.
type figures map[string]float64

// calm stops all work on the first machine for a moment, and returns its figures: the least of several looks, because what
// was begun before may still be ending.
func (w *world) calm(t *testing.T) figures {
	t.Helper()
	m := w.machines[0]
	m.pause()
	defer m.goOn()
	m.gate.Lock()
	defer m.gate.Unlock()
	m.drain()
	least := figures{}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for range 10 {
		<-tick.C
		got, err := m.metrics()
		require.NoError(t, err)
		for name, v := range got {
			if old, ok := least[name]; !ok || v < old {
				least[name] = v
			}
		}
	}
	return least
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

// judge holds Drive and what each mount shows against what was acknowledged, when nobody works any more.
func (w *world) judge(t *testing.T) {
	t.Helper()
	w.srv.ClearFaults()
	known := 0
	for _, wr := range w.writers {
		for _, i := range wr.images {
			require.NoError(t, wr.reconcile(i, nil), i.key())
			for _, versions := range i.tags {
				known += len(versions)
			}
		}
	}
	have := 0
	for _, f := range w.srv.User(ann).Files() {
		if !f.Trashed && f.Properties["type"] == "container" {
			have++
		}
	}
	require.Equal(t, known, have, "Drive holds what nobody pushed")
	for _, m := range w.machines {
		eventually(t, func() error { return w.shows(m) })
		s, err := m.status()
		require.NoError(t, err)
		require.Zero(t, s.Drafts, "%s keeps drafts", m.name)
		require.Empty(t, s.Pushes)
		require.Empty(t, s.Cache.Bad)
		entries, err := os.ReadDir(filepath.Join(m.state, "drafts"))
		require.NoError(t, err)
		require.Empty(t, entries, "%s keeps files of drafts", m.name)
	}
}

// shows says whether m shows exactly the versions it should, each with its bytes.
func (w *world) shows(m *machine) error {
	for _, wr := range w.writers {
		for _, i := range wr.images {
			for _, tag := range []string{"a", "b"} {
				var want []string
				for _, v := range i.tags[tag] {
					if m.owner || v.shared {
						want = append(want, v.sum+".sif")
					}
				}
				if err := showsTag(filepath.Join(m.root, i.collection, i.name+":"+tag), want, i.tags[tag]); err != nil {
					return fmt.Errorf("%s: %w", m.name, err)
				}
			}
		}
	}
	return nil
}

// showsTag compares a tag's directory and file with the names of its versions.
func showsTag(dir string, want []string, all []*version) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	newest := ""
	if len(want) > 0 {
		newest = want[len(want)-1]
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s shows %v, want %v", dir, got, want)
	}
	for _, v := range all {
		paths := []string{filepath.Join(dir, v.sum+".sif")}
		if !slices.Contains(want, v.sum+".sif") {
			continue
		}
		if v.sum+".sif" == newest {
			paths = append(paths, dir+".sif")
		}
		for _, path := range paths {
			if err := showsContent(path, v.content); err != nil {
				return err
			}
		}
	}
	return nil
}

func showsContent(path string, c content) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size() != c.size {
		return fmt.Errorf("%s has %d bytes, want %d: %w", path, st.Size(), c.size, err)
	}
	for off := int64(0); off < c.size; off += 1 << 20 {
		if _, err := piece(f, c, off, 1<<20); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// bounds say what may be more at the end than after the first fifth, when nobody works: a factor and an addition.
var bounds = map[string]struct{ factor, more float64 }{
	"goroutines":     {1, 8},           // besides those of more connections
	"open_fds":       {1, 12},          // idle connections come and go, and so do the block files of what is cached just now
	"heap_bytes":     {1.25, 16 << 20}, // buffers of what is under way when the collector looks
	"resident_bytes": {1.25, 48 << 20}, // what Badger maps and memory tables fill up once
}

func requireFlat(t *testing.T, warm, end figures) {
	t.Helper()
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
