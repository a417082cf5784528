package fs_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
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

// BenchmarkRegistry mounts registries of three sizes, cold and warm, and looks at them. A tenth of the images is in one
// collection, called big; the others hold a hundred each. Its figures, in seconds unless they say otherwise:
//
//	first       mount without any state: the first listing
//	ready       mount with what the last one left
//	poll        a refresh that finds nothing new
//	ls          of big
//	ls-l        of big, the first time
//	ls-l-again  of big, when the kernel has seen every name
//	us/stat1    microseconds of the first stat(2) of each image, by absolute path
//	us/stat2    and of the second
//	listed-MB   memory of the mount after ls
//	looked-MB   memory of the mount at the end, when the kernel knows every image
func BenchmarkRegistry(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) { benchmarkRegistry(b, n) })
	}
}

func benchmarkRegistry(b *testing.B, n int) {
	b.Helper()
	srv := drivetest.NewServer(b, drivetest.Options{})
	root := []string{indextest.Root(b, srv.User(""))}
	for i := range n {
		collection := "big"
		if i%10 != 0 {
			collection = fmt.Sprintf("lab-%d", i/111)
		}
		ref := image.Ref{Collection: collection, Image: fmt.Sprintf("image-%d", i), Tag: "1", Version: fmt.Sprintf("%032x", i)}
		meta, err := image.Describe(ref, ".sif", map[string]string{"maintainer": "ann"}, nil)
		require.NoError(b, err)
		f := drivetest.File{Name: meta.Name, MimeType: "application/octet-stream", Properties: meta.Properties, Parents: root}
		_, err = srv.User("").Put(f, bytes.NewReader(imagetest.Bytes(uint64(i), 100)))
		require.NoError(b, err)
	}
	for b.Loop() {
		timed := func(name string, do func()) {
			start := time.Now()
			do()
			b.ReportMetric(time.Since(start).Seconds(), name)
		}
		var m *fstest.M
		timed("first", func() { m = fstest.Mount(b, srv, fstest.Options{Poll: time.Hour}) })
		m.Sh("echo > .sregfs/refresh")
		m.Unmount()
		timed("ready", m.Remount)
		timed("poll", func() { m.Sh("echo > .sregfs/refresh") })
		timed("ls", func() { require.Equal(b, strconv.Itoa(n/10*2), m.Sh("ls -U big | wc -l")) })
		b.ReportMetric(float64(resident(b, m))/1e6, "listed-MB")
		timed("ls-l", func() { m.Sh("ls -l big > /dev/null") })
		timed("ls-l-again", func() { m.Sh("ls -l big > /dev/null") })
		files, err := filepath.Glob(filepath.Join(m.Dir(), "*", "*.sif"))
		require.NoError(b, err)
		require.Len(b, files, n)
		for _, name := range []string{"us/stat1", "us/stat2"} {
			start := time.Now()
			for _, f := range files {
				_, err := os.Lstat(f)
				require.NoError(b, err)
			}
			b.ReportMetric(float64(time.Since(start).Microseconds())/float64(n), name)
		}
		b.ReportMetric(float64(resident(b, m))/1e6, "looked-MB")
		m.Unmount()
	}
}

// resident is the memory of the process that mounts, in bytes.
func resident(b *testing.B, m *fstest.M) int {
	b.Helper()
	for line := range strings.Lines(m.Sh("cat /proc/" + strconv.Itoa(m.PID()) + "/status")) {
		if f := strings.Fields(line); f[0] == "VmRSS:" {
			kb, err := strconv.Atoi(f[1])
			require.NoError(b, err)
			return kb << 10
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
