//go:build crash

package crash

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
)

// A worker does what people do, on names of its own. Each method writes down what may come of it before it begins, and
// that it did when the last system call has returned 0.
type worker struct {
	m          *mount
	k          *maker
	user       *drivetest.User // of the Drive in this process, nil if it is in another
	background bool
	dice       *rand.Rand
	names      []*name
	last       map[string][]byte // contents pushed under each name, for copies
	pushes     int               // files written to the end
}

func newWorkers(n int, m *mount, k *maker, user *drivetest.User, background bool) (all []*worker) {
	for i := range n {
		w := &worker{m: m, k: k, user: user, background: background, dice: rand.New(rand.NewPCG(*seed, uint64(i))), last: map[string][]byte{}}
		for _, image := range []string{"one", "two"} {
			w.names = append(w.names, &name{collection: fmt.Sprintf("lab%d", i), image: image, has: tags{}})
		}
		all = append(all, w)
	}
	return all
}

func namesOf(workers []*worker) (all []*name) {
	for _, w := range workers {
		all = append(all, w.names...)
	}
	return all
}

// dead says whether an error is what a system call gets whose mount has died.
func dead(err error) bool {
	return errors.Is(err, syscall.ENOTCONN) || errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.ECONNREFUSED)
}

// work lets the workers work until stop is closed or the mount dies; no other error may occur.
func work(t *testing.T, workers []*worker, stop <-chan struct{}) (wait func()) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, len(workers))
	for i, w := range workers {
		wg.Go(func() {
			for errs[i] == nil {
				select {
				case <-stop:
					return
				default:
					errs[i] = w.something()
				}
			}
		})
	}
	return func() {
		t.Helper()
		wg.Wait()
		for i, err := range errs {
			if !dead(err) {
				require.NoError(t, err, "worker %d", i)
			}
		}
	}
}

// something is one thing to do, by the dice.
func (w *worker) something() error {
	n := w.names[w.dice.IntN(len(w.names))]
	tag := []string{"a", "b"}[w.dice.IntN(2)]
	other := map[string]string{"a": "b", "b": "a"}[tag]
	switch roll := w.dice.IntN(12); {
	case roll < 4:
		b, sum, err := w.k.content(0)
		if err != nil {
			return err
		}
		return w.push(n, tag, b, sum)
	case roll < 6:
		b, sum, err := w.k.content(0)
		if err != nil {
			return err
		}
		return w.pushByRename(n, tag, b, sum)
	case roll < 7 && n.has.newest(other) != "" && w.last[n.has.newest(other)] != nil:
		sum := n.has.newest(other)
		return w.push(n, tag, w.last[sum], sum)
	case roll < 8 && n.has.newest(tag) != "" && !overlap(n.has[tag], n.has[other]):
		return w.retag(n, tag, other)
	case roll < 9 && n.has.newest(tag) != "":
		return w.remove(n, tag)
	case n.has.newest(tag) != "":
		return w.read(n, tag)
	}
	return nil
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// push copies content to the file of a tag, as cp does.
func (w *worker) push(n *name, tag string, content []byte, sum string) error {
	n.attempt("a push to "+tag, n.has.with(tag, sum))
	if err := w.mkdir(n); err != nil {
		return err
	}
	if err := w.write(n, w.m.path(n, tag), content, sum); err != nil {
		return fmt.Errorf("push %s:%s: %w", n, tag, err)
	}
	return w.pushed(n, tag, content, sum)
}

// pushByRename writes a draft and renames it to the file of a tag, as rsync does.
func (w *worker) pushByRename(n *name, tag string, content []byte, sum string) error {
	n.attempt("a rename to "+tag, n.has.with(tag, sum))
	if err := w.mkdir(n); err != nil {
		return err
	}
	part := filepath.Join(w.m.dir, n.collection, "."+n.image+".part")
	if err := w.write(n, part, content, sum); err != nil {
		return fmt.Errorf("write %s: %w", part, err)
	}
	if err := os.Rename(part, w.m.path(n, tag)); err != nil {
		return fmt.Errorf("rename to %s:%s: %w", n, tag, err)
	}
	return w.pushed(n, tag, content, sum)
}

// pushed notes a push that was acknowledged. What that means depends on the mode: Drive has it, or it is in the journal,
// and Drive has it when fsync returns.
func (w *worker) pushed(n *name, tag string, content []byte, sum string) error {
	if w.background {
		n.has = n.may[0]
		n.attempt("to wait for the push to "+tag, n.has)
		n.kept = ""
		if w.dice.IntN(2) == 0 {
			return nil
		}
		f, err := os.Open(w.m.path(n, tag))
		if err != nil {
			return fmt.Errorf("open to sync: %w", err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("sync %s:%s: %w", n, tag, err)
		}
	}
	if w.user != nil && !slices.ContainsFunc(w.user.Files(), func(f drivetest.File) bool {
		return !f.Trashed && f.MD5 == sum && f.Properties["collection"] == n.collection && f.Properties["image"] == n.image && f.Properties["tag"] == tag
	}) {
		return fmt.Errorf("%s:%s was acknowledged, and Drive does not have it", n, tag)
	}
	w.last[sum] = content
	n.done()
	return nil
}

func (w *worker) mkdir(n *name) error {
	err := os.Mkdir(filepath.Join(w.m.dir, n.collection), 0o755)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

// write writes a file in pieces and closes it.
func (w *worker) write(n *name, path string, content []byte, sum string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	for rest := content; len(rest) > 0 && err == nil; {
		piece := rest[:min(len(rest), 100_000)]
		rest = rest[len(piece):]
		_, err = f.Write(piece)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	n.kept = sum
	w.pushes++
	return f.Close()
}

// retag moves a tag, with all its versions, onto another one.
func (w *worker) retag(n *name, from, to string) error {
	var may []tags
	for i := range n.has[from] { // the oldest goes first
		may = append(may, n.has.moved(from, to, i+1))
	}
	// Between the change of the name and that of the time an older version may not be the newest yet.
	for _, g := range slices.Clone(may) {
		if old := n.has.newest(to); old != "" {
			may = slices.Insert(may, 0, g.with(to, old))
		}
	}
	n.attempt("a move of "+from+" to "+to, may...)
	err := os.Rename(w.m.path(n, from), w.m.path(n, to))
	if w.background && errors.Is(err, syscall.EBUSY) { // it is on its way to Drive under its old name
		n.settle()
		return nil
	}
	if err != nil {
		return fmt.Errorf("move %s:%s to %s: %w", n, from, to, err)
	}
	n.done()
	return nil
}

// remove removes the newest version of a tag.
func (w *worker) remove(n *name, tag string) error {
	n.attempt("a removal of "+tag, n.has.without(tag))
	err := os.Remove(w.m.path(n, tag))
	if w.background && errors.Is(err, syscall.EBUSY) { // Drive has it, and is about to be recorded
		n.settle()
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %s:%s: %w", n, tag, err)
	}
	n.done()
	return nil
}

// read reads the file of a tag.
func (w *worker) read(n *name, tag string) error {
	b, err := os.ReadFile(w.m.path(n, tag))
	if err != nil {
		return fmt.Errorf("read %s:%s: %w", n, tag, err)
	}
	if sum := sumOf(b); sum != n.has.newest(tag) {
		return fmt.Errorf("%s:%s reads as %s (%d bytes), acknowledged was %v", n, tag, sum, len(b), n.has)
	}
	return nil
}
