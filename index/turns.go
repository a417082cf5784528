package index

import (
	"context"
	"sync"
)

// turns makes those who name the same key go one after another, in the order of their tickets. Its zero value is ready.
type turns struct {
	mu     sync.Mutex
	queues map[string][]*ticket // guarded by mu: the first of each queue has the turn
}

// ticket is a place in a queue.
type ticket struct {
	t    *turns
	key  string
	job  *job          // whose it is, if that matters
	turn chan struct{} // closed when it is this ticket's turn
}

// ticket queues for key. It never waits; leave gives the place up, whether its turn came or not.
func (t *turns) ticket(key string, j *job) *ticket {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.queues == nil {
		t.queues = map[string][]*ticket{}
	}
	k := &ticket{t: t, key: key, job: j, turn: make(chan struct{})}
	t.queues[key] = append(t.queues[key], k)
	if len(t.queues[key]) == 1 {
		close(k.turn)
	}
	return k
}

func (k *ticket) wait(ctx context.Context) error {
	select {
	case <-k.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// front is the job that has the turn of k's queue.
func (k *ticket) front() *job {
	k.t.mu.Lock()
	defer k.t.mu.Unlock()
	return k.t.queues[k.key][0].job
}

func (k *ticket) leave() {
	k.t.mu.Lock()
	defer k.t.mu.Unlock()
	queue := k.t.queues[k.key]
	for i, other := range queue {
		if other != k {
			continue
		}
		queue = append(queue[:i:i], queue[i+1:]...)
		if i == 0 && len(queue) > 0 {
			close(queue[0].turn)
		}
		break
	}
	if len(queue) == 0 {
		delete(k.t.queues, k.key)
		return
	}
	k.t.queues[k.key] = queue
}
