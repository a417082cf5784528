package index

import (
	"context"
	"fmt"
	"net/mail"
	"strings"

	"sregfs/drive"
)

type (
	// Invite says who gets what role on an image, and whether Drive sends them mail about it.
	Invite = drive.Invite
	// Permission is one grantee of an image.
	Permission = drive.Permission
)

// The roles of Drive that make sense for an image.
const (
	RoleReader    = "reader"
	RoleCommenter = "commenter"
	RoleWriter    = "writer"
)

// Share gives somebody access to img: the one way all the forms of sharing end in. It is idempotent: who has the role
// already keeps it. An empty role is reader. ErrInvalid means an address or a role that cannot be; ErrQuota that Drive
// wants no more invitations for now.
func (ix *Index) Share(ctx context.Context, img Image, in Invite) (Permission, error) {
	p, err := ix.share(ctx, img, in)
	if err != nil {
		return Permission{}, fmt.Errorf("share %s with %s: %w", img.Ref, in.Email, err)
	}
	return p, nil
}

// Shared is how the registry tool says that an invitation led to a permission.
func Shared(in Invite, p Permission) string {
	return fmt.Sprintf("Share to %s complete: %s!", in.Email, p.ID)
}

func (ix *Index) share(ctx context.Context, img Image, in Invite) (Permission, error) {
	if ix.o.ReadOnly {
		return Permission{}, ErrReadOnly
	}
	in.Email = strings.TrimSpace(in.Email)
	if a, err := mail.ParseAddress(in.Email); err != nil || a.Address != in.Email {
		return Permission{}, fmt.Errorf("%w: %q is no e-mail address", ErrInvalid, in.Email)
	}
	switch in.Role = strings.ToLower(strings.TrimSpace(in.Role)); in.Role {
	case "":
		in.Role = RoleReader
	case RoleReader, RoleCommenter, RoleWriter:
	default:
		return Permission{}, fmt.Errorf("%w: role %q is none of reader, commenter, writer", ErrInvalid, in.Role)
	}
	return ix.drive.Share(ctx, img.File, in)
}

// Unshare takes the access of email to img back. It returns io/fs.ErrNotExist if there is none to take.
func (ix *Index) Unshare(ctx context.Context, img Image, email string) error {
	if err := ix.unshare(ctx, img, strings.TrimSpace(email)); err != nil {
		return fmt.Errorf("unshare %s from %s: %w", img.Ref, email, err)
	}
	return nil
}

func (ix *Index) unshare(ctx context.Context, img Image, email string) error {
	if ix.o.ReadOnly {
		return ErrReadOnly
	}
	list, err := ix.drive.Permissions(ctx, img.File)
	if err != nil {
		return err
	}
	for _, p := range list {
		if !strings.EqualFold(p.Email, email) || email == "" {
			continue
		}
		if p.Role == "owner" {
			return fmt.Errorf("%w: the owner keeps access", ErrInvalid)
		}
		return ix.drive.Unshare(ctx, img.File, p.ID)
	}
	return notExist("a share with " + email)
}

// Permissions lists who has access to img, its owner included. It asks Drive.
func (ix *Index) Permissions(ctx context.Context, img Image) ([]Permission, error) {
	list, err := ix.drive.Permissions(ctx, img.File)
	if err != nil {
		return nil, fmt.Errorf("permissions of %s: %w", img.Ref, err)
	}
	return list, nil
}
