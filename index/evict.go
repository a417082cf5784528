package index

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"math"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// evictAtOnce is how much of an image in use goes at a time: eviction costs a transaction, and an image larger than the
// budget that is read through would otherwise pay it for each request.
const evictAtOnce = 64 << 20

// freeBytes is what the disk under dir has left for us.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return int64(min(st.Bavail, math.MaxInt64/uint64(st.Bsize))) * st.Bsize, nil
}

// reserve makes room for n bytes and takes it. It says no when nothing more may go.
func (s *blockStore) reserve(n int64) bool {
	if s.take(n) {
		return true
	}
	s.room.Lock()
	defer s.room.Unlock()
	for !s.take(n) {
		gone, err := s.evictOne(n)
		if err != nil {
			s.log.WithError(err).Debug("block cache: evict")
		}
		if gone == 0 {
			return false
		}
	}
	return true
}

// giveWay evicts until n bytes of the disk are free, or nothing more may go; nothing at all if that cannot be enough.
func (s *blockStore) giveWay(n int64) {
	s.room.Lock()
	defer s.room.Unlock()
	for {
		free, err := freeBytes(s.dir)
		s.mu.Lock()
		used := s.used
		s.mu.Unlock()
		if err != nil || free >= n || free+used < n {
			return
		}
		gone, err := s.evictOne(n - free)
		if err != nil {
			s.log.WithError(err).Debug("block cache: evict")
		}
		if gone == 0 {
			return
		}
	}
}

// take takes n bytes of the budget if they are there.
func (s *blockStore) take(n int64) bool {
	free, err := freeBytes(s.dir)
	if errors.Is(err, iofs.ErrNotExist) { // somebody removed the directory
		if err = Private(s.dir); err == nil {
			free, err = freeBytes(s.dir)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used+n > s.limit || err != nil || free-n < s.minFree {
		return false
	}
	s.used += n
	return true
}

func (s *blockStore) unreserve(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= n
}

// evictOne removes the blocks of the least recently used image that nobody uses; if there is none, some blocks of the
// largest one in use. Pinned images stay. It returns how many bytes went. The caller holds room.
func (s *blockStore) evictOne(n int64) (int64, error) {
	var idle, busy *blockFile
	for _, bf := range s.all() {
		bf.mu.Lock()
		pinned := bf.pinned
		bf.mu.Unlock()
		switch {
		case pinned, bf.bytes() == 0:
		case !bf.inUse():
			if idle == nil || bf.lastUse.Load() < idle.lastUse.Load() {
				idle = bf
			}
		case busy == nil || bf.bytes() > busy.bytes():
			busy = bf
		}
	}
	if idle != nil {
		if gone, err := idle.drop(math.MaxInt64); gone > 0 {
			return gone, err
		}
	}
	if busy != nil {
		return busy.drop(max(n, min(evictAtOnce, s.limit/4)))
	}
	return 0, nil
}

// drop removes at least n bytes of bf, or all there are, and returns how many went. Of an image in use, blocks read since
// the last time go after the others.
func (bf *blockFile) drop(n int64) (int64, error) {
	bf.persist.Lock()
	defer bf.persist.Unlock()
	if err := bf.openLocked(); err != nil {
		return 0, err
	}
	bf.mu.Lock()
	if bf.evicting != nil {
		bf.mu.Unlock()
		return 0, nil
	}
	bf.evicting = make(chan struct{})
	blocks, gone := bf.choose(n)
	bf.complete.Store(bf.have.full())
	bf.gen.Add(1) // before data goes: see the warm path
	bf.dirty, bf.verified = true, false
	bf.mu.Unlock()

	err := bf.save() // the record first: it must not claim what is gone
	recorded := err == nil
	if recorded {
		err = bf.remove(blocks)
	}
	if err != nil {
		gone = 0 // the bytes are still on the disk
	}
	bf.mu.Lock()
	if !recorded {
		for _, b := range blocks {
			bf.have.set(b)
		}
		bf.complete.Store(bf.have.full())
	}
	close(bf.evicting)
	bf.evicting = nil
	bf.mu.Unlock()
	bf.resume()
	bf.s.unreserve(gone)
	bf.s.evicted.Add(gone)
	return gone, err
}

// choose clears the bits of at least n bytes of blocks and returns which. The caller holds mu.
func (bf *blockFile) choose(n int64) (blocks []int64, gone int64) {
	for _, sparing := range []bool{true, false} {
		for i := int64(0); i < bf.have.n && gone < n; i++ {
			if !bf.have.has(i) || sparing && bf.touched.clear(i) {
				continue
			}
			bf.takeOut(i)
			_, size := bf.span(i, i)
			blocks, gone = append(blocks, i), gone+size
		}
	}
	return blocks, gone
}

// remove gives the space of blocks back: of the whole file if nobody uses it. The caller holds persist.
func (bf *blockFile) remove(blocks []int64) error {
	bf.s.mu.Lock()
	var f *cacheFile
	unused := bf.refs == 0 && bf.have.count() == 0
	if unused {
		f = bf.file.Swap(nil)
	}
	bf.s.mu.Unlock()
	if unused {
		var err error
		if f != nil {
			err = f.Close()
		}
		if e := os.Remove(bf.path()); !errors.Is(e, iofs.ErrNotExist) {
			err = errors.Join(err, e)
		}
		return err
	}
	f = bf.file.Load()
	if f == nil {
		return nil
	}
	return bf.punch(f, blocks)
}

// punch gives the space of blocks in f back to the disk.
func (bf *blockFile) punch(f *cacheFile, blocks []int64) error {
	return bf.change(f, func() error {
		for len(blocks) > 0 {
			run := 1
			for run < len(blocks) && blocks[run] == blocks[run-1]+1 {
				run++
			}
			off, n := bf.span(blocks[0], blocks[run-1])
			if err := punch(f, off, n); err != nil {
				return fmt.Errorf("punch %s: %w", bf.hash, err)
			}
			blocks = blocks[run:]
		}
		return nil
	})
}

// punch gives the space of n bytes of f back to the disk.
func punch(f *cacheFile, off, n int64) error {
	return unix.Fallocate(f.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
}

// Cached returns how many bytes of img are on disk.
func (ix *Index) Cached(img Image) int64 {
	bf := ix.blocks.find(img)
	if bf == nil {
		return 0
	}
	return bf.bytes()
}

// Pin keeps what is cached of img, now and later, when room is made; Unpin undoes it. Neither fetches: see Prefetch.
func (ix *Index) Pin(img Image) error { return ix.blocks.pin(img, true) }

// Unpin undoes Pin.
func (ix *Index) Unpin(img Image) error { return ix.blocks.pin(img, false) }

// Pinned says whether img is pinned.
func (ix *Index) Pinned(img Image) bool {
	bf := ix.blocks.find(img)
	if bf == nil {
		return false
	}
	bf.mu.Lock()
	defer bf.mu.Unlock()
	return bf.pinned
}

func (s *blockStore) pin(img Image, on bool) error {
	bf := s.get(img)
	defer bf.release()
	bf.mu.Lock()
	bf.dirty = bf.dirty || bf.pinned != on
	bf.pinned = on
	bf.mu.Unlock()
	if err := bf.checkpoint(); err != nil {
		return fmt.Errorf("pin %s: %w", img.Ref, err)
	}
	return nil
}

// Evict removes what is cached of img. ErrBusy if somebody is reading it: without the network its reader would fail.
func (ix *Index) Evict(img Image) error {
	bf := ix.blocks.find(img)
	if bf == nil {
		return nil
	}
	if bf.reading() {
		return fmt.Errorf("evict %s: it is open: %w", img.Ref, ErrBusy)
	}
	if _, err := bf.drop(math.MaxInt64); err != nil {
		return fmt.Errorf("evict %s: %w", img.Ref, err)
	}
	return nil
}

// ClearCache removes everything cached but what is pinned or being read.
func (ix *Index) ClearCache() error {
	_, err := ix.FreeCache()
	return err
}

// FreeCache removes what is cached of the files, which must not be being read (ErrBusy); of all, if none is named, but what
// is pinned or being read. It returns how many bytes went.
func (ix *Index) FreeCache(files ...string) (int64, error) {
	var errs []error
	var freed int64
	for _, bf := range ix.blocks.all() {
		bf.mu.Lock()
		pinned := bf.pinned
		bf.mu.Unlock()
		named := slices.Contains(files, bf.key.file)
		switch {
		case bf.bytes() == 0 || len(files) > 0 && !named || !named && (pinned || bf.reading()):
			continue
		case bf.reading():
			errs = append(errs, fmt.Errorf("file %s is open: %w", bf.key.file, ErrBusy))
			continue
		}
		gone, err := bf.drop(math.MaxInt64)
		freed += gone
		if err != nil && !errors.Is(err, syscall.ENOENT) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return freed, fmt.Errorf("clear the cache: %w", err)
	}
	return freed, nil
}
