package fs

import (
	"context"
	"syscall"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
)

// goneNode is a tag's file for the process that removed the last version from the tag's directory, which may be an
// rm -r that has read the file's name already: it can be removed. Whatever else is asked of it ends it, and ESTALE makes
// the kernel look the name up once more, in vain.
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

func (n goneNode) end() error {
	n.fs.traces.forget(n.trace)
	return syscall.ESTALE
}

// Getattr says that the file is gone.
func (n goneNode) Getattr(context.Context, *fuse.GetattrRequest, *fuse.GetattrResponse) error {
	return n.end()
}

// Open says that the file is gone; a program that creates files makes a new one.
func (n goneNode) Open(context.Context, *fuse.OpenRequest, *fuse.OpenResponse) (fusefs.Handle, error) {
	return nil, n.end()
}

// Setattr says that the file is gone.
func (n goneNode) Setattr(context.Context, *fuse.SetattrRequest, *fuse.SetattrResponse) error {
	return n.end()
}

// Getxattr says that the file is gone.
func (n goneNode) Getxattr(context.Context, *fuse.GetxattrRequest, *fuse.GetxattrResponse) error {
	return n.end()
}
