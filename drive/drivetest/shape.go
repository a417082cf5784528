package drivetest

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Shape makes the server slow. Bandwidths count each direction by itself and only bodies, in bytes per
// second; 0 is no limit. The debug pages are not shaped.
type Shape struct {
	Latency       time.Duration // of each request, before anything is done for it
	PerConnection int64         // bandwidth of one TCP connection
	Total         int64         // bandwidth of the server, shared fairly
}

const (
	paceStep  = 64 << 10              // a transfer waits for its turn in steps of this size, smaller if slow
	paceSlack = time.Millisecond      // waits shorter than this are added to the next one
	paceLag   = 50 * time.Millisecond // what a transfer that fell behind, by a late timer or a slow peer, may catch up
)

// maxUnread bounds what is read of a body nobody wanted; a client that sends more may find itself cut off.
const maxUnread = 256 << 20

// pacer hands out the time slots of one line of a fixed bandwidth.
type pacer struct {
	mu     sync.Mutex // guards what follows
	active int        // transfers under way
	next   time.Time  // when all that was granted will have passed
}

// enter begins a transfer: a line that was idle has saved nothing up.
func (p *pacer) enter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.active++; p.active == 1 {
		p.next = later(p.next, time.Now())
	}
}

func (p *pacer) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active--
}

// reserve grants n bytes at rate bytes a second and returns when they will have passed. Grants are in
// the order of asking, which shares the line evenly between transfers that ask in equal steps.
func (p *pacer) reserve(n int, rate int64) time.Time {
	now := time.Now()
	if rate <= 0 {
		return now
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = later(p.next, now.Add(-paceLag)).Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	return p.next
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// line is the two directions of a connection or of the whole server.
type line struct{ up, down pacer }

// wire is what the server keeps for one TCP connection.
type wire struct {
	line
	conn net.Conn // nil when the server's Handler runs under a foreign listener
}

type wireKey struct{}

// withWire is http.Server.ConnContext.
func withWire(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, wireKey{}, &wire{conn: c})
}

func wireFrom(ctx context.Context) *wire {
	if w, ok := ctx.Value(wireKey{}).(*wire); ok {
		return w
	}
	return &wire{}
}

// reset makes the connection end with a TCP reset instead of an orderly close.
func (w *wire) reset() {
	if c, ok := w.conn.(interface{ SetLinger(sec int) error }); ok {
		_ = c.SetLinger(0) // an orderly close is cut enough
	}
}

// shaper delays and paces requests.
type shaper struct {
	total line
	done  <-chan struct{} // the server closes: nobody waits any more

	mu    sync.Mutex // guards shape
	shape Shape
}

func newShaper(shape Shape, done <-chan struct{}) *shaper { return &shaper{shape: shape, done: done} }

func (s *shaper) set(shape Shape) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shape = shape
}

func (s *shaper) get() Shape {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shape
}

// wrap delays each request by the latency, then paces both its bodies.
func (s *shaper) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.until(r.Context(), time.Now().Add(s.get().Latency)) {
			panic(http.ErrAbortHandler)
		}
		conn := wireFrom(r.Context())
		for _, p := range []*pacer{&conn.up, &conn.down, &s.total.up, &s.total.down} {
			p.enter()
			defer p.leave()
		}
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = &pacedBody{ReadCloser: r.Body, s: s, ctx: r.Context, conn: &conn.up}
		}
		next.ServeHTTP(&pacedWriter{ResponseWriter: w, s: s, ctx: r.Context, conn: &conn.down}, r)
		if r.Body != nil && r.Header.Get("Expect") == "" {
			// An error may come before the body has been read. Closing now would reset the connection
			// under a client that still sends, and it might never see the error.
			_, _ = io.CopyN(io.Discard, r.Body, maxUnread)
		}
	})
}

// pass waits until n bytes may have passed both the connection's and the server's line. It is false if
// the client left or the server closes.
func (s *shaper) pass(ctx context.Context, conn, total *pacer, n int) bool {
	shape := s.get()
	return s.until(ctx, later(conn.reserve(n, shape.PerConnection), total.reserve(n, shape.Total)))
}

// until waits until when, to about paceSlack. It is false if the client left or the server closes before.
func (s *shaper) until(ctx context.Context, when time.Time) bool {
	wait := time.Until(when)
	if wait < paceSlack {
		return true
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	case <-s.done:
		return false
	}
}

// step is how much may pass in one go: slow lines move in small steps, so that no reader waits long
// for its first byte.
func (s *shaper) step() int {
	shape, step := s.get(), int64(paceStep)
	for _, rate := range []int64{shape.PerConnection, shape.Total} {
		if rate > 0 {
			step = min(step, max(rate/50, 1<<10))
		}
	}
	return int(step)
}

// pacedBody is a request's body that arrives no faster than the shape says.
type pacedBody struct {
	io.ReadCloser
	s    *shaper
	ctx  func() context.Context
	conn *pacer
}

func (b *pacedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), b.s.step())])
	if n > 0 && !b.s.pass(b.ctx(), b.conn, &b.s.total.up, n) {
		return n, http.ErrAbortHandler
	}
	return n, err
}

// pacedWriter is a reply that leaves no faster than the shape says.
type pacedWriter struct {
	http.ResponseWriter
	s    *shaper
	ctx  func() context.Context
	conn *pacer
}

// Unwrap serves http.ResponseController.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *pacedWriter) Write(p []byte) (int, error) {
	var written int
	for {
		n := min(len(p)-written, w.s.step())
		if !w.s.pass(w.ctx(), w.conn, &w.s.total.down, n) {
			return written, http.ErrAbortHandler
		}
		m, err := w.ResponseWriter.Write(p[written : written+n])
		written += m
		if err != nil || written == len(p) {
			return written, err
		}
	}
}
