package drive

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	fullRate  = 325_000 / 60. // quota units a second, an account's share
	fullBurst = 250_000       // most of a minute's: the quota is counted by the minute
	slowBurst = 1_000         // while held back: a few calls, none of which may cost more
	leastRate = fullRate / 16
	calm      = 2 * time.Second // between two steps down, and between two steps up
)

// pace holds the whole client to the rate Drive allows: from the documented one, each rate-limit answer
// halves it, and quiet time raises it again.
type pace struct {
	limit *rate.Limiter

	mu    sync.Mutex // guards what follows
	step  time.Time  // when the rate was last changed
	until time.Time  // Drive asked for silence until then
}

func newPace() *pace { return &pace{limit: rate.NewLimiter(fullRate, fullBurst)} }

// wait takes units out of the quota, waiting until there are as many.
func (p *pace) wait(ctx context.Context, units int) error {
	if d := time.Until(p.silence()); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r := p.limit.ReserveN(time.Now(), units)
	d := r.Delay()
	if d == 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		r.Cancel()
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
	p.limit.SetBurstAt(now, slowBurst)
	p.limit.SetLimitAt(now, max(p.limit.Limit()/2, leastRate))
}

// well notes that a call succeeded.
func (p *pace) well() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.limit.Burst() == fullBurst || now.Sub(p.step) < calm {
		return
	}
	p.step = now
	faster := min(p.limit.Limit()*5/4, fullRate)
	p.limit.SetLimitAt(now, faster)
	if faster == fullRate {
		p.limit.SetBurstAt(now, fullBurst)
	}
}

// throttled says until when calls are held back, at least; zero if they are not.
func (p *pace) throttled() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit.Burst() == fullBurst {
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
