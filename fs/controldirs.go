package fs

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"sregfs/index"
)

// idDir has every image by its Drive file id, those that share their name with another included.
type idDir struct{ common }

var _ = map[idDir]struct{}{} // comparable

// Attr is that of a directory nobody writes.
func (n idDir) Attr(_ context.Context, a *fuse.Attr) error {
	n.fs.fill(a, inodeOf(kindControl, "id"), os.ModeDir|0o555, n.fs.since)
	a.Valid = 0
	return nil
}

// Lookup finds an image by id.
func (n idDir) Lookup(_ context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	resp.EntryValid = 0
	img, err := n.fs.ix.Find(req.Name)
	if err != nil {
		return nil, n.fs.reply("look up id "+req.Name, err)
	}
	return n.fs.image(img, index.Place{}), nil
}

// ReadDirAll lists the ids.
func (n idDir) ReadDirAll(context.Context) ([]fuse.Dirent, error) {
	var entries []fuse.Dirent
	all := n.fs.ix.Search(index.Query{})
	for page := all.Next(); len(page) > 0; page = all.Next() {
		for _, img := range page {
			entries = append(entries, fuse.Dirent{Name: img.File, Type: fuse.DT_File, Inode: imageInode(img)})
		}
	}
	return entries, nil
}

// draftsDir has every draft, whatever its name in the tree shows: as NUMBER-NAME. They can be read, removed, and moved
// to where they belong.
type draftsDir struct{ common }

var _ = map[draftsDir]struct{}{} // comparable
var _ folder = draftsDir{}

func draftName(d *index.Draft) string {
	return strconv.FormatUint(d.ID(), 10) + "-" + fmt.Sprintf("%.200s", d.Place().Name)
}

// Attr is that of a directory.
func (n draftsDir) Attr(_ context.Context, a *fuse.Attr) error {
	n.fs.fill(a, inodeOf(kindControl, "drafts"), os.ModeDir|0o755, n.fs.since)
	a.Valid = 0
	return nil
}

func (n draftsDir) find(name string) (entry, error) {
	number, _, _ := strings.Cut(name, "-")
	if id, err := strconv.ParseUint(number, 10, 64); err == nil {
		for _, d := range n.fs.ix.AllDrafts() {
			if d.ID() == id && draftName(d) == name {
				return n.fs.draftEntry(d), nil
			}
		}
	}
	return entry{}, notFound
}

// target refuses: a draft belongs into a collection.
func (n draftsDir) target(string) (index.Place, error) { return index.Place{}, index.ErrReadOnly }

func (n draftsDir) here() error { return nil }

// Lookup finds a draft.
func (n draftsDir) Lookup(_ context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	resp.EntryValid = 0
	e, err := n.find(req.Name)
	if err != nil {
		return nil, n.fs.reply("look up draft "+req.Name, err)
	}
	return e.node, nil
}

// ReadDirAll lists the drafts, without the copies of images that nobody changed and that are about to go.
func (n draftsDir) ReadDirAll(context.Context) ([]fuse.Dirent, error) {
	var entries []fuse.Dirent
	for _, d := range n.fs.ix.AllDrafts() {
		if n.fs.drafts.leftover(d) {
			continue
		}
		entries = append(entries, fuse.Dirent{Name: draftName(d), Type: fuse.DT_File, Inode: draftInode(d.ID())})
	}
	return entries, nil
}

// Remove removes a draft.
func (n draftsDir) Remove(_ context.Context, req *fuse.RemoveRequest) error {
	what := "remove draft " + req.Name
	if err := n.fs.mayChange(&req.Header); err != nil {
		return n.fs.reply(what, err)
	}
	e, err := n.find(req.Name)
	if err == nil {
		err = n.fs.removeDraft(e.draft)
	}
	return n.fs.reply(what, err)
}

// Rename moves a draft to its place, and pushes it if that is an image's name.
func (n draftsDir) Rename(ctx context.Context, req *fuse.RenameRequest, newDir fusefs.Node) error {
	return n.fs.rename(ctx, req, n, controlName+"/drafts/"+req.OldName, newDir)
}
