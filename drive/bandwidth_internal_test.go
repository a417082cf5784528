package drive

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// mover moves bytes along a lane as fast as it may, until its context ends.
func mover(ctx context.Context, all *lines, l *line, moved *atomic.Int64) {
	a := lane{all: all, line: l, hold: func() func() { return func() {} }}
	for {
		n, unused, err := a.take(ctx, 1<<20)
		if err != nil {
			return
		}
		const short = 16 << 10 // a read that brought less than it was allowed
		unused(max(n-short, 0))
		moved.Add(int64(min(n, short)))
	}
}

func TestLinesShareTheBandwidth(t *testing.T) {
	const rate = 1 << 20
	yes := func() bool { return true }
	run := func(t *testing.T, b Bandwidth, waited, idle int) (ofWaited, ofIdle float64) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			all := newLines(b)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var counts [2]atomic.Int64
			for range waited {
				go mover(ctx, all, &all.down, &counts[0])
			}
			for range idle {
				go mover(Background(ctx, yes), all, &all.down, &counts[1])
			}
			<-ctx.Done()
			synctest.Wait()
			ofWaited, ofIdle = float64(counts[0].Load())/60/rate, float64(counts[1].Load())/60/rate
		})
		return ofWaited, ofIdle
	}
	t.Run("the limit is kept, and reached", func(t *testing.T) {
		waited, _ := run(t, Bandwidth{Down: rate}, 3, 0)
		require.InDelta(t, 1, waited, 0.02)
	})
	t.Run("what nobody waits for has what is left", func(t *testing.T) {
		waited, idle := run(t, Bandwidth{Down: rate}, 2, 8)
		require.InDelta(t, 1, waited, 0.02)
		require.Less(t, idle, 0.01)
		_, idle = run(t, Bandwidth{Down: rate}, 0, 8)
		require.InDelta(t, 1, idle, 0.02)
	})
	t.Run("and no more than its own limit", func(t *testing.T) {
		_, idle := run(t, Bandwidth{Down: rate, Background: rate / 4}, 0, 8)
		require.InDelta(t, 0.25, idle, 0.01)
		_, idle = run(t, Bandwidth{Background: rate / 4}, 0, 8)
		require.InDelta(t, 0.25, idle, 0.01)
	})
	t.Run("up and down do not share", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			all := newLines(Bandwidth{Up: rate, Down: 2 * rate})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var up, down atomic.Int64
			go mover(ctx, all, &all.up, &up)
			go mover(Background(ctx, yes), all, &all.down, &down)
			<-ctx.Done()
			synctest.Wait()
			require.InDelta(t, 1, float64(up.Load())/60/rate, 0.02)
			require.InDelta(t, 2, float64(down.Load())/60/rate, 0.04)
		})
	})
	t.Run("who begins to wait is served at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			all := newLines(Bandwidth{Down: 1 << 30, Background: 1 << 10})
			var waited atomic.Bool
			var moved atomic.Int64
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			go mover(Background(ctx, func() bool { return !waited.Load() }), all, &all.down, &moved)
			time.Sleep(30 * time.Second)
			require.InDelta(t, 30<<10, moved.Load(), 2<<10)
			waited.Store(true)
			time.Sleep(time.Second)
			require.Greater(t, moved.Load(), int64(100<<20))
		})
	})
}
