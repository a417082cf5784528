package index

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// records reads every record, and compares those of files with the catalogue.
func (c *checker) records(ctx context.Context) error {
	type damage struct {
		key  []byte
		text string
	}
	damaged, err := lasting(ctx, func() (out []damage, err error) {
		c.r.Records = 0
		err = c.ix.db.View(func(txn *badger.Txn) error {
			it := txn.NewIterator(badger.DefaultIteratorOptions)
			defer it.Close()
			for it.Rewind(); it.Valid(); it.Next() {
				key := it.Item().KeyCopy(nil)
				value, err := it.Item().ValueCopy(nil)
				if err == nil {
					err = checkRecord(key, value)
				}
				c.r.Records++
				if err != nil {
					out = append(out, damage{key, err.Error()})
				}
			}
			return nil
		})
		return out, err
	})
	if err != nil {
		return err
	}
	for _, d := range damaged {
		p := Problem{Kind: ProblemRecord, Subject: fmt.Sprintf("%q", d.key), Text: d.text}
		c.repair(p, "dropped; what it said is found again", func() error { return c.ix.dropRecord(d.key) })
	}
	apart, err := lasting(ctx, c.apart)
	for _, id := range apart {
		p := Problem{Kind: ProblemRecord, Subject: id, Text: "the tree does not show this image as it is on record"}
		c.repair(p, "shown as recorded", func() error { c.ix.publish(id); return nil })
	}
	return err
}

// checkRecord says what is wrong with a record.
func checkRecord(key, value []byte) error {
	name := string(key[1:])
	wrong := func(is string) error { return fmt.Errorf("a record of %q: %w", is, ErrCorrupt) }
	switch key[0] {
	case kMeta:
		var err error
		switch name {
		case metaRoot:
			_, err = decodeRoot(value)
		case metaAbout:
			_, err = decodeAbout(value)
		}
		return err
	case kFile:
		r, err := decodeFile(value)
		if err == nil && r.ID != name {
			err = wrong(r.ID)
		}
		return err
	case kGone:
		_, err := decodeTime(name, value)
		return err
	case kDir:
		_, err := decodeDir(value)
		return err
	case kCache:
		r, _, _, err := decodeCacheRecord(value)
		if k := (contentKey{r.File, r.Revision, r.Size}); err == nil && k.hash() != name {
			err = wrong(k.hash())
		}
		return err
	case kStart:
		_, _, err := decodeProfileRecord(value)
		return err
	case kDraft:
		if len(name) != 8 {
			return wrong("a draft")
		}
		_, err := decodeDraftRecord(value)
		return err
	}
	return wrong("no known kind")
}

// dropRecord deletes a damaged record, and makes what it said come back: from Drive, from memory or at the next start.
func (ix *Index) dropRecord(key []byte) error {
	keys := [][]byte{key}
	relist := key[0] == kFile || key[0] == kMeta
	if relist {
		ix.remote.set(func(s *syncState) { s.token, s.relistShared = "", time.Time{} })
		keys = append(keys, metaKey(metaToken), metaKey(metaShared))
	}
	if err := ix.writing(func(txn *badger.Txn) error { return deleteAll(txn, keys) }); err != nil {
		return err
	}
	switch key[0] {
	case kFile:
		ix.publish(string(key[1:]))
	case kCache:
		for _, bf := range ix.blocks.all() {
			if bf.hash == string(key[1:]) {
				bf.mu.Lock()
				bf.dirty = true
				bf.mu.Unlock()
				return bf.checkpoint()
			}
		}
	case kDraft:
		if len(key) == 9 {
			for _, d := range ix.AllDrafts() {
				if d.id == binary.BigEndian.Uint64(key[1:]) {
					return d.save(func(*draftRecord) {})
				}
			}
		}
	}
	return nil
}

// apart lists the files that the catalogue has otherwise than the records.
func (c *checker) apart() (out []string, err error) {
	root := c.ix.remote.pinned().ID
	recorded := map[string]*Image{}
	err = eachKey(c.ix.db, kFile, func(key, value []byte) error {
		rec, err := decodeFile(value)
		if err != nil {
			return nil //nolint:nilerr // noted already
		}
		if img, err := imageOf(rec.file(), root); err == nil {
			recorded[string(key)] = img.compact()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.ix.cat.mu.RLock()
	defer c.ix.cat.mu.RUnlock()
	for id, img := range recorded {
		if shown := c.ix.cat.files[id]; shown == nil || !same(shown, img) {
			out = append(out, id)
		}
	}
	for id := range c.ix.cat.files {
		if recorded[id] == nil {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out, nil
}
