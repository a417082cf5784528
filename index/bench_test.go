package index_test

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/indextest"
)

// benchImages is how many images the benchmarks' registry holds.
const benchImages = 10_000

// registry puts n images of a few tags each into collections of 100 images; one collection holds half of them.
func registry(b *testing.B, srv *drivetest.Server, n int) {
	b.Helper()
	user := srv.User("")
	root := indextest.Root(b, user)
	for i := range n {
		collection := "big"
		if i%2 == 1 {
			collection = fmt.Sprintf("lab-%d", i/200)
		}
		name := fmt.Sprintf("image-%05d", i)
		version := fmt.Sprintf("%032x", i)
		uri := collection + "/" + name + ":1.0@" + version
		_, err := user.Put(drivetest.File{
			Name: uri + ".sif", MimeType: drive.ImageType, Parents: []string{root},
			Properties: map[string]string{
				"type": "container", "collection": collection, "image": name, "tag": "1.0", "version": version, "uri": uri, "storage": uri + ".sif",
				"org.label-schema.build-date": "2026-11-22", "org.label-schema.schema-version": "1.0", "maintainer": "ann@uni.edu",
			},
		}, strings.NewReader(version))
		require.NoError(b, err)
	}
}

// rss is the resident memory of this process in MB; the emulated Drive is part of it.
func rss(b *testing.B) float64 {
	b.Helper()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	require.NoError(b, err)
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	require.NoError(b, err)
	return float64(pages*os.Getpagesize()) / (1 << 20)
}

// BenchmarkRegistry opens a registry of 10,000 images cold and warm, and lists its largest collection. It reports how
// many listing requests that takes and how much memory the index adds to the process.
func BenchmarkRegistry(b *testing.B) {
	srv := drivetest.NewServer(b, drivetest.Options{})
	registry(b, srv, benchImages)
	dir, c := b.TempDir(), indextest.Client(b, srv, srv.User(""))
	open := func(b *testing.B, o index.Options) *index.Index {
		b.Helper()
		o.Drive, o.Poll = c, time.Hour
		ix, err := index.Open(context.WithoutCancel(b.Context()), o)
		require.NoError(b, err)
		return ix
	}
	b.Run("open=cold", func(b *testing.B) {
		for b.Loop() {
			srv.ResetRequests()
			ix := open(b, index.Options{Dir: b.TempDir()})
			require.Len(b, collection(b, ix, "", "big").Tags, benchImages/2)
			b.ReportMetric(float64(lists(srv)), "lists")
			require.NoError(b, ix.Close())
		}
	})
	require.NoError(b, open(b, index.Options{Dir: dir}).Close())
	b.Run("open=warm", func(b *testing.B) {
		for b.Loop() {
			srv.ResetRequests()
			ix := open(b, index.Options{Dir: dir})
			require.Len(b, collection(b, ix, "", "big").Tags, benchImages/2)
			b.ReportMetric(float64(lists(srv)), "lists")
			b.StopTimer()
			require.NoError(b, ix.Close())
			b.StartTimer()
		}
	})
	before := rss(b)
	ix := open(b, index.Options{Dir: dir})
	defer func() { require.NoError(b, ix.Close()) }()
	b.Run("ls", func(b *testing.B) {
		for b.Loop() {
			require.Len(b, collection(b, ix, "", "big").Tags, benchImages/2)
		}
		b.ReportMetric(rss(b)-before, "MB-added")
	})
	b.Run("lookup", func(b *testing.B) {
		r := ref(b, "big/image-00500:1.0")
		b.ReportAllocs()
		for b.Loop() {
			_, err := ix.Lookup("", r)
			require.NoError(b, err)
		}
	})
	b.Run("search", func(b *testing.B) {
		for b.Loop() {
			require.Len(b, ix.Search(index.Query{Text: "image-00500"}).Collect(), 1)
		}
	})
}
