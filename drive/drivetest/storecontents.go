package drivetest

import (
	"bytes"
	"crypto/md5"  //nolint:gosec // the service's checksum, not a defence
	"crypto/sha1" //nolint:gosec // likewise
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"sync"
)

// granule is the step in which the service persists an upload: 256 KiB.
const granule = 256 << 10

// contents keeps bytes under keys it chooses itself. A content is appended to until somebody refers to it
// from a record, and never changes after.
type contents interface {
	create() (key string, err error)
	// extend opens a content for appending after its first size bytes; what is beyond them is cut off.
	extend(key string, size int64) (part, error)
	// open returns a reader of the content as it is now, valid also after remove.
	open(key string) (io.ReadSeekCloser, error)
	size(key string) (int64, error)
	remove(key string) error
}

// part is a content being written. Sync returns when what was written survives a crash.
type part interface {
	io.WriteCloser
	Sync() error
}

// memContents keeps contents in memory, in blocks so that growing does not copy.
type memContents struct {
	mu  sync.Mutex // guards all
	all map[string]*memContent
}

const memBlock = 1 << 20

// memContent is guarded by mu while it grows. Readers take a snapshot of blocks, whose bytes below size
// never change.
type memContent struct {
	mu     sync.Mutex
	blocks [][]byte // all but the last are memBlock long
	size   int64
}

func newMemContents() *memContents { return &memContents{all: map[string]*memContent{}} }

func (m *memContents) create() (string, error) {
	key := random(16)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all[key] = &memContent{}
	return key, nil
}

func (m *memContents) get(key string) (*memContent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.all[key]; c != nil {
		return c, nil
	}
	return nil, os.ErrNotExist
}

func (m *memContents) extend(key string, size int64) (part, error) {
	c, err := m.get(key)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if size < c.size {
		n := int((size + memBlock - 1) / memBlock)
		c.blocks = slices.Clone(c.blocks[:n])
		if rest := size % memBlock; rest != 0 {
			c.blocks[n-1] = bytes.Clone(c.blocks[n-1][:rest]) // older readers keep the old block
		}
		c.size = size
	}
	return c, nil
}

func (m *memContents) open(key string) (io.ReadSeekCloser, error) {
	c, err := m.get(key)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return &memReader{io.NewSectionReader(blocksAt(slices.Clone(c.blocks)), 0, c.size)}, nil
}

func (m *memContents) size(key string) (int64, error) {
	c, err := m.get(key)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size, nil
}

func (m *memContents) remove(key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, key)
	return nil
}

// Write appends p.
func (c *memContent) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for rest := p; len(rest) > 0; {
		last := len(c.blocks) - 1
		if last < 0 || len(c.blocks[last]) == memBlock {
			c.blocks = append(c.blocks, make([]byte, 0, min(len(rest), memBlock)))
			last++
		}
		n := min(len(rest), memBlock-len(c.blocks[last]))
		c.blocks[last] = append(c.blocks[last], rest[:n]...)
		rest = rest[n:]
	}
	c.size += int64(len(p))
	return len(p), nil
}

// Sync has nothing to do: memory survives no crash.
func (c *memContent) Sync() error { return nil }

// Close leaves the content as it is.
func (c *memContent) Close() error { return nil }

// blocksAt reads blocks of memBlock bytes as one.
type blocksAt [][]byte

// ReadAt reads from one block or more.
func (b blocksAt) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		i, at := off/memBlock, off%memBlock
		if i >= int64(len(b)) || at >= int64(len(b[i])) {
			return n, io.EOF
		}
		k := copy(p[n:], b[i][at:])
		n, off = n+k, off+int64(k)
	}
	return n, nil
}

type memReader struct{ *io.SectionReader }

// Close leaves the content as it is.
func (memReader) Close() error { return nil }

// digest computes what the service says about a content, as it streams by.
type digest struct {
	md5, sha1, sha256 hash.Hash
	crc32c            hash.Hash32
	size              int64
}

func newDigest() *digest {
	return &digest{
		md5: md5.New(), sha1: sha1.New(), sha256: sha256.New(), //nolint:gosec // see the imports
		crc32c: crc32.New(crc32.MakeTable(crc32.Castagnoli)),
	}
}

func (d *digest) hashes() [4]hash.Hash { return [...]hash.Hash{d.md5, d.sha1, d.sha256, d.crc32c} }

// Write adds p; it never fails.
func (d *digest) Write(p []byte) (int, error) {
	for _, h := range d.hashes() {
		h.Write(p)
	}
	d.size += int64(len(p))
	return len(p), nil
}

// fill puts sizes and digests of what was written into r.
func (d *digest) fill(r *revision) {
	r.Size = d.size
	r.MD5 = hex.EncodeToString(d.md5.Sum(nil))
	r.SHA1 = hex.EncodeToString(d.sha1.Sum(nil))
	r.SHA256 = hex.EncodeToString(d.sha256.Sum(nil))
	r.CRC32C = d.crc32c.Sum32()
}

// counted is a digest put down after Size bytes.
type counted struct {
	Size   int64
	States [4][]byte // of its hashes, in their order
}

// counted puts d down.
func (d *digest) counted() counted {
	c := counted{Size: d.size}
	for i, h := range d.hashes() {
		c.States[i], _ = h.(encoding.BinaryMarshaler).MarshalBinary() // those of the library always can
	}
	return c
}

// resume takes up the digest of a content of size bytes: at c if that is part of it, else at its start.
func (c counted) resume(size int64) *digest {
	d := newDigest()
	if c.Size > size {
		return d
	}
	for i, h := range d.hashes() {
		if h.(encoding.BinaryUnmarshaler).UnmarshalBinary(c.States[i]) != nil { // none, or of another library
			return newDigest()
		}
	}
	d.size = c.Size
	return d
}

// save streams r into a new content, durably. On an error nothing of it remains; one of r comes as it is,
// one of our own disk as the service's.
func (s *store) save(r io.Reader) (string, *digest, error) {
	key, err := s.contents.create()
	if err != nil {
		return "", nil, errStore(err)
	}
	p, err := s.contents.extend(key, 0)
	if err != nil {
		return "", nil, errors.Join(errStore(err), s.contents.remove(key))
	}
	d, err := pour(p, r)
	if e := p.Close(); err == nil && e != nil {
		err = errStore(e)
	}
	if err != nil {
		_ = s.contents.remove(key)
		return "", nil, err
	}
	return key, d, nil
}

// pour writes all of r to p, and returns when that is durable.
func pour(p part, r io.Reader) (*digest, error) {
	d := newDigest()
	buf := make([]byte, 64<<10)
	for {
		n, ended, err := fill(r, buf)
		if err != nil {
			return nil, err
		}
		if _, err := p.Write(buf[:n]); err != nil {
			return nil, errStore(err)
		}
		_, _ = d.Write(buf[:n]) // never fails
		if ended {
			break
		}
	}
	if err := p.Sync(); err != nil {
		return nil, errStore(err)
	}
	return d, nil
}
