package imagetest

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"testing"
)

// Option sets one thing about an image: Labels, Seed, Old or Files.
type Option interface{ apply(*content) }

// Labels are the labels the image carries; none by default.
type Labels map[string]string

// Seed makes images of one size differ.
type Seed uint64

// Old makes a SIF as Singularity before 3.6 did: its labels are in the squashfs only.
type Old bool

// content is what an image is made of.
type content struct {
	labels Labels
	seed   Seed
	old    Old
	files  Files
}

func (l Labels) apply(c *content) { c.labels = l }
func (s Seed) apply(c *content)   { c.seed = s }
func (o Old) apply(c *content)    { c.old = o }

func newContent(opts []Option) content {
	var c content
	for _, o := range opts {
		o.apply(&c)
	}
	return c
}

// SIF returns a SIF of exactly size bytes. Below some 40 KB there is no room for one, and the test fails.
func SIF(tb testing.TB, size int64, opts ...Option) []byte {
	tb.Helper()
	return written(tb, WriteSIF, size, opts)
}

// Simg returns a Singularity 2 image of exactly size bytes, at least some 2 KB.
func Simg(tb testing.TB, size int64, opts ...Option) []byte {
	tb.Helper()
	return written(tb, WriteSimg, size, opts)
}

func written(tb testing.TB, write func(io.Writer, int64, ...Option) error, size int64, opts []Option) []byte {
	tb.Helper()
	var b bytes.Buffer
	b.Grow(int(size))
	if err := write(&b, size, opts...); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// SIFFile writes a SIF of exactly size bytes to path, in constant memory.
func SIFFile(tb testing.TB, path string, size int64, opts ...Option) {
	tb.Helper()
	f, err := os.Create(path)
	if err == nil {
		err = WriteSIF(f, size, opts...)
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// Bytes returns n bytes of noise.
func Bytes(seed uint64, n int64) []byte {
	b := make([]byte, n)
	_, _ = newNoise(Seed(seed)).Read(b) // never fails
	return b
}

// Zeros returns n zero bytes.
func Zeros(n int64) []byte { return make([]byte, n) }

// noise is an endless stream of random pages, made as fast as memory is copied: images of gigabytes are made of it. The
// pages repeat after a while but for their first eight bytes, so no two are alike.
type noise struct {
	tile []byte // whole pages
	at   int64  // offset in the stream
}

const (
	noisePage = 4 << 10
	noiseTile = 1 << 20
)

func newNoise(seed Seed) *noise {
	n := &noise{tile: make([]byte, noiseTile)}
	key := [32]byte{'s', 'r', 'e', 'g', 'f', 's'}
	binary.LittleEndian.PutUint64(key[24:], uint64(seed))
	_, _ = rand.NewChaCha8(key).Read(n.tile) // never fails
	return n
}

// Read fills p and never fails.
func (n *noise) Read(p []byte) (int, error) {
	var page [noisePage]byte
	for rest := p; len(rest) > 0; {
		number, off := n.at/noisePage, n.at%noisePage
		copy(page[:], n.tile[number*noisePage%noiseTile:])
		stamp := binary.LittleEndian.Uint64(page[:]) + uint64(number)
		binary.LittleEndian.PutUint64(page[:], stamp)
		done := copy(rest, page[off:])
		rest, n.at = rest[done:], n.at+int64(done)
	}
	return len(p), nil
}
