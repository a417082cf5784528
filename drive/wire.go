package drive

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// errStalled is the cause of a request given up because nothing moved on its connection.
var errStalled = errors.New("no byte moved for too long")

// times are the clocks of one Client.
type times struct {
	reply    time.Duration // from the last byte sent to the first one received
	idle     time.Duration // between two bytes of a body, either way
	answered time.Duration // first pause after an error Drive answered with; it doubles
	cut      time.Duration // first pause after no answer
	longest  time.Duration // pause after an answer
	away     time.Duration // longest pause after no answer: it costs Drive nothing, and readers wait for the network's return
}

// newTransport is net/http's, without HTTP/2: there all requests share one TCP connection, and Drive's
// gave bursts of stream errors (https://github.com/rclone/rclone/issues/3631).
func newTransport(idle int) *http.Transport {
	dialer := &net.Dialer{Timeout: 15 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: 15 * time.Second,
		MaxIdleConnsPerHost: idle,
		IdleConnTimeout:     90 * time.Second,
		ReadBufferSize:      64 << 10,
		WriteBufferSize:     64 << 10,
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
}

// wire is what every request of a Client passes: it signs, counts, gives up on silence, and turns each
// answer from 400 on into an *Error, so that Google's library and our own requests fail alike. (The
// library would believe the code in the body; upload servers put another one there than in the status.)
type wire struct {
	base  http.RoundTripper
	auth  *Auth
	home  *url.URL // the API root: only its host gets to see our token
	agent string
	times *times
	count *counters
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	token := ""
	if req.URL.Host == w.home.Host && req.URL.Scheme == w.home.Scheme {
		var err error
		if token, err = w.auth.accessToken(req.Context()); err != nil {
			if req.Body != nil {
				_ = req.Body.Close() // the contract of RoundTripper; nothing was read from it
			}
			return nil, err
		}
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	dog := &watchdog{timer: time.AfterFunc(w.times.reply, func() { cancel(errStalled) }), times: w.times}
	end := func() { dog.timer.Stop(); cancel(nil) }

	req = req.Clone(ctx)
	req.Header.Set("User-Agent", w.agent)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	w.watchBody(req, dog)
	w.count.requests.Add(1)
	resp, err := w.base.RoundTrip(req)
	if err != nil {
		defer end()
		return nil, dog.explain(ctx, err)
	}
	dog.moved()
	answer := &body{ReadCloser: resp.Body, dog: dog, ctx: ctx, count: &w.count.in, closed: end, most: maxReply}
	if resp.StatusCode == http.StatusPartialContent {
		answer.most = math.MaxInt64 // whoever asked for a range reads no more than that
	}
	resp.Body = answer
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what came of it says enough
	if resp.StatusCode == http.StatusUnauthorized && token != "" {
		w.auth.reject(token)
	}
	return nil, parseError(resp.StatusCode, resp.Header, text)
}

// watchBody lets the bytes of req's body keep dog quiet.
func (w *wire) watchBody(req *http.Request, dog *watchdog) {
	if req.Body == nil || req.Body == http.NoBody {
		return
	}
	wrap := func(rc io.ReadCloser) io.ReadCloser {
		return &body{ReadCloser: rc, dog: dog, count: &w.count.out, last: true}
	}
	req.Body = wrap(req.Body)
	if fresh := req.GetBody; fresh != nil {
		req.GetBody = func() (io.ReadCloser, error) {
			rc, err := fresh()
			if err != nil {
				return nil, err
			}
			return wrap(rc), nil
		}
	}
}

// watchdog ends a request on which nothing moves. It starts at the reply deadline, for a request without body.
type watchdog struct {
	timer *time.Timer
	times *times
}

func (d *watchdog) moved() { d.timer.Reset(d.times.idle) }

// explain tells a request the watchdog ended from others.
func (d *watchdog) explain(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return &Error{Kind: ErrTimeout, Err: errStalled}
	}
	return err
}

// body is one direction of a request under the eye of a watchdog.
type body struct {
	io.ReadCloser
	dog    *watchdog
	ctx    context.Context //nolint:containedctx // of the request this is a body of: they end together
	count  *atomic.Int64
	last   bool   // the request's body: at its end the wait for the reply begins
	closed func() // nil for the request's body
	most   int64  // bytes still taken of a reply
}

// maxReply bounds a reply that is not content, in bytes: a page of 1000 files with all they may hold has a sixth of it.
const maxReply = 64 << 20

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.count.Add(int64(n))
	if b.most -= int64(n); b.most < 0 && !b.last {
		return 0, &Error{Kind: ErrProtocol, Err: fmt.Errorf("a reply of more than %d bytes", maxReply)}
	}
	switch {
	case err != nil && b.last:
		b.dog.timer.Reset(b.dog.times.reply)
	case err != nil:
		err = b.dog.explain(b.ctx, err) // the end of the body is not one the watchdog made
	case n > 0:
		b.dog.moved()
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
