package drive

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Bandwidth limits what a Client moves, in bytes of bodies a second; 0 is no limit.
type Bandwidth struct {
	Up, Down   int64
	Background int64 // of Down, for the calls of Background
}

// idleKey is where the context of a call that nobody waits for has the question whether that is so still.
type idleKey struct{}

// Background marks the calls of ctx as ones that nobody waits for. They take of Options.Bandwidth what the others leave,
// and ReadRange fails with ErrRateLimit while Drive holds the client back. idle is asked anew now and then, by any
// goroutine: from when it says no they are as all others.
func Background(ctx context.Context, idle func() bool) context.Context {
	return context.WithValue(ctx, idleKey{}, idle)
}

// inBackground says whether nobody waits for the calls of ctx now.
func inBackground(ctx context.Context) bool {
	idle, ok := ctx.Value(idleKey{}).(func() bool)
	return ok && idle()
}

const (
	sliceRate  = 32                    // a line is handed out in so many pieces a second,
	sliceLeast = 1 << 10               // of at least and
	sliceMost  = 256 << 10             // at most so many bytes
	saved      = 20 * time.Millisecond // what a line that was not used may catch up
	asking     = 50 * time.Millisecond // a call in the background that waits asks so often whether it still is one
)

// line is a bandwidth that is handed out piece by piece.
type line struct {
	rate int64     // bytes a second; 0: no limit
	free time.Time // when all that was handed out will have passed; guarded by lines.mu
}

// slice is how many of n bytes to ask for at once.
func (l *line) slice(n int) int {
	if l.rate == 0 {
		return n
	}
	return min(n, int(min(max(l.rate/sliceRate, sliceLeast), sliceMost)))
}

// wait is how long it takes until the line is free.
func (l *line) wait(now time.Time) time.Duration {
	if l.rate == 0 {
		return 0
	}
	return max(l.free.Sub(now), 0)
}

// use hands out n bytes of it, or takes -n back.
func (l *line) use(now time.Time, n int) {
	if l.rate == 0 {
		return
	}
	if n > 0 {
		l.free = later(l.free, now.Add(-saved))
	}
	l.free = l.free.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
}

// lines are the limits of one Client.
type lines struct {
	mu                   sync.Mutex // guards what is handed out of them
	up, down, background line
}

func newLines(b Bandwidth) *lines {
	return &lines{up: line{rate: b.Up}, down: line{rate: b.Down}, background: line{rate: b.Background}}
}

// lane is the way of one body.
type lane struct {
	all  *lines
	line *line
	hold func() (again func()) // stops the clock of who watches the body, as long as we make it wait
}

// take waits for its share of the line and returns how many of n bytes may move now, and what to do with those that did
// not. Who is waited for gets his in the order of asking. A call in the background takes only when nobody has to wait for
// what it takes, and so gets nothing of a line that others use up.
func (a *lane) take(ctx context.Context, n int) (most int, unused func(n int), err error) {
	for {
		idle := a.line != &a.all.up && inBackground(ctx)
		most = a.line.slice(n)
		if idle {
			most = a.all.background.slice(most)
		}
		a.all.mu.Lock()
		now := time.Now()
		wait := a.line.wait(now)
		if idle {
			wait = max(wait, a.all.background.wait(now))
		}
		if idle && wait > 0 {
			a.all.mu.Unlock()
			if err := a.pause(ctx, min(wait, asking)); err != nil {
				return 0, nil, err
			}
			continue
		}
		a.use(now, most, idle)
		a.all.mu.Unlock()
		unused = func(n int) {
			a.all.mu.Lock()
			defer a.all.mu.Unlock()
			a.use(now, -n, idle)
		}
		if err := a.pause(ctx, wait); err != nil {
			unused(most)
			return 0, nil, err
		}
		return most, unused, nil
	}
}

// use hands out n bytes. The caller holds mu.
func (a *lane) use(now time.Time, n int, idle bool) {
	a.line.use(now, n)
	if idle {
		a.all.background.use(now, n)
	}
}

func (a *lane) pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	defer a.hold()()
	return pause(ctx, d)
}

// limited says whether anything may have to wait on the way of l.
func (b *lines) limited(l *line) bool { return l.rate > 0 || l == &b.down && b.background.rate > 0 }

// yield keeps a call in the background from being made while Drive holds the client back.
func (c *Client) yield(ctx context.Context) error {
	until := c.pace.throttled()
	if until.IsZero() || !inBackground(ctx) {
		return nil
	}
	return &Error{Kind: ErrRateLimit, RetryAfter: max(time.Until(until), 0), Err: fmt.Errorf("Drive is asked for nothing that nobody waits for until %s", until.Format(time.TimeOnly))} //nolint:staticcheck // Drive is a name
}
