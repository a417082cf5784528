package index

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// openRecords opens the records. What cannot be read because it is damaged, and not because the disk or the user is at
// fault, is ErrCorrupt. Badger panics over some damage.
func openRecords(o badger.Options) (db *badger.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, r)
		}
	}()
	db, err = badger.Open(o)
	var errno syscall.Errno
	if err != nil && (!errors.As(err, &errno) || errno == syscall.ENOENT || errno == syscall.EINVAL) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return db, err
}

// SetAside takes the records in the state directory dir out of the way, because they are damaged, and returns where they
// are now. The next Open lists the registry afresh; drafts come back with their bytes, under their names. ErrInUse if
// somebody has the state.
func SetAside(dir string) (string, error) {
	lock, err := lockState(dir, "")
	if err != nil {
		return "", fmt.Errorf("set the index aside: %w", err)
	}
	to := badgerDir(dir) + ".damaged-" + time.Now().UTC().Format("20060102-150405.000")
	err = os.Rename(badgerDir(dir), to)
	if errors.Is(err, iofs.ErrNotExist) {
		to, err = "", nil
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err = errors.Join(err, unlockState(lock)); err != nil {
		return "", fmt.Errorf("set the index aside: %w", err)
	}
	return to, nil
}
