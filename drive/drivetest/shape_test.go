package drivetest

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The arithmetic of the pacer, by a clock that stands still; how exact the timers are is for BenchmarkShape.
func TestPacerGrantsAreExact(t *testing.T) {
	const rate = 40_000_000
	for name, test := range map[string]func(t *testing.T){
		"at the rate, or at once without one": func(t *testing.T) {
			var p pacer
			p.enter()
			start := time.Now()
			var last time.Time
			const n = 1000
			for range n {
				last = p.reserve(paceStep, rate)
			}
			want := time.Duration(n * paceStep * int64(time.Second) / rate)
			require.InDelta(t, want.Seconds(), last.Sub(start).Seconds(), 1e-5, "a nanosecond is lost at each step")
			require.Equal(t, time.Now(), p.reserve(1<<30, 0), "no limit, no wait")
		},
		"transfers take turns": func(t *testing.T) {
			var p pacer
			first, second, third := p.reserve(paceStep, rate), p.reserve(paceStep, rate), p.reserve(paceStep, rate)
			require.Equal(t, second.Sub(first), third.Sub(second))
		},
		"an idle line saves nothing up": func(t *testing.T) {
			var p pacer
			p.enter()
			p.next = time.Now().Add(-time.Hour)
			p.leave()
			p.enter()
			require.Equal(t, time.Now().Add(time.Second), p.reserve(rate, rate))
		},
		"nor does one whose client reads slowly, but for a moment": func(t *testing.T) {
			var p pacer
			p.enter()
			p.next = time.Now().Add(-time.Hour)
			require.Equal(t, time.Now().Add(time.Second-paceLag), p.reserve(rate, rate))
		},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
	}
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
