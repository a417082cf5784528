package fs

import (
	"context"
	"errors"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"sregfs/index"
)

// draftNode is a local file on its way to become an image, by its number in the index.
type draftNode struct {
	common
	id uint64
}

var _ = map[draftNode]struct{}{} // comparable
var (
	_ fusefs.NodeOpener    = draftNode{}
	_ fusefs.NodeSetattrer = draftNode{}
	_ fusefs.NodeFsyncer   = draftNode{}
)

func draftInode(id uint64) uint64 { return inodeOf(kindDraft, strconv.FormatUint(id, 10)) }

// Attr asks the draft every time. A draft that was pushed and closed is no more: ESTALE makes the kernel look the name
// up again, and find the image.
func (n draftNode) Attr(_ context.Context, a *fuse.Attr) error {
	d := n.fs.draft(n.id)
	if d == nil {
		return syscall.ESTALE
	}
	mode := os.FileMode(0o644)
	if _, _, ok := d.Place().Ref(); ok {
		mode = 0o755
	}
	n.fs.fill(a, draftInode(n.id), mode, d.Modified())
	setSize(a, d.Size())
	if _, gone := n.fs.drafts.find(n.id); gone {
		a.Nlink = 0
	}
	a.Valid = 0
	return nil
}

// Open opens the local file.
func (n draftNode) Open(_ context.Context, req *fuse.OpenRequest, _ *fuse.OpenResponse) (fusefs.Handle, error) {
	d := n.fs.draft(n.id)
	if d == nil {
		return nil, syscall.ESTALE
	}
	write := !req.Flags.IsReadOnly()
	if write {
		if err := n.fs.mayChange(&req.Header); err != nil {
			return nil, n.fs.reply("write "+d.Place().String(), err)
		}
	}
	return n.fs.openDraft(d, write, req.Pid), nil
}

// openDraft makes a handle on d for the process pid.
func (fsys *FS) openDraft(d *index.Draft, write bool, pid uint32) *draftHandle {
	h := &draftHandle{fs: fsys, draft: d, write: write}
	if write {
		h.opener = processOf(pid)
	}
	fsys.drafts.opened(d, write, pid, h.opener)
	return h
}

// Setattr sets the size. Emptied, the draft needs neither the image it was copied from nor what was set aside for it.
func (n draftNode) Setattr(ctx context.Context, req *fuse.SetattrRequest, _ *fuse.SetattrResponse) error {
	if !req.Valid.Size() {
		return nil
	}
	ctx, done := n.fs.steadfast(ctx, req.Pid)
	defer done()
	d := n.fs.draft(n.id)
	if d == nil {
		return syscall.ESTALE
	}
	what := "truncate " + d.Place().String()
	if err := n.fs.mayChange(&req.Header); err != nil {
		return n.fs.reply(what, err)
	}
	if int64(req.Size) < 0 {
		return n.fs.reply(what, syscall.EFBIG)
	}
	may := n.fs.drafts.admits
	if req.Size == 0 {
		may = n.fs.drafts.claim
	}
	if err := may(d, processOf(req.Pid)); err != nil {
		return n.fs.reply(what, err)
	}
	defer n.fs.drafts.came(d, req.Pid)
	if err := arrived(ctx, []*index.Draft{d}); err != nil {
		return n.fs.reply(what, err)
	}
	copied := n.fs.drafts.untouched(d)
	if err := d.Truncate(ctx, int64(req.Size)); err != nil {
		return n.fs.reply(what, err)
	}
	if req.Size == 0 {
		if aside := n.fs.drafts.takeAside(d); aside != nil {
			n.fs.discard(aside)
		}
	}
	if copied {
		n.fs.drafts.update(d, func(od *openDraft) { od.edit, od.short = true, req.Size > 0 })
	}
	if _, gone := n.fs.drafts.find(n.id); gone || n.fs.drafts.opens(d) {
		return nil // a descriptor will be closed, and then it is pushed
	}
	err := n.fs.push(ctx, d, false)
	if copied && errors.Is(err, index.ErrPartial) {
		n.fs.discard(d) // truncate(2) is refused, and the image stands
	}
	return n.fs.reply(what, err)
}

// Fsync makes the draft durable on this machine, and waits for Drive if it is on its way there already. A push that failed
// for good is its error: who asks whether the image is safe must not hear that it is.
func (n draftNode) Fsync(ctx context.Context, req *fuse.FsyncRequest) error {
	d := n.fs.draft(n.id)
	if d == nil {
		return nil // Drive has it
	}
	ctx, done := n.fs.steadfast(ctx, req.Pid)
	defer done()
	err := d.Sync()
	if err == nil {
		switch d.State() {
		case index.StateSealed, index.StateSending, index.StateUploaded, index.StateFailed:
			err = d.Wait(ctx)
		case index.StateDraft, index.StateCommitted:
		}
	}
	return n.fs.reply("fsync "+d.Place().String(), err)
}

// draftHandle is an open draft. The bytes stay readable through it after the push.
type draftHandle struct {
	fs     *FS
	draft  *index.Draft
	write  bool
	opener process // who opened it, 0 if not known

	mu      sync.Mutex
	threads map[uint32]struct{} // guarded by mu: those that wrote through this descriptor, of whatever process
}

// manyThreads bounds what a handle remembers of its writers.
const manyThreads = 1000

var (
	_ fusefs.HandleReader   = (*draftHandle)(nil)
	_ fusefs.HandleWriter   = (*draftHandle)(nil)
	_ fusefs.HandleFlusher  = (*draftHandle)(nil)
	_ fusefs.HandleReleaser = (*draftHandle)(nil)

	_ fusefs.HandleFAllocater = (*draftHandle)(nil)
)

func (h *draftHandle) name() string { return h.draft.Place().String() }

// Read reads the local file, or what the draft was copied from.
func (h *draftHandle) Read(ctx context.Context, req *fuse.ReadRequest, resp *fuse.ReadResponse) error {
	ctx, done := h.fs.patient(ctx, req.Pid)
	defer done()
	n, err := h.draft.ReadAt(ctx, resp.Data[:req.Size], req.Offset)
	resp.Data = resp.Data[:n]
	if errors.Is(err, io.EOF) {
		return nil
	}
	return h.fs.reply("read "+h.name(), err)
}

// Write writes up to 128 KiB to the local file. An interrupt does not cut it: programs take a failed write for a lost one.
func (h *draftHandle) Write(ctx context.Context, req *fuse.WriteRequest, resp *fuse.WriteResponse) error {
	ctx, done := h.fs.patient(ctx, req.Pid)
	defer done()
	if err := h.fs.drafts.writes(h.draft, h.opener); err != nil {
		return h.fs.reply("write "+h.name(), err)
	}
	h.written(req.Pid)
	n, err := h.draft.WriteAt(ctx, req.Data, req.Offset)
	resp.Size = n
	return h.fs.reply("write "+h.name(), err)
}

// FAllocate takes room on the local disk, or gives it back.
func (h *draftHandle) FAllocate(ctx context.Context, req *fuse.FAllocateRequest) error {
	what := "allocate " + h.name()
	ctx, done := h.fs.patient(ctx, req.Pid)
	defer done()
	if err := h.fs.drafts.admits(h.draft, h.opener); err != nil {
		return h.fs.reply(what, err)
	}
	if req.Offset > math.MaxInt64 || req.Length > math.MaxInt64 {
		return h.fs.reply(what, syscall.EFBIG)
	}
	return h.fs.reply(what, h.draft.Allocate(ctx, uint32(req.Mode), int64(req.Offset), int64(req.Length)))
}

// Flush comes with every close(2) of a descriptor, before the first write too: it is a question, not an order. A whole
// image that was changed is pushed, and the answer is close's.
func (h *draftHandle) Flush(ctx context.Context, req *fuse.FlushRequest) error {
	if !h.write {
		return nil
	}
	if _, gone := h.fs.drafts.find(h.draft.ID()); gone {
		return nil
	}
	closer := processOf(req.Pid)
	inherited := h.opener != 0 && closer != 0 && closer != h.opener
	if inherited && !h.wrote(closer) {
		return nil
	}
	ctx, done := h.fs.steadfast(ctx, req.Pid)
	defer done()
	if !inherited && h.draft.Dirty() { // else nothing is written yet: dd and the shell close a copy of the descriptor first
		defer h.fs.drafts.yield(h.draft, h.opener)
	}
	return h.fs.reply("close "+h.name(), h.fs.push(ctx, h.draft, inherited))
}

// written notes who writes.
func (h *draftHandle) written(thread uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.threads == nil || len(h.threads) >= manyThreads {
		h.threads = make(map[uint32]struct{})
	}
	h.threads[thread] = struct{}{}
}

// wrote says whether a process that closes, and got the descriptor from another, has written through it: in
// ( head -c N a; tail … ) > x each program closes what the shell opened, and more may yet come. One that has not was
// forked by a program in the middle of its work, and its close means nothing.
func (h *draftHandle) wrote(closer process) bool {
	h.mu.Lock()
	threads := slices.Collect(maps.Keys(h.threads))
	h.mu.Unlock()
	return slices.ContainsFunc(threads, func(thread uint32) bool { return processOf(thread) == closer })
}

// push publishes d if it is a changed, whole image. unfinished says that half an image may still become whole; else it
// is an error that close(2) reports, and the bytes are kept.
func (fsys *FS) push(ctx context.Context, d *index.Draft, unfinished bool) error {
	if !d.Dirty() {
		return nil
	}
	place := d.Place()
	img, err := d.Push(ctx)
	switch {
	case err == nil:
		fsys.traces.pushed(place, img)
		return nil
	case errors.Is(err, index.ErrNotImage):
		return nil // a draft name; it is pushed when it is renamed
	case errors.Is(err, index.ErrPartial) && (unfinished || d.Size() == 0):
		return nil // it stays a draft
	}
	return err
}

// Release only frees: its errors reach nobody.
func (h *draftHandle) Release(context.Context, *fuse.ReleaseRequest) error {
	h.free()
	return nil
}

func (h *draftHandle) free() {
	if h.fs.drafts.closed(h.draft, h.write, h.opener) {
		h.fs.discard(h.draft)
	}
	h.fs.sweep()
}
