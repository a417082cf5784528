package drive

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func took(t *testing.T, f func()) time.Duration {
	t.Helper()
	start := time.Now()
	f()
	return time.Since(start)
}

func reading(t *testing.T, p *pace, n int) time.Duration {
	t.Helper()
	return took(t, func() {
		for range n {
			require.NoError(t, p.wait(t.Context(), unitsDownload, time.Hour))
		}
	})
}

func TestPaceSlowsDownAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		require.Zero(t, reading(t, p, 100_000), "there is no limit until Drive names one")
		require.True(t, p.throttled().IsZero())
		for range 100 {
			p.slow(0)
		}
		const minuteful = 325_000 / unitsDownload
		require.InDelta(t, 120, reading(t, p, minuteful).Seconds(), 2, "half the documented rate: calls refused together count once")
		require.False(t, p.throttled().IsZero())
		for range 100 {
			time.Sleep(calm)
			p.slow(0)
		}
		require.InDelta(t, 13, reading(t, p, minuteful/60).Seconds(), 1, "slow, but never at a standstill")
		for range 200 {
			time.Sleep(calm)
			p.well()
		}
		require.Zero(t, reading(t, p, 100_000), "quiet times lift it")
		require.True(t, p.throttled().IsZero())
	})
}

func TestPaceHonoursRetryAfterAndContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		p.slow(7 * time.Second)
		require.Equal(t, 7*time.Second, took(t, func() { require.NoError(t, p.wait(t.Context(), unitsRead, time.Minute)) }))
		p.slow(time.Hour)
		require.Zero(t, took(t, func() { require.ErrorIs(t, p.wait(t.Context(), unitsRead, time.Minute), ErrRateLimit) }), "longer than we have")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Equal(t, time.Second, took(t, func() { require.ErrorIs(t, p.wait(ctx, unitsRead, 2*time.Hour), context.DeadlineExceeded) }))
	})
}

// Those who leave the queue give back what they reserved.
func TestPaceOfThoseWhoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		p.slow(0)
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		for range 1000 {
			g.Go(func() { _ = p.wait(ctx, unitsDownload, time.Hour) })
		}
		synctest.Wait()
		cancel()
		g.Wait()
		require.Less(t, reading(t, p, 1), 40*time.Second, "74 seconds if all had kept their place")
	})
}

// The pauses double, stay within their bounds, and end when the time allowed is over.
func TestPausesBetweenAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Options{})
		require.NoError(t, err)
		failing := &Error{Status: 503, Kind: ErrTimeout}
		var at []time.Duration
		start := time.Now()
		err = c.call(t.Context(), op{name: "files.get"}, func(context.Context) error {
			at = append(at, time.Since(start))
			return failing
		})
		require.ErrorIs(t, err, ErrTimeout)
		require.ErrorContains(t, err, "gave up after")
		require.Equal(t, time.Minute, time.Since(start))
		require.Equal(t, time.Minute, at[len(at)-1], "a last attempt when the time is over")
		require.GreaterOrEqual(t, len(at), 5)
		require.Less(t, len(at), 10)
		for i := 1; i < len(at)-1; i++ {
			base := time.Second << (i - 1)
			require.GreaterOrEqual(t, at[i]-at[i-1], base/2)
			require.LessOrEqual(t, at[i]-at[i-1], base/2+base)
		}

		// Progress starts the time over: a slow but moving call never ends for its age.
		r := c.retrier(op{name: "upload"})
		for range 100 {
			require.Error(t, r.attempt(t.Context(), func(context.Context) error { return failing }))
			r.progress()
			require.NoError(t, r.again(t.Context(), failing))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		err = r.again(ctx, failing)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.False(t, errors.Is(err, ErrTimeout))
	})
}
