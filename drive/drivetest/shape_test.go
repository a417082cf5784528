package drivetest

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The arithmetic of the pacer; how exact the timers are is for BenchmarkShape.
func TestPacerGrantsAreExact(t *testing.T) {
	var p pacer
	p.enter()
	start := time.Now()
	var last time.Time
	const n, rate = 1000, 40_000_000
	for range n {
		last = p.reserve(paceStep, rate)
	}
	want := time.Duration(n * paceStep * int64(time.Second) / rate)
	require.InDelta(t, want.Seconds(), last.Sub(start).Seconds(), 0.05*want.Seconds())
	require.WithinDuration(t, time.Now(), p.reserve(1<<30, 0), time.Second, "no limit, no wait")

	t.Run("transfers take turns", func(t *testing.T) {
		var p pacer
		first := p.reserve(paceStep, rate)
		second := p.reserve(paceStep, rate)
		third := p.reserve(paceStep, rate)
		require.Equal(t, second.Sub(first), third.Sub(second))
	})
	t.Run("an idle line saves nothing up", func(t *testing.T) {
		var p pacer
		p.enter()
		p.next = time.Now().Add(-time.Hour)
		p.leave()
		p.enter()
		require.True(t, p.reserve(rate, rate).After(time.Now().Add(900*time.Millisecond)))
	})
	t.Run("nor does one whose client reads slowly, but for a moment", func(t *testing.T) {
		var p pacer
		p.enter()
		p.next = time.Now().Add(-time.Hour)
		require.True(t, p.reserve(rate, rate).After(time.Now().Add(900*time.Millisecond)))
	})
}

func TestStepFollowsTheSlowestLine(t *testing.T) {
	for _, c := range []struct {
		shape Shape
		want  int
	}{
		{Shape{}, paceStep},
		{Shape{PerConnection: 125_000_000, Total: 1 << 40}, paceStep},
		{Shape{PerConnection: 1_000_000}, 20_000},
		{Shape{PerConnection: 1_000_000, Total: 500_000}, 10_000},
		{Shape{Total: 1}, 1024},
	} {
		require.Equal(t, c.want, newShaper(c.shape, nil).step(), "%+v", c.shape)
	}
}

func TestPacedBodyEndsWhenTheServerCloses(t *testing.T) {
	done := make(chan struct{})
	s := newShaper(Shape{Total: 1}, done)
	close(done)
	require.False(t, s.pass(t.Context(), &pacer{}, &s.total.down, 1<<20))
	var _ http.ResponseWriter = (*pacedWriter)(nil)
}
