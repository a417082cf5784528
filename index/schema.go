package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/sirupsen/logrus"
)

// Key space: one prefix byte, then fields. Only this file builds or splits keys. A new prefix is compatible; a changed
// one, or a record an older release would misread, raises schemaVersion.
//
//	m <name>        -> text or JSON: schema, root (rootRecord), token (changes page token), listed, shared (times), about
//	f <fileID>      -> fileRecord, what Drive said of one image; the tree is built from these in memory
//	x <fileID>      -> time when the file left the registry: listings may show it for a while yet
//	n <folded path> -> dirRecord, a directory made by Mkdir: "collection/nested" or "collection/image:tag"
//	k <hash>        -> cacheRecord, the blocks on disk of one revision; bits are set only after fdatasync
//	p <fileID>      -> profileRecord, what starts on this machine read of an image
//	d <id BE64>     -> draftRecord, one draft and how far its push is: the journal
const (
	kMeta  = 'm'
	kFile  = 'f'
	kGone  = 'x'
	kDir   = 'n'
	kCache = 'k'
	kStart = 'p'
	kDraft = 'd'
)

// schemaVersion is what this release writes. A directory with a higher one is refused, for its drafts' sake.
const schemaVersion = 1

func metaKey(name string) []byte  { return append([]byte{kMeta}, name...) }
func fileKey(id string) []byte    { return append([]byte{kFile}, id...) }
func goneKey(id string) []byte    { return append([]byte{kGone}, id...) }
func dirKey(path string) []byte   { return append([]byte{kDir}, path...) }
func cacheKey(hash string) []byte { return append([]byte{kCache}, hash...) }
func profileKey(id string) []byte { return append([]byte{kStart}, id...) }
func draftKey(id uint64) []byte   { return binary.BigEndian.AppendUint64([]byte{kDraft}, id) }

// The names under kMeta.
const (
	metaSchema = "schema"
	metaRoot   = "root"
	metaToken  = "token"
	metaListed = "listed"
	metaShared = "shared"
	metaAbout  = "about"
)

// badgerDir is the directory of the records inside the state directory.
func badgerDir(dir string) string { return filepath.Join(dir, "index") }

// openDB opens the records. Badger's own figures are for databases of gigabytes (five memtables of 64 MB, a cache of
// 256 MB, a value log mapped at 1 GB); ours holds megabytes beside the page cache that images need.
func openDB(dir string, log logrus.FieldLogger) (*badger.DB, error) {
	if err := Private(badgerDir(dir)); err != nil {
		return nil, err
	}
	o := badger.DefaultOptions(badgerDir(dir)).
		WithLogger(quietLogger{log}).
		WithSyncWrites(true). // off by default: a power cut would lose commits, and a commit is what promises stand on
		WithMetricsEnabled(false).
		WithMemTableSize(8 << 20).
		WithNumMemtables(2).
		WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(6).
		WithNumCompactors(2).
		WithCompression(options.Snappy).
		WithBlockCacheSize(4 << 20).
		WithValueThreshold(256 << 10).
		WithValueLogFileSize(16 << 20)
	if err := dropUnbegun(o.Dir); err != nil {
		return nil, err
	}
	db, doubt, err := openRecords(o)
	if err != nil {
		return nil, fmt.Errorf("open the records in %s: %w", badgerDir(dir), err)
	}
	if doubt {
		log.Warn("records: a table was not in the manifest; the registry is listed afresh")
		err = db.Update(func(txn *badger.Txn) error { return deleteAll(txn, [][]byte{metaKey(metaToken), metaKey(metaShared)}) })
	}
	if err := errors.Join(err, checkSchema(db)); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func checkSchema(db *badger.DB) error {
	return db.Update(func(txn *badger.Txn) error {
		text, err := getMeta(txn, metaSchema)
		if err != nil {
			return err
		}
		if text == "" {
			return txn.Set(metaKey(metaSchema), []byte(strconv.Itoa(schemaVersion)))
		}
		v, err := strconv.Atoi(text)
		if err != nil || v < 1 {
			return fmt.Errorf("schema version %.20q: %w", text, ErrCorrupt)
		}
		if v > schemaVersion {
			return fmt.Errorf("schema version %d, this program knows %d: %w", v, schemaVersion, ErrSchema)
		}
		return nil
	})
}

// getMeta returns the text under name, "" if there is none.
func getMeta(txn *badger.Txn, name string) (string, error) {
	b, err := getBytes(txn, metaKey(name))
	return string(b), err
}

// getBytes returns a copy of the value of key, nil if there is none.
func getBytes(txn *badger.Txn, key []byte) ([]byte, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return item.ValueCopy(nil)
}

// deleteAll deletes keys, at most some thousands: a transaction has its limits.
func deleteAll(txn *badger.Txn, keys [][]byte) error {
	for _, k := range keys {
		if err := txn.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// eachKey calls f with every key of a prefix, without the prefix byte, and its value; both live only during the call.
func eachKey(db *badger.DB, prefix byte, f func(key, value []byte) error) error {
	return db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix = []byte{prefix}
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			if err := item.Value(func(v []byte) error { return f(item.Key()[1:], v) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// quietLogger passes Badger's warnings and errors on; the rest (recovery steps, table sizes) is of use only to debug.
type quietLogger struct{ log logrus.FieldLogger }

func (l quietLogger) Errorf(f string, v ...any)   { l.log.Errorf("records: "+f, v...) }
func (l quietLogger) Warningf(f string, v ...any) { l.log.Warnf("records: "+f, v...) }
func (l quietLogger) Infof(f string, v ...any)    { l.log.Debugf("records: "+f, v...) }
func (l quietLogger) Debugf(f string, v ...any)   {}
