package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
)

// BenchmarkRegistry10000 mounts a registry of 10,000 images with the real
// program: cold (no state), warm (records on disk), then lists a collection of
// 1,000. It reports milliseconds, requests, and the mount's resident memory.
func BenchmarkRegistry10000(b *testing.B) {
	w := newWorldIn(b, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
	ann := w.as("ann@uni.edu")
	fillRegistry(b, w, 10_000)
	var cold, warm, list time.Duration
	var coldLists, warmLists, listRequests int
	var memory int64
	for b.Loop() {
		require.NoError(b, os.RemoveAll(w.path("state")))
		mnt := filepath.Join(w.dir, "mnt")
		require.NoError(b, os.MkdirAll(mnt, 0o755))

		w.srv.ResetRequests()
		start := time.Now()
		ann.sregfs("mount", mnt).ok(b)
		cold += time.Since(start)
		coldLists += w.requests("files.list")
		ann.sh("echo > " + mnt + "/.sregfs/refresh").ok(b) // what others share comes with the first poll, after the mount is ready
		ann.sregfs("umount", mnt).ok(b)

		w.srv.ResetRequests()
		start = time.Now()
		ann.sregfs("mount", "--poll", "1h", mnt).ok(b)
		warm += time.Since(start)
		warmLists += w.requests("files.list")

		ann.sh("echo > " + mnt + "/.sregfs/refresh").ok(b) // the first poll is over
		w.srv.ResetRequests()
		start = time.Now()
		require.Equal(b, 2000, strings.Count(ann.sh("ls "+mnt+"/lab3").ok(b), "\n"))
		list += time.Since(start)
		listRequests += len(w.srv.Requests())
		ann.sh("find " + mnt + " | wc -l").ok(b)
		holder, held := index.Holder(w.path("state", "ann@uni.edu"))
		require.True(b, held)
		memory = max(memory, residentMemory(b, holder.PID))
		ann.sregfs("umount", mnt).ok(b)
	}
	n := float64(b.N)
	b.ReportMetric(cold.Seconds()*1000/n, "ms/cold-mount")
	b.ReportMetric(float64(coldLists)/n, "lists/cold-mount")
	b.ReportMetric(warm.Seconds()*1000/n, "ms/warm-mount")
	b.ReportMetric(float64(warmLists)/n, "lists/warm-mount")
	b.ReportMetric(list.Seconds()*1000/n, "ms/ls-1000-images")
	b.ReportMetric(float64(listRequests)/n, "requests/ls")
	b.ReportMetric(float64(memory)/(1<<20), "MiB-resident")
}

// fillRegistry puts n images into ann's registry, in ten collections.
func fillRegistry(b *testing.B, w *world, n int) {
	b.Helper()
	user := w.srv.User("ann@uni.edu")
	root, err := user.Put(drivetest.File{Name: "sregistry", MimeType: "application/vnd.google-apps.folder"}, nil)
	require.NoError(b, err)
	for i := range n {
		collection, name := fmt.Sprintf("lab%d", i%10), fmt.Sprintf("image-%05d", i)
		version := fmt.Sprintf("%032x", i)
		uri := collection + "/" + name + ":latest@" + version
		_, err := user.Put(drivetest.File{
			Name: uri + ".sif", MimeType: "application/octet-stream", Parents: []string{root.ID},
			Properties: map[string]string{"type": "container", "uri": uri, "collection": collection, "image": name, "tag": "latest", "version": version,
				"storage": uri + ".sif", "org.label-schema.build-size": "544MB", "maintainer": "ann"},
		}, bytes.NewReader([]byte{byte(i)}))
		require.NoError(b, err)
	}
}

// residentMemory is the process's resident set, in bytes.
func residentMemory(b *testing.B, pid int) int64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(b, err)
	for line := range strings.Lines(string(status)) {
		var kb int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kb); err == nil {
			return kb << 10
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
