package index

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// What the disk gives back is not taken for granted. A block is checked against its sum when it is first read after its
// file was opened, and again when the file was touched by anyone but us; from then on it is trusted, and reading it costs
// no more than a look at the file's times. A block that is not as it was written is forgotten and fetched again.

// cacheFile is the open sparse file of a revision.
type cacheFile struct {
	*os.File
	fd       int
	writable bool // false on a disk that was made read-only: what is there is served

	// writing is held for each change of ours to the file, from before it until stamp is right again.
	writing sync.Mutex
	stamp   atomic.Pointer[fileStamp]
}

// fileStamp is what changes with every change to a file.
type fileStamp struct{ size, mtime, ctime int64 }

func (f *cacheFile) now() (fileStamp, error) {
	var st unix.Stat_t
	err := unix.Fstat(f.fd, &st)
	return fileStamp{st.Size, st.Mtim.Nano(), st.Ctim.Nano()}, err
}

// openCacheFile opens the file at path, and makes it if it is not there. On a disk that cannot be written to, it opens
// what is there for reading.
func openCacheFile(path string) (*cacheFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, os.ErrNotExist) { // somebody removed the whole directory
		if err = Private(filepath.Dir(path)); err == nil {
			f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		}
	}
	writable := err == nil
	if errors.Is(err, unix.EROFS) || errors.Is(err, os.ErrPermission) {
		f, err = os.OpenFile(path, os.O_RDONLY, 0)
	}
	if err != nil {
		return nil, err
	}
	c := &cacheFile{File: f, fd: int(f.Fd()), writable: writable}
	stamp, err := c.now()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("stat %s: %w", path, err), f.Close())
	}
	c.stamp.Store(&stamp)
	return c, nil
}

// change carries out a change of ours to the file. What somebody else did before is noticed first.
func (bf *blockFile) change(f *cacheFile, do func() error) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	bf.noticeLocked(f)
	err := do()
	if now, e := f.now(); e == nil {
		f.stamp.Store(&now)
	}
	return err
}

// untouched says whether the file is as we left it. If not, nothing in it is trusted any more.
func (bf *blockFile) untouched(f *cacheFile) bool {
	if now, err := f.now(); err == nil && now == *f.stamp.Load() {
		return true
	}
	f.writing.Lock() // a change of ours is over now
	defer f.writing.Unlock()
	return bf.noticeLocked(f)
}

// noticeLocked is untouched for a caller that holds f.writing.
func (bf *blockFile) noticeLocked(f *cacheFile) bool {
	now, err := f.now()
	if err == nil && now == *f.stamp.Load() {
		return true
	}
	bf.doubt()
	if err == nil && now.size != bf.size && f.writable {
		if err := f.Truncate(bf.size); err != nil {
			bf.s.log.WithError(err).Debug("block cache: restore the length of a file")
		}
		now, err = f.now()
	}
	if err == nil {
		f.stamp.Store(&now) // after doubt raised gen: see warm
	}
	return false
}

// doubt makes every block be checked again before it is read.
func (bf *blockFile) doubt() {
	bf.mu.Lock()
	defer bf.mu.Unlock()
	bf.trusted.clearAll()
	bf.gen.Add(1)
}

// warm reads p from off if all of its blocks are on disk and trusted. p must end within the content.
func (bf *blockFile) warm(p []byte, off int64) bool {
	first, last := off/blockSize, (off+int64(len(p))-1)/blockSize
	for {
		gen := bf.gen.Load()
		f := bf.file.Load()
		if f == nil || bf.held.Load() || !bf.trusted.hasAll(first, last) {
			return false
		}
		_, err := f.ReadAt(p, off)
		untouched := bf.untouched(f)
		if bf.gen.Load() != gen {
			continue
		}
		if err != nil || !untouched {
			return false // the way by check finds out what it is
		}
		for i := first; i <= last; i++ {
			bf.touch(i)
		}
		return true
	}
}

// touch notes that block i is read.
func (bf *blockFile) touch(i int64) {
	if !bf.touched.has(i) {
		bf.touched.set(i)
	}
	if bf.unread.has(i) {
		bf.met(i)
	}
}

// check reads p, which lies in block b, from off, if the block is on disk as it was written. If it is not, it is forgotten,
// and wrong says so.
func (bf *blockFile) check(p []byte, off, b int64) (right, wrong bool) {
	gen := bf.gen.Load()
	f := bf.file.Load()
	if f == nil || !bf.have.has(b) {
		return false, false
	}
	start, n := bf.span(b, b)
	buf := p
	if int64(len(p)) < n {
		buf = bf.s.buffer(n)
		defer bf.s.putBuffer(buf)
	}
	_, err := f.ReadAt(buf, start)
	bf.mu.Lock()
	if bf.gen.Load() != gen || errors.Is(err, os.ErrClosed) {
		bf.mu.Unlock()
		return false, false // blocks went meanwhile, maybe this one: look again
	}
	if right = err == nil && blockSum(buf) == bf.sums.get(b); right {
		bf.trusted.set(b)
	}
	bf.mu.Unlock()
	if !right {
		bf.damaged(b, err)
		return false, true
	}
	if int64(len(p)) < n {
		copy(p, buf[off-start:])
	}
	return true, false
}

// proven is check for a reader.
func (bf *blockFile) proven(p []byte, off, b int64) bool {
	right, _ := bf.check(p, off, b)
	if right {
		bf.touch(b)
	}
	return right
}

// damaged forgets a block that is not as it was written, so that it is fetched again.
func (bf *blockFile) damaged(b int64, err error) {
	bf.s.damaged.Add(1)
	bf.s.log.WithField("file", bf.key.file).WithError(err).
		Warnf("block cache: block %d of %s is damaged on disk; it is fetched again", b, bf.hash)
	bf.distrust(b, b)
}

// distrust forgets blocks that turned out not to be readable.
func (bf *blockFile) distrust(first, last int64) {
	bf.mu.Lock()
	gone := bf.forget(first, last, nil)
	bf.mu.Unlock()
	bf.s.unreserve(gone)
}

// forget takes blocks of first..last out, all or those in which, and returns how many bytes that were; they are for
// unreserve. The caller holds mu.
func (bf *blockFile) forget(first, last int64, which *bitmap) int64 {
	before := bf.bytes()
	for i := first; i <= last; i++ {
		if which == nil || which.has(i) {
			bf.takeOut(i)
		}
	}
	bf.complete.Store(bf.have.full())
	bf.gen.Add(1)
	bf.dirty, bf.verified = true, false
	return before - bf.bytes()
}

// takeOut clears the bits of block i. The caller holds mu, and raises gen.
func (bf *blockFile) takeOut(i int64) {
	for _, bits := range []*bitmap{bf.have, bf.trusted, bf.fresh, bf.unread, bf.guessed} {
		bits.clear(i)
	}
}
