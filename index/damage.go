package index

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
)

// openRecords opens the records. What cannot be read because it is damaged, and not because the disk or the user is at
// fault, is ErrCorrupt. Badger panics over some damage, so it is shown none that can be found before.
//
// A manifest that lost its end cannot be told from a crash before it was written: Badger then drops tables, whose content is
// in the log as well after a crash. In doubt what came from Drive is to be asked for again.
func openRecords(o badger.Options) (db *badger.DB, doubt bool, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a file that is shorter than it was mapped
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %s", ErrCorrupt, oneLine(fmt.Sprint(r)))
		}
	}()
	if doubt, err = checkTables(o); err == nil {
		db, err = badger.Open(o)
	}
	var errno syscall.Errno
	if err != nil && (!errors.As(err, &errno) || errno == syscall.ENOENT || errno == syscall.EINVAL) {
		err = fmt.Errorf("%w: %s", ErrCorrupt, oneLine(err.Error()))
	}
	return db, doubt, err
}

// oneLine is the beginning of text, on one line.
func oneLine(text string) string {
	return fmt.Sprintf("%.300s", strings.Join(strings.Fields(text), " "))
}

// checkTables reads every table of the records, some megabytes, and compares it with its checksums. Badger checks none of
// them, and opens them in goroutines of its own, whose panic would end the program. It says whether there is a table that is
// whole and that Badger will nevertheless drop.
func checkTables(o badger.Options) (doubt bool, err error) {
	f, err := os.Open(filepath.Join(o.Dir, badger.ManifestFilename))
	if errors.Is(err, iofs.ErrNotExist) {
		return false, checkNoTables(o.Dir)
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	manifest, _, err := badger.ReplayManifestFile(f, o.ExternalMagicVersion, o)
	if err != nil {
		return false, err
	}
	files, err := filepath.Glob(filepath.Join(o.Dir, "*.sst"))
	if err != nil {
		return false, err
	}
	for _, path := range files {
		id, _ := table.ParseFileID(path)
		of, listed := manifest.Tables[id]
		if !listed {
			doubt = doubt || checkTable(path, o.Compression, o.BlockSize) == nil
			continue
		}
		if err := checkTable(path, of.Compression, o.BlockSize); err != nil {
			return false, fmt.Errorf("table %s: %w", filepath.Base(path), err)
		}
	}
	return doubt, nil
}

// checkNoTables is for a directory without a manifest: Badger would take it for a new one, and throw the tables away.
func checkNoTables(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err == nil && len(files) > 0 {
		err = errors.New("there is no manifest")
	}
	return err
}

func checkTable(path string, compression options.CompressionType, blockSize int) (err error) {
	defer func() { // half of a table
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	mapped, err := z.OpenMmapFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	t, err := table.OpenTable(mapped, table.Options{ReadOnly: true, BlockSize: blockSize, Compression: compression, ChkMode: options.NoVerification})
	if err != nil {
		return errors.Join(err, mapped.Close(-1))
	}
	return errors.Join(t.VerifyChecksum(), t.Close(-1))
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
