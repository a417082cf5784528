package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
)

// page is the unit in which a start's bytes are counted.
const page = 4 << 10

// A passthrough is the least file system of the library that sregfs uses: one file, each read one pread. It is what
// cached reads are compared with, and it counts what a start reads.
type passthrough struct {
	file *os.File
	size int64

	mu    sync.Mutex
	pages []bool // read so far; guarded by mu
}

// servePassthrough mounts local as the only file, "image.sif", of mnt until standard input ends, then prints how many
// bytes of it were read. It runs in a process of its own: one that reads its own mount can wait for itself.
func servePassthrough(mnt, local string) error {
	f, err := os.Open(local)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	conn, err := fuse.Mount(mnt, fuse.FSName("passthrough"), fuse.ReadOnly(), fuse.AllowOther(), fuse.AsyncRead(), fuse.MaxReadahead(128<<10))
	if err != nil {
		return err
	}
	p := &passthrough{file: f, size: st.Size(), pages: make([]bool, st.Size()/page+1)}
	served := make(chan error, 1)
	go func() { served <- fusefs.Serve(conn, p) }()
	fmt.Println("mounted")
	_, _ = io.Copy(io.Discard, os.Stdin) // until our owner ends, however it ends
	// Lazily: a container's last process may not be gone yet.
	if out, err := exec.Command("fusermount3", "-uz", mnt).CombinedOutput(); err != nil { //nolint:noctx // it must not be given up
		return fmt.Errorf("fusermount3: %w: %s", err, out)
	}
	err = errors.Join(<-served, conn.Close())
	p.mu.Lock()
	defer p.mu.Unlock()
	var read int64
	for _, was := range p.pages {
		if was {
			read += page
		}
	}
	return errors.Join(err, json.NewEncoder(os.Stdout).Encode(read))
}

// Root, Attr and Lookup are those of a directory with the one file.
func (p *passthrough) Root() (fusefs.Node, error) { return p, nil }

// Attr fills in the directory's attributes.
func (p *passthrough) Attr(_ context.Context, a *fuse.Attr) error {
	a.Mode, a.Nlink, a.Valid = os.ModeDir|0o755, 2, time.Hour
	return nil
}

// Lookup finds the one file.
func (p *passthrough) Lookup(_ context.Context, name string) (fusefs.Node, error) {
	if name != "image.sif" {
		return nil, fuse.Errno(syscall.ENOENT)
	}
	return passedFile{p}, nil
}

// passedFile is the one file, and its only handle.
type passedFile struct{ p *passthrough }

// Attr fills in the file's attributes.
func (f passedFile) Attr(_ context.Context, a *fuse.Attr) error {
	a.Mode, a.Nlink, a.Valid, a.Size = 0o755, 1, time.Hour, uint64(f.p.size)
	return nil
}

// Open lets the kernel keep the pages.
func (f passedFile) Open(_ context.Context, _ *fuse.OpenRequest, resp *fuse.OpenResponse) (fusefs.Handle, error) {
	resp.Flags |= fuse.OpenKeepCache
	return f, nil
}

// Read answers from the file.
func (f passedFile) Read(_ context.Context, req *fuse.ReadRequest, resp *fuse.ReadResponse) error {
	n, err := f.p.file.ReadAt(resp.Data[:req.Size], req.Offset)
	if n == 0 && err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	resp.Data = resp.Data[:n]
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	for at := req.Offset / page; at*page < req.Offset+int64(n); at++ {
		f.p.pages[at] = true
	}
	return nil
}

// passed mounts a passthrough of a local file in a child of ours. What its end returns in read is the number of bytes
// that were read of it.
func (b *bench) passed(local string, read *int64) (*mounted, error) {
	dir, err := b.fresh("passthrough")
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := b.command(self, "passthrough", dir, local)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	cmd.Cancel = stdin.Close // it unmounts before it ends
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	said := bufio.NewReader(stdout)
	m := &mounted{dir: dir, pid: cmd.Process.Pid}
	m.unmount = func() error {
		_ = stdin.Close()
		err := json.NewDecoder(said).Decode(read)
		return errors.Join(err, cmd.Wait(), os.Remove(dir))
	}
	b.after = append(b.after, m.end)
	if line, err := said.ReadString('\n'); err != nil || line != "mounted\n" {
		return nil, errors.Join(fmt.Errorf("the passthrough of %s is not mounted: %q", filepath.Base(local), line), m.end())
	}
	return m, nil
}
