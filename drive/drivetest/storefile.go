package drivetest

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// file is one file, folder or shortcut. A stored record is never changed: an edit stores a clone.
type file struct {
	ID           string
	Seq          int64 // order of creation over the whole store
	Name         string
	MimeType     string
	Description  string                       `json:",omitempty"`
	OriginalName string                       `json:",omitempty"`
	Parent       string                       `json:",omitempty"` // "" for a My Drive itself
	Owner        string                       // e-mail address
	Properties   map[string]string            `json:",omitempty"`
	Private      map[string]map[string]string `json:",omitempty"` // appProperties, by OAuth client
	Trashed      bool                         `json:",omitempty"` // explicitly; a parent's counts too, see store.trashed
	TrashedAt    time.Time                    `json:",omitzero"`
	Starred      []string                     `json:",omitempty"` // by these
	Created      time.Time
	Modified     time.Time
	ModifiedBy   string
	Named        time.Time  // when it got its name, for Quirks.NameLag
	Born         time.Time  // when it came to be, whatever Created was set to
	Grants       []grant    // its own, owner first; a folder's flow down
	Version      int64      // grows with every change
	Revisions    []revision `json:",omitempty"` // head last; none for folders and shortcuts
	Thumb        *thumbnail `json:",omitempty"`
	ThumbVersion int64      `json:",omitempty"`
	Shortcut     *shortcut  `json:",omitempty"`
	OwnersShare  bool       `json:",omitempty"` // writers can not share
	WritersCopy  bool       `json:",omitempty"` // readers can not copy or download
	Abusive      bool       `json:",omitempty"` // taken for malware: downloads must be insisted on
}

// revision is one content of a file.
type revision struct {
	ID       string
	Content  string // key in contents
	Size     int64
	MD5      string // the three digests in lower-case hex
	SHA1     string
	SHA256   string
	CRC32C   uint32
	MimeType string
	Modified time.Time
	By       string
	Keep     bool `json:",omitempty"` // keepForever
}

// thumbnail is one a client gave; the service makes its own only for pictures.
type thumbnail struct {
	MimeType string
	Content  string // key in contents
}

// shortcut is what a file of shortcutType points to.
type shortcut struct {
	TargetID       string
	TargetMimeType string
}

// grant is one permission given on this very file.
type grant struct {
	ID           string
	Type         string // user, group, domain or anyone
	Role         string // owner, writer, commenter or reader
	Address      string `json:",omitempty"` // e-mail address or domain
	Discoverable bool   `json:",omitempty"`
	At           time.Time
	By           string
}

// clone returns a copy that shares nothing a change could touch.
func (f *file) clone() *file {
	c := *f
	c.Properties = maps.Clone(f.Properties)
	c.Private = maps.Clone(f.Private)
	for client, props := range c.Private {
		c.Private[client] = maps.Clone(props)
	}
	c.Starred = slices.Clone(f.Starred)
	c.Grants = slices.Clone(f.Grants)
	c.Revisions = slices.Clone(f.Revisions)
	return &c
}

func (f *file) isFolder() bool { return f.MimeType == folderType }

// isBlob tells whether the file has bytes of its own.
func (f *file) isBlob() bool { return len(f.Revisions) > 0 }

// head is the current content, nil for what has none.
func (f *file) head() *revision {
	if len(f.Revisions) == 0 {
		return nil
	}
	return &f.Revisions[len(f.Revisions)-1]
}

// quotaBytes is what the file takes from its owner's storage: the head and what is kept for ever.
func (f *file) quotaBytes() int64 {
	var n int64
	for i, r := range f.Revisions {
		if r.Keep || i == len(f.Revisions)-1 {
			n += r.Size
		}
	}
	return n
}

// contentKeys are the contents the record holds. Old revisions that are not kept hold none: they can not
// be downloaded from the service either.
func (f *file) contentKeys() []string {
	var keys []string
	for i, r := range f.Revisions {
		if r.Keep || i == len(f.Revisions)-1 {
			keys = append(keys, r.Content)
		}
	}
	if f.Thumb != nil {
		keys = append(keys, f.Thumb.Content)
	}
	return keys
}

// extension is the last suffix of the name without its dot, fullExtension all of them.
func (f *file) extension() string {
	if i := strings.LastIndexByte(f.Name, '.'); i >= 0 {
		return f.Name[i+1:]
	}
	return ""
}

func (f *file) fullExtension() string {
	_, rest, _ := strings.Cut(strings.TrimLeft(f.Name, "."), ".")
	return rest
}
