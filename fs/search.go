package fs

import (
	"context"
	"net/url"
	"os"
	"sync"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"sregfs/index"
)

// searchDir is .sregfs/search, or .sregfs/search-i, where A and a are the same: the file TEXT in it has the images that a
// search for TEXT finds, as .sregfs/images has all. TEXT is percent-encoded (RFC 3986) where it has a slash or a percent
// sign. Nothing is listed.
type searchDir struct {
	common
	name string
}

var _ = map[searchDir]struct{}{} // comparable

// The names of searchDir in .sregfs.
const (
	searchName        = "search"
	searchAnyCaseName = "search-i"
)

// Attr is that of a directory nobody writes.
func (n searchDir) Attr(_ context.Context, a *fuse.Attr) error {
	n.fs.fill(a, inodeOf(kindControl, n.name), os.ModeDir|0o500, n.fs.since)
	a.Valid = 0
	return nil
}

// Lookup makes the search, and does not begin it.
func (n searchDir) Lookup(_ context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	resp.EntryValid = 0
	text, err := url.PathUnescape(req.Name)
	if err != nil {
		return nil, n.fs.reply("search "+req.Name, notFound)
	}
	return resultsNode{n.common, index.Query{Text: text, AnyCase: n.name == searchAnyCaseName}}, nil
}

// ReadDirAll lists nothing: there is no end of what can be searched for.
func (n searchDir) ReadDirAll(context.Context) ([]fuse.Dirent, error) { return nil, nil }

// resultsNode is the file of one search.
type resultsNode struct {
	common
	query index.Query
}

var _ = map[resultsNode]struct{}{} // comparable
var _ fusefs.NodeOpener = resultsNode{}

// Attr has no size: what is found is made while it is read.
func (n resultsNode) Attr(_ context.Context, a *fuse.Attr) error {
	name := searchName
	if n.query.AnyCase {
		name = searchAnyCaseName
	}
	n.fs.fill(a, inodeOf(kindControl, name, n.query.Text), 0o400, n.fs.since)
	a.Valid = 0
	return nil
}

// Open begins the search.
func (n resultsNode) Open(_ context.Context, req *fuse.OpenRequest, resp *fuse.OpenResponse) (fusefs.Handle, error) {
	if !req.Flags.IsReadOnly() {
		return nil, n.fs.reply("open a search", errOnlyShows)
	}
	resp.Flags |= fuse.OpenDirectIO
	return newResultsHandle(n.fs, n.query), nil
}

// resultsHandle gives what a search finds, a line of JSON each, to one who reads from front to back: only what was not read
// yet is kept. Who goes back has the search made anew.
type resultsHandle struct {
	fs    *FS
	query index.Query

	mu      sync.Mutex     // held while lines are made: they come one after the other
	results *index.Results // guarded by mu
	lines   []byte         // guarded by mu: made and not read
	base    int64          // guarded by mu: where they begin
}

func newResultsHandle(fsys *FS, q index.Query) *resultsHandle {
	return &resultsHandle{fs: fsys, query: q, results: fsys.ix.Search(q)}
}

// Read makes as many lines as it needs.
func (h *resultsHandle) Read(_ context.Context, req *fuse.ReadRequest, resp *fuse.ReadResponse) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if req.Offset < h.base {
		h.results, h.lines, h.base = h.fs.ix.Search(h.query), nil, 0
	}
	for {
		read := after(h.lines, req.Offset-h.base)
		h.base += int64(len(h.lines) - len(read))
		h.lines = read
		if len(h.lines) >= req.Size {
			break
		}
		page := h.results.Next()
		if len(page) == 0 {
			break
		}
		made, err := jsonLines(page)
		if err != nil {
			return h.fs.reply("search", err)
		}
		h.lines = append(h.lines, made...)
	}
	if h.base == req.Offset {
		resp.Data = resp.Data[:copy(resp.Data[:req.Size], h.lines)]
	}
	return nil
}
