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

// Promise 2 on a machine that never saw the image: what a start on another one read is known, and asked for at once.
func TestColdStartAfterAnotherMachine(t *testing.T) {
	w := newWorld(t, "--latency", "200ms", "--bandwidth", "40MB", "--total-bandwidth", "125MB")
	for _, s := range []struct {
		name string
		uid  int
		args string
		says string
	}{
		{"true", 0, "exec_ %s sh -c 'true; echo started'", "started"},
		{"numpy, ordinary user", userID, "run %s -c '" + arithmetic + "'", ""},
	} {
		t.Run(s.name, func(t *testing.T) {
			name := "lab/" + strings.Fields(strings.ReplaceAll(s.name, ",", ""))[0] + ":1.0.sif"
			m := w.mount(t, ann, 0, "--allow-other")
			m.push(t, science(t), name)
			m.unmount(t)
			// start runs the command on a machine of its own, and returns the requests for content by when they came.
			start := func(profile string) (ranges []request, took time.Duration) {
				m := w.mount(t, ann, 0, "--allow-other", "--profile="+profile)
				w.forgetRequests(t)
				begin := time.Now()
				out := w.inside(t, s.uid, strings.Replace(s.args, "%s", m.path(name), 1))
				took = time.Since(begin)
				require.Contains(t, out, s.says)
				for _, r := range w.requests(t) {
					if strings.Contains(r.Query, "alt=media") && r.Method == "GET" {
						ranges = append(ranges, r)
					}
				}
				m.unmount(t) // which lets what was recorded be published
				return ranges, took
			}
			say := func(what string, ranges []request, took time.Duration) (bytes int64) {
				for _, r := range ranges {
					bytes += r.Out
				}
				first := 0 // requests that waited for no reply
				for _, r := range ranges {
					if r.Time.Sub(ranges[0].Time) < 200*time.Millisecond {
						first++
					}
				}
				t.Logf("%s: %.1f MB in %d ranges, %d of them at once, %.2f s", what, float64(bytes)/1e6, len(ranges), first, took.Seconds())
				return bytes
			}
			none, tookNone := start("off")
			bytesNone := say("without a profile", none, tookNone)
			static, tookStatic := start("on")
			say("first start ever", static, tookStatic)
			shared, tookShared := start("on")
			bytesShared := say("start after another machine's", shared, tookShared)
			require.NotEmpty(t, shared, "the machine never saw the image")
			require.Less(t, bytesShared, bytesNone/2, "only what is needed")
			require.Less(t, len(shared), len(none)+4, "in few requests")
		})
	}
}
