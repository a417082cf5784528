package index

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A copy of an image on the disk of the cache need not be a second one: file systems with reflinks (Btrfs, XFS) let two
// files share their blocks until one is written to. A hard link would be one file with two names: an edit of the owner's
// would be in the cache, and the holes that eviction punches in the owner's file.

// Clones says whether dst, an empty file, can share the cache's disk blocks: they are on one file system, it can do that,
// and there is room for the whole image in the cache.
func (r *Reader) Clones(dst *os.File) bool {
	bf := r.bf
	free, err := freeBytes(bf.s.dir)
	if err != nil || bf.size < blockSize || bf.size > bf.s.limit || free-(bf.size-bf.bytes()) < bf.s.minFree {
		return false
	}
	return r.clone(dst, blockSize) == nil && dst.Truncate(0) == nil
}

// CloneTo makes dst the content by sharing the cache's disk blocks: no byte is copied, and neither file shows what is done
// to the other from then on. errors.ErrUnsupported: dst cannot (see Clones), or the content is not here whole, or was not
// yet found right.
func (r *Reader) CloneTo(dst *os.File) error {
	bf := r.bf
	gen := bf.gen.Load()
	bf.mu.Lock()
	right := bf.verified
	bf.mu.Unlock()
	if !right || !bf.complete.Load() {
		return fmt.Errorf("clone: %w", errors.ErrUnsupported)
	}
	if err := r.clone(dst, 0); err != nil {
		return fmt.Errorf("clone: %w", err)
	}
	if bf.gen.Load() != gen || !bf.complete.Load() { // some of it may have been evicted before it was shared
		return fmt.Errorf("clone: %w", errors.ErrUnsupported)
	}
	return nil
}

// clone shares the first n bytes of the cache's file with dst, 0 for all.
func (r *Reader) clone(dst *os.File, n uint64) error {
	f := r.bf.file.Load()
	if f == nil {
		return errors.ErrUnsupported
	}
	return r.bf.change(f, func() error {
		err := unix.IoctlFileCloneRange(int(dst.Fd()), &unix.FileCloneRange{Src_fd: int64(f.fd), Src_length: n})
		if err != nil {
			return errors.Join(err, errors.ErrUnsupported)
		}
		return nil
	})
}
