package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index/image/imagetest"
)

// asked lists the requests since the log was emptied, by their names.
func (w *world) asked() []string {
	var ops []string
	for _, r := range w.srv.Requests() {
		ops = append(ops, r.Op)
	}
	w.srv.ResetRequests()
	return ops
}

// A verb that follows another asks Drive for what changed, and for nothing else;
// those that look at what is known ask nothing.
func TestVerbsAskForChangesAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	w.file("i.sif", imagetest.SIF(t, 300_000))
	ann.sregfs("push", "--name", "c/i:1", "i.sif").ok(t)
	w.asked()
	ann.sregfs("search").ok(t)
	require.Equal(t, []string{"changes.list"}, w.asked())
	ann.sregfs("search", "c/i").ok(t)
	require.Equal(t, []string{"changes.list"}, w.asked())
	for _, args := range []string{"get c/i:1", "images", "images --all", "inspect c/i:1", "pin c/i:1", "unpin c/i:1", "prefetch c/i:1", "labels -k x --help", "rm c/i:1", "config show", "version", "--help"} {
		ann.sregfs(strings.Fields(args)...).ok(t)
		require.Empty(t, w.asked(), args)
	}
	t.Run("another person's sign-in is noticed", func(t *testing.T) {
		require.NoError(t, os.Rename(w.path("users", "bob@uni.edu", "token.json"), w.path("users", "ann@uni.edu", "token.json")))
		r := ann.sregfs("search")
		require.Contains(t, r.out, "c/i:1", "what is known is listed, as without a network")
		require.Contains(t, r.err, "bob@uni.edu")
	})
}

// A folder that was removed is noticed by the feed.
func TestVerbsNoticeThatTheFolderIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	w.file("i.sif", imagetest.SIF(t, 300_000))
	ann.sregfs("push", "--name", "c/i:1", "i.sif").ok(t)
	ann.sregfs("search").ok(t)
	for _, f := range w.srv.User("ann@uni.edu").Files() {
		if f.Name == "sregistry" {
			require.NoError(t, w.srv.User("ann@uni.edu").Patch(f.ID, func(f *drivetest.File) { f.Trashed = true }))
		}
	}
	oneLine(t, ann.sregfs("-q", "search"), exitNotFound, "bin", "--root-id")
}

// BenchmarkSearch10000 searches a registry of 10,000 images, of which everything
// is known: once for all, and once for one.
func BenchmarkSearch10000(b *testing.B) {
	w := newWorldIn(b, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
	ann := w.as("ann@uni.edu")
	fillRegistry(b, w, 10_000)
	ann.sregfs("search").ok(b)
	ann.sregfs("search").ok(b)
	for _, args := range [][]string{{"search"}, {"search", "image-00777"}, {"search", "--json"}, {"get", "lab7/image-00777"}} {
		b.Run(strings.Join(args, "_"), func(b *testing.B) {
			var took time.Duration
			w.srv.ResetRequests()
			before := childTime(b)
			for b.Loop() {
				start := time.Now()
				require.NotEmpty(b, ann.sregfs(append([]string{"-q"}, args...)...).ok(b))
				took += time.Since(start)
			}
			b.ReportMetric((childTime(b)-before).Seconds()*1000/float64(b.N), "cpu-ms/search")
			b.ReportMetric(took.Seconds()*1000/float64(b.N), "ms/search")
			b.ReportMetric(float64(len(w.srv.Requests()))/float64(b.N), "requests/search")
		})
	}
}

// childTime is what the processes started here have used of the CPU, so far.
func childTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
