package index

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// draftRecord is the stored form of a Draft, and the journal of its push.
type draftRecord struct {
	V     int    `json:"v"`
	Place Place  `json:"place"`
	State State  `json:"state"`
	Dirty bool   `json:"dirty,omitempty"`
	Error string `json:"error,omitempty"` // StateFailed: why, for people
	Order uint64 `json:"order,omitempty"` // when it took its place or was sealed, in numbers of draftStore.number
	Gone  bool   `json:"gone,omitempty"`  // its user removed it: its upload is to end, and what that made on Drive, File, is to go as well

	// From StateSealed on.
	Collection string `json:"collection,omitempty"` // what it publishes as
	Image      string `json:"image,omitempty"`
	Tag        string `json:"tag,omitempty"`
	Ext        string `json:"ext,omitempty"`
	Size       int64  `json:"size,omitempty"`
	MD5        string `json:"md5,omitempty"`
	SHA256     string `json:"sha256,omitempty"`

	// From when it is begun: each is recorded before it is used.
	File    string `json:"file,omitempty"`    // reserved id on Drive; from StateUploaded on, the file
	Source  string `json:"source,omitempty"`  // id of a file with the same content, to be copied on Drive
	Session string `json:"session,omitempty"` // upload session, a secret
}

func (r draftRecord) encode() ([]byte, error) {
	r.V = recordVersion
	return json.Marshal(r)
}

func decodeDraftRecord(b []byte) (r draftRecord, err error) {
	err = json.Unmarshal(b, &r)
	switch r.State {
	case StateDraft, StateSealed, StateSending, StateUploaded, StateCommitted, StateFailed:
	default:
		err = errors.Join(err, fmt.Errorf("state %q", r.State))
	}
	if err != nil || r.V != recordVersion || r.Size < 0 {
		return draftRecord{}, corrupt("draft", b, err)
	}
	return r, nil
}

// unfinished is the suffix of a file that is still being filled with the image it is a copy of.
const unfinished = ".new"

// load brings back what was there, and lets the pushes under way go on: in the state they were, by the same steps.
func (s *draftStore) load() error {
	records := map[uint64]draftRecord{}
	err := eachKey(s.ix.db, kDraft, func(key, value []byte) error {
		if len(key) != 8 {
			return nil
		}
		id := binary.BigEndian.Uint64(key)
		r, err := decodeDraftRecord(value)
		if err != nil { // the bytes are what counts: they come back under a name of their own
			s.log.WithError(err).Debug("dropping a draft record")
			return nil
		}
		records[id] = r
		return nil
	})
	if err != nil {
		return err
	}
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range files {
		name := e.Name()
		info, err := e.Info()
		if err != nil {
			return err
		}
		id, err := strconv.ParseUint(name, 16, 64)
		if stem, cut := strings.CutSuffix(name, unfinished); cut && len(stem) == 16 {
			if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
				return err
			}
			continue
		}
		if err != nil || len(name) != 16 || !info.Mode().IsRegular() {
			continue
		}
		s.nextID = max(s.nextID, id+1)
		r, ok := records[id]
		if r.Gone || !ok && info.Size() == 0 { // the crash came between the file and its record
			if err := s.unlink(id); err != nil {
				return err
			}
			continue
		}
		if !ok {
			r = draftRecord{Place: s.placeOf(id), State: StateDraft}
			s.ix.found(Problem{
				Kind: ProblemDraft, Subject: r.Place.String(), Text: fmt.Sprintf("the record of draft %d was lost, %d bytes are there", id, info.Size()),
				Repaired: "it is a draft again; if it is to be pushed, move it to its name, or write to it",
			})
		}
		d := s.newDraft(id)
		d.rec, d.onDisk, d.size, d.modified = r, true, info.Size(), info.ModTime()
		if r.State == StateDraft {
			d.rec.Dirty = info.Size() > 0
		}
		if r.State == StateFailed {
			d.err = parkedError(r.Error)
		}
		s.all[id] = d
		s.nextID = max(s.nextID, r.Order+1)
	}
	for id, r := range records {
		s.nextID = max(s.nextID, id+1)
		switch _, there := s.all[id]; {
		case there:
		case r.Gone:
			s.ix.goes(func(ctx context.Context) { s.clear(ctx, id, r) })
		default: // the end of a push, or a file somebody deleted
			if err := s.ix.writing(func(txn *badger.Txn) error { return txn.Delete(draftKey(id)) }); err != nil {
				return err
			}
		}
	}
	// As they followed each other: the latest at a place is what stands there, and pushes of one name go in turn.
	drafts := slices.SortedFunc(maps.Values(s.all), func(a, b *Draft) int { return cmp.Compare(a.rank(), b.rank()) })
	for _, d := range drafts {
		s.at[d.rec.Place.Fold()] = d
	}
	for _, d := range drafts {
		switch d.rec.State {
		case StateSealed, StateSending, StateUploaded, StateCommitted:
			d.busy = make(chan struct{})
			s.start(d)
		case StateDraft, StateFailed:
		}
	}
	return nil
}

// rank orders drafts by when they came to where they are. Ids and orders are numbers of one sequence.
func (d *Draft) rank() uint64 { return max(d.id, d.rec.Order) }

// parkedError is a push's final error as it was recorded before this program started.
type parkedError string

func (e parkedError) Error() string { return string(e) }

// save records the draft with a change.
func (d *Draft) save(change func(*draftRecord)) error {
	d.mu.Lock()
	r := d.rec
	d.mu.Unlock()
	change(&r)
	b, err := r.encode()
	if err != nil {
		return err
	}
	if err := d.s.ix.writing(func(txn *badger.Txn) error { return txn.Set(draftKey(d.id), b) }); err != nil {
		return fmt.Errorf("record draft %d: %w", d.id, err)
	}
	d.mu.Lock()
	r.Dirty = r.Dirty || d.rec.Dirty && d.rec.State == r.State // a write may have come meanwhile
	d.rec = r
	d.mu.Unlock()
	return nil
}

// placeAttr is an extended attribute of a draft's file: its place, in JSON. The record decides; this is for when it is lost.
const placeAttr = "user.sregfs.place"

// notePlace keeps the place beside the bytes. Some file systems have no room for it.
func (s *draftStore) notePlace(path string, p Place) {
	b, err := json.Marshal(p)
	if err == nil {
		err = unix.Setxattr(path, placeAttr, b, 0)
	}
	if err != nil {
		s.log.WithError(err).Debug("keep the place of a draft beside its bytes")
	}
}

// placeOf is the place a draft without a record had, or else one at the top.
func (s *draftStore) placeOf(id uint64) Place {
	buf := make([]byte, 64<<10) // the most an attribute can hold
	var p Place
	n, err := unix.Getxattr(s.path(id), placeAttr, buf)
	if err == nil {
		err = json.Unmarshal(buf[:n], &p)
	}
	if err != nil || p.check() != nil {
		return Place{Name: "recovered-" + strconv.FormatUint(id, 10)}
	}
	return p
}
