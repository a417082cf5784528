package drive

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/sirupsen/logrus"
)

// Get reads the metadata of a file.
func (c *Client) Get(ctx context.Context, id string) (File, error) { return File{}, errUnfinished }

// Folder finds the folder.
func (c *Client) Folder(ctx context.Context, name string) (f File, more []File, err error) {
	return File{}, nil, errUnfinished
}

// CreateFolder makes a folder in My Drive.
func (c *Client) CreateFolder(ctx context.Context, id, name string) (File, error) {
	return File{}, errUnfinished
}

// Images lists.
func (c *Client) Images(ctx context.Context, folder string) iter.Seq2[[]File, error] {
	return func(yield func([]File, error) bool) { yield(nil, errUnfinished) }
}

// SharedImages lists.
func (c *Client) SharedImages(ctx context.Context) iter.Seq2[[]File, error] {
	return func(yield func([]File, error) bool) { yield(nil, errUnfinished) }
}

// StartPageToken begins the changes feed.
func (c *Client) StartPageToken(ctx context.Context) (string, error) { return "", errUnfinished }

// Changes reads the feed.
func (c *Client) Changes(ctx context.Context, token string) (changes []Change, next string, err error) {
	return nil, "", errUnfinished
}

// Change is one entry of the changes feed.
type Change struct {
	ID      string
	Removed bool
	File    *File // nil if removed
	Time    time.Time
}

// Content names what ReadRange reads.
type Content struct {
	ID       string
	Size     int64
	Revision string
}

// ReadRange fills p.
func (c *Client) ReadRange(ctx context.Context, f Content, p []byte, off int64) error {
	return errUnfinished
}

// GenerateIDs reserves ids.
func (c *Client) GenerateIDs(ctx context.Context, n int) ([]string, error) { return nil, errUnfinished }

// NewFile describes a file to create.
type NewFile struct {
	ID, Name, Parent, MimeType, Description string
	Properties                              map[string]string
	Thumbnail                               []byte
	ThumbnailType                           string
	Size                                    int64
}

// BeginUpload opens a session.
func (c *Client) BeginUpload(ctx context.Context, f NewFile) (session string, err error) {
	return "", errUnfinished
}

// Upload continues a session.
func (c *Client) Upload(ctx context.Context, session string, content io.ReaderAt, size int64, progress func(offset int64)) (File, error) {
	return File{}, errUnfinished
}

// Patch is a change of metadata.
type Patch struct {
	Name, Description *string
	Properties        map[string]*string // a nil value removes the key
	Trashed           *bool
}

// Update changes metadata.
func (c *Client) Update(ctx context.Context, id string, p Patch) (File, error) {
	return File{}, errUnfinished
}

// Copy copies on the server.
func (c *Client) Copy(ctx context.Context, id string, f NewFile) (File, error) {
	return File{}, errUnfinished
}

// Trash puts a file in the bin.
func (c *Client) Trash(ctx context.Context, id string) error { return errUnfinished }

// Untrash takes it out.
func (c *Client) Untrash(ctx context.Context, id string) error { return errUnfinished }

// Delete deletes for good.
func (c *Client) Delete(ctx context.Context, id string) error { return errUnfinished }

// Permission is one grantee of a file.
type Permission struct{ ID, Email, Name, Role, Type string }

// Permissions lists.
func (c *Client) Permissions(ctx context.Context, id string) ([]Permission, error) {
	return nil, errUnfinished
}

// Invite is what Share gives to whom.
type Invite struct {
	Email, Role, Message string
	Notify               bool
}

// Share shares.
func (c *Client) Share(ctx context.Context, id string, in Invite) (Permission, error) {
	return Permission{}, errUnfinished
}

// Unshare takes a permission away.
func (c *Client) Unshare(ctx context.Context, id, permissionID string) error { return errUnfinished }

// About describes the account.
type About struct {
	Email, Name                string
	Limit, Usage, UsageInDrive int64 // Limit 0 = unlimited
	MaxUpload                  int64
}

// About asks for the account.
func (c *Client) About(ctx context.Context) (About, error) { return About{}, errUnfinished }

// Sentence explains err.
func Sentence(err error) string { return err.Error() }

// AuthOptions name the files of the sign-in.
type AuthOptions struct {
	Credentials, Token string
	Import             string // a token of the Python registry tool, taken over once if Token is absent
	Save               bool
	Log                logrus.FieldLogger
}

// Auth is who we are to Drive.
type Auth struct{}

// OpenAuth reads the files.
func OpenAuth(o AuthOptions) (*Auth, error) { return nil, errUnfinished }

// Kind says which.
func (a *Auth) Kind() string { return "" }

// Login signs in.
func (a *Auth) Login(ctx context.Context, l Login) error { return errUnfinished }

// Login is the human part of signing in.
type Login struct {
	Prompt func(url string) error
	Paste  func(ctx context.Context) (string, error)
	Page   string
}

// Logout revokes.
func (a *Auth) Logout(ctx context.Context) error { return errUnfinished }

// SignedIn says.
func (a *Auth) SignedIn() bool { return false }
