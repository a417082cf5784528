package drivetest

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The arithmetic of the pacer is tested by a clock that stands still; how exact the timers are is for BenchmarkShape.

const testRate = 40_000_000 // bytes a second

func TestPacerGrantsAreExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pacer
		p.enter()
		start := time.Now()
		var last time.Time
		const n = 1000
		for range n {
			last = p.reserve(paceStep, testRate)
		}
		want := time.Duration(n * paceStep * int64(time.Second) / testRate)
		require.InDelta(t, want.Seconds(), last.Sub(start).Seconds(), 1e-5, "a nanosecond is lost at each step")
		require.Equal(t, time.Now(), p.reserve(1<<30, 0), "no limit, no wait")
	})
}

func TestTransfersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pacer
		first, second, third := p.reserve(paceStep, testRate), p.reserve(paceStep, testRate), p.reserve(paceStep, testRate)
		require.Equal(t, second.Sub(first), third.Sub(second))
	})
}

func TestAnIdleLineSavesNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pacer
		p.enter()
		p.next = time.Now().Add(-time.Hour)
		p.leave()
		p.enter()
		require.Equal(t, time.Now().Add(time.Second), p.reserve(testRate, testRate))
	})
}

func TestASlowReaderSavesUpForAMomentOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pacer
		p.enter()
		p.next = time.Now().Add(-time.Hour)
		require.Equal(t, time.Now().Add(time.Second-paceLag), p.reserve(testRate, testRate))
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
