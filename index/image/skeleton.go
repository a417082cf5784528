package image

import (
	"errors"
	"io"
	"time"
)

var errTODO = errors.New("TODO")

// Ref names an image. Collection may have several segments, joined by "/". Version is an MD5 (32 hex), a SHA-256
// (64 hex) or an opaque label; "" means the newest.
type Ref struct{ Collection, Image, Tag, Version string }

// Identity is who a Drive file is: its name, and the extension (with its dot) it goes by.
type Identity struct {
	Ref
	Ext string
}

// Metadata is what a push writes to Drive beside the bytes.
type Metadata struct {
	Name        string            // Drive file name, equal to the property storage
	Properties  map[string]string // public properties
	Description string            // JSON of the labels that did not fit, or ""
	Dropped     []string          // keys of labels that fitted nowhere, for the log
}

// Patch is a change of metadata: what files.update is sent.
type Patch struct {
	Name        string             // new file name, "" = unchanged
	Properties  map[string]*string // nil value = delete the property
	Description *string            // nil = unchanged
}

// MaxProperty is Drive's limit of a property's key and value together, in bytes of UTF-8.
const MaxProperty = 124

// MaxProperties is Drive's limit of public properties of a file.
const MaxProperties = 30

// Format is what the first bytes of a file say it is.
type Format int

// The formats an image comes in.
const (
	Unknown  Format = iota
	SIF             // Singularity 3 and Apptainer
	SIMG            // Singularity 2: launcher line, then a squashfs
	Squashfs        // a bare squashfs
	Ext3            // a bare ext file system, or one behind a launcher line (Singularity 2 .img)
)

// Info is what an image says of itself.
type Info struct {
	Format    Format
	Arch      string // GOARCH of the primary partition, "" if not said
	Labels    map[string]string
	Created   time.Time // zero if not said
	Signed    bool
	Encrypted bool
}

// Span is Len bytes from Off.
type Span struct{ Off, Len int64 }

// App is what Meta says of one SCIF app of an image.
type App struct {
	Environment map[string]string `json:"environment,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Runscript   string            `json:"runscript,omitempty"`
	Test        string            `json:"test,omitempty"`
	Help        string            `json:"helpfile,omitempty"`
}

// Meta is what `apptainer inspect --all` shows of an image; its JSON form is the "attributes" of that command's output.
type Meta struct {
	Apps        map[string]*App   `json:"apps,omitempty"`
	Environment map[string]string `json:"environment,omitempty"` // by file: "/.singularity.d/env/90-environment.sh"
	Labels      map[string]string `json:"labels,omitempty"`
	Deffile     string            `json:"deffile,omitempty"`
	Help        string            `json:"helpfile,omitempty"`
	Runscript   string            `json:"runscript,omitempty"`
	Startscript string            `json:"startscript,omitempty"`
	Test        string            `json:"test,omitempty"`
}

func Parse(text string) (Ref, error)                                       { return Ref{}, errTODO }
func (r Ref) Check() error                                                 { return errTODO }
func (r Ref) String() string                                               { return "" }
func (r Ref) Short() string                                                { return "" }
func (r Ref) Fold() Ref                                                    { return r }
func (r Ref) Dir() string                                                  { return "" }
func (r Ref) TagDir() string                                               { return "" }
func (r Ref) TagFile(ext string) string                                    { return "" }
func (r Ref) VersionFile(ext string) string                                { return "" }
func ParseEntry(name string) (ref Ref, ext string, ok bool)                { return Ref{}, "", false }
func SplitExt(name string) (base, ext string)                              { return "", "" }
func EncodeName(s string) string                                           { return s }
func DecodeName(s string) (string, error)                                  { return s, nil }
func Reserved(name string) bool                                            { return false }
func Identify(name string, props map[string]string) Identity               { return Identity{} }
func Labels(props map[string]string, description string) map[string]string { return nil }
func Describe(r Ref, ext string, labels, extra map[string]string) (Metadata, error) {
	return Metadata{}, errTODO
}
func Retag(props map[string]string, to Ref, ext string) (Patch, error) { return Patch{}, errTODO }
func SetLabel(props map[string]string, description, key string, value *string) (Patch, error) {
	return Patch{}, errTODO
}
func Inspect(r io.ReaderAt, size int64) (Info, error)    { return Info{}, errTODO }
func Whole(r io.ReaderAt, size int64) error              { return errTODO }
func Metafiles(r io.ReaderAt, size int64) (Meta, error)  { return Meta{}, errTODO }
func HeadTail(r io.ReaderAt, size int64) ([]Span, error) { return nil, errTODO }
