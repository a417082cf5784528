package fs_test

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/image"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// BenchmarkTenThousandImages mounts a registry of 10,000 images, cold and warm, and lists it. Its figures are list
// requests of a cold mount, seconds until a warm mount answers, list requests of that, seconds of ls -l, and the memory
// of the process in MB.
func BenchmarkTenThousandImages(b *testing.B) {
	srv := drivetest.NewServer(b, drivetest.Options{})
	root := []string{indextest.Root(b, srv.User(""))}
	for i := range 10_000 {
		ref := image.Ref{Collection: fmt.Sprintf("c%d", i%10), Image: fmt.Sprintf("image-%d", i), Tag: "1", Version: fmt.Sprintf("%032x", i)}
		meta, err := image.Describe(ref, ".sif", map[string]string{"maintainer": "ann"}, nil)
		require.NoError(b, err)
		f := drivetest.File{Name: meta.Name, MimeType: "application/octet-stream", Properties: meta.Properties, Parents: root}
		_, err = srv.User("").Put(f, bytes.NewReader(imagetest.Bytes(uint64(i), 100)))
		require.NoError(b, err)
	}
	m := fstest.Mount(b, srv, fstest.Options{Poll: -1})
	lists := func() (n float64) {
		for _, r := range srv.Requests() {
			if r.Op == "files.list" {
				n++
			}
		}
		srv.ResetRequests()
		return n
	}
	cold := lists()
	for b.Loop() {
		b.ReportMetric(cold, "cold-lists")
		m.Unmount()
		start := time.Now()
		m.Remount()
		b.ReportMetric(time.Since(start).Seconds(), "ready-s")
		b.ReportMetric(lists(), "warm-lists")
		start = time.Now()
		require.Equal(b, "2001", m.Sh("ls -l c3 | wc -l"))
		b.ReportMetric(time.Since(start).Seconds(), "ls-s")
		require.Zero(b, lists())
		for line := range strings.Lines(m.Sh("cat /proc/" + strconv.Itoa(m.PID()) + "/status")) {
			if f := strings.Fields(line); f[0] == "VmRSS:" {
				kb, err := strconv.Atoi(f[1])
				require.NoError(b, err)
				b.ReportMetric(float64(kb)/1000, "rss-MB")
			}
		}
	}
}

// BenchmarkRead reads an image that is on disk, through the kernel and without its pages.
func BenchmarkRead(b *testing.B) {
	srv := drivetest.NewServer(b, drivetest.Options{})
	const size = 256 << 20
	indextest.Put(b, srv.User(""), "c/x:1", imagetest.Bytes(1, size), nil)
	m := fstest.Mount(b, srv, fstest.Options{})
	m.Sh("cat c/x:1.sif > /dev/null")
	b.SetBytes(size)
	for b.Loop() {
		b.StopTimer()
		m.Sh("echo 3 > /proc/sys/vm/drop_caches")
		b.StartTimer()
		m.Sh("dd if=c/x:1.sif of=/dev/null bs=1M status=none")
	}
}
