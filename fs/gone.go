package fs

import (
	"context"
	"syscall"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
)

// goneNode is a tag's file for the process that removed the last version from the tag's directory, which may be an
// rm -r that has read the file's name already: it can be removed, and for everything else it is not there. Who opens it
// for writing gets ESTALE, upon which the kernel looks the name up once more, in vain, and creates the file.
type goneNode struct {
	common
	trace removal
}

var _ = map[goneNode]struct{}{} // comparable
var (
	_ fusefs.NodeGetattrer = goneNode{}
	_ fusefs.NodeOpener    = goneNode{}
)

// Attr is for the look-up, which must know what kind of file it found.
func (n goneNode) Attr(_ context.Context, a *fuse.Attr) error {
	n.fs.fill(a, inodeOf(kindGone, n.trace.dir.path, n.trace.name), 0o755, n.fs.since)
	a.Valid = 0
	return nil
}

// Getattr says that the file is gone. rm asks, and removes it all the same.
func (n goneNode) Getattr(context.Context, *fuse.GetattrRequest, *fuse.GetattrResponse) error {
	return syscall.ENOENT
}

// Open says that the file is gone. A program that writes ends the trace, and makes a new file.
func (n goneNode) Open(_ context.Context, req *fuse.OpenRequest, _ *fuse.OpenResponse) (fusefs.Handle, error) {
	if req.Flags.IsReadOnly() {
		return nil, syscall.ENOENT
	}
	n.fs.traces.forget(n.trace)
	return nil, syscall.ESTALE
}

// Setattr says that the file is gone.
func (n goneNode) Setattr(context.Context, *fuse.SetattrRequest, *fuse.SetattrResponse) error {
	return syscall.ENOENT
}

// Getxattr says that the file is gone.
func (n goneNode) Getxattr(context.Context, *fuse.GetxattrRequest, *fuse.GetxattrResponse) error {
	return syscall.ENOENT
}
