package index

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"syscall"
)

// Private makes dir, a directory of our own, one that nobody else can look into: it is made with mode 0700 if it is
// absent, and loses the bits of others if it has any. What lies in it holds images that may be secret and the addresses
// of upload sessions, which need no token; so the files in it need no care of their own. A directory, or a symbolic link
// to one, that belongs to somebody else is io/fs.ErrPermission: whoever owns it can change what is in it.
func Private(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, look := range []func(string) (os.FileInfo, error){os.Lstat, os.Stat} { // the link, and where it leads
		info, err := look(dir)
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
			return fmt.Errorf("%s belongs to user %d: %w; choose a directory of your own", dir, st.Uid, iofs.ErrPermission)
		}
		if info.IsDir() && info.Mode().Perm()&0o077 != 0 {
			// On a disk that is read-only nothing more comes in.
			if err := os.Chmod(dir, info.Mode().Perm()&0o700); err != nil && !errors.Is(err, syscall.EROFS) {
				return fmt.Errorf("close %s to others: %w", dir, err)
			}
		}
	}
	return nil
}
