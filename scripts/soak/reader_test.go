//go:build soak

package soak

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Readers work in processes of their own: a process that is stopped in a page fault of a mapping could not run the Drive
// that has to answer it.
const readerVariable = "SREGFS_SOAK_READER"

// readerJob is what such a process is told.
type readerJob struct {
	Mount   string // the mount point
	Root    string // where the collections are, beneath it
	Seed    uint64
	Readers int
}

// An event is what a reader says, one JSON line each.
type event struct {
	Op    string // one of the constants
	Kind  string // of reading
	Path  string `json:",omitempty"` // beneath the mount point
	Seed  uint64 `json:",omitempty"` // of the image that was met there, 0 if none was
	Bytes int64  `json:",omitempty"` // checked
	Text  string `json:",omitempty"`
	Errno syscall.Errno
	From  int64 // Unix nanoseconds: when the path was looked for
	To    int64 // when it was read or given up
}

const (
	opRead    = "read"    // everything read was right
	opGrowing = "growing" // a file that is not whole yet
	opFailed  = "failed"  // a system call
	opWrong   = "wrong"   // bytes
	opPaused  = "paused"  // nothing of the mount is open any more
)

type readers struct {
	job  readerJob
	gate sync.RWMutex // held for reading while something is open

	mu  sync.Mutex
	out *json.Encoder // guarded by mu
}

// readerMain is the life of a reader process: it reads until its standard input ends, with pauses when told so.
func readerMain(text string) int {
	r := &readers{out: json.NewEncoder(os.Stdout)}
	if err := json.Unmarshal([]byte(text), &r.job); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range r.job.Readers {
		wg.Go(func() { r.work(rand.New(rand.NewPCG(r.job.Seed, uint64(i))), stop) })
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "pause":
			r.gate.Lock()
			r.say(event{Op: opPaused})
		case "go":
			r.gate.Unlock()
		}
	}
	close(stop)
	wg.Wait()
	return 0
}

func (r *readers) say(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.out.Encode(e) // the test that does not listen any more has failed
}

func (r *readers) work(dice *rand.Rand, stop <-chan struct{}) {
	debug.SetPanicOnFault(true) // a mapping whose file cannot be read
	kinds := []struct {
		name string
		read func(*os.File, content, *rand.Rand) (int64, error)
	}{{"random", random}, {"sequential", sequential}, {"mapped", mapped}, {"open", nothing}}
	for {
		select {
		case <-stop:
			return
		default:
		}
		kind := kinds[dice.IntN(len(kinds))]
		r.gate.RLock()
		e := r.one(dice, kind.name, kind.read)
		r.gate.RUnlock()
		r.say(e)
		if e.Op != opRead || e.Seed == 0 {
			<-time.After(50 * time.Millisecond) // a dead mount refuses very fast
		}
	}
}

// one chooses a file, reads it and says how it went.
func (r *readers) one(dice *rand.Rand, kind string, read func(*os.File, content, *rand.Rand) (int64, error)) (e event) {
	e = event{Op: opRead, Kind: kind, From: time.Now().UnixNano()}
	draft := false // the name was being overwritten, and it shows what is written: a file that changes
	defer func() {
		if draft && e.Op != opRead {
			e.Op = opGrowing
		}
	}()
	defer func() {
		if p := recover(); p != nil {
			e.Op, e.Text = opFailed, fmt.Sprint(p)
		}
		e.To = time.Now().UnixNano()
	}()
	var err error
	defer func() {
		if err != nil && e.Op == opRead {
			e.Op, e.Text = opFailed, err.Error()
			_ = errors.As(err, &e.Errno)
		}
	}()
	path, file, err := r.choose(dice)
	e.Path, _ = filepath.Rel(r.job.Mount, path)
	if err != nil || !file {
		return e
	}
	f, err := os.Open(path)
	if err != nil {
		return e
	}
	defer func() {
		_, none := unix.Fgetxattr(int(f.Fd()), "user.sregfs.id", make([]byte, 256))
		draft = errors.Is(none, unix.ENODATA)
		_ = f.Close()
	}()
	st, err := f.Stat()
	if err != nil {
		return e
	}
	head := make([]byte, headerSize)
	if _, err = f.ReadAt(head, sifSize); errors.Is(err, io.EOF) {
		e.Op, err = opGrowing, nil
		return e
	} else if err != nil {
		return e
	}
	c, err := identify(head)
	if err != nil {
		e.Op, e.Text = opWrong, err.Error()
		return e
	}
	e.Seed = c.seed
	if st.Size() != c.size {
		e.Op, e.Text = opGrowing, fmt.Sprintf("%d bytes of %d", st.Size(), c.size)
		return e
	}
	e.Bytes, err = read(f, c, dice)
	if errors.As(err, new(*wrongError)) {
		e.Op, e.Text = opWrong, err.Error()
	}
	return e
}

// choose goes down the tree to the file of a tag or of a version; it may meet a dead end.
func (r *readers) choose(dice *rand.Rand) (path string, file bool, err error) {
	path = r.job.Root
	for range 3 {
		entries, err := os.ReadDir(path)
		if errors.Is(err, os.ErrNotExist) && path == r.job.Root {
			return path, false, nil // nobody shares anything yet
		}
		if err != nil || len(entries) == 0 {
			return path, false, err
		}
		pick := entries[dice.IntN(len(entries))]
		path = filepath.Join(path, pick.Name())
		if !pick.IsDir() {
			return path, strings.HasSuffix(path, ".sif"), nil
		}
	}
	return path, false, nil
}

type wrongError struct{ error }

// piece reads and checks n bytes from off on.
func piece(f io.ReaderAt, c content, off int64, n int) (int64, error) {
	p := make([]byte, min(int64(n), c.size-off))
	if _, err := f.ReadAt(p, off); err != nil {
		if errors.Is(err, io.EOF) {
			return 0, &wrongError{fmt.Errorf("image %d of %d bytes ends before %d", c.seed, c.size, off+int64(len(p)))}
		}
		return 0, err
	}
	if err := c.check(p, off); err != nil {
		return 0, &wrongError{err}
	}
	return int64(len(p)), nil
}

// random reads a few ranges from anywhere.
func random(f *os.File, c content, dice *rand.Rand) (sum int64, err error) {
	for range 1 + dice.IntN(12) {
		n, err := piece(f, c, dice.Int64N(c.size), 1+dice.IntN(256<<10))
		if sum += n; err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// sequential reads from front to back, in steps of one size.
func sequential(f *os.File, c content, dice *rand.Rand) (sum int64, err error) {
	step := []int{16 << 10, 128 << 10, 1 << 20}[dice.IntN(3)]
	for sum < c.size && err == nil {
		var n int64
		n, err = piece(f, c, sum, step)
		sum += n
	}
	return sum, err
}

// mapped reads pages of a mapping.
func mapped(f *os.File, c content, dice *rand.Rand) (sum int64, err error) {
	m, err := unix.Mmap(int(f.Fd()), 0, int(c.size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, unix.Munmap(m)) }()
	for range 1 + dice.IntN(40) {
		off := dice.Int64N(c.size)
		p := m[off:min(c.size, off+int64(1+dice.IntN(16<<10)))]
		if err := c.check(p, off); err != nil {
			return sum, &wrongError{err}
		}
		sum += int64(len(p))
	}
	return sum, nil
}

// nothing is for who only opens and closes.
func nothing(*os.File, content, *rand.Rand) (int64, error) { return headerSize, nil }
