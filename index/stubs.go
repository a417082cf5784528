package index

import (
	"context"

	"github.com/dgraph-io/badger/v4"

	"sregfs/drive"
	"sregfs/index/image"
)

type (
	catalog    struct{}
	remote     struct{}
	events     struct{}
	aboutCache struct{}
)

func newCatalog() *catalog { return &catalog{} }
func newEvents() *events   { return &events{} }

func (ix *Index) load() error                     { return nil }
func (ix *Index) first(ctx context.Context) error { return nil }
func (ix *Index) follow(ctx context.Context)      {}
func (ix *Index) deliver(ctx context.Context)     {}
func (ix *Index) event(e Event)                   {}
func (ix *Index) adopt(txn *badger.Txn, f drive.File) (Image, error) {
	return Image{}, errSkeleton
}
func (ix *Index) publish(files ...string)                    {}
func (ix *Index) recheck(file string)                        {}
func (ix *Index) rootID(ctx context.Context) (string, error) { return "", errSkeleton }
func (ix *Index) Refresh(ctx context.Context) error          { return errSkeleton }
func (ix *Index) Subscribe(f func(Event)) (cancel func())    { return func() {} }
func (ix *Index) Owners() []string                           { return nil }
func (ix *Index) Collection(space, path string) (Collection, error) {
	return Collection{}, errSkeleton
}
func (ix *Index) Versions(space string, ref image.Ref) ([]Image, error) { return nil, errSkeleton }
func (ix *Index) Lookup(space string, ref image.Ref) (Image, error)     { return Image{}, errSkeleton }
func (ix *Index) ByID(file string) (Image, error)                       { return Image{}, errSkeleton }
func (ix *Index) Resolve(text string) (Image, error)                    { return Image{}, errSkeleton }
func (ix *Index) Images() []Image                                       { return nil }
func (ix *Index) Search(q string) []Image                               { return nil }

func (ix *Index) Remove(ctx context.Context, img Image) error { return errSkeleton }
func (ix *Index) Retag(ctx context.Context, img Image, to image.Ref) (Image, error) {
	return Image{}, errSkeleton
}
func (ix *Index) SetLabel(ctx context.Context, img Image, key string, value *string) (Image, error) {
	return Image{}, errSkeleton
}
func (ix *Index) Share(ctx context.Context, img Image, in Invite) (Permission, error) {
	return Permission{}, errSkeleton
}
func (ix *Index) Unshare(ctx context.Context, img Image, email string) error { return errSkeleton }
func (ix *Index) Permissions(ctx context.Context, img Image) ([]Permission, error) {
	return nil, errSkeleton
}
func (ix *Index) Mkdir(path string) error { return errSkeleton }
func (ix *Index) Rmdir(path string) error { return errSkeleton }

type (
	// Invite is who gets what of an image.
	Invite = drive.Invite
	// Permission is one grantee of an image.
	Permission = drive.Permission
)

// Quota is Drive's room.
type Quota struct {
	Limit        int64 `json:"limit"` // bytes, 0 = unlimited
	Usage        int64 `json:"usage"`
	UsageInDrive int64 `json:"usageInDrive"`
	MaxUpload    int64 `json:"maxUpload"`
}

// Quota asks.
func (ix *Index) Quota(ctx context.Context) (Quota, error) { return Quota{}, errSkeleton }

// Status says.
type Status struct{}

func (ix *Index) Status() Status { return Status{} }
func (ix *Index) Metafiles(ctx context.Context, img Image) (image.Meta, error) {
	return image.Meta{}, errSkeleton
}
