package index_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// BenchmarkWarmRead is what each read of the kernel costs when the blocks are there: no allocation is the promise.
func BenchmarkWarmRead(b *testing.B) {
	srv := drivetest.NewServer(b, drivetest.Options{})
	id := put(b, srv, "c/i:t", imagetest.Zeros(16*block+5))
	ix := indextest.Open(b, srv, index.Options{})
	img := byID(b, ix, id)
	require.NoError(b, ix.Prefetch(b.Context(), img))
	r := open(b, ix, img)
	p := make([]byte, 128<<10)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	off := int64(0)
	for b.Loop() {
		if _, err := r.ReadAt(b.Context(), p, off); err != nil {
			b.Fatal(err)
		}
		off = (off + int64(len(p))) % (16 * block)
	}
}

// BenchmarkColdSequential reads an image that is not cached from its beginning to its end, over a line of 40 MB/s per
// connection and 125 MB/s in all; of-line is what it gets of that.
func BenchmarkColdSequential(b *testing.B) {
	const size, line = 400 << 20, 50e6
	srv, id := large(b, size)
	ix := indextest.Open(b, srv, index.Options{})
	img := byID(b, ix, id)
	for _, latency := range []time.Duration{50 * time.Millisecond, 150 * time.Millisecond, 300 * time.Millisecond} {
		b.Run(latency.String(), func(b *testing.B) {
			srv.SetShape(drivetest.Shape{Latency: latency, PerConnection: 16e6, Total: line})
			p := make([]byte, 128<<10)
			b.SetBytes(size)
			for b.Loop() {
				r, err := ix.OpenImage(img)
				require.NoError(b, err)
				for off := int64(0); ; {
					n, err := r.ReadAt(b.Context(), p, off)
					off += int64(n)
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil {
						b.Fatal(err)
					}
				}
				b.StopTimer()
				require.NoError(b, r.Close())
				indextest.Eventually(b, func() bool { return ix.Evict(img) == nil && ix.Cached(img) == 0 }, "evicted")
				b.StartTimer()
			}
			b.ReportMetric(size*float64(b.N)/b.Elapsed().Seconds()/line, "of-line")
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// BenchmarkWrite is what each write of cp costs, checksums included.
func BenchmarkWrite(b *testing.B) {
	srv := drivetest.NewServer(b, drivetest.Options{})
	ix := indextest.Open(b, srv, index.Options{})
	d, err := ix.CreateDraft(at("c", "i:t.sif"))
	require.NoError(b, err)
	d.Acquire()
	defer d.Release()
	p := imagetest.Bytes(1, 128<<10)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	off := int64(0)
	for b.Loop() {
		if off == 1<<30 {
			require.NoError(b, d.Truncate(b.Context(), 0))
			off = 0
		}
		if _, err := d.WriteAt(b.Context(), p, off); err != nil {
			b.Fatal(err)
		}
		off += int64(len(p))
	}
}
