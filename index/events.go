package index

import "sync"

// events knows who wants to hear of changes.
type events struct {
	mu   sync.RWMutex // guards the rest; held to read while subscribers are called
	subs map[int]func([]Event)
	next int
}

func newEvents() *events { return &events{subs: map[int]func([]Event){}} }

// Subscribe has f called with every event from now on, until cancel, after which no call is under way any more. f is
// called by whoever made the change, when the index shows it already and before it is acknowledged to anybody: what f does
// then is done when the caller of a verb goes on, or Refresh returns. So f is quick and waits for nothing; it may ask what
// the index has in memory, and must change nothing. Calls may come at the same time from several goroutines.
func (ix *Index) Subscribe(f func([]Event)) (cancel func()) {
	e := ix.events
	e.mu.Lock()
	defer e.mu.Unlock()
	id := e.next
	e.next++
	e.subs[id] = f
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.subs, id)
	}
}

// event tells what happened. The caller holds no lock but catalog.order.
func (ix *Index) event(happened ...Event) {
	if len(happened) == 0 {
		return
	}
	e := ix.events
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, f := range e.subs {
		f(happened)
	}
}
