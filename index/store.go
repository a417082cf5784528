package index

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"sregfs/drive"
)

// news is what a store says beside the files: how far the catalogue has come. Zero fields say nothing.
type news struct {
	token          string
	listed, shared time.Time
	asked          time.Time // when Drive was asked for these very files, see syncState.doubts
}

// storeBatch is how many bytes of records go into one transaction, roughly; Badger takes twice that.
const storeBatch = 512 << 10

// store records files and drops those gone, then publishes what changed. News is in the last transaction: whoever finds
// the token finds everything it stands for.
func (ix *Index) store(files []drive.File, gone []string, n news) error {
	for len(files) > 0 {
		size, k := 0, 0
		for k < len(files) && size < storeBatch {
			size += weight(&files[k])
			k++
		}
		if k == len(files) {
			break
		}
		if err := ix.storeOnce(files[:k], nil, news{asked: n.asked}); err != nil {
			return err
		}
		files = files[k:]
	}
	for len(gone) > 1000 {
		if err := ix.storeOnce(nil, gone[:1000], news{}); err != nil {
			return err
		}
		gone = gone[1000:]
	}
	return ix.storeOnce(files, gone, n)
}

// weight is about the size of the record of f.
func weight(f *drive.File) int {
	size := 512 + len(f.Name) + min(len(f.Description), maxDescription)
	for k, v := range f.Properties {
		size += len(k) + len(v) + 8
	}
	return size
}

func (ix *Index) storeOnce(files []drive.File, gone []string, n news) error {
	var touched []string
	err := ix.writing(func(txn *badger.Txn) error {
		for i := range files {
			doubted := false // it may have left since the caller looked
			ix.remote.set(func(s *syncState) { doubted = s.doubts(&files[i], n.asked) })
			if doubted {
				continue
			}
			changed, err := ix.record(txn, &files[i])
			if err != nil {
				return err
			}
			if changed {
				touched = append(touched, files[i].ID)
			}
		}
		for _, id := range gone {
			rec, err := getBytes(txn, fileKey(id))
			if err != nil {
				return err
			}
			if rec != nil {
				touched = append(touched, id)
				if err := ix.bury(txn, id); err != nil {
					return err
				}
			}
		}
		return n.write(txn)
	})
	if err != nil {
		return fmt.Errorf("record what Drive says: %w", err)
	}
	crashpoint("records.stored")
	ix.remote.set(n.apply)
	ix.publish(touched...)
	return nil
}

func (n news) write(txn *badger.Txn) error {
	if n.token != "" {
		if err := txn.Set(metaKey(metaToken), []byte(n.token)); err != nil {
			return err
		}
	}
	for name, t := range map[string]time.Time{metaListed: n.listed, metaShared: n.shared} {
		if !t.IsZero() {
			if err := setJSON(txn, metaKey(name), millis(t)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n news) apply(s *syncState) {
	if n.token != "" {
		s.token = n.token
	}
	if !n.listed.IsZero() {
		s.listed = n.listed
	}
	if !n.shared.IsZero() {
		s.shared = n.shared
	}
}

// record brings the record of one file in line with f, and says whether that changed anything. News older than the record is ignored: listings and the feed lag behind what the replies to our own writes told.
func (ix *Index) record(txn *badger.Txn, f *drive.File) (changed bool, err error) {
	old, err := getBytes(txn, fileKey(f.ID))
	if err != nil {
		return false, err
	}
	if old != nil {
		if was, err := decodeFile(old); err == nil && f.Version < was.Version {
			return false, nil
		}
	}
	if _, err := imageOf(f, ix.remote.pinned().ID); err != nil {
		if old == nil {
			return false, nil
		}
		return true, ix.bury(txn, f.ID)
	}
	rec := newFileRecord(f)
	b := rec.encode()
	if bytes.Equal(b, old) {
		return false, nil
	}
	if err := ix.unearth(txn, f.ID); err != nil {
		return false, err
	}
	return true, txn.Set(fileKey(f.ID), b)
}

// adopt records Drive's reply to a write of our own in txn and returns the image it makes. After the commit the caller
// publishes its id. A reply that is no image of this registry (moved away by somebody meanwhile) is an error.
func (ix *Index) adopt(txn *badger.Txn, f drive.File) (Image, error) {
	if _, err := ix.record(txn, &f); err != nil {
		return Image{}, err
	}
	rec, err := getFile(txn, f.ID)
	if err != nil {
		return Image{}, err
	}
	if rec.ID == "" {
		return Image{}, fmt.Errorf("%s (id %s): %w", f.Name, f.ID, errNoImage)
	}
	img, err := imageOf(rec.file(), ix.remote.pinned().ID)
	img.describe(rec.file())
	return img, err
}

// publish brings the catalogue in line with the records of these files, and tells the subscribers what changed. It may
// be called by anyone, twice, and in any order: what counts is the records.
func (ix *Index) publish(files ...string) {
	if len(files) == 0 {
		return
	}
	ix.cat.order.Lock()
	defer ix.cat.order.Unlock()
	root := ix.remote.pinned().ID
	images := make([]*Image, len(files))
	err := ix.db.View(func(txn *badger.Txn) error {
		for i, id := range files {
			rec, err := getFile(txn, id)
			if err != nil {
				return err
			}
			if rec.ID == "" {
				continue
			}
			if img, err := imageOf(rec.file(), root); err == nil {
				images[i] = img.compact()
			}
		}
		return nil
	})
	if err != nil {
		ix.log.Errorf("read back what was recorded: %v", err)
		return
	}
	ix.cat.mu.Lock()
	var happened []Event
	for i, id := range files {
		happened = append(happened, ix.cat.put(id, images[i])...)
	}
	ix.cat.mu.Unlock()
	if ix.blocks != nil { // else nobody reads yet
		ix.blocks.outdate(files, images)
	}
	ix.event(happened...)
}

// load reads the records into memory. Records of another folder than Options ask for are dropped, damaged ones too; both
// make a full listing due.
func (ix *Index) load() error {
	s := syncState{}
	err := ix.db.View(func(txn *badger.Txn) (err error) {
		if s.token, err = getMeta(txn, metaToken); err != nil {
			return err
		}
		for name, t := range map[string]*time.Time{metaListed: &s.listed, metaShared: &s.shared} {
			if *t, err = getTime(txn, name); err != nil {
				return err
			}
		}
		b, err := getBytes(txn, metaKey(metaRoot))
		if err == nil && b != nil {
			s.pin, err = decodeRoot(b)
		}
		return err
	})
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return err
	}
	if err != nil || !ix.o.rightRoot(s.pin) {
		if err != nil {
			ix.log.Warnf("listing afresh: %v", err)
		}
		s = syncState{pin: rootRecord{V: recordVersion, Account: s.pin.Account, UserID: s.pin.UserID}}
		if err := ix.dropRecords(); err != nil {
			return err
		}
	}
	ix.drive.Keep(s.pin.owner(), s.pin.SignIn)
	s.relist, s.relistShared = overdue(s.listed), overdue(s.shared)
	ix.remote.set(func(now *syncState) { *now = s })
	if err := errors.Join(ix.loadGone(), ix.loadFiles(s.pin.ID)); err != nil {
		return err
	}
	return ix.loadDirs()
}

// deleteKeys deletes any number of records.
func (ix *Index) deleteKeys(keys [][]byte) error {
	for some := range slices.Chunk(keys, 1000) {
		if err := ix.writing(func(txn *badger.Txn) error { return deleteAll(txn, some) }); err != nil {
			return err
		}
	}
	return nil
}

func getTime(txn *badger.Txn, name string) (time.Time, error) {
	b, err := getBytes(txn, metaKey(name))
	if err != nil || b == nil {
		return time.Time{}, err
	}
	return decodeTime(name, b)
}

func decodeTime(name string, b []byte) (time.Time, error) {
	var ms int64
	if err := json.Unmarshal(b, &ms); err != nil {
		return time.Time{}, corrupt(name, b, err)
	}
	return fromMillis(ms), nil
}
