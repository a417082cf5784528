package drive

import (
	"context"
	"fmt"
	"time"

	gdrive "google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"
)

// Types of files, as Drive names them.
const (
	FolderType = "application/vnd.google-apps.folder"
	ImageType  = "application/octet-stream" // what the registry tool gives its images
)

// File is what Drive says of one file.
type File struct {
	ID, Name, MimeType, Description string
	Parents                         []string
	Size                            int64             // bytes; 0 for folders
	MD5, SHA256                     string            // of the content, lower-case hex; "" if Drive has none
	HeadRevision                    string            // changes with the content, and only with it
	Version                         int64             // grows with every change of anything
	Properties                      map[string]string // public ones
	Created, Modified               time.Time
	Trashed, OwnedByMe, Shared      bool
	Owner, OwnerName                string // e-mail address and display name; "" in a shared drive
	CanEdit, CanShare               bool
	CanDownload, CanTrash           bool
	HasThumbnail                    bool
}

// IsImage says whether f is an image of a registry: property type=container, and plain bytes.
func (f File) IsImage() bool {
	return f.MimeType == ImageType && f.Properties["type"] == "container"
}

// fileFields is the mask of every request that answers with files: without one Drive sends four fields.
const fileFields = "id,name,mimeType,description,parents,size,md5Checksum,sha256Checksum,headRevisionId,version,properties," +
	"createdTime,modifiedTime,trashed,ownedByMe,shared,owners(emailAddress,displayName)," +
	"capabilities(canEdit,canShare,canDownload,canTrash),hasThumbnail"

// fileOf translates what Google's library decoded.
func fileOf(g *gdrive.File) File {
	f := File{
		ID: g.Id, Name: g.Name, MimeType: g.MimeType, Description: g.Description, Parents: g.Parents,
		Size: g.Size, MD5: g.Md5Checksum, SHA256: g.Sha256Checksum, HeadRevision: g.HeadRevisionId, Version: g.Version,
		Properties: g.Properties, Created: timeOf(g.CreatedTime), Modified: timeOf(g.ModifiedTime),
		Trashed: g.Trashed, OwnedByMe: g.OwnedByMe, Shared: g.Shared, HasThumbnail: g.HasThumbnail,
	}
	if len(g.Owners) > 0 && g.Owners[0] != nil {
		f.Owner, f.OwnerName = g.Owners[0].EmailAddress, g.Owners[0].DisplayName
	}
	if can := g.Capabilities; can != nil {
		f.CanEdit, f.CanShare, f.CanDownload, f.CanTrash = can.CanEdit, can.CanShare, can.CanDownload, can.CanTrash
	}
	return f
}

func filesOf(gs []*gdrive.File) []File {
	files := make([]File, 0, len(gs))
	for _, g := range gs {
		if g != nil {
			files = append(files, fileOf(g))
		}
	}
	return files
}

// timeOf reads RFC 3339; the zero time if s is none.
func timeOf(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// answer carries out o and translates its File.
func (c *Client) answer(ctx context.Context, o op, do func(ctx context.Context) (*gdrive.File, error)) (File, error) {
	var f File
	err := c.call(ctx, o, func(ctx context.Context) error {
		g, err := do(ctx)
		if err != nil {
			return err
		}
		if g.Id == "" {
			return fmt.Errorf("a file without id: %w", ErrProtocol)
		}
		f = fileOf(g)
		return nil
	})
	return f, err
}

// Get reads the metadata of a file, of one in the bin too.
func (c *Client) Get(ctx context.Context, id string) (File, error) {
	return c.answer(ctx, op{name: "files.get", file: id, units: unitsRead}, func(ctx context.Context) (*gdrive.File, error) {
		return c.svc.Files.Get(id).SupportsAllDrives(true).Fields(googleapi.Field(fileFields)).Context(ctx).Do()
	})
}

// GenerateIDs reserves ids for files to be created, n of them up to 1000: what carries one can be created
// again after a lost reply without making a second file.
func (c *Client) GenerateIDs(ctx context.Context, n int) ([]string, error) {
	var ids []string
	err := c.call(ctx, op{name: "files.generateIds", units: unitsRead}, func(ctx context.Context) error {
		got, err := c.svc.Files.GenerateIds().Count(int64(n)).Space("drive").Type("files").Fields("ids").Context(ctx).Do()
		if err != nil {
			return err
		}
		if len(got.Ids) != n {
			return fmt.Errorf("%d ids where %d were asked for: %w", len(got.Ids), n, ErrProtocol)
		}
		ids = got.Ids
		return nil
	})
	return ids, err
}
