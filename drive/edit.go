package drive

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"slices"
	"time"

	gdrive "google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"
)

// NewFile describes a file to create.
type NewFile struct {
	ID            string // from GenerateIDs; it is what makes a repeated create harmless
	Name, Parent  string
	MimeType      string // default ImageType
	Description   string
	Properties    map[string]string
	Thumbnail     []byte // PNG, GIF or JPEG, at least 220 pixels wide, at most 2 MB; nil: none
	ThumbnailType string // e.g. "image/png"
	Size          int64  // bytes of the content to come
}

// metadata is f as a request body. Values that would be left out as zero need no forcing: a new file has them anyway.
func (f NewFile) metadata() *gdrive.File {
	g := &gdrive.File{
		Id: f.ID, Name: f.Name, MimeType: or(f.MimeType, ImageType), Description: f.Description, Properties: f.Properties,
	}
	if f.Parent != "" {
		g.Parents = []string{f.Parent}
	}
	if len(f.Thumbnail) > 0 {
		g.ContentHints = &gdrive.FileContentHints{Thumbnail: &gdrive.FileContentHintsThumbnail{
			Image: base64.URLEncoding.EncodeToString(f.Thumbnail), MimeType: f.ThumbnailType,
		}}
	}
	return g
}

// Patch is a change of metadata. Nil fields stay as they are.
type Patch struct {
	Name, Description *string
	Properties        map[string]*string // keys not named stay; a nil value removes its key
	Trashed           *bool
	Modified          *time.Time // nil: the time of the change
}

// Update changes the metadata of a file, and returns what it is then.
func (c *Client) Update(ctx context.Context, id string, p Patch) (File, error) {
	g := &gdrive.File{}
	if p.Name != nil {
		g.Name = *p.Name
		g.ForceSendFields = append(g.ForceSendFields, "Name")
	}
	if p.Description != nil {
		g.Description = *p.Description
		g.ForceSendFields = append(g.ForceSendFields, "Description")
	}
	if p.Trashed != nil {
		g.Trashed = *p.Trashed
		g.ForceSendFields = append(g.ForceSendFields, "Trashed")
	}
	if p.Modified != nil {
		g.ModifiedTime = p.Modified.UTC().Format("2006-01-02T15:04:05.000Z07:00") // Drive keeps milliseconds
	}
	if len(p.Properties) > 0 {
		g.ForceSendFields = append(g.ForceSendFields, "Properties") // also if all there is to send are nulls
	}
	for key, value := range p.Properties {
		if value == nil {
			g.NullFields = append(g.NullFields, "Properties."+key)
			continue
		}
		if g.Properties == nil {
			g.Properties = map[string]string{}
		}
		g.Properties[key] = *value
	}
	return c.answer(ctx, op{name: "files.update", file: id, units: unitsEdit}, func(ctx context.Context) (*gdrive.File, error) {
		return c.svc.Files.Update(id, g).SupportsAllDrives(true).Fields(googleapi.Field(fileFields)).Context(ctx).Do()
	})
}

// Copy makes a file of the content of id on the server, with the metadata of f: properties of the original
// that f does not name are dropped. Called again with the same f.ID it returns the copy made before.
func (c *Client) Copy(ctx context.Context, id string, f NewFile) (File, error) {
	if f.ID == "" {
		ids, err := c.GenerateIDs(ctx, 1)
		if err != nil {
			return File{}, err
		}
		f.ID = ids[0]
	}
	original, err := c.Get(ctx, id)
	if err != nil {
		return File{}, err
	}
	g := f.metadata()
	g.ForceSendFields = append(g.ForceSendFields, "Description", "Properties") // else the original's are carried over
	for key := range original.Properties {
		if _, ok := f.Properties[key]; !ok {
			g.NullFields = append(g.NullFields, "Properties."+key)
		}
	}
	slices.Sort(g.NullFields)
	made, err := c.answer(ctx, op{name: "files.copy", file: id, units: unitsEdit, sends: true}, func(ctx context.Context) (*gdrive.File, error) {
		return c.svc.Files.Copy(id, g).SupportsAllDrives(true).Fields(googleapi.Field(fileFields)).Context(ctx).Do()
	})
	return c.orExisting(ctx, f.ID, made, err, func(made File) bool {
		return made.Name == f.Name && maps.Equal(made.Properties, f.Properties) && made.MD5 == original.MD5 && made.Size == original.Size && !made.Trashed
	})
}

// Trash puts a file in the bin, where Drive keeps it for 30 days.
func (c *Client) Trash(ctx context.Context, id string) error { return c.setTrashed(ctx, id, true) }

// Untrash takes a file out of the bin.
func (c *Client) Untrash(ctx context.Context, id string) error { return c.setTrashed(ctx, id, false) }

func (c *Client) setTrashed(ctx context.Context, id string, trashed bool) error {
	_, err := c.Update(ctx, id, Patch{Trashed: &trashed})
	return err
}

// Delete deletes a file for good; only its owner may. It returns io/fs.ErrNotExist if it was gone already.
func (c *Client) Delete(ctx context.Context, id string) error {
	return c.remove(ctx, op{name: "files.delete", file: id, units: unitsEdit}, func(ctx context.Context) error {
		return c.svc.Files.Delete(id).SupportsAllDrives(true).Context(ctx).Do()
	})
}

// remove carries out o, which removes something. Gone already is success for a repeated try: the one whose
// reply was lost did it.
func (c *Client) remove(ctx context.Context, o op, do func(ctx context.Context) error) error {
	tries := 0
	return c.call(ctx, o, func(ctx context.Context) error {
		tries++
		err := do(ctx)
		var e *Error
		if tries > 1 && errors.As(err, &e) && errors.Is(e.Kind, iofs.ErrNotExist) {
			return nil
		}
		return err
	})
}

// About is the account, and its room.
type About struct {
	Account
	Name         string
	Limit        int64 // bytes; 0 = unlimited, or shared with others
	Usage        int64 // bytes, of all Google products
	UsageInDrive int64 // bytes
	MaxUpload    int64 // bytes of one file
}

// About asks who this account is and how much room it has. Another one than that of Keep is ErrSignIn.
func (c *Client) About(ctx context.Context) (About, error) { return c.about(ctx, c.call) }

// about is About by call or once.
func (c *Client) about(ctx context.Context, by func(context.Context, op, func(context.Context) error) error) (About, error) {
	var a About
	var grant string
	err := by(context.WithValue(ctx, askedAs{}, &grant), op{name: "about.get", units: unitsRead}, func(ctx context.Context) error {
		got, err := c.svc.About.Get().Fields("user", "storageQuota", "maxUploadSize").Context(ctx).Do()
		if err != nil {
			return err
		}
		if got.User == nil {
			return fmt.Errorf("no user: %w", ErrProtocol)
		}
		a = About{
			Account: Account{ID: got.User.PermissionId, Email: got.User.EmailAddress},
			Name:    got.User.DisplayName, MaxUpload: got.MaxUploadSize,
		}
		if q := got.StorageQuota; q != nil {
			a.Limit, a.Usage, a.UsageInDrive = q.Limit, q.Usage, q.UsageInDrive
		}
		return nil
	})
	if err != nil {
		return About{}, err
	}
	c.owner.note(grant, a.Account)
	if _, err := c.owner.admits(grant); err != nil {
		return About{}, err
	}
	return a, nil
}
