package main

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A part is a file that is being written: hidden, beside its target, whose name it gets when it is whole. Whoever writes
// one holds a lock on it (flock(2)), which ends with the process: so what a killed one left is known, and the next part
// in that directory takes it away.

const (
	partBegin = "."
	partEnd   = ".part"
)

// newPart makes a part for target, and removes those that nobody writes any more. It is new, so that nobody's link is
// followed, and has the permissions that the umask leaves.
func newPart(target string) (*os.File, error) {
	dir := filepath.Dir(target)
	sweepParts(dir)
	for {
		f, err := os.OpenFile(filepath.Join(dir, partBegin+rand.Text()+partEnd), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o755)
		if err != nil {
			return nil, inDir(err)
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != unix.EWOULDBLOCK { // a file system without locks has no sweep either
			mine, err := f.Stat()
			now, nerr := os.Lstat(f.Name())
			if err == nil && nerr == nil && os.SameFile(mine, now) {
				return f, nil
			}
		}
		// Another's sweep met it before it was locked.
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// sweepParts removes the parts in dir that nobody writes any more. What cannot be removed stays; it does no harm.
func sweepParts(dir string) {
	names, _ := filepath.Glob(filepath.Join(escapeGlob(dir), partBegin+strings.Repeat("[A-Z2-7]", len(rand.Text()))+partEnd)) // a good pattern
	for _, name := range names {
		f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.Remove(name)
		}
		_ = f.Close()
	}
}

// escapeGlob is the pattern that dir alone matches.
func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(dir)
}

// inDir says of the directory what err says of a file in it whose name means nothing to anybody.
func inDir(err error) error {
	var file *os.PathError
	if !errors.As(err, &file) {
		return err
	}
	return &os.PathError{Op: "write in", Path: filepath.Dir(file.Path), Err: file.Err}
}
