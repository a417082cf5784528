package index

import (
	"errors"
	"strings"
	"time"

	"sregfs/drive"
	"sregfs/index/image"
)

// Image is one image file on Drive as the catalogue knows it. It is a value and never changes: what happens to the file
// later makes another Image. Text compares without regard to case (image.Ref.Fold).
type Image struct {
	image.Ref // Version is always set: the property, else the MD5, else whatever tells this content from others

	Ext      string // ".sif", ".simg", …: from the Drive name, ".sif" when unknown
	Space    string // "" = my registry; else the e-mail address of the owner who shares it with me
	File     string // Drive file id
	Revision string // Drive headRevisionId: changes with the content only
	Name     string // Drive file name
	Size     int64  // bytes
	MD5      string // hex, "" if Drive has none
	SHA256   string // hex, "" if Drive has none
	Created  time.Time
	Modified time.Time
	Owner    string // e-mail address
	Writable bool   // Drive lets me change it

	// Labels and Properties are nil in what comes from memory alone (see Index.Describe), and read-only elsewhere.
	Labels     map[string]string
	Properties map[string]string
}

// Tag is one image:tag of a collection.
type Tag struct {
	Image, Tag string // as stored, not encoded for the tree
	Newest     Image  // without Labels and Properties; zero when Versions is 0
	Versions   int    // 0: a directory made by Mkdir, with no version in it yet
}

// Collection is what one directory of the registry holds. Its slices are sorted and shared: do not change them.
type Collection struct {
	Name        string   // last segment of the path as stored, "" for the top
	Collections []string // last segments of the nested collections, as stored, not encoded for the tree
	Tags        []Tag
	Modified    time.Time // of the newest image in it, else when the directory was made, else zero
}

// Event says that something about a name appeared, changed or went; what is there now is for the catalogue to say.
// A change of the newest version of a tag is an event of that version. Collections appear and vanish with their images,
// so an event also concerns every directory on the way to its name.
type Event struct {
	Space, Collection, Image, Tag, Version, Ext string
	Place                                       Place // set for drafts, and then nothing else is
}

func (img Image) event() Event {
	return Event{Space: img.Space, Collection: img.Collection, Image: img.Image, Tag: img.Tag, Version: img.Version, Ext: img.Ext}
}

// newer orders images of one tag: newest first. Ties (a batch import within one millisecond) are broken the same way on
// every mount.
func newer(a, b *Image) int {
	if c := b.Modified.Compare(a.Modified); c != 0 {
		return c
	}
	if c := b.Created.Compare(a.Created); c != 0 {
		return c
	}
	return strings.Compare(b.File, a.File)
}

// hasVersion tells whether v, in whichever form a version is written, means img.
func (img *Image) hasVersion(v string) bool {
	return strings.EqualFold(v, img.Version) || (v != "" && (strings.EqualFold(v, img.MD5) || strings.EqualFold(v, img.SHA256)))
}

// errNoImage is returned by imageOf for a file that is none of ours.
var errNoImage = errors.New("not an image of this registry")

// imageOf reads a Drive file as an image of the registry in folder root. A file elsewhere counts if somebody else owns it:
// it was shared with me. It returns errNoImage for everything else, trashed images and sizes that no file has included.
// Labels and properties are left to describe.
func imageOf(f *drive.File, root string) (Image, error) {
	if f.Trashed || !f.IsImage() || f.Size < 0 || f.Size > maxSize {
		return Image{}, errNoImage
	}
	img := Image{
		File: f.ID, Revision: f.HeadRevision, Name: f.Name, Size: f.Size, MD5: f.MD5, SHA256: f.SHA256,
		Created: f.Created, Modified: f.Modified, Owner: f.Owner, Writable: f.CanEdit,
	}
	if !within(f, root) {
		if f.OwnedByMe {
			return Image{}, errNoImage
		}
		if img.Space = strings.ToLower(f.Owner); img.Space == "" {
			img.Space = unknownOwner
		}
		img.Writable = false
	}
	id := image.Identify(f.Name, f.Properties)
	img.Ref, img.Ext = id.Ref, id.Ext
	for _, v := range []string{f.MD5, f.SHA256, f.HeadRevision, f.ID} {
		if img.Version == "" {
			img.Version = v
		}
	}
	return img, nil
}

// URL is the address of img's bytes on Drive. Who follows it needs a token.
func (ix *Index) URL(img Image) string { return ix.drive.ContentURL(img.File) }

// describe gives img the labels and properties of its file.
func (img *Image) describe(f *drive.File) {
	img.Properties, img.Labels = f.Properties, image.Labels(f.Properties, f.Description)
}

// unknownOwner is the space of shared images whose owner Drive does not tell (files of a shared drive have none).
const unknownOwner = "unknown"

// within tells whether f lies in folder root.
func within(f *drive.File, root string) bool {
	for _, p := range f.Parents {
		if p == root && root != "" {
			return true
		}
	}
	return false
}
