package index

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// blockFile is the cached part of one revision. While somebody uses it, its sparse file is open.
type blockFile struct {
	s           *blockStore
	key         contentKey
	hash        string // local name
	size        int64  // = key.size
	md5, sha256 string // hex; "" if Drive has none

	refs    int // guarded by blockStore.mu: readers, flights and others who need the file open
	readers int // guarded by blockStore.mu: the open Readers

	// The warm read path: no lock, no allocation. A reader takes gen, looks at have, reads, and takes gen again: if it
	// moved, blocks were being removed meanwhile and what was read does not count.
	file     atomic.Pointer[os.File] // nil: closed, or the disk refuses
	have     *bitmap
	touched  *bitmap       // blocks read since eviction last passed by
	gen      atomic.Uint64 // raised after bits are cleared and before their data goes
	complete atomic.Bool   // have is full
	lastUse  atomic.Int64  // unix nanoseconds

	stream atomic.Pointer[Reader] // the last one that read in sequence

	persist sync.Mutex // held by whoever changes the record or the file as a whole; across disk I/O, never by readers

	mu       sync.Mutex
	flights  map[int64]*flight // guarded by mu: by block
	spill    []*flight         // guarded by mu: the last ones that could not be kept
	evicting chan struct{}     // guarded by mu: while not nil and open, data is being removed and no flight may begin
	fresh    int64             // guarded by mu: bytes of blocks whose bits are not on record
	dirty    bool              // guarded by mu: the record is behind
	pinned   bool              // guarded by mu
	verified bool              // guarded by mu: the whole content was hashed and is right
	checking chan struct{}     // guarded by mu: not nil while it is being hashed
	wrong    int               // guarded by mu: times it was hashed and was not right
	bad      bool              // guarded by mu: wrong twice
	changed  bool              // guarded by mu: Drive has another revision now
	current  *confirmation     // guarded by mu: Drive's word that the revision is the head one
}

func (s *blockStore) newFile(k contentKey, md5, sha256 string) *blockFile {
	n := blocksOf(k.size)
	bf := &blockFile{
		s: s, key: k, hash: k.hash(), size: k.size, md5: md5, sha256: sha256,
		have: newBitmap(n), touched: newBitmap(n), flights: map[int64]*flight{},
	}
	bf.complete.Store(n == 0)
	return bf
}

func (bf *blockFile) path() string { return filepath.Join(bf.s.dir, bf.hash) }

// span is the extent of blocks first..last in bytes.
func (bf *blockFile) span(first, last int64) (off, n int64) {
	off = first * blockSize
	return off, min(bf.size, (last+1)*blockSize) - off
}

// bytes is how much of the revision is on disk.
func (bf *blockFile) bytes() int64 {
	n := bf.have.count() * blockSize
	if bf.have.n > 0 && bf.have.has(bf.have.n-1) {
		n -= bf.have.n*blockSize - bf.size // the last block is as long as what is left
	}
	return n
}

// prepare opens the sparse file. If the disk refuses, content is served without being kept.
func (bf *blockFile) prepare() {
	if err := bf.open(); err != nil {
		bf.s.log.WithError(err).Debug("block cache: serving without keeping")
	}
}

// open makes the sparse file ready.
func (bf *blockFile) open() error {
	if bf.file.Load() != nil || bf.size == 0 {
		return nil
	}
	bf.persist.Lock()
	defer bf.persist.Unlock()
	return bf.openLocked()
}

// openLocked is open for a caller that holds persist.
func (bf *blockFile) openLocked() error {
	if bf.file.Load() != nil {
		return nil
	}
	f, err := os.OpenFile(bf.path(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		bf.distrust(0, bf.have.n-1)
		return err
	}
	if info, err := f.Stat(); err != nil || info.Size() != bf.size {
		bf.distrust(0, bf.have.n-1)
		if err = errors.Join(err, f.Truncate(bf.size)); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	bf.file.Store(f)
	return nil
}

// use and release count those who need the file open; upkeep closes it after the last one.
func (bf *blockFile) use() {
	bf.s.mu.Lock()
	defer bf.s.mu.Unlock()
	bf.refs++
}

func (bf *blockFile) release() {
	bf.lastUse.Store(time.Now().UnixNano())
	bf.s.mu.Lock()
	bf.refs--
	last := bf.refs == 0
	bf.s.mu.Unlock()
	if last {
		bf.mu.Lock()
		bf.dirty = bf.dirty || bf.bytes() > 0 // the time of use
		bf.spill = nil
		bf.mu.Unlock()
		bf.s.wake()
	}
}

func (bf *blockFile) inUse() bool {
	bf.s.mu.Lock()
	defer bf.s.mu.Unlock()
	return bf.refs > 0
}

func (bf *blockFile) reading() bool {
	bf.s.mu.Lock()
	defer bf.s.mu.Unlock()
	return bf.readers > 0
}

func (bf *blockFile) sound() bool {
	bf.mu.Lock()
	defer bf.mu.Unlock()
	return bf.verified
}

// warm reads p from off if all of its blocks are on disk. p must end within the content.
func (bf *blockFile) warm(p []byte, off int64) bool {
	first, last := off/blockSize, (off+int64(len(p))-1)/blockSize
	for {
		gen := bf.gen.Load()
		f := bf.file.Load()
		if f == nil || !bf.have.hasAll(first, last) {
			return false
		}
		_, err := f.ReadAt(p, off)
		if bf.gen.Load() != gen {
			continue
		}
		if err != nil {
			if !errors.Is(err, os.ErrClosed) {
				bf.s.log.WithError(err).Debug("block cache: read")
				bf.distrust(first, last)
			}
			return false
		}
		for i := first; i <= last; i++ {
			if !bf.touched.has(i) {
				bf.touched.set(i)
			}
		}
		return true
	}
}

// distrust forgets blocks that turned out not to be readable.
func (bf *blockFile) distrust(first, last int64) {
	bf.mu.Lock()
	before := bf.bytes()
	for i := first; i <= last; i++ {
		bf.have.clear(i)
	}
	bf.complete.Store(bf.have.full())
	bf.gen.Add(1)
	bf.dirty, bf.verified = true, false
	gone := before - bf.bytes()
	bf.mu.Unlock()
	bf.s.unreserve(gone)
}

// checkpoint brings the record up to date, and closes the file if nobody uses it.
func (bf *blockFile) checkpoint() error {
	bf.mu.Lock()
	idle := !bf.dirty && bf.fresh == 0
	bf.mu.Unlock()
	if idle && (bf.file.Load() == nil || bf.inUse()) {
		return nil
	}
	bf.persist.Lock()
	defer bf.persist.Unlock()
	err := bf.save()
	bf.s.mu.Lock()
	var f *os.File
	if bf.refs == 0 && err == nil {
		f = bf.file.Swap(nil)
	}
	bf.s.mu.Unlock()
	if f != nil {
		err = f.Close()
	}
	return err
}

// save writes the record if it is behind. The caller holds persist.
func (bf *blockFile) save() error {
	bf.mu.Lock()
	if !bf.dirty && bf.fresh == 0 {
		bf.mu.Unlock()
		return nil
	}
	r := cacheRecord{
		File: bf.key.file, Revision: bf.key.revision, Size: bf.size, MD5: bf.md5, SHA256: bf.sha256,
		Have: bf.have.bytes(), Verified: bf.verified, Pinned: bf.pinned, Used: time.Unix(0, bf.lastUse.Load()),
	}
	synced := bf.fresh == 0
	bf.dirty, bf.fresh = false, 0
	bf.mu.Unlock()

	// Data, then fdatasync, then bits. A crash in between loses bits (we fetch again); the other order would invent
	// them (we would serve zeros).
	var err error
	if f := bf.file.Load(); f != nil && !synced {
		err = unix.Fdatasync(int(f.Fd()))
		crashpoint("blocks.synced")
	}
	if err == nil {
		err = bf.s.ix.writing(func(txn *badger.Txn) error {
			if !r.Pinned && len(bytes.Trim(r.Have, "\x00")) == 0 {
				return txn.Delete(cacheKey(bf.hash))
			}
			b, err := r.encode()
			if err != nil {
				return err
			}
			return txn.Set(cacheKey(bf.hash), b)
		})
	}
	if err != nil {
		bf.mu.Lock()
		bf.dirty, bf.fresh = true, max(bf.fresh, 1)
		bf.mu.Unlock()
		return fmt.Errorf("block cache: %w", err)
	}
	return nil
}

// shut writes the record and closes the file, used or not.
func (bf *blockFile) shut() error {
	bf.persist.Lock()
	defer bf.persist.Unlock()
	err := bf.save()
	if f := bf.file.Swap(nil); f != nil {
		err = errors.Join(err, f.Close())
	}
	return err
}
