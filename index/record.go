package index

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"sregfs/drive"
)

// recordVersion is the version every record is written with, but those of files (filerecord.go). A record with another one
// is ErrCorrupt.
const recordVersion = 1

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
