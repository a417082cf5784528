package drive

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"time"
)

// times are the clocks of one Client.
type times struct {
	reply    time.Duration // from the last byte sent to the first one received; less when the call's time is nearly over
	lost     time.Duration // after which a request without a reply is taken for lost, and sent again
	least    time.Duration // what a request gets for its reply however late it is sent
	idle     time.Duration // for each progressLeast bytes of a body, either way
	answered time.Duration // first pause after an error Drive answered with; it doubles
	cut      time.Duration // first pause after no answer
	longest  time.Duration // pause after an answer
	away     time.Duration // longest pause after no answer: it costs Drive nothing, and readers wait for the network's return
}

// newTransport is net/http's, without HTTP/2: there all requests share one TCP connection, and Drive's
// gave bursts of stream errors (https://github.com/rclone/rclone/issues/3631). It keeps up to idle connections to a
// host, and makes no more than most, 0 = as many as it takes. One whose other end is gone is found out in 30 s.
func newTransport(idle, most int) *http.Transport {
	dialer := &net.Dialer{Timeout: 15 * time.Second, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3,
	}}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: 15 * time.Second,
		MaxIdleConnsPerHost: idle,
		MaxConnsPerHost:     most,
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
	spare http.RoundTripper // makes a connection for each request
	auth  *Auth
	pass  func(context.Context) (token string, err error)
	home  *url.URL // the API root: only its host gets to see our token
	agent string
	times *times
	count *counters
	lines *lines
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	token := ""
	if req.URL.Host == w.home.Host && req.URL.Scheme == w.home.Scheme {
		var err error
		if token, err = w.sign(req.Context()); err != nil {
			if req.Body != nil {
				_ = req.Body.Close() // the contract of RoundTripper; nothing was read from it
			}
			return nil, err
		}
	}
	if req.Method == http.MethodGet {
		return w.twice(req, token)
	}
	return w.once(w.newTry(req, w.times.wait(req.Context(), w.times.lost)), w.base, token)
}

// sign gives a token, unless the endpoint that hands them out takes as long as a lost request.
func (w *wire) sign(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, w.times.wait(ctx, w.times.lost))
	defer cancel()
	return w.pass(ctx)
}

// try is one request under way, with a life of its own.
type try struct {
	req    *http.Request
	cancel context.CancelCauseFunc
	dog    *watchdog
}

// newTry makes a try of req, whose reply must begin within wait.
func (w *wire) newTry(req *http.Request, wait time.Duration) *try {
	ctx, cancel := context.WithCancelCause(req.Context())
	return &try{req: req.Clone(ctx), cancel: cancel, dog: newWatchdog(ctx, cancel, w.times, wait)}
}

// end releases what the try holds, and ends it if it is still under way.
func (t *try) end() {
	t.dog.timer.Stop()
	t.cancel(nil)
}

// twice carries out a request that only reads. Without an answer after times.lost it is sent once more, on a connection
// of its own: the first may have died with its connection, or be as slow as Drive at times is with a large file, whose
// first byte took it up to a minute (https://github.com/rclone/rclone/issues/2612), and nobody can tell which. The
// answer that begins first counts.
func (w *wire) twice(req *http.Request, token string) (*http.Response, error) {
	type answer struct {
		from *try
		resp *http.Response
		err  error
	}
	began, wait := time.Now(), w.times.wait(req.Context(), w.times.reply)
	answers := make(chan answer, 2)
	var tries []*try
	send := func(base http.RoundTripper) {
		t := w.newTry(req, wait-time.Since(began))
		tries = append(tries, t)
		go func() {
			resp, err := w.once(t, base, token) //nolint:bodyclose // its reader closes it, or the loop below
			answers <- answer{t, resp, err}
		}()
	}
	send(w.base)
	again := time.NewTimer(w.times.lost)
	defer again.Stop()
	for open := 1; ; {
		select {
		case <-again.C:
			w.count.retries.Add(1)
			send(w.spare)
			open++
		case a := <-answers:
			open--
			var e *Error
			if a.err != nil && open > 0 && (!errors.As(a.err, &e) || e.Status == 0) {
				continue // that one was cut; the other may yet be answered
			}
			for _, t := range tries {
				if t != a.from {
					t.end()
				}
			}
			for ; open > 0; open-- {
				if late := <-answers; late.resp != nil {
					_ = late.resp.Body.Close()
				}
			}
			return a.resp, a.err
		}
	}
}

// once sends the request of t.
func (w *wire) once(t *try, base http.RoundTripper, token string) (*http.Response, error) {
	t.req.Header.Set("User-Agent", w.agent)
	if token != "" {
		t.req.Header.Set("Authorization", "Bearer "+token)
	}
	w.watchBody(t)
	w.count.requests.Add(1)
	resp, err := base.RoundTrip(t.req)
	if err != nil {
		defer t.end()
		return nil, t.dog.explain(err)
	}
	t.dog.watch(w.times.idle)
	answer := &body{ReadCloser: resp.Body, dog: t.dog, count: w.count, bytes: &w.count.in, closed: t.end, most: maxReply, lane: w.lane(&w.lines.down, t)}
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

// lane is the way of a body of t along l, nil if nothing has to wait there.
func (w *wire) lane(l *line, t *try) *lane {
	if !w.lines.limited(l) {
		return nil
	}
	return &lane{all: w.lines, line: l, hold: t.dog.hold}
}

// watchBody lets the bytes of the request's body keep its watchdog quiet.
func (w *wire) watchBody(t *try) {
	if t.req.Body == nil || t.req.Body == http.NoBody {
		return
	}
	wrap := func(rc io.ReadCloser) io.ReadCloser {
		return &body{ReadCloser: rc, dog: t.dog, count: w.count, bytes: &w.count.out, last: true, lane: w.lane(&w.lines.up, t)}
	}
	t.req.Body = wrap(t.req.Body)
	if fresh := t.req.GetBody; fresh != nil {
		t.req.GetBody = func() (io.ReadCloser, error) {
			rc, err := fresh()
			if err != nil {
				return nil, err
			}
			return wrap(rc), nil
		}
	}
}
