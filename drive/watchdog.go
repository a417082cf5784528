package drive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// progressLeast is how many bytes count as progress: as many must move within times.idle, or the request is given up,
// and a cut answer that brought as many starts the time for retries over. A connection that gives a byte now and then is
// as good as dead.
const progressLeast = 64 << 10

// stalled is the cause of a request given up because hardly anything moved on its connection for so long.
type stalled time.Duration

func (d stalled) Error() string {
	return fmt.Sprintf("hardly a byte moved for %s", time.Duration(d).Round(time.Millisecond))
}

// watchdog ends a request on which nothing moves.
type watchdog struct {
	ctx   context.Context //nolint:containedctx // of the request it watches: they end together
	timer *time.Timer
	times *times
	span  atomic.Int64 // what the timer was set to
	moved atomic.Int64 // bytes since then
}

// newWatchdog watches the request of ctx and cancel, whose reply must begin within wait, or begin to be sent if it has a body.
func newWatchdog(ctx context.Context, cancel context.CancelCauseFunc, t *times, wait time.Duration) *watchdog {
	d := &watchdog{ctx: ctx, times: t}
	d.span.Store(int64(wait))
	d.timer = time.AfterFunc(wait, func() { cancel(stalled(d.span.Load())) })
	return d
}

// watch gives the request so long from now.
func (d *watchdog) watch(span time.Duration) {
	d.span.Store(int64(span))
	d.moved.Store(0)
	d.timer.Reset(span)
}

// move notes n bytes of a body.
func (d *watchdog) move(n int) {
	if d.moved.Add(int64(n)) >= progressLeast {
		d.watch(d.times.idle)
	}
}

// hold stops the watch while it is we who let nothing move, until again is called.
func (d *watchdog) hold() (again func()) {
	d.timer.Stop()
	return func() { d.watch(d.times.idle) }
}

// explain tells a request the watchdog ended from others.
func (d *watchdog) explain(err error) error {
	var s stalled
	if errors.As(context.Cause(d.ctx), &s) {
		return &Error{Kind: ErrTimeout, Err: s}
	}
	return err
}

// body is one direction of a request under the eye of a watchdog.
type body struct {
	io.ReadCloser
	dog    *watchdog
	count  *counters
	bytes  *atomic.Int64 // of this direction
	last   bool          // the request's body: at its end the wait for the reply begins
	closed func()        // nil for the request's body
	most   int64         // bytes still taken of a reply
	lane   *lane         // nil: its bandwidth is not limited
}

// maxReply bounds a reply that is not content, in bytes: a page of 1000 files with all they may hold has a sixth of it.
const maxReply = 64 << 20

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if !b.last && b.most >= 0 && int64(len(p)) > b.most {
		p = p[:b.most+1] // the one more tells that it goes on
	}
	n, err := b.pass(p)
	b.bytes.Add(int64(n))
	b.count.moved.Store(time.Now().UnixNano())
	if b.most -= int64(n); b.most < 0 && !b.last {
		return 0, &Error{Kind: ErrProtocol, Err: fmt.Errorf("a reply of more than %d bytes", maxReply)}
	}
	switch {
	case err != nil && b.last:
		b.dog.watch(b.dog.times.wait(b.dog.ctx, b.dog.times.lost))
	case err != nil:
		err = b.dog.explain(err) // the end of the body is not one the watchdog made
	case n > 0:
		b.dog.move(n)
	}
	return n, err
}

// pass reads what the bandwidth allows.
func (b *body) pass(p []byte) (int, error) {
	if b.lane == nil || len(p) == 0 {
		return b.ReadCloser.Read(p)
	}
	most, unused, err := b.lane.take(b.dog.ctx, len(p))
	if err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p[:most])
	if n < most {
		unused(most - n)
	}
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error {
	err := b.ReadCloser.Close()
	if b.closed != nil {
		b.closed()
	}
	return err
}

// deadlineKey is where a call's context has the time by which its first byte is due.
type deadlineKey struct{}

// withDeadline says by when the reply of a request of ctx must begin.
func withDeadline(ctx context.Context, by time.Time) context.Context {
	return context.WithValue(ctx, deadlineKey{}, by)
}

// wait is how long a request of ctx has for its reply: most, or what is left of the call's time.
func (t *times) wait(ctx context.Context, most time.Duration) time.Duration {
	if by, ok := ctx.Value(deadlineKey{}).(time.Time); ok {
		most = min(most, max(time.Until(by), t.least))
	}
	return most
}
