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

func TestPaceKeepsToTheQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		read := func(n int) time.Duration {
			return took(t, func() {
				for range n {
					require.NoError(t, p.wait(t.Context(), unitsDownload))
				}
			})
		}
		require.Zero(t, read(fullBurst/unitsDownload), "most of a minute's quota may go at once")
		require.InDelta(t, 60, read(325_000/unitsDownload).Seconds(), 1, "then it is the documented rate")
	})
}

func TestPaceSlowsDownAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		require.True(t, p.throttled().IsZero())
		for range 100 {
			p.slow(0)
		}
		require.InDelta(t, fullRate/2, float64(p.limit.Limit()), 1, "calls refused together count once")
		require.False(t, p.throttled().IsZero())
		for range 100 {
			time.Sleep(calm)
			p.slow(0)
		}
		require.InDelta(t, leastRate, float64(p.limit.Limit()), 1, "never to a standstill")
		require.Less(t, took(t, func() {
			for range 20 {
				require.NoError(t, p.wait(t.Context(), unitsDownload))
			}
		}), 20*time.Second)
		for range 30 {
			time.Sleep(calm)
			p.well()
		}
		require.InDelta(t, fullRate, float64(p.limit.Limit()), 1)
		require.Equal(t, fullBurst, p.limit.Burst())
		require.True(t, p.throttled().IsZero())
	})
}

func TestPaceHonoursRetryAfterAndContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		p.slow(7 * time.Second)
		require.Equal(t, 7*time.Second, took(t, func() { require.NoError(t, p.wait(t.Context(), unitsRead)) }))
		p.slow(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Equal(t, time.Second, took(t, func() { require.ErrorIs(t, p.wait(ctx, unitsRead), context.DeadlineExceeded) }))
	})
}

// Those who leave the queue give back what they reserved.
func TestPaceOfThoseWhoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		require.NoError(t, p.wait(t.Context(), fullBurst))
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		for range 1000 {
			g.Go(func() { _ = p.wait(ctx, unitsDownload) })
		}
		synctest.Wait()
		cancel()
		g.Wait()
		require.Less(t, took(t, func() { require.NoError(t, p.wait(t.Context(), unitsDownload)) }), 40*time.Second)
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
