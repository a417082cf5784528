package fs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"sync"

	"bazil.org/fuse"
)

// helperLine is how the FUSE library begins a line of fusermount3 in the standard log, the only place it tells it in.
const helperLine = "mount helper error: "

// logTurn guards the writer of the standard log while it is borrowed.
var logTurn sync.Mutex

// mountKernel asks the kernel for the mount, by fusermount3. An error says why fusermount3 refused.
func mountKernel(dir string, options []fuse.MountOption) (*fuse.Conn, error) {
	logTurn.Lock()
	defer logTurn.Unlock()
	var said bytes.Buffer // the log writes a line at a time, under its own lock
	before := log.Writer()
	log.SetOutput(io.MultiWriter(before, &said))
	conn, err := fuse.Mount(dir, options...)
	log.SetOutput(before)
	if err == nil {
		return conn, nil
	}
	var reasons []string
	for line := range strings.Lines(said.String()) {
		if _, reason, ok := strings.Cut(strings.TrimSpace(line), helperLine); ok {
			reasons = append(reasons, reason)
		}
	}
	if len(reasons) == 0 {
		return nil, err
	}
	return nil, fmt.Errorf("%s: %w", strings.Join(reasons, "; "), errMountRefused)
}

// errMountRefused says that fusermount3 did not mount.
var errMountRefused = errors.New("the mount was refused")
