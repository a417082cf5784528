package drive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Costs of calls in Drive's quota units, of which an account has 325,000 a minute
// (https://developers.google.com/drive/api/guides/limits, 2026-09).
const (
	unitsRead     = 5
	unitsList     = 100
	unitsDownload = 200
	unitsEdit     = 50
)

// oddAnswers is how often an answer against the protocol is asked for again: a proxy may have a bad moment.
const oddAnswers = 2

// op is one call of the API, as the retry loop sees it. Every op may be repeated after a lost reply: what
// creates carries an id of its own, the rest says what shall be, not what shall change.
type op struct {
	name  string        // the API's, e.g. "files.get"
	file  string        // id of the file it is about
	units int           // cost
	slots chan struct{} // held while a request is under way, never while waiting to repeat; nil: none
	sends bool          // content goes up, or is copied: the daily wall applies
}

// call carries out o by do, again and again while the fault is passing and the time allows.
func (c *Client) call(ctx context.Context, o op, do func(ctx context.Context) error) error {
	r := c.retrier(o)
	for {
		err := r.attempt(ctx, do)
		if err == nil {
			return nil
		}
		if err = r.again(ctx, err); err != nil {
			return err
		}
	}
}

// once carries out o by do, and does not repeat it.
func (c *Client) once(ctx context.Context, o op, do func(ctx context.Context) error) error {
	return c.retrier(o).attempt(ctx, do)
}

// retrier is the state of one call under repetition.
type retrier struct {
	c         *Client
	op        op
	since     time.Time // start of the first attempt that brought nothing, zero while all is well
	fails     int       // attempts since then
	refreshed bool      // a 401 has cost one attempt already
	told      error     // what the last attempt that had its time met
	sends     bool      // the next attempt sends content, and has all the time it needs as long as bytes move
}

func (c *Client) retrier(o op) *retrier { return &retrier{c: c, op: o} }

// attempt is one try, within the quota and a slot. Its errors are *Error, or ctx's.
func (r *retrier) attempt(ctx context.Context, do func(ctx context.Context) error) error {
	began := time.Now()
	err := r.c.pace.wait(ctx, r.op.units, max(r.left(), r.c.times.least))
	if err != nil {
		if r.since.IsZero() {
			r.since = began
		}
		return r.explain(ctx, err)
	}
	if r.op.slots != nil {
		err = r.c.slot(ctx, r.op.slots)
	}
	if r.since.IsZero() { // a queue that moves is no fault, one that does not is
		r.since = later(began, time.Unix(0, r.c.count.moved.Load()))
	}
	if err != nil {
		return r.explain(ctx, err)
	}
	if r.op.slots != nil {
		defer func() { <-r.op.slots }()
	}
	within := ctx
	if !r.sends {
		within = withDeadline(ctx, r.since.Add(r.c.timeout))
	}
	if err = do(within); err == nil {
		r.c.pace.well()
		return nil
	}
	return r.explain(ctx, err)
}

// left is what remains of the time allowed.
func (r *retrier) left() time.Duration {
	if r.since.IsZero() {
		return r.c.timeout
	}
	return r.c.timeout - time.Since(r.since)
}

// slot waits for a free slot, for as long as those who hold them all get bytes now and then.
func (c *Client) slot(ctx context.Context, slots chan struct{}) error {
	began := time.Now()
	t := time.NewTimer(c.timeout)
	defer t.Stop()
	for {
		select {
		case slots <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		quiet := time.Since(later(began, time.Unix(0, c.count.moved.Load())))
		if quiet >= c.timeout {
			return &Error{Kind: ErrTimeout, Err: fmt.Errorf("all connections wait: %w", stalled(quiet))}
		}
		t.Reset(c.timeout - quiet)
	}
}

// excuse takes the d of an attempt off the time counted against the call, as it went into moving bytes; but
// not the silence at its end, if that is what err is.
func (r *retrier) excuse(d time.Duration, err error) {
	d -= silence(err)
	if !r.since.IsZero() {
		r.since = r.since.Add(max(d, 0))
	}
}

// silence is how long nothing moved at the end of an attempt that failed with err, 0 if it failed for something else.
func silence(err error) time.Duration {
	var (
		e *Error // which matches its kind alone
		s stalled
	)
	if errors.As(err, &e) && errors.As(e.Err, &s) {
		return time.Duration(s)
	}
	return 0
}

// progress starts the clock and the pauses over.
func (r *retrier) progress() { r.since, r.fails, r.refreshed, r.told = time.Time{}, 0, false, nil }

// again waits until the call may be repeated, and returns nil; or returns the error to give up with.
func (r *retrier) again(ctx context.Context, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	r.fails++
	wait, longest := r.c.times.answered, r.c.times.longest
	switch {
	case e.Status == http.StatusUnauthorized && !r.refreshed:
		r.refreshed = true // the wire has dropped the token: the next attempt brings a new one
		return nil
	case errors.Is(e.Kind, ErrProtocol) && r.fails <= oddAnswers, Retryable(e):
	default:
		return err
	}
	if errors.Is(e.Kind, ErrRateLimit) && e.Status != 0 { // Drive's word, not ours
		r.c.pace.slow(e.RetryAfter)
	}
	if e.Status == 0 {
		wait, longest = r.c.times.cut, r.c.times.away
	}
	wait = min(wait<<min(r.fails-1, 10), longest)
	wait = max(wait/2+rand.N(wait+1), e.RetryAfter)

	if r.since.IsZero() {
		r.since = time.Now()
	}
	if quiet := silence(err); quiet > 0 && quiet < r.c.times.lost && r.told != nil {
		err = r.told // we cut this attempt short, at the end of the time: the one before knew better
	}
	r.told = err
	left := r.left()
	if left <= 0 || e.RetryAfter > left {
		return fmt.Errorf("%w (gave up after %d attempts in %s)", err, r.fails, time.Since(r.since).Round(time.Millisecond))
	}
	r.c.count.retries.Add(1)
	r.c.log.WithError(err).Debugf("drive: again in %s", min(wait, left))
	if err := pause(ctx, min(wait, left)); err != nil {
		return r.explain(ctx, err)
	}
	return nil
}

// explain makes err ours: an *Error that names the call, or ctx's own error. What http puts around it, the
// address, is dropped: it can hold a session's secret.
func (r *retrier) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", r.op.name, ctx.Err())
	}
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Kind: kindOfFault(err), Err: bare(err)}
	}
	named := *e
	if named.Op == "" {
		named.Op, named.File = r.op.name, r.op.file
	}
	if r.op.sends && named.Status == http.StatusForbidden && errors.Is(named.Kind, ErrRateLimit) && named.Message == dailyWall {
		named.Kind = ErrQuota
	}
	return &named
}

// kindOfFault gives the sentinel of a request that was not answered, or not in full.
func kindOfFault(err error) error {
	for _, kind := range Errors() {
		if errors.Is(err, kind) && !ofFiles(kind) { // a connection may be forbidden, too
			return kind
		}
	}
	var (
		network net.Error
		syntax  *json.SyntaxError
		shape   *json.UnmarshalTypeError
	)
	switch {
	case errors.As(err, &syntax), errors.As(err, &shape):
		return ErrProtocol
	case errors.Is(err, io.ErrUnexpectedEOF):
		return ErrTruncated
	case errors.As(err, &network) && network.Timeout():
		return ErrTimeout
	}
	return ErrOffline
}

// bare is err without the method and address of http's wrapping.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
