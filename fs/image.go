package fs

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"sregfs/index"
)

// imageNode is one revision of one image. It is an address, not a box: equal imageNodes are the same inode to the
// kernel, so nothing is cached here and Forget has no work. A new revision is a new node, and the bytes of a node never
// change: whoever opens the name for writing is led to a draft, with a node of its own.
type imageNode struct {
	common
	file    string // Drive file id
	rev     string // Drive headRevisionId
	size    int64  // bytes of this revision
	created int64  // Unix nanoseconds, for when the catalogue has forgotten the image and somebody still has it open

	// place is set in the file of a tag, which can be overwritten: where its draft stands.
	place index.Place
}

var _ = map[imageNode]struct{}{} // comparable
var (
	_ fusefs.NodeOpener    = imageNode{}
	_ fusefs.NodeSetattrer = imageNode{}
)

func imageInode(img index.Image) uint64 { return inodeOf(kindImage, img.File, img.Revision) }

// writable says whether the node is a name that can be overwritten, and not one version.
func (n imageNode) writable() bool { return n.place.Name != "" }

// Attr shows Drive's times and size. All may execute: ./image.sif is a way to run an image.
func (n imageNode) Attr(_ context.Context, a *fuse.Attr) error {
	modified := time.Unix(0, n.created)
	if img, err := n.image(); err == nil {
		modified = img.Modified
	}
	mode := os.FileMode(0o555)
	if n.writable() {
		mode = 0o755
	}
	n.fs.fill(a, inodeOf(kindImage, n.file, n.rev), mode, modified)
	setSize(a, n.size)
	a.Valid = longValid
	return nil
}

// Open pins this revision for reading. For writing it prepares a draft and answers ESTALE: the kernel then walks the
// path once more, and the same name now leads to the draft.
func (n imageNode) Open(_ context.Context, req *fuse.OpenRequest, resp *fuse.OpenResponse) (fusefs.Handle, error) {
	if !req.Flags.IsReadOnly() {
		return nil, n.toDraft(&req.Header)
	}
	img, err := n.image()
	if err != nil {
		return nil, n.fs.reply("open "+n.file, err)
	}
	r, err := n.fs.ix.OpenImage(img)
	if err != nil {
		return nil, n.fs.reply("open "+img.Ref.String(), err)
	}
	n.fs.readers.opened(img)
	resp.Flags |= openNoFlush
	if r.Steady() {
		resp.Flags |= fuse.OpenKeepCache // the pages of a revision are right
	}
	return &imageHandle{fs: n.fs, r: r, img: img}, nil
}

// image is what the catalogue knows of the node's revision, or knew when somebody opened it who still has it open.
func (n imageNode) image() (index.Image, error) {
	img, err := n.fs.ix.Find(n.file)
	if err == nil && img.Revision == n.rev {
		return img, nil
	}
	if open, ok := n.fs.readers.find(n.file, n.rev); ok {
		return open, nil
	}
	if err == nil {
		err = index.ErrChanged
	}
	return img, err
}

// Setattr of a size, as truncate(2) does it, goes the way of Open.
func (n imageNode) Setattr(ctx context.Context, req *fuse.SetattrRequest, resp *fuse.SetattrResponse) error {
	if req.Valid.Size() {
		return n.toDraft(&req.Header)
	}
	return n.common.Setattr(ctx, req, resp)
}

// openNoFlush says that close(2) has nothing to ask (FOPEN_NOFLUSH of Linux 5.18, older ones ask; the FUSE library does not
// know it).
const openNoFlush fuse.OpenResponseFlags = 1 << 5

// imageHandle reads one revision, whatever becomes of its name.
type imageHandle struct {
	fs  *FS
	r   *index.Reader
	img index.Image

	failed failures
}

var (
	_ fusefs.HandleReader   = (*imageHandle)(nil)
	_ fusefs.HandleFlusher  = (*imageHandle)(nil)
	_ fusefs.HandleReleaser = (*imageHandle)(nil)
)

// Read answers up to 128 KiB, straight into the reply.
func (h *imageHandle) Read(ctx context.Context, req *fuse.ReadRequest, resp *fuse.ReadResponse) error {
	if err := h.failed.again(req.Offset); err != nil {
		return err
	}
	ctx, done := h.fs.patient(ctx, req.Pid)
	defer done()
	n, err := h.r.ReadAt(ctx, resp.Data[:req.Size], req.Offset)
	resp.Data = resp.Data[:n]
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return h.failed.note(req.Offset, req.Size, err, func() error { return h.fs.reply("read "+h.img.Ref.String(), err) })
	}
	return h.fs.reply("read "+h.img.Ref.String(), err)
}

// Flush has nothing to write.
func (h *imageHandle) Flush(context.Context, *fuse.FlushRequest) error { return nil }

// Release ends the reader.
func (h *imageHandle) Release(context.Context, *fuse.ReleaseRequest) error {
	h.fs.readers.closed(h.img)
	return h.fs.reply("close "+h.img.Ref.String(), h.r.Close())
}
