package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// The state directory has one owner: whoever holds a lock on Dir/holder, a file that also says who that is. The lock is
// the kernel's (fcntl, open file description), so it ends with the process however the process ends; what the file says
// counts only while the lock is held.

func holderPath(dir string) string { return filepath.Join(dir, "holder") }

func holderLock(kind int16) *unix.Flock_t {
	return &unix.Flock_t{Type: kind, Whence: io.SeekStart}
}

// lockState takes the state directory. It returns *InUseError if somebody has it, and syscall.EROFS if nothing can be
// written there.
func lockState(dir, mount string) (*os.File, error) {
	f, err := os.OpenFile(holderPath(dir), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, sayReadOnly(dir, err)
	}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, holderLock(unix.F_WRLCK))
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		who := readHolder(f)
		return nil, errors.Join(&who, f.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	b, err := json.Marshal(InUseError{PID: os.Getpid(), Mount: mount})
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(append(b, '\n'), 0)
	}
	if errors.Is(err, unix.ENOSPC) { // what is kept for this moment is ours now
		if err = useRoom(dir, recordsRoom(dir)); err == nil {
			_, err = f.WriteAt(append(b, '\n'), 0)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sayReadOnly says what to do when err is that the disk of the state directory is read-only.
func sayReadOnly(dir string, err error) error {
	if errors.Is(err, unix.EROFS) {
		return fmt.Errorf("the disk of %s is read-only; make it writable, or choose another state directory with SREGFS_STATE_DIR: %w", dir, unix.EROFS)
	}
	return err
}

func unlockState(f *os.File) error {
	return errors.Join(f.Truncate(0), f.Close()) // closing ends the lock
}

func readHolder(f *os.File) (h InUseError) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 64<<10))
	if err == nil {
		_ = json.Unmarshal(b, &h) // half written: the holder is just starting, and its name is a courtesy
	}
	return h
}

// Holder tells who has the state directory dir open; held is false if nobody has. Asking does not disturb anyone.
func Holder(dir string) (h InUseError, held bool) {
	f, err := os.Open(holderPath(dir)) // on a disk that became read-only too
	if err != nil {
		return InUseError{}, false
	}
	defer f.Close()
	l := holderLock(unix.F_WRLCK)
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, l); err != nil || l.Type == unix.F_UNLCK {
		return InUseError{}, false
	}
	return readHolder(f), true
}

// warnNFS says what to expect of records on a network file system: Badger maps its files into memory.
func warnNFS(dir string, log logrus.FieldLogger) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) == nil && st.Type == unix.NFS_SUPER_MAGIC {
		log.Warnf("the state directory %s is on NFS; a local disk (SREGFS_STATE_DIR) is safer and faster", dir)
	}
}
