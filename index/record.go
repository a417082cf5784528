package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"

	"sregfs/drive"
)

// recordVersion is the version every record is written with. A record with another one is ErrCorrupt.
const recordVersion = 1

// fileRecord is what Drive last said of one image, in a form that does not depend on drive's field names. The tree is
// computed from it at load, so a better reading of names needs no new listing.
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

// maxDescription bounds what is kept of a description, in bytes. A longer one holds no labels of ours: image.Describe
// keeps to what Drive takes, some 16,000 characters.
const maxDescription = 64 << 10

func newFileRecord(f *drive.File) fileRecord {
	desc := f.Description
	if len(desc) > maxDescription {
		desc = ""
	}
	return fileRecord{
		V: recordVersion, ID: f.ID, Name: f.Name, Mime: f.MimeType, Desc: desc, Parents: f.Parents, Size: f.Size,
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

func (r *fileRecord) encode() ([]byte, error) { return json.Marshal(r) }

func decodeFile(b []byte) (r fileRecord, err error) {
	if err = json.Unmarshal(b, &r); err != nil || r.V != recordVersion || r.ID == "" || r.Size < 0 {
		return fileRecord{}, corrupt("file", b, err)
	}
	return r, nil
}

// rootRecord pins the registry's folder.
type rootRecord struct {
	V        int    `json:"v"`
	Name     string `json:"name,omitempty"`     // as asked for, "" if asked for by id
	ID       string `json:"id,omitempty"`       // "" until it is found or made
	Reserved string `json:"reserved,omitempty"` // id for a folder about to be made, so that making it twice makes one
	Made     bool   `json:"made,omitempty"`     // by us, as there seemed to be none
	Account  string `json:"account,omitempty"`  // e-mail address of whose Drive this is
	UserID   string `json:"userId,omitempty"`   // Drive's id of the same
	SignIn   string `json:"signIn,omitempty"`   // drive's name for the grant with which account and folder were seen last
	Seen     int64  `json:"seen,omitempty"`     // when that was, Unix milliseconds
}

// owner is whose Drive this is, zero if that is not known yet.
func (r rootRecord) owner() drive.Account { return drive.Account{ID: r.UserID, Email: r.Account} }

func decodeRoot(b []byte) (r rootRecord, err error) {
	if err = json.Unmarshal(b, &r); err != nil || r.V != recordVersion {
		return rootRecord{}, corrupt("root", b, err)
	}
	return r, nil
}

// dirRecord is a directory made by Mkdir.
type dirRecord struct {
	V    int    `json:"v"`
	Path string `json:"path"` // "collection/nested" or "collection/image:tag", as made
	Made int64  `json:"made"` // ms since 1970
}

func decodeDir(b []byte) (r dirRecord, err error) {
	if err = json.Unmarshal(b, &r); err != nil || r.V != recordVersion || r.Path == "" {
		return dirRecord{}, corrupt("directory", b, err)
	}
	return r, nil
}

// setJSON stores v under key.
func setJSON(txn *badger.Txn, key []byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return txn.Set(key, b)
}

func corrupt(what string, b []byte, err error) error {
	return fmt.Errorf("%s record %.40q: %w", what, b, errors.Join(ErrCorrupt, err))
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
