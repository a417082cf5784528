package drivetest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
)

// A directory store:
//
//	journal          one JSON array of rows per line, one line per transaction; written and synced before
//	                 the reply, a torn last line is dropped, compacted at each open
//	content/KEY      the bytes of a revision, a thumbnail or an upload under way; never renamed. How much
//	                 of an upload there is, its file's size says
//
// A content is synced before the line that refers to it; one that no line refers to is removed at open.

// row is one record of the journal; the last row of a key counts, one without value deletes it.
type row struct {
	Key   string          `json:"k"`
	Value json.RawMessage `json:"v,omitempty"`
}

// journal is an append-only file of rows.
type journal struct {
	mu      sync.Mutex // guards f's end, written and err
	f       *os.File
	written int64
	err     error // the first failure; after it nothing is written any more

	lock   *os.File   // flocked: one emulator per directory
	syncMu sync.Mutex // held during fsync: who waits for it finds its line synced by somebody else
	synced int64
}

// append writes rows as one line and returns the position to sync to.
func (j *journal) append(rows []row) (int64, error) {
	line, err := json.Marshal(rows)
	if err != nil {
		return 0, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return 0, j.err
	}
	n, err := j.f.Write(append(line, '\n'))
	j.written += int64(n)
	j.err = err
	return j.written, err
}

// failed returns the first error the journal met.
func (j *journal) failed() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// sync returns when the first n bytes are on disk.
func (j *journal) sync(n int64) error {
	j.syncMu.Lock()
	defer j.syncMu.Unlock()
	if j.synced >= n {
		return nil
	}
	j.mu.Lock()
	end := j.written
	j.mu.Unlock()
	if err := j.f.Sync(); err != nil {
		j.mu.Lock()
		j.err = errors.Join(j.err, err)
		j.mu.Unlock()
		return err
	}
	j.synced = end
	return nil
}

// Close releases the file and with it the lock on the directory.
func (j *journal) Close() error { return errors.Join(j.f.Close(), j.lock.Close()) }

// openDir reads the store of dir, or makes one there, and takes it for this process.
func (s *store) openDir(dir string) error {
	content := filepath.Join(dir, "content")
	if err := os.MkdirAll(content, 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("in use by another emulator: %w", err), lock.Close())
	}
	if err := s.readDir(dir, &dirContents{dir: content}, lock); err != nil {
		return errors.Join(err, lock.Close())
	}
	return nil
}

func (s *store) readDir(dir string, disk *dirContents, lock *os.File) error {
	path := filepath.Join(dir, "journal")
	rows, err := readJournal(path)
	if err != nil {
		return err
	}
	if rows["secret"] == nil {
		b, err := json.Marshal(newSecret())
		if err != nil {
			return err
		}
		rows["secret"] = b
	}
	for key, value := range rows {
		if err := s.load(key, value); err != nil {
			return fmt.Errorf("journal row %s: %w", key, err)
		}
	}
	s.loaded()
	for id, ses := range s.sessions {
		if s.clock().Sub(ses.Created) > sessionLife {
			delete(rows, "session/"+id)
			delete(s.sessions, id)
			continue
		}
		s.holdSession(ses, 1)
	}
	if s.journal, err = writeJournal(dir, path, rows, lock); err != nil {
		return err
	}
	s.contents = disk
	return disk.sweep(s.refs)
}

// loaded puts right what rows in any order left unsorted.
func (s *store) loaded() {
	for _, f := range s.feeds {
		slices.SortFunc(f.entries, func(a, b change) int { return int(a.Seq - b.Seq) })
		for _, c := range f.entries {
			f.latest[c.File] = c.Seq
		}
	}
}

// readJournal returns the last row of each key. A line without its end was never acknowledged.
func readJournal(path string) (map[string]json.RawMessage, error) {
	rows := map[string]json.RawMessage{}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return rows, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		var batch []row
		if err := json.Unmarshal(line, &batch); err != nil {
			if _, err := r.Peek(1); errors.Is(err, io.EOF) {
				return rows, nil // the last line, torn by a crash of the machine
			}
			return nil, fmt.Errorf("journal line %d is damaged: %w", n, err)
		}
		for _, row := range batch {
			if row.Value == nil {
				delete(rows, row.Key)
			} else {
				rows[row.Key] = row.Value
			}
		}
	}
}

// writeJournal replaces the journal by one that holds just rows, and opens it for appending.
func writeJournal(dir, path string, rows map[string]json.RawMessage, lock *os.File) (*journal, error) {
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	var written int64
	err = func() error {
		w := bufio.NewWriterSize(f, 1<<20)
		for key, value := range rows {
			line, err := json.Marshal([]row{{key, value}})
			if err != nil {
				return err
			}
			n, err := w.Write(append(line, '\n'))
			if err != nil {
				return err
			}
			written += int64(n)
		}
		return errors.Join(w.Flush(), f.Sync(), os.Rename(temp, path), syncDir(dir))
	}()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &journal{f: f, lock: lock, written: written, synced: written}, nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// dirContents keeps each content in a file of its own.
type dirContents struct{ dir string }

func (d *dirContents) path(key string) string { return filepath.Join(d.dir, filepath.Base(key)) }

func (d *dirContents) create() (string, error) {
	key := random(16)
	f, err := os.OpenFile(d.path(key), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	return key, errors.Join(f.Close(), syncDir(d.dir))
}

func (d *dirContents) extend(key string, size int64) (part, error) {
	f, err := os.OpenFile(d.path(key), os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.Seek(size, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (d *dirContents) open(key string) (io.ReadSeekCloser, error) { return os.Open(d.path(key)) }

func (d *dirContents) size(key string) (int64, error) {
	info, err := os.Stat(d.path(key))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (d *dirContents) remove(key string) error { return os.Remove(d.path(key)) }

// sweep removes the contents nothing refers to.
func (d *dirContents) sweep(refs map[string]int) error {
	names, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if refs[name.Name()] == 0 {
			if err := os.Remove(d.path(name.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
