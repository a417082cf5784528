//go:build e2e

package e2e

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Promise 2: a start costs the blocks it needs, not the image. The line is a long one: 200 ms to the first byte,
// 40 MB/s on each connection.
func TestColdStart(t *testing.T) {
	w := newWorld(t, "--latency", "200ms", "--bandwidth", "40MB")
	m := w.mount(t, ann, 0)
	m.push(t, science(t), "lab/science:1.0.sif")
	m.unmount(t)
	st, err := os.Stat(science(t))
	require.NoError(t, err)

	starts := []struct {
		name string
		uid  int
		args string
	}{
		{"exec true, root", 0, "exec_ %s true"},
		{"run numpy, root", 0, "run %s -c '" + arithmetic + "'"},
		{"run numpy, ordinary user", userID, "run %s -c '" + arithmetic + "'"},
		{"run numpy again, root", 0, "run %s -c '" + arithmetic + "'"}, // another machine, after the first ones' profile
		{"run scipy, root", 0, "run %s -c 'import numpy, scipy.linalg as l; print(l.det(numpy.eye(3)))'"},
	}
	for _, s := range starts {
		t.Run(s.name, func(t *testing.T) {
			m := w.mount(t, ann, 0, "--allow-other") // empty state
			w.forgetRequests(t)
			begin := time.Now()
			w.inside(t, s.uid, strings.Replace(s.args, "%s", m.path("lab/science:1.0.sif"), 1))
			took := time.Since(begin)
			var bytes, ranges int64
			for _, r := range w.requests(t) {
				if strings.Contains(r.Query, "alt=media") && r.Method == "GET" {
					bytes += r.Out
					ranges++
				}
			}
			t.Logf("cold start, %s: %.1f MB of %.1f MB (%.1f %%) in %d ranges, %.1f s, at 200 ms and 40 MB/s a connection", s.name,
				float64(bytes)/1e6, float64(st.Size())/1e6, 100*float64(bytes)/float64(st.Size()), ranges, took.Seconds())
			require.NotZero(t, bytes, "the emulator's log shows the reads")
			require.Less(t, bytes, st.Size()/2, "a start fetches less than half of the image")
		})
	}
}
