//go:build soak

package soak

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A version is one content that was pushed under an image's name.
type version struct {
	content
	sum     string // MD5
	removed int64  // when its removal began, Unix nanoseconds; 0 = not
	shared  bool
}

// history is what is known of all images: what each reader may meet follows from it.
type history struct {
	mu     sync.Mutex
	images map[string]*life // guarded by mu, and what is in it; by "collection/image", or a collection nothing is noted of
	wrong  []string         // guarded by mu: what must not have been
	tally  tally            // guarded by mu
	failed chan struct{}    // closed with the first entry of wrong
}

// life is what happened to one image.
type life struct {
	versions map[uint64]*version // by seed
	pushes   []interval          // writing of files
	moves    []interval          // changes of names: retag, removal
}

// tally counts for the summary.
type tally struct {
	reads, bytes, growing, explained int64
	pushes, retags, removals, shares int64
	looks, remounts, kills           int64
}

func newHistory() *history {
	return &history{images: map[string]*life{}, failed: make(chan struct{})}
}

// lag is how long a change may take from one machine to the other: polls of a second on a Drive that fails.
const lag = time.Minute

// fail notes what must not have been.
func (h *history) fail(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failLocked(format, args...)
}

func (h *history) failLocked(format string, args ...any) {
	if len(h.wrong) == 0 {
		close(h.failed)
	}
	if len(h.wrong) < 100 {
		h.wrong = append(h.wrong, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	}
}

// of is the life of an image. The caller holds mu.
func (h *history) of(key string) *life {
	l := h.images[key]
	if l == nil {
		l = &life{versions: map[uint64]*version{}}
		h.images[key] = l
	}
	return l
}

// begin notes that something is done to an image from now on; the function it returns, that it is done.
func (h *history) begin(key string, list func(*life) *[]interval) (end func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := list(h.of(key))
	old := time.Now().Add(-10 * time.Minute).UnixNano()
	if n := len(*all); n > 1000 && (*all)[n/2].from < old {
		*all = append([]interval(nil), (*all)[n/2:]...)
	}
	at := now()
	*all = append(*all, interval{from: at})
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		all := *list(h.of(key))
		for i := range all {
			if all[i].from == at && all[i].to == 0 {
				all[i].to = now()
				return
			}
		}
	}
}

func pushing(l *life) *[]interval { return &l.pushes }
func moving(l *life) *[]interval  { return &l.moves }

// meets says whether one of the intervals, prolonged by so much, meets a time.
func meets(all []interval, from, to int64, prolonged time.Duration) bool {
	for _, i := range all {
		if i.to != 0 {
			i.to += int64(prolonged)
		}
		if i.meets(from, to) {
			return true
		}
	}
	return false
}

// hear judges what a reader on m met.
func (h *history) hear(m *machine, e event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key, sum := imageOf(e.Path)
	l := h.of(key)
	v := l.versions[e.Seed]
	complain := func(what string) {
		h.failLocked("%s, %s %q (image %d) on %s from %s to %s: %s: %s %v", what, e.Kind, e.Path, e.Seed, m.name, clock(e.From), clock(e.To), e.Op, e.Text, e.Errno)
	}
	switch {
	case e.Op == opWrong:
		complain("wrong bytes")
	case m.wasDown(e.From, e.To):
		h.tally.explained++
	case e.Op == opRead && e.Seed == 0: // a dead end
	case e.Op == opRead && v == nil:
		complain(fmt.Sprintf("image %d was never pushed here", e.Seed))
	case e.Op == opRead && sum != "" && sum != v.sum:
		complain(fmt.Sprintf("this is version %s", v.sum))
	case e.Op == opRead && v.removed != 0 && v.removed+int64(lag) < e.From:
		complain("it was removed at " + clock(v.removed))
	case e.Op == opRead:
		h.tally.reads++
		h.tally.bytes += e.Bytes
	case e.Op == opGrowing && m.owner && meets(l.pushes, e.From, e.To, 0):
		h.tally.growing++
	case e.Op == opFailed && e.Seed == 0 && (e.Errno == syscall.ENOENT || e.Errno == syscall.ESTALE) && h.moved(key, e.From, e.To):
		h.tally.explained++ // it went between the listing and the opening
	case e.Op == opFailed && !m.owner && v != nil && v.removed != 0: // in the bin of another person
		h.tally.explained++
	default:
		complain("not explained")
	}
}

// moved says whether a name changed of an image, or of one in a collection, which goes with the last image that is shown in
// it. The caller holds mu.
func (h *history) moved(key string, from, to int64) bool {
	for name, l := range h.images {
		if (name == key || strings.HasPrefix(name, key+"/")) && meets(l.moves, from, to, lag) {
			return true
		}
	}
	return false
}

func clock(at int64) string { return time.Unix(0, at).Format("15:04:05.000") }

// imageOf finds the image of a path, or the collection if it ends there, and the version if it names one.
func imageOf(path string) (key, sum string) {
	parts := strings.Split(path, "/")
	for len(parts) > 0 && !strings.HasPrefix(parts[0], "lab") {
		parts = parts[1:]
	}
	if len(parts) < 2 {
		return strings.Join(parts, "/"), ""
	}
	name, _, _ := strings.Cut(parts[1], ":")
	if len(parts) > 2 {
		sum = strings.TrimSuffix(parts[2], ".sif")
	}
	return parts[0] + "/" + name, sum
}
