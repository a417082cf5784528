package drive

import (
	"context"
	"errors"
	"strings"

	gdrive "google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"
)

// Permission is one grantee of a file.
type Permission struct {
	ID    string // of the grantee, the same on all files
	Email string // "" for anyone with the link, and for domains
	Name  string
	Role  string // owner, organizer, fileOrganizer, writer, commenter or reader
	Type  string // user, group, domain or anyone
}

// String is p as a line for people: "ann@uni.edu reader", or "anyone reader" for a link.
func (p Permission) String() string { return or(p.Email, p.Type) + " " + p.Role }

// Invite is what Share gives to whom.
type Invite struct {
	Email   string
	Role    string // default reader
	Message string // in the mail; "" = Drive's own words
	Notify  bool   // send a mail; without one Drive refuses addresses that have no Google account
}

const permissionFields = "id,emailAddress,displayName,role,type"

func permissionOf(g *gdrive.Permission) Permission {
	return Permission{ID: g.Id, Email: g.EmailAddress, Name: g.DisplayName, Role: g.Role, Type: g.Type}
}

// Permissions lists who may do what with a file.
func (c *Client) Permissions(ctx context.Context, id string) ([]Permission, error) {
	var all []Permission
	for token := ""; ; {
		var next string
		err := c.call(ctx, op{name: "permissions.list", file: id, units: unitsList}, func(ctx context.Context) error {
			list := c.svc.Permissions.List(id).SupportsAllDrives(true).PageSize(100).
				Fields("nextPageToken", googleapi.Field("permissions("+permissionFields+")"))
			if token != "" {
				list.PageToken(token)
			}
			got, err := list.Context(ctx).Do()
			if err != nil {
				return err
			}
			for _, g := range got.Permissions {
				if g != nil {
					all = append(all, permissionOf(g))
				}
			}
			next = got.NextPageToken
			return nil
		})
		if err != nil || next == "" {
			return all, err
		}
		token = next
	}
}

// Share gives the person with in.Email in.Role on a file. Sharing again changes nothing and sends no mail;
// sharing in another role changes the role.
func (c *Client) Share(ctx context.Context, id string, in Invite) (Permission, error) {
	in.Email, in.Role = strings.TrimSpace(in.Email), or(in.Role, "reader")
	select { // Drive: of concurrent changes of one file's permissions only the last survives
	case c.sharing <- struct{}{}:
		defer func() { <-c.sharing }()
	case <-ctx.Done():
		return Permission{}, ctx.Err()
	}
	has, ok, err := c.permissionFor(ctx, id, in.Email)
	switch {
	case err != nil:
		return Permission{}, err
	case !ok:
		return c.invite(ctx, id, in)
	case has.Role == in.Role, has.Role == "owner":
		return has, nil
	}
	var changed Permission
	err = c.call(ctx, op{name: "permissions.update", file: id, units: unitsEdit}, func(ctx context.Context) error {
		g, err := c.svc.Permissions.Update(id, has.ID, &gdrive.Permission{Role: in.Role}).SupportsAllDrives(true).
			Fields(googleapi.Field(permissionFields)).Context(ctx).Do()
		if err == nil {
			changed = permissionOf(g)
		}
		return err
	})
	return changed, err
}

// permissionFor finds what email has, if anything.
func (c *Client) permissionFor(ctx context.Context, id, email string) (p Permission, ok bool, err error) {
	all, err := c.Permissions(ctx, id)
	if err != nil {
		return Permission{}, false, err
	}
	for _, p := range all {
		if strings.EqualFold(p.Email, email) {
			return p, true, nil
		}
	}
	return Permission{}, false, nil
}

// invite creates a permission that was not there. A repeated try looks first, so that nobody gets two mails.
func (c *Client) invite(ctx context.Context, id string, in Invite) (Permission, error) {
	var made Permission
	tries := 0
	err := c.call(ctx, op{name: "permissions.create", file: id, units: unitsEdit}, func(ctx context.Context) error {
		tries++
		if tries > 1 {
			has, ok, err := c.permissionFor(ctx, id, in.Email)
			if ok || err != nil {
				made = has
				return err
			}
		}
		create := c.svc.Permissions.Create(id, &gdrive.Permission{Type: "user", Role: in.Role, EmailAddress: in.Email}).
			SupportsAllDrives(true).SendNotificationEmail(in.Notify).Fields(googleapi.Field(permissionFields))
		if in.Notify && in.Message != "" {
			create.EmailMessage(in.Message)
		}
		g, err := create.Context(ctx).Do()
		if err == nil {
			made = permissionOf(g)
		}
		return err
	})
	var e *Error
	if errors.As(err, &e) && e.Reason == "invalidSharingRequest" {
		// Drive says this also when it did share and only the mail could not be sent. Its message is for
		// people; whether the person has access is a question to the list.
		if has, ok, _ := c.permissionFor(ctx, id, in.Email); ok {
			c.log.WithError(err).Debug("drive: shared, but no mail was sent")
			return has, nil
		}
	}
	return made, err
}

// Unshare takes a permission away. It returns io/fs.ErrNotExist if it was gone already.
func (c *Client) Unshare(ctx context.Context, id, permissionID string) error {
	select {
	case c.sharing <- struct{}{}:
		defer func() { <-c.sharing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return c.remove(ctx, op{name: "permissions.delete", file: id, units: unitsEdit}, func(ctx context.Context) error {
		return c.svc.Permissions.Delete(id, permissionID).SupportsAllDrives(true).Context(ctx).Do()
	})
}
