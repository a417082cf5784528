package drive

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	docRate   = 325_000 / 60. // quota units a second: an account's share, by the documentation
	leastRate = docRate / 16
	mostRate  = docRate * 16    // beyond this the limit is lifted
	burst     = 1_000           // units that may go at once while held back; no call costs more
	calm      = 2 * time.Second // between two steps down, and between two steps up
)

// pace holds the whole client to the rate Drive allows. What that is depends on the age and the owner of
// the OAuth client (older ones have other quotas than documented), so it is found out: there is no limit
// until Drive refuses a call for its rate; then half of the documented rate, halved by each further refusal
// and raised by each quiet moment, until it means nothing any more.
type pace struct {
	limit *rate.Limiter
	turn  chan struct{} // held while waiting for limit: whoever leaves gives back his share only if nobody reserved behind him

	mu    sync.Mutex // guards what follows
	step  time.Time  // when the rate was last changed
	until time.Time  // Drive asked for silence until then
}

func newPace() *pace {
	return &pace{limit: rate.NewLimiter(rate.Inf, burst), turn: make(chan struct{}, 1)}
}

// wait takes units out of the quota, waiting until there are as many. Where that takes longer than most it does not
// wait, or no longer: ErrRateLimit.
func (p *pace) wait(ctx context.Context, units int, most time.Duration) error {
	until := p.silence()
	if d := time.Until(until); d > most {
		return &Error{Kind: ErrRateLimit, RetryAfter: d, Err: fmt.Errorf("Drive asked for silence until %s", until.Format(time.TimeOnly))} //nolint:staticcheck // Drive is a name
	} else if err := pause(ctx, d); err != nil {
		return err
	}
	if p.limit.Limit() == rate.Inf {
		return nil
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-timer.C:
		return &Error{Kind: ErrRateLimit, Err: errQueue}
	case <-ctx.Done():
		return ctx.Err()
	}
	r := p.limit.ReserveN(time.Now(), units)
	err := pause(ctx, r.Delay())
	if err != nil {
		r.Cancel()
	}
	return err
}

// errQueue is what keeps a call from being made while the client goes slowly.
var errQueue = errors.New("too many calls wait for their turn")

// pause waits for d, or for the end of ctx, whose error it returns then.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pace) silence() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.until
}

// slow notes that Drive refused a call for its rate. Calls refused together count once.
func (p *pace) slow(retryAfter time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if until := now.Add(retryAfter); retryAfter > 0 && until.After(p.until) {
		p.until = until
	}
	if now.Sub(p.step) < calm {
		return
	}
	p.step = now
	p.limit.SetLimitAt(now, max(min(p.limit.Limit(), docRate)/2, leastRate))
}

// well notes that a call succeeded.
func (p *pace) well() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.limit.Limit() == rate.Inf || now.Sub(p.step) < calm {
		return
	}
	p.step = now
	faster := p.limit.Limit() * 1.1
	if faster > mostRate {
		faster = rate.Inf
	}
	p.limit.SetLimitAt(now, faster)
}

// throttled says until when calls are held back, at least; zero if they are not.
func (p *pace) throttled() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit.Limit() >= docRate {
		return time.Time{}
	}
	return later(p.until, p.step.Add(calm))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
