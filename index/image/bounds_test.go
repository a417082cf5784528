package image_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"sregfs/index/image"
	"sregfs/index/image/imagetest"
)

// What a hostile image may cost to look into: bytes allocated in all, bytes the heap grows, time on a busy machine.
const (
	mostAllocated = 1 << 30
	mostHeap      = 256 << 20
	mostTime      = time.Minute
)

// packers are compressors by their number in a superblock.
var packers = map[string]struct {
	number uint16
	pack   func(t *testing.T, b []byte) []byte
}{
	"gzip": {1, func(t *testing.T, b []byte) []byte {
		t.Helper()
		return packed(t, b, func(w io.Writer) (io.WriteCloser, error) { return zlib.NewWriter(w), nil })
	}},
	"lzma": {2, func(t *testing.T, b []byte) []byte {
		t.Helper()
		return packed(t, b, func(w io.Writer) (io.WriteCloser, error) {
			return lzma.WriterConfig{DictCap: 1 << 20, EOSMarker: true}.NewWriter(w)
		})
	}},
	"xz": {4, func(t *testing.T, b []byte) []byte {
		t.Helper()
		return packed(t, b, func(w io.Writer) (io.WriteCloser, error) { return xz.WriterConfig{DictCap: 1 << 20}.NewWriter(w) })
	}},
	"lz4": {5, func(t *testing.T, b []byte) []byte {
		t.Helper()
		out := make([]byte, lz4.CompressBlockBound(len(b)))
		n, err := lz4.CompressBlock(b, out, nil)
		require.NoError(t, err)
		return out[:n]
	}},
	"zstd": {6, func(t *testing.T, b []byte) []byte {
		t.Helper()
		return packed(t, b, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) })
	}},
}

func packed(t *testing.T, b []byte, to func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := to(&out)
	require.NoError(t, err)
	_, err = w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

// crowdedSquashfs is a squashfs whose top directory says that it has 4 GiB of names, of which blocks metadata blocks are
// there. Each is packed by pack. A name that is looked for in it comes after all of them.
func crowdedSquashfs(t *testing.T, number uint16, pack func(*testing.T, []byte) []byte, blocks int) []byte {
	t.Helper()
	le := binary.LittleEndian
	meta := func(b []byte) []byte {
		p := pack(t, b)
		require.Less(t, len(p), 8192)
		return append(le.AppendUint16(nil, uint16(len(p))), p...)
	}
	var inode bytes.Buffer
	for _, v := range []any{uint16(8), uint16(0o755), uint16(0), uint16(0), uint32(0), uint32(1), // long directory
		uint32(2), uint32(1<<32 - 1), uint32(0), uint32(1), uint16(0), uint16(0), uint32(1<<32 - 1)} {
		require.NoError(t, binary.Write(&inode, le, v))
	}
	inodes := meta(inode.Bytes())
	// Two runs of names, of two blocks together, so that there are only two blocks to pack.
	var unit []byte
	const name = 32
	for _, count := range []uint32{205, 204} {
		unit = le.AppendUint32(le.AppendUint32(le.AppendUint32(unit, count-1), 0), 1)
		for range count {
			unit = append(unit, 0, 0, 0, 0, 1, 0, name-1, 0)
			unit = append(unit, bytes.Repeat([]byte{'!'}, name)...) // which sorts before the dot
		}
	}
	require.Len(t, unit, 2*8192)
	dirs := bytes.Repeat(append(meta(unit[:8192]), meta(unit[8192:])...), blocks/2)
	inodeTable, dirTable := uint64(96), uint64(96+len(inodes))
	end := dirTable + uint64(len(dirs))
	var out bytes.Buffer
	for _, v := range []any{[]byte("hsqs"), uint32(1), uint32(0), uint32(1 << 17), uint32(0), number, uint16(17), uint16(0), uint16(1), uint16(4), uint16(0),
		uint64(0), end, end, ^uint64(0), inodeTable, dirTable, end, ^uint64(0), inodes, dirs} {
		require.NoError(t, binary.Write(&out, le, v))
	}
	return out.Bytes()
}

// bounded runs f and requires that it stayed within what a hostile image may cost.
func bounded(t *testing.T, f func()) {
	t.Helper()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	f()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	allocated, heap := after.TotalAlloc-before.TotalAlloc, int64(after.HeapSys)-int64(before.HeapSys)
	t.Logf("%d MiB allocated, the heap grew by %d MiB, %s", allocated>>20, heap>>20, took.Round(time.Millisecond))
	require.Less(t, allocated, uint64(mostAllocated))
	require.Less(t, heap, int64(mostHeap))
	require.Less(t, took, mostTime)
}

// A directory without end, behind every compressor, ends with the budget.
func TestCrowdedSquashfsIsBounded(t *testing.T) {
	for name, p := range packers {
		t.Run(name, func(t *testing.T) {
			data := crowdedSquashfs(t, p.number, p.pack, 12_000)
			bounded(t, func() {
				_, err := image.Inspect(reader(data), int64(len(data)))
				require.ErrorIs(t, err, image.ErrCorrupt)
				require.ErrorContains(t, err, "to look into")
			})
		})
	}
}

// The JSON of a SIF, as large as it may be and of the worst shapes.
func TestHugeLabelsAreBounded(t *testing.T) {
	const room = 4<<20 - 1000
	for name, text := range map[string]string{
		"many labels":  `{"data":{"attributes":{"labels":{` + strings.Repeat(`"":"",`, room/6) + `"a":"b"}}}}`,
		"many apps":    `{"data":{"attributes":{"apps":{` + many(`"%":{},`, room) + `"a":{}}}}}`,
		"many objects": `{"data":{"attributes":{"labels":{` + many(`"%":[],`, room) + `"a":"b"}}}}`,
		"deep":         `{"data":{"attributes":{"labels":` + strings.Repeat(`[`, room),
		"deep, closed": `{"data":{"attributes":{"labels":{"a":` + strings.Repeat(`[`, room/2) + strings.Repeat(`]`, room/2) + `}}}}`,
		"one label":    `{"data":{"attributes":{"labels":{"a":"` + strings.Repeat(`\u0001`, room/6) + `"}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			data := sifWithJSON(t, text)
			bounded(t, func() {
				_, err := image.Metafiles(reader(data), int64(len(data)))
				requireOwn(t, err)
			})
		})
	}
}

// many repeats form, with another number for each %, up to n bytes.
func many(form string, n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		b.WriteString(strings.Replace(form, "%", string(rune('a'+i%26))+strings.Repeat("x", i%7)+string(rune(0x4e00+i%20000)), 1))
	}
	return b.String()
}

// sifWithJSON is a SIF whose inspection object is text.
func sifWithJSON(t *testing.T, text string) []byte {
	t.Helper()
	data := imagetest.SIF(t, 100_000, someLabels)
	binary.LittleEndian.PutUint64(data[descriptor(theJSON)+inOff:], uint64(len(data)))
	binary.LittleEndian.PutUint64(data[descriptor(theJSON)+inLen:], uint64(len(text)))
	return append(data, text...)
}
