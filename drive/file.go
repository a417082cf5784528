package drive

import "time"

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
	MD5, SHA256                     string            // hex, "" if Drive has none
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
