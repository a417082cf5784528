//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
	"github.com/stretchr/testify/require"

	"sregfs/index/image"
)

// A recorder is a file system of one file that notes what is read of it: what a container start asks for, to the byte,
// which the mount itself rounds up to its blocks.
type recorder struct {
	path string // of the file in the mount

	file *os.File
	size int64

	mu    sync.Mutex
	reads []image.Span // guarded by mu
}

// record mounts a recorder on local; it is unmounted at the end of the test.
func (w *world) record(t *testing.T, local string) *recorder {
	t.Helper()
	f, err := os.Open(local)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	require.NoError(t, err)
	w.made++
	mnt := w.path(fmt.Sprintf("record%d", w.made))
	require.NoError(t, os.Mkdir(mnt, 0o755))
	r := &recorder{path: filepath.Join(mnt, "image.sif"), file: f, size: st.Size()}

	conn, err := fuse.Mount(mnt, fuse.FSName("recorder"), fuse.ReadOnly(), fuse.AllowOther(), fuse.AsyncRead(), fuse.MaxReadahead(128<<10))
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- fusefs.Serve(conn, r) }()
	t.Cleanup(func() {
		require.NoError(t, run("fusermount3", "-u", mnt))
		require.NoError(t, <-served)
		require.NoError(t, conn.Close())
	})
	return r
}

// since returns what was read since the last call.
func (r *recorder) since() []image.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	reads := r.reads
	r.reads = nil
	return reads
}

// Root, Attr and Lookup are those of a directory with the one file.
func (r *recorder) Root() (fusefs.Node, error) { return r, nil }

func (r *recorder) Attr(_ context.Context, a *fuse.Attr) error {
	a.Mode, a.Nlink, a.Valid = os.ModeDir|0o755, 2, time.Hour
	return nil
}

func (r *recorder) Lookup(_ context.Context, name string) (fusefs.Node, error) {
	if name != filepath.Base(r.path) {
		return nil, fuse.Errno(syscall.ENOENT)
	}
	return recorded{r}, nil
}

// recorded is the one file, and its only handle.
type recorded struct{ r *recorder }

func (n recorded) Attr(_ context.Context, a *fuse.Attr) error {
	a.Mode, a.Nlink, a.Valid, a.Size = 0o755, 1, time.Hour, uint64(n.r.size)
	return nil
}

func (n recorded) Open(_ context.Context, _ *fuse.OpenRequest, resp *fuse.OpenResponse) (fusefs.Handle, error) {
	resp.Flags |= fuse.OpenKeepCache
	return n, nil
}

func (n recorded) Read(_ context.Context, req *fuse.ReadRequest, resp *fuse.ReadResponse) error {
	got, err := n.r.file.ReadAt(resp.Data[:req.Size], req.Offset)
	if got == 0 && err != nil && req.Offset < n.r.size {
		return err
	}
	resp.Data = resp.Data[:got]
	n.r.mu.Lock()
	defer n.r.mu.Unlock()
	n.r.reads = append(n.r.reads, image.Span{Off: req.Offset, Len: int64(got)})
	return nil
}
