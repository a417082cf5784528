package index

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"sregfs/drive"
)

// fileRecord is what Drive last said of one image, in a form that does not depend on drive's field names. The tree is
// computed from it at load, so a better reading of names needs no new listing.
//
// Open reads every one, so they are not JSON, of which decoding takes ten times as long: a byte for the version, then the
// fields in the order of encode, numbers as varints, texts behind their length. Releases before wrote JSON, in version 1;
// it is read, and replaced when Drive has news of the file.
type fileRecord struct {
	V          int               `json:"v"`
	ID         string            `json:"id"`
	Name       string            `json:"n"`
	Mime       string            `json:"t"`
	Desc       string            `json:"d,omitempty"`
	Parents    []string          `json:"p,omitempty"`
	Size       int64             `json:"s"`
	MD5        string            `json:"m,omitempty"`
	SHA256     string            `json:"h,omitempty"`
	Revision   string            `json:"r,omitempty"`
	Version    int64             `json:"ver,omitempty"` // Drive's, grows with every change: older news is no news
	Properties map[string]string `json:"a,omitempty"`
	Created    int64             `json:"c"` // ms since 1970, 0 = unknown
	Modified   int64             `json:"e"` // ms since 1970, 0 = unknown
	Owner      string            `json:"o,omitempty"`
	Mine       bool              `json:"me,omitempty"`
	CanEdit    bool              `json:"w,omitempty"`
}

// fileVersion is the first byte of a file record.
const fileVersion = 2

const (
	flagMine = 1 << iota
	flagCanEdit
)

// maxDescription bounds what is kept of a description, in bytes. A longer one holds no labels of ours: image.Describe
// keeps to what Drive takes, some 16,000 characters.
const maxDescription = 64 << 10

func newFileRecord(f *drive.File) fileRecord {
	desc := f.Description
	if len(desc) > maxDescription {
		desc = ""
	}
	return fileRecord{
		ID: f.ID, Name: f.Name, Mime: f.MimeType, Desc: desc, Parents: f.Parents, Size: f.Size,
		MD5: f.MD5, SHA256: f.SHA256, Revision: f.HeadRevision, Version: f.Version, Properties: f.Properties,
		Created: millis(f.Created), Modified: millis(f.Modified), Owner: f.Owner, Mine: f.OwnedByMe, CanEdit: f.CanEdit,
	}
}

// file is what the record was made from, as far as images are concerned.
func (r *fileRecord) file() *drive.File {
	return &drive.File{
		ID: r.ID, Name: r.Name, MimeType: r.Mime, Description: r.Desc, Parents: r.Parents, Size: r.Size,
		MD5: r.MD5, SHA256: r.SHA256, HeadRevision: r.Revision, Version: r.Version, Properties: r.Properties,
		Created: fromMillis(r.Created), Modified: fromMillis(r.Modified), Owner: r.Owner, OwnedByMe: r.Mine, CanEdit: r.CanEdit,
	}
}

// texts and numbers are the fields in the order of the record.
func (r *fileRecord) texts() []*string {
	return []*string{&r.ID, &r.Name, &r.Mime, &r.Desc, &r.MD5, &r.SHA256, &r.Revision, &r.Owner}
}

func (r *fileRecord) numbers() []*int64 {
	return []*int64{&r.Size, &r.Version, &r.Created, &r.Modified}
}

// encode gives equal records equal bytes.
func (r *fileRecord) encode() []byte {
	b := make([]byte, 0, 1024)
	text := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = append(b, fileVersion)
	for _, s := range r.texts() {
		text(*s)
	}
	for _, n := range r.numbers() {
		b = binary.AppendVarint(b, *n)
	}
	var flags byte
	if r.Mine {
		flags |= flagMine
	}
	if r.CanEdit {
		flags |= flagCanEdit
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(len(r.Parents)))
	for _, p := range r.Parents {
		text(p)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Properties)))
	for _, k := range slices.Sorted(maps.Keys(r.Properties)) {
		text(k)
		text(r.Properties[k])
	}
	return b
}

var errCut = errors.New("cut short")

func decodeFile(b []byte) (r fileRecord, err error) {
	switch {
	case len(b) == 0:
		err = errCut
	case b[0] == '{':
		if err = json.Unmarshal(b, &r); err == nil && r.V != recordVersion {
			err = errors.New("version not known")
		}
		r.V = 0
		if len(r.Parents) == 0 {
			r.Parents = nil
		}
		if len(r.Properties) == 0 {
			r.Properties = nil
		}
	case b[0] != fileVersion:
		err = errors.New("version not known")
	default:
		err = r.decode(b[1:])
	}
	if err != nil || r.ID == "" || r.Size < 0 {
		return fileRecord{}, corrupt("file", b, err)
	}
	return r, nil
}

func (r *fileRecord) decode(b []byte) error {
	whole := true
	count := func() int { // how many bytes or items follow: never more than there are bytes
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			whole, b = false, nil
			return 0
		}
		b = b[w:]
		return int(n) //nolint:gosec // not above len(b)
	}
	text := func() string {
		n := count()
		s := string(b[:n])
		b = b[n:]
		return s
	}
	for _, s := range r.texts() {
		*s = text()
	}
	for _, to := range r.numbers() {
		n, w := binary.Varint(b)
		if w <= 0 {
			return errCut
		}
		*to, b = n, b[w:]
	}
	if len(b) == 0 {
		return errCut
	}
	r.Mine, r.CanEdit = b[0]&flagMine != 0, b[0]&flagCanEdit != 0
	b = b[1:]
	if n := count(); n > 0 {
		r.Parents = make([]string, n)
		for i := range r.Parents {
			r.Parents[i] = text()
		}
	}
	if n := count(); n > 0 {
		r.Properties = make(map[string]string, n)
		for range n {
			k := text()
			r.Properties[k] = text()
		}
	}
	if !whole || len(b) > 0 {
		return errCut
	}
	return nil
}

// Drive's times have millisecond precision (RFC 3339, UTC).
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
