package index

import (
	"time"

	"github.com/dgraph-io/badger/v4"

	"sregfs/drive"
)

// Listings show for a while what is gone, and the program may end meanwhile. So a file that leaves the registry, by a verb
// of ours or by news of Drive's, leaves a note behind, and news that it is there count only when Drive, asked for the file
// itself, says so too.

// lag is how long listings were seen to show what is gone.
const lag = time.Hour

// bury removes the record of file in txn and leaves the note. After the commit the caller calls buried, then publish.
func (ix *Index) bury(txn *badger.Txn, file string) error {
	if err := setJSON(txn, goneKey(file), millis(time.Now())); err != nil {
		return err
	}
	return deleteAll(txn, [][]byte{fileKey(file), profileKey(file)})
}

// buried keeps the notes of files in memory.
func (r *remote) buried(files ...string) {
	r.set(func(s *syncState) {
		if s.gone == nil {
			s.gone = map[string]time.Time{}
		}
		for _, id := range files {
			s.gone[id] = time.Now()
		}
	})
}

// credible splits news of files into what can be believed and the ids of what Drive has to be asked for.
func (ix *Index) credible(files []drive.File) (sure []drive.File, doubtful []string) {
	sure = make([]drive.File, 0, len(files))
	ix.remote.set(func(s *syncState) {
		for i := range files {
			f := &files[i]
			if t, ok := s.gone[f.ID]; ok && !f.Trashed && time.Since(t) < lag {
				doubtful = append(doubtful, f.ID)
			} else {
				sure = append(sure, *f)
			}
		}
	})
	return sure, doubtful
}

// unearth drops the notes of files that Drive, asked for them, says are there.
func (ix *Index) unearth(files []drive.File) error {
	var back [][]byte
	ix.remote.set(func(s *syncState) {
		for i := range files {
			if _, err := imageOf(&files[i], s.pin.ID); err != nil {
				continue
			}
			if _, ok := s.gone[files[i].ID]; ok {
				delete(s.gone, files[i].ID)
				back = append(back, goneKey(files[i].ID))
			}
		}
	})
	if len(back) == 0 {
		return nil
	}
	return ix.writing(func(txn *badger.Txn) error { return deleteAll(txn, back) })
}

// loadGone reads the notes, and drops those nobody needs any more.
func (ix *Index) loadGone() error {
	gone := map[string]time.Time{}
	var old [][]byte
	err := eachKey(ix.db, kGone, func(id, b []byte) error {
		if t, err := decodeTime(string(id), b); err != nil || time.Since(t) >= lag { // a damaged one is only forgotten
			old = append(old, goneKey(string(id)))
		} else {
			gone[string(id)] = t
		}
		return nil
	})
	if err != nil {
		return err
	}
	ix.remote.set(func(s *syncState) { s.gone = gone })
	return ix.deleteKeys(old)
}

// dropOldNotes is loadGone's broom for programs that run long.
func (ix *Index) dropOldNotes() error {
	var old [][]byte
	ix.remote.set(func(s *syncState) {
		for id, t := range s.gone {
			if time.Since(t) >= lag {
				old = append(old, goneKey(id))
				delete(s.gone, id)
			}
		}
	})
	return ix.deleteKeys(old)
}
