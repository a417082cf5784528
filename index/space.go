package index

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Badger writes by mapped memory, into files with holes: on a disk that is full the kernel answers with a signal that
// ends the program, be it that we write or that Badger brings its log into a table later, when it is closed at the latest.
// So a part of the disk is kept for it: drafts and records are refused (syscall.ENOSPC) while less is free, and a file of
// that size, which nobody else can fill up, is given up when the records are opened or closed on a full disk.

// recordsRoom is what Badger may need to bring everything into order: two logs of 8 MiB become tables, beside new logs.
// A small disk has small records, and keeps less.
func recordsRoom(dir string) int64 {
	const most, least = 32 << 20, 4
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return most
	}
	return min(most, int64(min(st.Blocks, 1<<32))*st.Bsize/least)
}

func reservePath(dir string) string { return filepath.Join(dir, "reserve") }

// roomFor returns syscall.ENOSPC unless n bytes can be written in dir with keep left for others.
func roomFor(dir string, n, keep int64) error {
	free, err := freeBytes(dir)
	if err != nil {
		return err
	}
	if free < n+keep {
		return fmt.Errorf("the disk of %s is full, %d MiB are free: %w", dir, free>>20, syscall.ENOSPC)
	}
	return nil
}

// keepRoom makes the reserve, if there is none and the disk has more than twice as much.
func keepRoom(dir string, room int64) error {
	if _, err := os.Stat(reservePath(dir)); err == nil || roomFor(dir, room, room) != nil {
		return nil //nolint:nilerr // it is there, or the disk is too full for it
	}
	f, err := os.OpenFile(reservePath(dir), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, room)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = nil // an empty file: such a disk makes no promise
	}
	return errors.Join(err, f.Close())
}

// useRoom gives the reserve up if the records need it now. It returns syscall.ENOSPC if that is not enough.
func useRoom(dir string, room int64) error {
	if roomFor(dir, 0, room) == nil {
		return nil
	}
	if err := os.Remove(reservePath(dir)); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	return roomFor(dir, 0, room/2)
}

// closeRecords closes Badger, unless the disk has no room for what it then writes, or takes nothing any more: Badger would
// try for ever. Its log has everything, and the next start reads it.
func (ix *Index) closeRecords() error {
	if err := useRoom(ix.dir, ix.room); err != nil {
		ix.log.Warnf("the records are left as after a crash: %v", err)
		return nil
	}
	if err := tryDisk(ix.dir); err != nil {
		return fmt.Errorf("the records are left as after a crash: %w", err)
	}
	return ix.db.Close()
}

// tryDisk tells whether the disk of dir still takes what is written to it.
func tryDisk(dir string) error {
	f, err := os.CreateTemp(dir, "try-")
	if err != nil {
		return err
	}
	_, err = f.WriteString("is there a disk?")
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// roomFor returns syscall.ENOSPC unless n bytes more fit on the disk of the drafts, beside what the records need of it.
// What the cache has on that disk gives way: it can be fetched again, and a draft is all there is of what was written.
func (s *draftStore) roomFor(n int64) error {
	err := roomFor(s.dir, n, s.room)
	if errors.Is(err, syscall.ENOSPC) && sameDisk(s.dir, s.ix.blocks.dir) {
		s.ix.blocks.giveWay(n + s.room)
		err = roomFor(s.dir, n, s.room)
	}
	return err
}

// sameDisk says whether two paths are on one file system. If it cannot tell, they are.
func sameDisk(a, b string) bool {
	var x, y unix.Stat_t
	return unix.Stat(a, &x) != nil || unix.Stat(b, &y) != nil || x.Dev == y.Dev
}
