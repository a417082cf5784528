package fs

import (
	"context"
	"syscall"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"sregfs/index"
)

// common is what every node starts from: each operation refused with the right errno, or accepted where a refusal would
// only disturb. The library's own defaults are not used, because some of them lie: an unimplemented Setattr succeeds,
// an unimplemented Fsync or Rename is EIO. A node embeds common and overrides what it can do.
type common struct{ fs *FS }

var (
	_ fusefs.NodeAccesser      = common{}
	_ fusefs.NodePoller        = common{}
	_ fusefs.NodeFsyncer       = common{}
	_ fusefs.NodeSetattrer     = common{}
	_ fusefs.NodeGetxattrer    = common{}
	_ fusefs.NodeListxattrer   = common{}
	_ fusefs.NodeSetxattrer    = common{}
	_ fusefs.NodeRemovexattrer = common{}
	_ fusefs.NodeSymlinker     = common{}
	_ fusefs.NodeLinker        = common{}
	_ fusefs.NodeMknoder       = common{}
	_ fusefs.NodeMkdirer       = common{}
	_ fusefs.NodeCreater       = common{}
	_ fusefs.NodeRemover       = common{}
	_ fusefs.NodeRenamer       = common{}
)

// Access grants everything for good, so that the kernel does not ask again; who may change something is decided where it
// is changed.
func (c common) Access(context.Context, *fuse.AccessRequest) error { return syscall.ENOSYS }

// Poll is refused for good: readiness of regular files is always, and the answer costs a request each time.
func (c common) Poll(context.Context, *fuse.PollRequest, *fuse.PollResponse) error {
	return syscall.ENOSYS
}

// Fsync of what cannot be written is done already. The kernel's loop driver asks this of an image.
func (c common) Fsync(context.Context, *fuse.FsyncRequest) error { return nil }

// Setattr refuses a new size. chmod, chown and utimes are accepted and change nothing, so that cp -p, tar and rsync
// need not complain.
func (c common) Setattr(_ context.Context, req *fuse.SetattrRequest, _ *fuse.SetattrResponse) error {
	if req.Valid.Size() {
		return c.fs.reply("truncate", refuse(syscall.EPERM, "this file does not change its size"))
	}
	return nil
}

// Getxattr finds nothing.
func (c common) Getxattr(context.Context, *fuse.GetxattrRequest, *fuse.GetxattrResponse) error {
	return fuse.ErrNoXattr
}

// Listxattr lists nothing.
func (c common) Listxattr(context.Context, *fuse.ListxattrRequest, *fuse.ListxattrResponse) error {
	return nil
}

// Setxattr is not supported, which cp -a and mv take without a word.
func (c common) Setxattr(context.Context, *fuse.SetxattrRequest) error { return syscall.ENOTSUP }

// Removexattr finds nothing to remove.
func (c common) Removexattr(context.Context, *fuse.RemovexattrRequest) error { return fuse.ErrNoXattr }

// Symlink is refused: a registry holds images.
func (c common) Symlink(context.Context, *fuse.SymlinkRequest) (fusefs.Node, error) {
	return nil, syscall.EPERM
}

// Link is refused.
func (c common) Link(context.Context, *fuse.LinkRequest, fusefs.Node) (fusefs.Node, error) {
	return nil, syscall.EPERM
}

// Mknod is refused.
func (c common) Mknod(context.Context, *fuse.MknodRequest) (fusefs.Node, error) {
	return nil, syscall.EPERM
}

// Mkdir is refused.
func (c common) Mkdir(context.Context, *fuse.MkdirRequest) (fusefs.Node, error) {
	return nil, c.refuse()
}

// Create is refused.
func (c common) Create(context.Context, *fuse.CreateRequest, *fuse.CreateResponse) (fusefs.Node, fusefs.Handle, error) {
	return nil, nil, c.refuse()
}

// Remove is refused.
func (c common) Remove(context.Context, *fuse.RemoveRequest) error { return c.refuse() }

// Rename is refused.
func (c common) Rename(context.Context, *fuse.RenameRequest, fusefs.Node) error { return c.refuse() }

// refuse answers a change of what only shows something.
func (c common) refuse() error { return c.fs.reply("change", index.ErrReadOnly) }
