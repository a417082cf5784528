package index

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync/atomic"
)

// bitmap is a fixed set of block numbers. Reading is lock-free, because the warm read path asks it for every read; each
// operation is atomic for its own bit, and nothing more.
type bitmap struct {
	n     int64 // blocks; bits beyond n are never set
	words []atomic.Uint64
	size  atomic.Int64 // bits that are set
}

func newBitmap(n int64) *bitmap { return &bitmap{n: n, words: make([]atomic.Uint64, (n+63)/64)} }

func (b *bitmap) has(i int64) bool { return b.words[i/64].Load()&(1<<(i%64)) != 0 }

// set adds block i and says whether it was new.
func (b *bitmap) set(i int64) bool {
	bit := uint64(1) << (i % 64)
	if b.words[i/64].Or(bit)&bit != 0 {
		return false
	}
	b.size.Add(1)
	return true
}

// clear takes block i out and says whether it was there.
func (b *bitmap) clear(i int64) bool {
	bit := uint64(1) << (i % 64)
	if b.words[i/64].And(^bit)&bit == 0 {
		return false
	}
	b.size.Add(-1)
	return true
}

// hasAll says whether every block of first..last is set.
func (b *bitmap) hasAll(first, last int64) bool {
	for i := first; i <= last; i++ {
		if !b.has(i) {
			return false
		}
	}
	return true
}

// within is the number of blocks of first..last that are set.
func (b *bitmap) within(first, last int64) (n int64) {
	for i := first; i <= last; i++ {
		if b.has(i) {
			n++
		}
	}
	return n
}

// count is the number of blocks set.
func (b *bitmap) count() int64 { return b.size.Load() }

func (b *bitmap) full() bool { return b.count() == b.n }

func (b *bitmap) setAll() {
	for i := range b.n {
		b.set(i)
	}
}

func (b *bitmap) clearAll() {
	for i := range b.words {
		b.size.Add(-int64(bits.OnesCount64(b.words[i].Swap(0))))
	}
}

// bytes is the stored form: bit i is bit i%8 of byte i/8.
func (b *bitmap) bytes() []byte {
	out := make([]byte, 0, len(b.words)*8)
	for i := range b.words {
		out = binary.LittleEndian.AppendUint64(out, b.words[i].Load())
	}
	return out[:(b.n+7)/8]
}

// parseBitmap reads the stored form of n blocks; a wrong length or a bit beyond n is ErrCorrupt.
func parseBitmap(n int64, data []byte) (*bitmap, error) {
	if n < 0 || int64(len(data)) != (n+7)/8 {
		return nil, fmt.Errorf("bitmap of %d bytes for %d blocks: %w", len(data), n, ErrCorrupt)
	}
	b := newBitmap(n)
	for i, x := range data {
		for ; x != 0; x &= x - 1 {
			at := int64(i)*8 + int64(bits.TrailingZeros8(x))
			if at >= n {
				return nil, fmt.Errorf("bitmap has block %d of %d: %w", at, n, ErrCorrupt)
			}
			b.set(at)
		}
	}
	return b, nil
}
