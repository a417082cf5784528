//go:build soak

package soak

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync"

	"sregfs/index/image/imagetest"
)

// A content is one image: a small SIF, then a header that names seed and size, then numbers that follow from seed and
// offset.
type content struct {
	seed uint64
	size int64
}

const (
	sifSize    = 64 << 10
	headerSize = 32
	magic      = "soaked image\n\x00\x00\x00"
)

// header is what stands at sifSize.
func (c content) header() []byte {
	h := append(make([]byte, 0, headerSize), magic...)
	h = binary.LittleEndian.AppendUint64(h, c.seed)
	return binary.LittleEndian.AppendUint64(h, uint64(c.size))
}

// identify reads a header.
func identify(h []byte) (content, error) {
	if len(h) < headerSize || string(h[:len(magic)]) != magic {
		return content{}, fmt.Errorf("no image of ours: %q", h)
	}
	return content{binary.LittleEndian.Uint64(h[16:]), int64(binary.LittleEndian.Uint64(h[24:]))}, nil
}

// word is the i-th number behind the header (splitmix64).
func (c content) word(i uint64) uint64 {
	z := c.seed*0xd1342543de82ef95 + (i+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// at fills p with the bytes from off on.
func (c content) at(p []byte, off int64) {
	if off < sifSize+headerSize {
		var front []byte
		front = append(front, sifs.get(c.seed)...)
		front = append(front, c.header()...)
		n := copy(p, front[off:])
		p, off = p[n:], off+int64(n)
	}
	var w [8]byte
	for len(p) > 0 {
		binary.LittleEndian.PutUint64(w[:], c.word(uint64(off/8)))
		n := copy(p, w[off%8:])
		p, off = p[n:], off+int64(n)
	}
}

// check says whether p are the bytes from off on.
func (c content) check(p []byte, off int64) error {
	want := make([]byte, len(p))
	c.at(want, off)
	if bytes.Equal(p, want) {
		return nil
	}
	at := 0
	for p[at] == want[at] {
		at++
	}
	wrong := 0
	for i := range p {
		if p[i] != want[i] {
			wrong++
		}
	}
	return fmt.Errorf("image %d of %d bytes: %d of %d bytes from %d on are wrong, the first at %d: %x, want %x", c.seed, c.size, wrong, len(p), off,
		off+int64(at), p[at:min(at+16, len(p))], want[at:min(at+16, len(p))])
}

// sum is the MD5 of the whole.
func (c content) sum() string {
	h := md5.New()
	buf := make([]byte, 256<<10)
	for off := int64(0); off < c.size; off += int64(len(buf)) {
		p := buf[:min(int64(len(buf)), c.size-off)]
		c.at(p, off)
		_, _ = h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// sifs keeps the fronts of some images, which take a moment to make.
var sifs = fronts{made: map[uint64][]byte{}}

type fronts struct {
	mu   sync.Mutex
	made map[uint64][]byte // guarded by mu
}

func (f *fronts) get(seed uint64) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b := f.made[seed]; b != nil {
		return b
	}
	if len(f.made) >= 200 {
		clear(f.made)
	}
	var b bytes.Buffer
	if err := imagetest.WriteSIF(&b, sifSize, imagetest.Seed(seed)); err != nil {
		panic(err) // the size is one there is room for
	}
	f.made[seed] = b.Bytes()
	return b.Bytes()
}
