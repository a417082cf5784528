package index

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/sirupsen/logrus"

	"sregfs/drive"
)

// blockSize is the unit in which content is kept, recorded and evicted, and the least that is fetched: squashfs's usual
// block, and the longest read of the kernel. How much more one request brings is said in order.go and around.go. A record
// says in which unit it is; the record of a whole image of 10 GiB has some 450 KB.
const blockSize = 128 << 10

// contentKey names the bytes of one revision of one file.
type contentKey struct {
	file, revision string
	size           int64
}

func keyOf(img Image) contentKey {
	k := contentKey{img.File, img.Revision, img.Size}
	if k.revision == "" {
		k.revision = img.MD5
	}
	return k
}

// hash is the local name of the revision: Drive's ids never become part of a path.
func (k contentKey) hash() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", k.file, k.revision, k.size))
	return hex.EncodeToString(sum[:16])
}

// blockStore is the cache of published content: one sparse file for each revision, and a record of which blocks of it are
// there.
//
// Crash order: data, fdatasync, record when blocks come; record, then data when they go. So a record never claims a block
// that is not there, and a block without a record is fetched again.
// Lock order: room, blockFile.prefix, blockFile.persist, flight.cargo, mu, Reader.mu, blockFile.mu, scheduler.mu. Only the
// first four are held across I/O, on the local disk, by those who bring and remove blocks; readers of what is there take no
// lock.
type blockStore struct {
	dir     string
	ix      *Index // its writing, goes, recheck
	drive   *drive.Client
	log     logrus.FieldLogger
	limit   int64 // bytes of blocks
	minFree int64 // bytes of the disk left to others

	completeAfter time.Duration // see complete.go

	mu    sync.Mutex
	files map[contentKey]*blockFile // guarded by mu: every revision on record or in use
	used  int64                     // guarded by mu: bytes of blocks on disk or reserved for a fetch

	room     sync.Mutex // held by whoever evicts: one at a time
	sched    *scheduler
	kick     chan struct{} // wakes upkeep
	looked   chan struct{} // closed when the block files that had no record at start were looked at
	short    sync.Pool     // *[]byte of shortBuffer
	long     sync.Pool     // *[]byte of maxSpan
	uncached atomic.Int64  // bytes served without being kept
	damaged  atomic.Int64  // blocks found not to be as they were written
	evicted  atomic.Int64  // bytes removed to make room, or by hand
}

// The defaults of Options.CacheSize and CacheMinFree.
const (
	defaultCacheSize = 20 << 30
	defaultMinFree   = 1 << 30
)

func openBlocks(ix *Index) (*blockStore, error) {
	s := &blockStore{
		dir: ix.o.CacheDir, ix: ix, drive: ix.drive, log: ix.log, limit: ix.o.CacheSize, minFree: ix.o.CacheMinFree,
		completeAfter: completeAfter,
		files:         map[contentKey]*blockFile{}, sched: newScheduler(), kick: make(chan struct{}, 1), looked: make(chan struct{}),
	}
	if err := Private(s.dir); errors.Is(err, iofs.ErrPermission) {
		return nil, fmt.Errorf("block cache: %w", err)
	} else if err != nil { // a disk that refuses: content is served without being kept
		s.log.Warnf("block cache: images are not kept on this machine: %v", err)
	}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("block cache: %w", err)
	}
	ix.goes(s.upkeep)
	return s, nil
}

// budget fills in the limits that Options leave open. The blocks on record are counted, and nobody else is at work yet.
func (s *blockStore) budget() {
	if s.minFree == 0 {
		s.minFree = defaultMinFree
	}
	if sameDisk(s.dir, s.ix.dir) { // without room for records nothing could be recorded as evicted, either
		s.minFree = max(s.minFree, s.ix.room+s.ix.room/2)
	}
	if s.limit == 0 {
		s.limit = defaultCacheSize
		if free, err := freeBytes(s.dir); err == nil {
			s.limit = min(s.limit, (free+s.used)/5*4)
		}
	}
}

// cacheRecord is the stored form of a blockFile.
type cacheRecord struct {
	V        int       `json:"v"`
	File     string    `json:"file"`
	Revision string    `json:"revision"`
	Size     int64     `json:"size"`
	Block    int64     `json:"block,omitempty"` // blockSize when it was written
	MD5      string    `json:"md5,omitempty"`
	SHA256   string    `json:"sha256,omitempty"`
	Have     []byte    `json:"have,omitempty"` // bitmap
	Sums     []byte    `json:"sums,omitempty"` // of the blocks in Have, see encodeSums
	Verified bool      `json:"verified,omitempty"`
	Pinned   bool      `json:"pinned,omitempty"`
	Used     time.Time `json:"used"`
}

func (r cacheRecord) encode() ([]byte, error) {
	r.V = recordVersion
	return json.Marshal(r)
}

// decodeCacheRecord reads a record. One of other blocks, of an earlier release, says nothing of what is there: its file is
// looked at as one without a record is.
func decodeCacheRecord(b []byte) (r cacheRecord, have *bitmap, sums sumTable, err error) {
	if err = json.Unmarshal(b, &r); err != nil || r.V != recordVersion || r.Size < 0 || r.Size > maxSize || r.File == "" {
		return cacheRecord{}, nil, sumTable{}, corrupt("cache", b, err)
	}
	if r.Block != blockSize {
		r.Have, r.Sums, r.Verified = nil, nil, false
		return r, newBitmap(blocksOf(r.Size)), newSumTable(blocksOf(r.Size)), nil
	}
	if have, err = parseBitmap(blocksOf(r.Size), r.Have); err != nil {
		return cacheRecord{}, nil, sumTable{}, err
	}
	if sums, err = parseSums(have, r.Sums); err != nil {
		return cacheRecord{}, nil, sumTable{}, err
	}
	return r, have, sums, nil
}

// maxSize is more than Drive keeps in a file (5 TB, https://support.google.com/drive/answer/37603): no record is believed,
// and no listing, that would take more memory than that.
const maxSize = 8 << 40

func blocksOf(size int64) int64 { return size/blockSize + min(1, size%blockSize) }

// load reads the records and drops those whose file is not as recorded. Block files without a record are looked at.
func (s *blockStore) load() error {
	var stale [][]byte
	known := map[string]bool{}
	err := eachKey(s.ix.db, kCache, func(key, value []byte) error {
		r, have, sums, err := decodeCacheRecord(value)
		k := contentKey{r.File, r.Revision, r.Size}
		if err == nil && string(key) != k.hash() {
			err = ErrCorrupt
		}
		if err == nil && have.count() > 0 {
			var info iofs.FileInfo
			if info, err = os.Stat(filepath.Join(s.dir, k.hash())); err == nil && info.Size() != r.Size {
				err = fmt.Errorf("%d bytes of %d: %w", info.Size(), r.Size, ErrCorrupt)
			}
		}
		if err != nil {
			s.ix.found(Problem{Kind: ProblemCache, Subject: string(key), Text: fmt.Sprintf("what was cached is not as recorded: %v", err), Repaired: "forgotten; it is fetched again"})
			stale = append(stale, cacheKey(string(key)))
			return nil
		}
		bf := s.newFile(k, r.MD5, r.SHA256)
		bf.have, bf.sums, bf.verified, bf.pinned = have, sums, r.Verified, r.Pinned
		bf.lastUse.Store(r.Used.UnixNano())
		bf.complete.Store(have.full())
		s.files[k] = bf
		s.used += bf.bytes()
		known[bf.hash] = r.Block == blockSize
		return nil
	})
	if err != nil {
		return err
	}
	for keys := range slices.Chunk(stale, 1000) {
		if err := s.ix.writing(func(txn *badger.Txn) error { return deleteAll(txn, keys) }); err != nil {
			return err
		}
	}
	s.budget() // before anyone adopts a file under it
	s.strays(known)
	return nil
}

// get returns the blockFile of img, in use until release.
func (s *blockStore) get(img Image) *blockFile {
	k := keyOf(img)
	s.mu.Lock()
	defer s.mu.Unlock()
	bf := s.files[k]
	if bf == nil {
		bf = s.newFile(k, img.MD5, img.SHA256)
		s.files[k] = bf
	}
	bf.refs++
	return bf
}

// find returns the blockFile of img without using it, nil if there is none.
func (s *blockStore) find(img Image) *blockFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[keyOf(img)]
}

// all is a snapshot of the revisions known.
func (s *blockStore) all() []*blockFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*blockFile, 0, len(s.files))
	for _, bf := range s.files {
		out = append(out, bf)
	}
	return out
}

// checkpointEvery is how much new data may lack its bits, at least: what a crash fetches again. The record of a large
// image is large, so of one it is a part of it.
const (
	checkpointEvery = 64 << 20
	checkpointAfter = 10 * time.Second
)

// upkeep writes records and closes files, when kicked and now and then, until the index closes.
func (s *blockStore) upkeep(ctx context.Context) {
	t := time.NewTicker(checkpointAfter)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-s.kick:
		}
		for _, bf := range s.all() {
			if err := bf.checkpoint(); err != nil {
				s.log.WithError(err).Debug("block cache: checkpoint")
			}
		}
		s.completion()
	}
}

// wake lets upkeep run soon.
func (s *blockStore) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// close writes what is not written yet. Nothing may use the store any more.
func (s *blockStore) close() error {
	var errs []error
	for _, bf := range s.all() {
		err := bf.shut()
		if errors.Is(err, syscall.ENOSPC) { // what has no record is fetched again
			s.log.WithError(err).Debug("block cache: close")
			continue
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// CacheStats are the figures of the block cache.
type CacheStats struct {
	Used     int64    `json:"used"`    // bytes of blocks on disk
	Limit    int64    `json:"limit"`   // the budget in bytes
	MinFree  int64    `json:"minFree"` // bytes of the disk left to others
	Images   int      `json:"images"`  // revisions with at least one block
	Pinned   int      `json:"pinned"`
	Uncached int64    `json:"uncached"`      // bytes served since start without being kept, for want of room
	Evicted  int64    `json:"evicted"`       // bytes removed since start, to make room or by hand
	Damaged  int64    `json:"damaged"`       // blocks found since start not to be as they were written, and fetched again
	Bad      []string `json:"bad,omitempty"` // ids of files whose content twice did not match Drive's checksum

	Fetched map[string]Traffic `json:"fetched,omitempty"` // since start, by class: demand, profile, head, around, ahead, fill, rest, complete
	Open    []Reading          `json:"open,omitempty"`    // the images that are open
}

// Reading is what was fetched of an image that is open.
type Reading struct {
	File    string             `json:"file"`
	Ref     string             `json:"ref,omitempty"` // "" when the revision is no longer in the registry
	Size    int64              `json:"size"`          // bytes of the image,
	Bytes   int64              `json:"bytes"`         // of them on disk,
	Unread  int64              `json:"unread"`        // and of these fetched for nobody, by now; bytes
	Fetched map[string]Traffic `json:"fetched,omitempty"`
}

// CacheStats says what the block cache holds.
func (ix *Index) CacheStats() CacheStats {
	s := ix.blocks
	out := CacheStats{Limit: s.limit, MinFree: s.minFree, Uncached: s.uncached.Load(), Damaged: s.damaged.Load(), Evicted: s.evicted.Load(), Fetched: traffic(&s.sched.figures)}
	for _, bf := range s.all() {
		if bf.bytes() > 0 {
			out.Images++
		}
		bf.mu.Lock()
		if bf.pinned {
			out.Pinned++
		}
		if bf.bad {
			out.Bad = append(out.Bad, bf.key.file)
		}
		open := bf.readers > 0
		bf.mu.Unlock()
		if open {
			out.Open = append(out.Open, Reading{
				File: bf.key.file, Ref: bf.ref(), Size: bf.size, Bytes: bf.bytes(), Unread: bf.unread.count() * blockSize, Fetched: traffic(&bf.figures),
			})
		}
	}
	slices.SortFunc(out.Open, func(a, b Reading) int { return cmp.Compare(a.Ref+a.File, b.Ref+b.File) })
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Used = s.used
	return out
}
