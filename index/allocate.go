package index

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Allocate does to the draft what fallocate(2) does to a file: it takes room on the disk for n bytes from off on, or gives
// it back, as the flags of mode say. syscall.EOPNOTSUPP if the disk's file system cannot.
func (d *Draft) Allocate(ctx context.Context, mode uint32, off, n int64) error {
	if off < 0 || n <= 0 || off+n < 0 {
		return fmt.Errorf("allocate %d bytes at %d: %w", n, off, syscall.EINVAL)
	}
	f, err := d.begin(ctx, false)
	if err != nil {
		return err
	}
	defer d.io.RUnlock()
	if mode&unix.FALLOC_FL_PUNCH_HOLE == 0 {
		err = d.s.roomFor(n)
	}
	if err == nil {
		err = unix.Fallocate(int(f.Fd()), mode, off, n)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writers--
	d.seq = nil // what was written may be zeros now
	if err != nil {
		return fmt.Errorf("allocate %d bytes at %d: %w", n, off, err)
	}
	if mode&unix.FALLOC_FL_KEEP_SIZE == 0 {
		d.size = max(d.size, off+n)
	}
	if mode != unix.FALLOC_FL_KEEP_SIZE { // else no byte changed
		d.rec.Dirty, d.modified = true, time.Now()
	}
	return nil
}
