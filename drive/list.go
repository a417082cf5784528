package drive

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"iter"
	"slices"
	"strings"

	gdrive "google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"
)

const (
	pageSize    = 1000 // the most Drive gives
	restartsMax = 3    // of one walk, after refused page tokens
)

// imageQuery finds images of a registry. All terms are joined by "and": Drive reads a mix of "and" and
// "or" from left to right, whatever one means.
const imageQuery = "mimeType = '" + ImageType + "' and properties has { key='type' and value='container' } and trashed = false"

// quote writes s as a literal of Drive's query language.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// Images lists the images in folder, page by page. A refused page token starts the walk over, so a file
// can come twice. The walk ends with the first error, which comes without files.
func (c *Client) Images(ctx context.Context, folder string) iter.Seq2[[]File, error] {
	return func(yield func([]File, error) bool) {
		shared, err := c.sharedDrive(ctx, folder)
		if err != nil {
			yield(nil, err)
			return
		}
		c.walk(ctx, shared, quote(folder)+" in parents and "+imageQuery)(yield)
	}
}

// sharedDrive is the id of the shared drive folder is in, "" if it is in none.
func (c *Client) sharedDrive(ctx context.Context, folder string) (id string, err error) {
	err = c.call(ctx, op{name: "files.get", file: folder, units: unitsRead}, func(ctx context.Context) error {
		g, err := c.svc.Files.Get(folder).SupportsAllDrives(true).Fields("driveId").Context(ctx).Do()
		if err == nil {
			id = g.DriveId
		}
		return err
	})
	return id, err
}

// SharedImages lists the images other people shared with me one by one, like Images. Those in a folder
// shared as a whole come by Images of that folder.
func (c *Client) SharedImages(ctx context.Context) iter.Seq2[[]File, error] {
	return c.walk(ctx, "", "sharedWithMe = true and "+imageQuery)
}

// walk yields the pages of a query over My Drive and what is shared with me, or over one shared drive.
func (c *Client) walk(ctx context.Context, shared, query string) iter.Seq2[[]File, error] {
	return func(yield func([]File, error) bool) {
		token, restarts := "", 0
		for {
			files, next, err := c.page(ctx, shared, query, token)
			if token != "" && errors.Is(err, ErrInvalid) && restarts < restartsMax {
				token, restarts = "", restarts+1
				continue
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(files, nil) || next == "" {
				return
			}
			token = next
		}
	}
}

// page is one files.list.
func (c *Client) page(ctx context.Context, shared, query, token string) (files []File, next string, err error) {
	err = c.call(ctx, op{name: "files.list", units: unitsList}, func(ctx context.Context) error {
		list := c.svc.Files.List().Q(query).PageSize(pageSize).Spaces("drive").SupportsAllDrives(true).IncludeItemsFromAllDrives(true).
			Fields("nextPageToken", googleapi.Field("files("+fileFields+")"))
		if shared != "" {
			list.Corpora("drive").DriveId(shared)
		}
		if token != "" {
			list.PageToken(token)
		}
		got, err := list.Context(ctx).Do()
		if err != nil {
			return err
		}
		files, next = filesOf(got.Files), got.NextPageToken
		return nil
	})
	return files, next, err
}

// Folder finds the folder called name, exactly, in the top of My Drive: owned by me and not in the bin. Of
// several it gives the oldest, and the others in more. It returns io/fs.ErrNotExist if there is none.
func (c *Client) Folder(ctx context.Context, name string) (f File, more []File, err error) {
	// Drive's index of names lags behind, by minutes: a folder made on another machine may not be found by
	// its name yet. Before saying that there is none, ask in a way that has never been seen to lag.
	const folders = "mimeType = '" + FolderType + "' and 'root' in parents and 'me' in owners and trashed = false"
	for _, query := range []string{"name = " + quote(name) + " and " + folders, folders} {
		var found []File
		for files, err := range c.walk(ctx, "", query) {
			if err != nil {
				return File{}, nil, fmt.Errorf("find folder %q: %w", name, err)
			}
			found = append(found, files...)
		}
		// Drive compares names without regard to case, and a restarted walk brings files twice.
		found = slices.DeleteFunc(found, func(f File) bool { return f.Name != name || f.Trashed })
		slices.SortFunc(found, func(a, b File) int {
			return or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
		})
		found = slices.CompactFunc(found, func(a, b File) bool { return a.ID == b.ID })
		if len(found) > 0 {
			return found[0], found[1:], nil
		}
	}
	return File{}, nil, fmt.Errorf("folder %q in My Drive: %w", name, iofs.ErrNotExist)
}

// CreateFolder makes a folder in the top of My Drive, under an id from GenerateIDs. Called again it
// returns the folder made before.
func (c *Client) CreateFolder(ctx context.Context, id, name string) (File, error) {
	f, err := c.answer(ctx, op{name: "files.create", file: id, units: unitsEdit}, func(ctx context.Context) (*gdrive.File, error) {
		folder := &gdrive.File{Id: id, Name: name, MimeType: FolderType, Parents: []string{"root"}}
		return c.svc.Files.Create(folder).SupportsAllDrives(true).Fields(googleapi.Field(fileFields)).Context(ctx).Do()
	})
	return c.orExisting(ctx, id, f, err, func(f File) bool { return f.Name == name && f.MimeType == FolderType && !f.Trashed })
}

// orExisting turns "the id is in use" into the file that uses it, if that is the one we meant to create.
func (c *Client) orExisting(ctx context.Context, id string, f File, err error, same func(File) bool) (File, error) {
	if !errors.Is(err, iofs.ErrExist) {
		return f, err
	}
	f, getErr := c.Get(ctx, id)
	if getErr != nil {
		return File{}, getErr
	}
	if !same(f) {
		return File{}, err
	}
	return f, nil
}
