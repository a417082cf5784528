package fs

import (
	"context"
	"os"
	"strings"
	"sync"
	"syscall"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"sregfs/index"
)

// control is one file of .sregfs. Opening and looking at it does nothing but read.
type control struct {
	// read makes the content, when the file is opened. nil: the answer to the last command.
	read func(*FS, context.Context) ([]byte, error)
	// open gives content that is made while it is read, and is too much to be made before.
	open func(*FS) fusefs.Handle
	// run carries out one line that was written and returns the answer. nil: the file is read-only.
	run func(fsys *FS, ctx context.Context, line string) (answer string, err error)
}

// controls are the files of .sregfs, one table. commands.go and reports.go have what they do.
var controls = map[string]control{
	"status":    {read: (*FS).statusReport},
	"transfers": {read: (*FS).transfersReport},
	"images":    {open: func(fsys *FS) fusefs.Handle { return newResultsHandle(fsys, index.Query{}) }},
	"metrics":   {read: (*FS).metricsReport},
	"share":     {run: (*FS).runShare},
	"record":    {run: (*FS).runRecord},
	"prefetch":  {run: (*FS).runPrefetch},
	"refresh":   {run: (*FS).runRefresh},
	"push":      {run: (*FS).runPush},
	"cache":     {run: (*FS).runCache},
	"fsck":      {run: (*FS).runFsck},
	"control":   {run: (*FS).runControl},
}

// errOnlyShows is the answer to who writes what is only there to be read.
var errOnlyShows = refuse(syscall.EPERM, "this file only shows something")

// controlDir is .sregfs itself. It is not listed at the top, and it is the owner's alone: what it shows, others who are
// let in to read images need not know.
type controlDir struct{ common }

var _ = map[controlDir]struct{}{} // comparable

// Attr is that of a directory nobody writes.
func (n controlDir) Attr(_ context.Context, a *fuse.Attr) error {
	n.fs.fill(a, inodeOf(kindControl), os.ModeDir|0o500, n.fs.since)
	a.Valid = 0
	return nil
}

// dirs are the directories in .sregfs.
func (n controlDir) dirs() map[string]fusefs.Node {
	return map[string]fusefs.Node{
		"id": idDir(n), "meta": metaDir{n.common, ""}, "drafts": draftsDir(n),
		searchName: searchDir{n.common, searchName}, searchAnyCaseName: searchDir{n.common, searchAnyCaseName},
	}
}

// Lookup finds a control file or directory.
func (n controlDir) Lookup(_ context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	resp.EntryValid = 0
	if !n.fs.owns(&req.Header) {
		return nil, n.fs.reply("look up "+controlName+"/"+req.Name, os.ErrPermission)
	}
	if _, ok := controls[req.Name]; ok {
		return controlNode{n.common, req.Name}, nil
	}
	if dir, ok := n.dirs()[req.Name]; ok {
		return dir, nil
	}
	return nil, n.fs.reply("look up "+controlName+"/"+req.Name, notFound)
}

// ReadDirAll lists the table.
func (n controlDir) ReadDirAll(context.Context) ([]fuse.Dirent, error) {
	dirs := n.dirs()
	l := newListing(inodeOf(kindControl), len(controls)+len(dirs))
	for name := range dirs {
		l.add(name, fuse.DT_Dir, inodeOf(kindControl, name))
	}
	for name := range controls {
		l.add(name, fuse.DT_File, inodeOf(kindControl, name))
	}
	return l.entries, nil
}

// controlNode is one file of the table.
type controlNode struct {
	common
	name string
}

var _ = map[controlNode]struct{}{} // comparable
var _ fusefs.NodeOpener = controlNode{}

// Attr has no size: the content is made at open, and read to its end.
func (n controlNode) Attr(_ context.Context, a *fuse.Attr) error {
	mode := os.FileMode(0o400)
	if controls[n.name].run != nil {
		mode = 0o600
	}
	n.fs.fill(a, inodeOf(kindControl, n.name), mode, n.fs.since)
	a.Valid = 0
	return nil
}

// Setattr lets a shell's > truncate what has no length.
func (n controlNode) Setattr(_ context.Context, req *fuse.SetattrRequest, _ *fuse.SetattrResponse) error {
	if req.Valid.Size() && controls[n.name].run == nil {
		return n.fs.reply("write "+controlName+"/"+n.name, errOnlyShows)
	}
	return nil
}

// Open fixes what is read, or begins to take commands.
func (n controlNode) Open(ctx context.Context, req *fuse.OpenRequest, resp *fuse.OpenResponse) (fusefs.Handle, error) {
	resp.Flags |= fuse.OpenDirectIO
	what := "open " + controlName + "/" + n.name
	if !n.fs.owns(&req.Header) {
		return nil, n.fs.reply(what, os.ErrPermission)
	}
	c := controls[n.name]
	if !req.Flags.IsReadOnly() {
		if c.run == nil {
			return nil, n.fs.reply(what, errOnlyShows)
		}
		return newCommandHandle(n.fs, n.name), nil
	}
	if c.open != nil {
		return c.open(n.fs), nil
	}
	if c.read == nil {
		return &textHandle{data: n.fs.cmds.last(n.name)}, nil
	}
	data, err := c.read(n.fs, ctx)
	if err != nil {
		return nil, n.fs.reply(what, err)
	}
	return &textHandle{data: data}, nil
}

// textHandle is a text that was fixed when the file was opened.
type textHandle struct{ data []byte }

// Read answers from the text.
func (h *textHandle) Read(_ context.Context, req *fuse.ReadRequest, resp *fuse.ReadResponse) error {
	resp.Data = resp.Data[:copy(resp.Data[:req.Size], after(h.data, req.Offset))]
	return nil
}

// after is the part of data from byte off.
func after(data []byte, off int64) []byte {
	if off < 0 || off >= int64(len(data)) {
		return nil
	}
	return data[off:]
}

// answers keeps the answer to the last command of each control file, for who reads the file next.
type answers struct {
	mu   sync.Mutex
	text map[string][]byte // guarded by mu
}

func newAnswers() *answers { return &answers{text: make(map[string][]byte)} }

func (a *answers) last(name string) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.text[name]
}

func (a *answers) set(name string, text []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.text[name] = text
}

// commandHandle takes commands, one a line, and gives the answers back to whoever reads the same descriptor. The error
// of a command is that of the write(2) that brought the end of its line, or of close(2) if the line has no end.
type commandHandle struct {
	fs   *FS
	name string
	// turn is held, as its one token, while a request of this descriptor is worked on: commands run one after the other.
	turn chan struct{}
	// The rest belongs to whoever has the turn.
	line   []byte // the beginning of a line
	answer []byte
	base   int64 // offset at which the answer begins for a reader: after what was written, or 0 once it seeks there
}

// maxLine bounds a command.
const maxLine = 64 << 10

func newCommandHandle(fsys *FS, name string) *commandHandle {
	h := &commandHandle{fs: fsys, name: name, turn: make(chan struct{}, 1)}
	h.turn <- struct{}{}
	return h
}

// enter waits for the turn; the function it returns gives it on.
func (h *commandHandle) enter(ctx context.Context) (leave func(), err error) {
	select {
	case <-h.turn:
		return func() { h.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, context.Canceled
	}
}

// Write runs each line that is complete.
func (h *commandHandle) Write(ctx context.Context, req *fuse.WriteRequest, resp *fuse.WriteResponse) error {
	leave, err := h.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	ctx, done := h.fs.steadfast(ctx, req.Pid) // else a Go program would end its own command by preempting itself
	defer done()
	h.line = append(h.line, req.Data...)
	for {
		end := strings.IndexByte(string(h.line), '\n')
		if end < 0 {
			break
		}
		line := string(h.line[:end])
		h.line = append([]byte(nil), h.line[end+1:]...)
		if err := h.run(ctx, line); err != nil {
			h.line, h.base = nil, req.Offset // a failed write moves no file offset
			return err
		}
	}
	if len(h.line) > maxLine {
		h.line = nil
		return h.fs.reply("write "+h.name, refuse(syscall.EINVAL, "a command is a line of text"))
	}
	resp.Size = len(req.Data)
	h.base = req.Offset + int64(len(req.Data))
	return nil
}

// run carries out one command. Its answer, or the reason of its failure, is kept.
func (h *commandHandle) run(ctx context.Context, line string) error {
	line = strings.TrimSpace(line)
	if line == "" && h.name != "refresh" { // which needs no words
		return nil
	}
	text, err := controls[h.name].run(h.fs, ctx, line)
	if err != nil {
		text = sentence(err)
	}
	if text != "" {
		h.answer = append(h.answer, text...)
		if !strings.HasSuffix(text, "\n") {
			h.answer = append(h.answer, '\n')
		}
	}
	h.fs.cmds.set(h.name, append([]byte(nil), h.answer...))
	return h.fs.reply(controlName+"/"+h.name, err)
}

// Read gives the answers to the commands written before.
func (h *commandHandle) Read(ctx context.Context, req *fuse.ReadRequest, resp *fuse.ReadResponse) error {
	leave, err := h.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if req.Offset < h.base {
		h.base = 0
	}
	resp.Data = resp.Data[:copy(resp.Data[:req.Size], after(h.answer, req.Offset-h.base))]
	return nil
}

// Flush runs a last line that has no end.
func (h *commandHandle) Flush(ctx context.Context, _ *fuse.FlushRequest) error {
	leave, err := h.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if len(h.line) == 0 {
		return nil
	}
	line := string(h.line)
	h.line = nil
	return h.run(ctx, line)
}
