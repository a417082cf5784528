package index

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
)

// dropUnbegun removes logs of no length, of memtables and of values, from Badger's directory. A power cut between the making
// of such a file and its first commit, which would have made its length durable, leaves one, and Badger does not open with it.
func dropUnbegun(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if kind := filepath.Ext(e.Name()); kind != ".mem" && kind != ".vlog" {
			continue
		}
		if info, statErr := e.Info(); statErr == nil && info.Size() == 0 {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}
