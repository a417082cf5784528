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

	refs int // guarded by blockStore.mu: readers, flights and others who need the file open

	// The warm read path: no lock, no allocation. A reader takes gen, looks at trusted, reads, and takes gen again: if
	// it moved, blocks were being removed or doubted meanwhile and what was read does not count.
	file     atomic.Pointer[cacheFile] // nil: closed, or the disk refuses
	have     *bitmap
	trusted  *bitmap       // those of have that were checked, see trust.go
	touched  *bitmap       // blocks read since eviction last passed by
	unread   *bitmap       // blocks nobody waited for, and nobody has read
	guessed  *bitmap       // those of them that came because of a miss near them, see around.go
	era      atomic.Int64  // raised when the whole is found wrong and thrown away
	gen      atomic.Uint64 // raised after bits are cleared and before their data goes
	complete atomic.Bool   // have is full
	held     atomic.Bool   // readers wait while the whole is being verified
	lastUse  atomic.Int64  // unix nanoseconds

	stream  atomic.Pointer[Reader] // the last one that read in sequence
	credit  atomic.Int64           // bytes, see around.go
	seen    *bitmap                // places of aroundLeast bytes that were read
	figures [classes]figures

	prefix prefix // what is hashed of the content, see verify.go

	persist sync.Mutex // held by whoever changes the record or the file as a whole; across disk I/O, never by readers

	// mu guards what follows.
	mu          sync.Mutex
	readers     int               // the open Readers
	opened      time.Time         // when a start may have begun: see aroundGift
	gift        int64             // what is left of it
	flights     []*flight         // under way, or waiting for a connection
	queue       [classes][]*order // what is to be fetched, see order.go
	stopped     bool              // Drive refused, or was away: no guesses until a reader was served
	expected    bool              // a profile says what is read
	spent       time.Time         // when a window was last paid for
	spill       []*flight         // the last ones that could not be kept
	uncacheable bool              // the last one could not
	evicting    chan struct{}     // while not nil and open, data is being removed and no flight may begin
	sums        sumTable          // of the blocks in have
	fresh       *bitmap           // those of have that may not be on disk for good
	dirty       bool              // the record is behind
	pinned      bool
	verified    bool          // the whole content was hashed and is right
	checking    chan struct{} // not nil while it is being hashed
	since       time.Time     // when that began
	wrong       int           // times it was hashed and was not right
	bad         bool          // wrong twice
	changed     bool          // Drive has another revision now
	current     *confirmation // Drive's word that the revision is the head one
}

func (s *blockStore) newFile(k contentKey, md5, sha256 string) *blockFile {
	n := blocksOf(k.size)
	bf := &blockFile{
		s: s, key: k, hash: k.hash(), size: k.size, md5: md5, sha256: sha256,
		have: newBitmap(n), trusted: newBitmap(n), touched: newBitmap(n), unread: newBitmap(n), guessed: newBitmap(n), fresh: newBitmap(n),
		seen: newBitmap((n + placeBlocks - 1) / placeBlocks), sums: newSumTable(n),
	}
	bf.credit.Store(aroundCredit)
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
	if bf.s.ix.base.Err() != nil {
		return errClosed // shut closes what is open, once
	}
	return bf.openLocked()
}

// openLocked is open for a caller that holds persist.
func (bf *blockFile) openLocked() error {
	if bf.file.Load() != nil {
		return nil
	}
	f, err := openCacheFile(bf.path())
	if err != nil {
		bf.distrust(0, bf.have.n-1)
		return err
	}
	if was := f.stamp.Load().size; was != bf.size || bf.have.count() == 0 {
		if n := bf.have.count(); n > 0 {
			bf.s.damaged.Add(n)
			bf.s.ix.found(Problem{
				Kind: ProblemCache, Subject: bf.path(), Text: fmt.Sprintf("the file has %d bytes instead of %d", was, bf.size),
				Repaired: "what was cached is forgotten; it is fetched again",
			})
		}
		bf.distrust(0, bf.have.n-1)
		err := bf.change(f, func() error { return errors.Join(f.Truncate(0), f.Truncate(bf.size)) }) // what is in it is nobody's
		if err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if err := bf.reclaim(f); err != nil {
		bf.s.log.WithError(err).Debug("block cache: give back what was not recorded")
	}
	bf.doubt()
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
	bf.mu.Lock()
	defer bf.mu.Unlock()
	return bf.readers > 0
}

// checkpoint brings the record up to date, and closes the file if nobody uses it.
func (bf *blockFile) checkpoint() error {
	bf.mu.Lock()
	idle := !bf.dirty && bf.fresh.count() == 0
	bf.mu.Unlock()
	if idle && (bf.file.Load() == nil || bf.inUse()) {
		return nil
	}
	bf.persist.Lock()
	defer bf.persist.Unlock()
	err := bf.save()
	bf.s.mu.Lock()
	var f *cacheFile
	if bf.refs == 0 && err == nil {
		f = bf.file.Swap(nil)
	}
	bf.s.mu.Unlock()
	if f != nil {
		err = f.Close()
		if bf.have.count() == 0 { // all of it was removed while somebody had it open
			err = errors.Join(err, os.Remove(bf.path()))
		}
	}
	return err
}

// save writes the record if it is behind. The caller holds persist.
func (bf *blockFile) save() error {
	bf.mu.Lock()
	fresh := bf.fresh
	if !bf.dirty && fresh.count() == 0 {
		bf.mu.Unlock()
		return nil
	}
	r := cacheRecord{
		File: bf.key.file, Revision: bf.key.revision, Size: bf.size, Block: blockSize, MD5: bf.md5, SHA256: bf.sha256,
		Have: bf.have.bytes(), Sums: encodeSums(bf.have, bf.sums), Verified: bf.verified, Pinned: bf.pinned, Used: time.Unix(0, bf.lastUse.Load()),
	}
	bf.dirty, bf.fresh = false, newBitmap(bf.have.n)
	bf.mu.Unlock()

	// Data, then fdatasync, then bits. A crash in between loses bits (we fetch again); the other order would invent
	// them (the sums would find out, and each such block would be damage to report).
	if f := bf.file.Load(); f != nil && fresh.count() > 0 {
		err := unix.Fdatasync(f.fd)
		crashpoint("blocks.synced")
		if err != nil { // the kernel may have dropped what it could not write, and says so only once
			bf.mu.Lock()
			gone := bf.forget(0, bf.have.n-1, fresh)
			bf.mu.Unlock()
			bf.s.unreserve(gone)
			return fmt.Errorf("block cache: sync %s: %w", bf.hash, err)
		}
	}
	err := bf.s.ix.writing(func(txn *badger.Txn) error {
		if !r.Pinned && len(bytes.Trim(r.Have, "\x00")) == 0 {
			return txn.Delete(cacheKey(bf.hash))
		}
		b, err := r.encode()
		if err != nil {
			return err
		}
		return txn.Set(cacheKey(bf.hash), b)
	})
	if err != nil {
		bf.mu.Lock()
		bf.dirty = true
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
