package drivetest_test

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
)

// BenchmarkShape downloads and uploads at set bandwidths and reports how much of them was reached (1 is
// exact) and the shortest time of a stream by the longest (1 is fair).
func BenchmarkShape(b *testing.B) {
	const size = 32 << 20
	for _, c := range []struct {
		name    string
		shape   drivetest.Shape
		streams int
		rate    float64 // of all streams together
	}{
		{"40MB per connection", drivetest.Shape{PerConnection: 40_000_000}, 1, 40e6},
		{"125MB per connection", drivetest.Shape{PerConnection: 125_000_000}, 1, 125e6},
		{"40MB on each of 3", drivetest.Shape{PerConnection: 40_000_000}, 3, 120e6},
		{"125MB in total on 4 of 40MB", drivetest.Shape{PerConnection: 40_000_000, Total: 125_000_000}, 4, 125e6},
		{"1MB", drivetest.Shape{PerConnection: 1_000_000}, 16, 16e6},
	} {
		s, err := drivetest.Open(drivetest.Options{})
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, s.Close()) })
		require.NoError(b, s.Listen("127.0.0.1:0"))
		f, err := s.User("").Put(drivetest.File{Name: "f"}, io.LimitReader(zeros{}, size))
		require.NoError(b, err)
		share := size * int64(c.rate) / 125e6 / int64(c.streams) // a quarter of a second
		for _, up := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/up=%v", c.name, up), func(b *testing.B) {
				s.SetShape(c.shape)
				var longest, shortest time.Duration
				for range b.N {
					var wg sync.WaitGroup
					took := make([]time.Duration, c.streams)
					for i := range c.streams {
						wg.Go(func() { took[i] = transfer(b, s, f.ID, share, up) })
					}
					wg.Wait()
					shortest, longest = took[0], took[0]
					for _, d := range took {
						shortest, longest = min(shortest, d), max(longest, d)
					}
				}
				b.ReportMetric(float64(share)*float64(c.streams)/c.rate/longest.Seconds(), "reached")
				b.ReportMetric(shortest.Seconds()/longest.Seconds(), "fairness")
			})
		}
	}
}

// zeros is an endless file.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// transfer moves n bytes on a connection of its own and says how long that took.
func transfer(b *testing.B, s *drivetest.Server, id string, n int64, up bool) time.Duration {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, s.URL()+"/drive/v3/files/"+id+"?alt=media", nil)
	if up {
		req, err = http.NewRequestWithContext(b.Context(), http.MethodPost, s.URL()+"/upload/drive/v3/files?uploadType=media", io.LimitReader(zeros{}, n))
	}
	if err != nil {
		b.Error(err)
		return time.Hour
	}
	req.Header.Set("Authorization", "Bearer "+s.User("").AccessToken())
	if !up {
		req.Header.Set("Range", fmt.Sprintf("bytes=0-%d", n-1))
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	start := time.Now()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		b.Error(err)
		return time.Hour
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode/100 != 2 {
		b.Error(resp.Status, err)
	}
	return time.Since(start)
}
