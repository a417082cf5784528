package index

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// events holds what happened and was not told yet: a set, so that a name that changes a thousand times before anyone
// listens is told once, and memory is bounded by the number of names.
type events struct {
	mu      sync.Mutex // guards the rest; a leaf
	pending map[Event]struct{}
	order   []Event
	subs    map[int]func(Event)
	next    int
	wake    chan struct{} // capacity 1: something is pending
}

func newEvents() *events {
	return &events{pending: map[Event]struct{}{}, subs: map[int]func(Event){}, wake: make(chan struct{}, 1)}
}

// Subscribe has f called with every event from now on, until cancel. Calls come from one goroutine, in order, with no
// lock of the index held, so f may ask the index anything; while it runs, later events wait. The catalogue is at least as
// new as the event. Cancel does not wait for a call under way.
func (ix *Index) Subscribe(f func(Event)) (cancel func()) {
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

// event queues what happened. It never blocks.
func (ix *Index) event(happened ...Event) {
	e := ix.events
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.subs) == 0 {
		return
	}
	for _, ev := range happened {
		if _, known := e.pending[ev]; !known {
			e.pending[ev] = struct{}{}
			e.order = append(e.order, ev)
		}
	}
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// deliver calls the subscribers until ctx ends.
func (ix *Index) deliver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-ix.events.wake:
		}
		list, subs := ix.events.take()
		for _, ev := range list {
			for _, f := range subs {
				f(ev)
			}
		}
	}
}

func (e *events) take() ([]Event, []func(Event)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.order
	e.order = nil
	clear(e.pending)
	return list, slices.Collect(maps.Values(e.subs))
}
