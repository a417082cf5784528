package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sregfs/drive"
)

// State is how far a draft has come on its way to Drive.
type State string

// The states of a draft, in order. StateFailed is where a push ends that can't succeed by itself.
const (
	StateDraft     State = "draft"     // open to be written
	StateSealed    State = "sealed"    // whole, on disk, checksums known
	StateSending   State = "sending"   // an upload session is recorded
	StateUploaded  State = "uploaded"  // Drive has it, and its checksums agree
	StateCommitted State = "committed" // in the catalogue
	StateFailed    State = "failed"    // parked with a final error; the bytes are kept
)

// Draft is a file on this machine that is, or may become, an image: written in any order, pushed as a whole. Its content
// is a local file, or, until the first change, that of a published image. While it is being pushed it can be read, and
// writers wait; afterwards it stands for the image it became, and a further write makes a draft of it again. A removed
// draft goes on for those who have it open, as removed files do. Safe for concurrent use.
//
// Lock order: turn, io, mu.
type Draft struct {
	s  *draftStore
	id uint64

	// turn is taken, with a context, by who swaps the file, seals or moves: steps that may wait for Drive or copy an image.
	turn chan struct{}

	// io is held shared for one read or write of the local file, and exclusively for the moment in which file changes.
	io   sync.RWMutex
	file *os.File // guarded by io; nil: not open, or the content is that of image

	sent  atomic.Int64 // bytes Drive has
	reply *drive.File  // what Drive answered to the last step; the job's alone

	mu       sync.Mutex
	rec      draftRecord             // guarded by mu; changed by who has the turn or runs the job
	onDisk   bool                    // guarded by mu: there is a local file and a record
	image    Image                   // guarded by mu: what it was made from, or became; File "" = neither
	base     *Reader                 // guarded by mu: of image, opened when first read
	open     int                     // guarded by mu: handles, and the job
	writers  int                     // guarded by mu: writes under way
	busy     chan struct{}           // guarded by mu: not nil while it is being pushed, closed when that ends
	gone     bool                    // guarded by mu: removed
	size     int64                   // guarded by mu
	modified time.Time               // guarded by mu
	blocks   []uint32                // guarded by mu: checksums of the blocks of what was sealed, nil if an earlier program did it
	seq      *sequence               // guarded by mu: checksums of what was written so far, while that is in order
	foreseen *foreseen               // guarded by mu: what its image says of its starts, nil until this program seals it
	reserved *reservation            // guarded by mu: of the id of the next push, nil if there is none
	job      *job                    // guarded by mu
	err      error                   // guarded by mu: of the last push
	progress func(done, total int64) // guarded by mu
}

// sequence is the checksum of a file that is written from its beginning in order.
type sequence struct {
	hasher
	next int64
}

// begin adds p, beside whatever happens to it meanwhile; end waits until that is done. Without a sequence it does nothing.
func (s *sequence) begin(p []byte) (end func()) {
	if s == nil {
		return func() {}
	}
	s.next += int64(len(p))
	if len(p) < hashApart {
		_, _ = s.Write(p) // a hash never fails
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		_, _ = s.Write(p)
		close(done)
	}()
	return func() { <-done }
}

// flushStep is how much of a draft is written between two calls of flush, in bytes.
const flushStep = 8 << 20

// flush makes the disk begin with bytes of f, so that little is left to wait for when it is synced. What it cannot do
// is left for that moment.
func flush(f *os.File, from, to int64) {
	_ = unix.SyncFileRange(int(f.Fd()), from, to-from, unix.SYNC_FILE_RANGE_WRITE)
}

// ID is the draft's number, unique in this state directory.
func (d *Draft) ID() uint64 { return d.id }

// Place is where the draft stands in the tree.
func (d *Draft) Place() Place {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rec.Place
}

// Size is the length in bytes.
func (d *Draft) Size() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.size
}

// Modified is the time of the last change.
func (d *Draft) Modified() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.modified
}

// Dirty says whether there is content that no push has taken. An empty draft is not dirty, nor is a removed one.
func (d *Draft) Dirty() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rec.Dirty && !d.gone
}

// State says how far the draft is.
func (d *Draft) State() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rec.State
}

// Err is why the last push did not succeed, nil if it did or there was none.
func (d *Draft) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Acquire counts an open handle, Release undoes it. Between them the content stays, even when the draft is removed or
// becomes an image.
func (d *Draft) Acquire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open++
}

// Release undoes Acquire. After the last one a draft that was never changed is no more.
func (d *Draft) Release() {
	d.mu.Lock()
	d.open--
	last := d.open == 0
	var base *Reader
	forget := last && !d.onDisk
	if last {
		base, d.base = d.base, nil
	}
	d.mu.Unlock()
	if !last {
		return
	}
	if forget {
		d.s.forget(d)
	}
	if base != nil {
		_ = base.Close() // never fails
	}
	d.io.Lock()
	defer d.io.Unlock()
	d.mu.Lock()
	idle := d.open == 0
	d.mu.Unlock()
	if d.file != nil && idle {
		if err := d.file.Close(); err != nil {
			d.s.log.WithError(err).Debug("close a draft")
		}
		d.file = nil
	}
}

// ReadAt reads as io.ReaderAt does. Content that is still that of a published image may have to come from Drive.
func (d *Draft) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	d.io.RLock()
	if f := d.file; f != nil {
		defer d.io.RUnlock()
		return f.ReadAt(p, off)
	}
	d.io.RUnlock()
	d.mu.Lock()
	onDisk, img := d.onDisk, d.image
	d.mu.Unlock()
	switch {
	case onDisk:
		if err := d.ready(ctx, false); err != nil {
			return 0, err
		}
		d.io.RLock()
		defer d.io.RUnlock()
		if d.file != nil {
			return d.file.ReadAt(p, off)
		}
		return 0, fmt.Errorf("read draft %d: %w", d.id, ErrBusy) // nobody has it open, and it just became an image
	case img.File != "":
		base, err := d.reader()
		if err != nil {
			return 0, err
		}
		return base.ReadAt(ctx, p, off)
	}
	return 0, io.EOF
}

// reader returns the Reader of what the draft was made from.
func (d *Draft) reader() (*Reader, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.base == nil {
		base, err := d.s.ix.reader(d.image)
		if err != nil {
			return nil, err
		}
		d.base = base
	}
	return d.base, nil
}

// WriteAt writes p at off, beyond the end too. While the draft is being pushed it waits. The first change of a published
// image copies it to this machine. syscall.ENOSPC: the local disk is full.
func (d *Draft) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	f, err := d.begin(ctx, false)
	if err != nil {
		return 0, err
	}
	defer d.io.RUnlock()
	d.mu.Lock()
	seq := d.seq
	d.mu.Unlock()
	if seq != nil && off != seq.next {
		seq = nil
	}
	hashed := seq.begin(p) // only the single writer under way has one
	var n int
	if err = d.s.roomFor(int64(len(p))); err == nil {
		n, err = f.WriteAt(p, off)
	}
	if hashed(); n < len(p) {
		seq = nil
	}
	if end := off + int64(n); end/flushStep > off/flushStep {
		flush(f, off/flushStep*flushStep, end)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writers--
	if d.seq != seq {
		d.seq = nil
	}
	d.size = max(d.size, off+int64(n))
	d.modified = time.Now()
	d.rec.Dirty = d.rec.Dirty || n > 0
	return n, err
}

// Truncate sets the length. To zero it drops what the draft was made from without fetching it.
func (d *Draft) Truncate(ctx context.Context, size int64) error {
	if size < 0 {
		return fmt.Errorf("truncate to %d: %w", size, syscall.EINVAL)
	}
	f, err := d.begin(ctx, size == 0)
	if err != nil {
		return err
	}
	defer d.io.RUnlock()
	err = f.Truncate(size)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writers--
	if err != nil {
		d.seq = nil
		return err
	}
	switch {
	case size == 0:
		d.seq = &sequence{hasher: newHasher()}
	case d.seq != nil && d.seq.next != size:
		d.seq = nil
	}
	d.rec.Dirty = size > 0
	d.size, d.modified = size, time.Now()
	return nil
}

// Sync makes what was written durable on this machine.
func (d *Draft) Sync() error {
	d.io.RLock()
	defer d.io.RUnlock()
	if d.file == nil {
		return nil // closed after it was synced, or still an image
	}
	if err := errors.Join(d.file.Sync(), syncDir(d.s.dir)); err != nil { // a new file's name as well
		return fmt.Errorf("sync draft %d: %w", d.id, err)
	}
	return nil
}
