package imagetest

import (
	"errors"
	"io"
	"testing"
)

// Option sets one thing about an image: Labels or Seed.
type Option interface{ apply(*content) }

// Labels are the labels the image carries.
type Labels map[string]string

// Seed makes images of one size differ; the same seed makes the same bytes.
type Seed uint64

type content struct{}

func (Labels) apply(*content) {}
func (Seed) apply(*content)   {}

// SIF returns a SIF of exactly size bytes.
func SIF(t testing.TB, size int64, opts ...Option) []byte { t.Fatal("TODO"); return nil }

// Simg returns a Singularity 2 image of exactly size bytes.
func Simg(t testing.TB, size int64, opts ...Option) []byte { t.Fatal("TODO"); return nil }

// SIFFile writes a SIF of exactly size bytes to path.
func SIFFile(t testing.TB, path string, size int64, opts ...Option) { t.Fatal("TODO") }

// WriteSIF writes a SIF of exactly size bytes to w, in one pass and constant memory.
func WriteSIF(w io.Writer, size int64, opts ...Option) error { return errors.New("TODO") }

// WriteSimg writes a Singularity 2 image of exactly size bytes to w, in one pass and constant memory.
func WriteSimg(w io.Writer, size int64, opts ...Option) error { return errors.New("TODO") }

// Bytes returns n bytes of noise; the same seed makes the same bytes.
func Bytes(seed uint64, n int64) []byte { return make([]byte, n) }

// Zeros returns n zero bytes.
func Zeros(n int64) []byte { return make([]byte, n) }
