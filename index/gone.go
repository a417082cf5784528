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

// bury removes the record of file in txn and leaves the note: a file has the one or the other. After the commit the caller
// calls publish. The note is in memory before the commit, for whoever writes next; one too many costs a question.
func (ix *Index) bury(txn *badger.Txn, file string) error {
	now := time.Now()
	if err := setJSON(txn, goneKey(file), millis(now)); err != nil {
		return err
	}
	ix.remote.set(func(s *syncState) {
		if s.gone == nil {
			s.gone = map[string]time.Time{}
		}
		s.gone[file] = now
	})
	return deleteAll(txn, [][]byte{fileKey(file), profileKey(file)})
}

// doubts says whether Drive has to be asked before it is believed that f is there. Asked is when it was asked for f; zero
// is of listings and the feed. What it said before the file left is old by now.
func (s *syncState) doubts(f *drive.File, asked time.Time) bool {
	t, ok := s.gone[f.ID]
	return ok && !f.Trashed && time.Since(t) < lag && !asked.After(t)
}

// credible splits news of files into what can be believed and the ids of what Drive has to be asked for.
func (ix *Index) credible(files []drive.File) (sure []drive.File, doubtful []string) {
	sure = make([]drive.File, 0, len(files))
	ix.remote.set(func(s *syncState) {
		for i := range files {
			if f := &files[i]; s.doubts(f, time.Time{}) {
				doubtful = append(doubtful, f.ID)
			} else {
				sure = append(sure, *f)
			}
		}
	})
	return sure, doubtful
}

// unearth drops the note of a file that gets a record in txn.
func (ix *Index) unearth(txn *badger.Txn, file string) error {
	noted := false
	ix.remote.set(func(s *syncState) {
		_, noted = s.gone[file]
		delete(s.gone, file)
	})
	if !noted {
		return nil
	}
	return txn.Delete(goneKey(file))
}

// loadGone reads the notes, and drops those nobody needs any more.
func (ix *Index) loadGone() error {
	gone, now := map[string]time.Time{}, time.Now()
	var old [][]byte
	err := eachKey(ix.db, kGone, func(id, b []byte) error {
		if t, err := decodeTime(string(id), b); err != nil || time.Since(t) >= lag { // a damaged one is only forgotten
			old = append(old, goneKey(string(id)))
		} else {
			if t.After(now) { // the clock was put back
				t = now
			}
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
