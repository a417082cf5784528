package image_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/index/image"
	"sregfs/index/image/imagetest"
)

var someLabels = imagetest.Labels{"maintainer": "ann@uni.edu", "org.label-schema.usage": "/.singularity.d/runscript.help"}

func TestInspectSIF(t *testing.T) {
	for name, opts := range map[string][]imagetest.Option{
		"labels in the JSON object": {someLabels},
		"labels in the squashfs":    {someLabels, imagetest.Old(true)},
	} {
		t.Run(name, func(t *testing.T) {
			data := imagetest.SIF(t, 3<<20, opts...)
			in, err := image.Inspect(reader(data), int64(len(data)))
			require.NoError(t, err)
			require.Equal(t, image.Info{Format: image.SIF, Arch: "amd64", Labels: someLabels,
				Created: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}, in)
			m, err := image.Metafiles(reader(data), int64(len(data)))
			require.NoError(t, err)
			require.Equal(t, map[string]string(someLabels), m.Labels)
			require.Contains(t, m.Deffile, "Bootstrap: localimage")
			require.Contains(t, m.Runscript, "echo hello")
			require.Contains(t, m.Help, "made for tests")
			require.Contains(t, m.Environment["/.singularity.d/env/90-environment.sh"], "LC_ALL")
			require.Len(t, m.Environment, 1)
		})
	}
}

func TestInspectSimg(t *testing.T) {
	data := imagetest.Simg(t, 1<<20, someLabels)
	in, err := image.Inspect(reader(data), int64(len(data)))
	require.NoError(t, err)
	require.Equal(t, image.SIMG, in.Format)
	require.Equal(t, map[string]string(someLabels), in.Labels)
}

func TestInspectUnknownIsNoError(t *testing.T) {
	for name, data := range map[string][]byte{
		"nothing": {}, "one byte": {'x'}, "zeros": imagetest.Zeros(100_000), "noise": imagetest.Bytes(1, 100_000), "text": []byte("#!/bin/sh\necho\n"),
	} {
		t.Run(name, func(t *testing.T) {
			in, err := image.Inspect(reader(data), int64(len(data)))
			require.NoError(t, err)
			require.Equal(t, image.Info{Labels: map[string]string{}}, in)
			m, err := image.Metafiles(reader(data), int64(len(data)))
			require.NoError(t, err)
			require.Empty(t, m.Labels)
		})
	}
}

// TestDocumentIsApptainers: the JSON form is that of `apptainer inspect --all`.
func TestDocumentIsApptainers(t *testing.T) {
	const text = `{"data":{"attributes":{"apps":{"foo":{"environment":{"e":"E"},"labels":{"l":"L"},"runscript":"r","test":"t","helpfile":"h"}},
		"environment":{"/.singularity.d/env/90-environment.sh":"x"},"labels":{"a":"b"},"deffile":"d","helpfile":"h","runscript":"r",
		"startscript":"s","test":"t"}},"type":"container"}`
	var doc image.Document
	require.NoError(t, json.Unmarshal([]byte(text), &doc))
	require.Equal(t, "h", doc.Data.Attributes.Help)
	again, err := json.Marshal(doc)
	require.NoError(t, err)
	require.JSONEq(t, text, string(again))
}

// TestSIFBySiftool reads SIFs as other programs make and change them.
func TestSIFBySiftool(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.sif")
	put := func(name string, data []byte) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, data, 0o600))
		return p
	}
	tool(t, "siftool", "new", path)
	inspect := func() (image.Info, image.Meta) {
		t.Helper()
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, image.Whole(reader(data), int64(len(data))))
		in, err := image.Inspect(reader(data), int64(len(data)))
		require.NoError(t, err)
		m, err := image.Metafiles(reader(data), int64(len(data)))
		require.NoError(t, err)
		return in, m
	}
	in, _ := inspect()
	require.Equal(t, image.SIF, in.Format)
	require.Empty(t, in.Labels)

	fsLabels := map[string]string{"where": "squashfs"}
	squash := put("squash", mksquashfs(t, rootfs(t, fsLabels, 0), "-comp", "zstd"))
	tool(t, "siftool", "add", path, put("overlay", imagetest.Bytes(3, 10_000)), "--datatype", "4", "--parttype", "4", "--partfs", "2", "--partarch", "2")
	tool(t, "siftool", "add", path, put("data", imagetest.Bytes(4, 10_000)), "--datatype", "4", "--parttype", "3", "--partfs", "1", "--partarch", "2")
	tool(t, "siftool", "add", path, squash, "--datatype", "4", "--parttype", "2", "--partfs", "1", "--partarch", "4")
	in, m := inspect()
	require.Equal(t, "arm64", in.Arch)
	require.Equal(t, fsLabels, in.Labels, "of the primary partition, not of the others")
	require.Equal(t, "Bootstrap: docker\nFrom: alpine", m.Deffile)
	require.Equal(t, "#!/bin/sh\necho run", m.Runscript)
	require.False(t, in.Signed)

	tool(t, "siftool", "add", path, put("def", []byte("Bootstrap: x\n")), "--datatype", "1")
	tool(t, "siftool", "add", path, put("labels", []byte(`{"where":"labels object"}`)), "--datatype", "3")
	tool(t, "siftool", "add", path, put("sig", []byte("signed")), "--datatype", "5", "--signhash", "1", "--signentity", "433FE984155206BD962725E20E8713472A879943")
	in, _ = inspect()
	require.Equal(t, map[string]string{"where": "labels object"}, in.Labels)
	require.True(t, in.Signed)

	tool(t, "siftool", "add", path, put("other.json", []byte(`{"data":1}`)), "--datatype", "6", "--filename", "other.json")
	tool(t, "siftool", "add", path, put("meta", []byte(`{"data":{"attributes":{"labels":{"where":"inspect"},"runscript":"r"}}}`)), "--datatype", "6", "--filename", "inspect-metadata.json")
	in, m = inspect()
	require.Equal(t, map[string]string{"where": "inspect"}, in.Labels)
	require.Equal(t, "r", m.Runscript)
	require.Equal(t, "Bootstrap: x", m.Deffile, "from its own object")

	tool(t, "siftool", "del", "8", path)
	tool(t, "siftool", "del", "5", path)
	in, _ = inspect()
	require.Equal(t, fsLabels, in.Labels, "a hole among the descriptors is no object")
}

func TestSIFWithLabelsThatAreNoText(t *testing.T) {
	data := imagetest.SIF(t, 100_000, imagetest.Labels{"number": `"7"`, "k": "v"})
	data = bytes.Replace(data, []byte(`"\"7\""`), []byte(`7.00   `), 1)
	in, err := image.Inspect(reader(data), int64(len(data)))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"number": "7.00", "k": "v"}, in.Labels)
}

// descriptor is where descriptor i of a SIF begins, and what is where in it.
func descriptor(i int) int { return 4096 + i*585 }

const (
	inKind, inUsed, inOff, inLen, inFS = 0, 4, 17, 25, 201
	thePartition, theJSON              = 2, 1 // in imagetest's SIFs
)

func TestEncryptedSIF(t *testing.T) {
	data := imagetest.SIF(t, 100_000, someLabels, imagetest.Old(true))
	binary.LittleEndian.PutUint32(data[descriptor(1)+inFS:], 5)
	in, err := image.Inspect(reader(data), int64(len(data)))
	require.NoError(t, err)
	require.True(t, in.Encrypted)
	require.Empty(t, in.Labels, "they are in the part we can't read")
	m, err := image.Metafiles(reader(data), int64(len(data)))
	require.ErrorIs(t, err, image.ErrUnsupported)
	require.ErrorContains(t, err, "encrypted")
	require.Contains(t, m.Deffile, "localimage", "that has an object of its own")

	// Where the SIF's JSON object says it all, nothing else is needed.
	data = imagetest.SIF(t, 100_000, someLabels)
	binary.LittleEndian.PutUint32(data[descriptor(2)+inFS:], 5)
	m, err = image.Metafiles(reader(data), int64(len(data)))
	require.NoError(t, err)
	require.Equal(t, map[string]string(someLabels), m.Labels)
}

func TestHostileSIF(t *testing.T) {
	good := imagetest.SIF(t, 100_000, someLabels)
	put64 := func(at int, n int64) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint64(b[at:], uint64(n)) }
	}
	for name, edit := range map[string]func([]byte){
		"2^60 descriptors":        put64(88, 1<<60),
		"-1 descriptors":          put64(88, -1),
		"4097 descriptors":        put64(88, 4097),
		"table at -1":             put64(96, -1),
		"table at the end of all": put64(96, math.MaxInt64),
		"object at -1":            put64(descriptor(theJSON)+inOff, -1),
		"object beyond all":       put64(descriptor(theJSON)+inOff, math.MaxInt64),
		"object of 2^62 bytes":    put64(descriptor(theJSON)+inLen, 1<<62),
		"object of -1 bytes":      put64(descriptor(theJSON)+inLen, -1),
		"partition at -1":         put64(descriptor(thePartition)+inOff, -1),
		"partition beyond all":    put64(descriptor(thePartition)+inLen, math.MaxInt64),
	} {
		t.Run(name, func(t *testing.T) {
			bad := bytes.Clone(good)
			edit(bad)
			own := func(err error) bool { return errors.Is(err, image.ErrCorrupt) || errors.Is(err, image.ErrTruncated) }
			in, err := image.Inspect(reader(bad), int64(len(bad)))
			require.True(t, own(err), "%v", err)
			require.Equal(t, image.SIF, in.Format)
			require.True(t, own(image.Whole(reader(bad), int64(len(bad)))))
			lookInto(t, bad)
		})
	}
	t.Run("JSON that is none", func(t *testing.T) {
		bad := bytes.Replace(good, []byte(`"attributes"`), []byte(`!attributes!`), 1)
		in, err := image.Inspect(reader(bad), int64(len(bad)))
		require.NoError(t, err)
		require.Equal(t, map[string]string(someLabels), in.Labels, "the squashfs has them as well")
	})
}

// readLog counts what is read of an image.
type readLog struct {
	io.ReaderAt
	reads []image.Span
	fail  error // for reads beyond the head
}

func (l *readLog) ReadAt(p []byte, off int64) (int, error) {
	l.reads = append(l.reads, image.Span{Off: off, Len: int64(len(p))})
	if l.fail != nil && off > 0 {
		return 0, l.fail
	}
	return l.ReaderAt.ReadAt(p, off)
}

// TestInspectReadsLittle: each read may be a request to Drive.
func TestInspectReadsLittle(t *testing.T) {
	sif := imagetest.SIF(t, 20<<20, someLabels)
	l := &readLog{ReaderAt: reader(sif)}
	_, err := image.Inspect(l, int64(len(sif)))
	require.NoError(t, err)
	require.Len(t, l.reads, 1)
	_, err = image.Metafiles(l, int64(len(sif)))
	require.NoError(t, err)
	require.Len(t, l.reads, 2)

	simg := imagetest.Simg(t, 20<<20, someLabels)
	l = &readLog{ReaderAt: reader(simg)}
	_, err = image.Metafiles(l, int64(len(simg)))
	require.NoError(t, err)
	require.LessOrEqual(t, len(l.reads), 6)
}

// TestReadErrorsAreTheReaders: a Drive that fails is not mistaken for a damaged image.
func TestReadErrorsAreTheReaders(t *testing.T) {
	data := imagetest.Simg(t, 20<<20, someLabels)
	offline := errors.New("offline")
	l := &readLog{ReaderAt: reader(data), fail: offline}
	for name, call := range map[string]func() error{
		"Inspect":   func() error { _, err := image.Inspect(l, int64(len(data))); return err },
		"Metafiles": func() error { _, err := image.Metafiles(l, int64(len(data))); return err },
	} {
		err := call()
		require.ErrorIs(t, err, offline, name)
		require.NotErrorIs(t, err, image.ErrCorrupt)
		require.NotErrorIs(t, err, image.ErrTruncated)
	}
}

func TestHeadTail(t *testing.T) {
	const size = 20 << 20
	for name, data := range map[string][]byte{"SIF": imagetest.SIF(t, size), "simg": imagetest.Simg(t, size)} {
		t.Run(name, func(t *testing.T) {
			spans, err := image.HeadTail(reader(data), size)
			require.NoError(t, err)
			require.Len(t, spans, 2)
			require.Equal(t, image.Span{Off: 0, Len: 128 << 10}, spans[0])
			require.Less(t, spans[1].Len, int64(64<<10))
			l := &readLog{ReaderAt: reader(data)}
			_, err = image.Metafiles(l, size)
			require.NoError(t, err)
			for _, r := range l.reads {
				inside := false
				for _, s := range spans {
					inside = inside || s.Off <= r.Off && r.Off+r.Len <= s.Off+s.Len
				}
				require.True(t, inside, "%v is outside %v", r, spans)
			}
		})
	}
	t.Run("partition far behind the head", func(t *testing.T) {
		squash := mksquashfs(t, rootfs(t, nil, 100))
		sif := imagetest.SIF(t, 300_000)
		data := append(append(sif, imagetest.Zeros(700_000)...), squash...)
		binary.LittleEndian.PutUint64(data[descriptor(thePartition)+inOff:], 1_000_000)
		binary.LittleEndian.PutUint64(data[descriptor(thePartition)+inLen:], uint64(len(squash)))
		spans, err := image.HeadTail(reader(data), int64(len(data)))
		require.NoError(t, err)
		require.Equal(t, int64(1_000_000), spans[1].Off)
		last := spans[len(spans)-1]
		require.Equal(t, int64(1_000_000)+int64(binary.LittleEndian.Uint64(squash[40:])), last.Off+last.Len)
	})
	t.Run("unknown and small", func(t *testing.T) {
		spans, err := image.HeadTail(reader([]byte("x")), 1)
		require.NoError(t, err)
		require.Equal(t, []image.Span{{Off: 0, Len: 1}}, spans)
		spans, err = image.HeadTail(reader(nil), 0)
		require.NoError(t, err)
		require.Empty(t, spans)
	})
}

func TestWhole(t *testing.T) {
	for name, data := range map[string][]byte{
		"SIF": imagetest.SIF(t, 300_000), "simg": imagetest.Simg(t, 300_000), "squashfs": imagetest.Simg(t, 300_000)[31:], "ext3": ext3(t),
	} {
		t.Run(name, func(t *testing.T) {
			size := int64(len(data))
			require.NoError(t, image.Whole(reader(data), size))
			require.NoError(t, image.Whole(reader(append(bytes.Clone(data), "tail"...)), size+4), "more than it needs is no harm")
			for _, cut := range []int64{size - 1024, size / 2, 5000, 4096, 2048 + 31} {
				err := image.Whole(reader(data[:cut]), cut)
				require.ErrorIs(t, err, image.ErrTruncated, "%d of %d bytes", cut, size)
				require.ErrorContains(t, err, "missing")
			}
		})
	}
	t.Run("every cut of a SIF's header", func(t *testing.T) {
		data := imagetest.SIF(t, 100_000)
		for cut := int64(42); cut < 40_000; cut += 97 {
			require.ErrorIs(t, image.Whole(reader(data[:cut]), cut), image.ErrTruncated, "%d", cut)
		}
	})
	for name, data := range map[string][]byte{
		"one byte": {0}, "text": []byte("hello"), "zeros": imagetest.Zeros(1 << 20), "noise": imagetest.Bytes(9, 1<<20),
		"a script":         []byte("#!/usr/bin/env run-singularity\nhello"),
		"zeros, then data": append(imagetest.Zeros(1<<20), 1, 2, 3),
	} {
		t.Run(name, func(t *testing.T) { require.NoError(t, image.Whole(reader(data), int64(len(data)))) })
	}
	require.ErrorIs(t, image.Whole(reader(nil), 0), image.ErrEmpty)
	require.ErrorIs(t, image.Whole(reader([]byte("#!/usr/bin/env run-singularity\n")), 31), image.ErrTruncated)
	require.ErrorIs(t, image.Whole(reader([]byte("#!/usr/bin/env run-singularity\nhs")), 33), image.ErrTruncated)
}

// TestSIFBeingBuilt: Apptainer writes data, then descriptors, then the header; a build that dies leaves no image.
func TestSIFBeingBuilt(t *testing.T) {
	data := imagetest.SIF(t, 100_000)
	clear(data[:128])
	require.ErrorIs(t, image.Whole(reader(data), int64(len(data))), image.ErrTruncated, "without header")
	clear(data[:32176])
	require.ErrorIs(t, image.Whole(reader(data), int64(len(data))), image.ErrTruncated, "without descriptors")
}

// ext3 is the beginning of an ext3 file system of 64 KiB by its superblock.
func ext3(t *testing.T) []byte {
	t.Helper()
	data := imagetest.Zeros(64 << 10)
	binary.LittleEndian.PutUint32(data[1024+4:], 64)
	binary.LittleEndian.PutUint16(data[1024+0x38:], 0xef53)
	in, err := image.Inspect(reader(data), int64(len(data)))
	require.NoError(t, err)
	require.Equal(t, image.Ext3, in.Format)
	return data
}

// compact is a SIF without the empty space Apptainer leaves, so that a fuzzer mutates what matters.
func compact(tb testing.TB, opts ...imagetest.Option) []byte {
	tb.Helper()
	const table = 128
	data := imagetest.SIF(tb, 40<<10, opts...)
	out := bytes.Clone(data[:table])
	objects := 48 - int(binary.LittleEndian.Uint64(data[80:])) // all less the free ones
	binary.LittleEndian.PutUint64(out[88:], uint64(objects))
	binary.LittleEndian.PutUint64(out[96:], table)
	out = append(out, data[descriptor(0):descriptor(objects)]...)
	for i := range objects {
		d := out[table+i*585:]
		off, size := binary.LittleEndian.Uint64(d[inOff:]), binary.LittleEndian.Uint64(d[inLen:])
		binary.LittleEndian.PutUint64(d[inOff:], uint64(len(out)))
		out = append(out, data[off:off+size]...)
	}
	return out
}

func TestCompactSIF(t *testing.T) {
	data := compact(t, someLabels)
	in, err := image.Inspect(reader(data), int64(len(data)))
	require.NoError(t, err)
	require.Equal(t, map[string]string(someLabels), in.Labels, "header, table and data may lie anywhere")
	require.NoError(t, image.Whole(reader(data), int64(len(data))))
}

func FuzzSIF(f *testing.F) {
	f.Add(compact(f, imagetest.Labels{"a": "b"}))
	f.Add(compact(f, imagetest.Labels{"a": "b"}, imagetest.Old(true)))
	f.Add([]byte(strings.Repeat("#!/usr/bin/env run-singularity\n", 3)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<20 {
			return
		}
		lookInto(t, data)
	})
}
