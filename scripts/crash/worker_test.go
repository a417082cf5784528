//go:build crash

package crash

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// A worker does what people do, on names of its own. Each method writes down what may come of it before it begins, and
// that it did when the last system call has returned 0.
type worker struct {
	m          *mount
	k          *maker
	drive      *remote
	background bool
	collection string
	dice       *rand.Rand
	names      []*name
	note       note
	guests     []*guest
	last       map[string][]byte // contents pushed, for copies and edits
	pushes     int               // files written to the end
}

func newWorker(i int, w *world, background bool) *worker {
	worker := &worker{
		m: w.m, k: w.k, drive: w.drive, background: background, collection: fmt.Sprintf("lab%d", i),
		dice: rand.New(rand.NewPCG(*seed, uint64(i))), guests: w.guests, last: map[string][]byte{},
	}
	for _, image := range []string{"one", "two"} {
		worker.names = append(worker.names, &name{collection: worker.collection, image: image, has: tags{}, removed: map[string]bool{}})
	}
	return worker
}

// dead says whether an error is what a system call gets whose mount has died.
func dead(err error) bool {
	return errors.Is(err, syscall.ENOTCONN) || errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.ECONNREFUSED)
}

// something is one thing to do, by the dice.
func (w *worker) something() error {
	n := w.names[w.dice.IntN(len(w.names))]
	tag := []string{"a", "b"}[w.dice.IntN(2)]
	other := map[string]string{"a": "b", "b": "a"}[tag]
	newest := n.has.newest(tag)
	if n.removed[tag] {
		newest = ""
	}
	switch roll := w.dice.IntN(16); {
	case roll < 6:
		b, sum, err := w.k.content(0)
		if err != nil {
			return err
		}
		if roll < 4 {
			return w.push(n, tag, b, sum)
		}
		return w.pushByRename(n, tag, b, sum)
	case roll < 7 && w.last[n.has.newest(other)] != nil:
		sum := n.has.newest(other)
		return w.push(n, tag, w.last[sum], sum)
	case roll < 8 && newest != "" && !overlap(n.has[tag], n.has[other]):
		return w.retag(n, tag, other)
	case roll < 10 && newest != "":
		return w.remove(n, tag)
	case roll < 11 && w.last[newest] != nil:
		return w.edit(n, tag)
	case roll < 12 && w.last[newest] != nil:
		return w.truncate(n, tag)
	case roll < 13:
		return w.writeNote()
	case roll < 15 && len(w.guests) > 0:
		return w.guests[w.dice.IntN(len(w.guests))].readSome(w.m, w.dice)
	case newest != "":
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
	if err := w.mkdir(); err != nil {
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
	if err := w.mkdir(); err != nil {
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
	w.last[sum] = content
	n.removed[tag] = false
	if w.background {
		n.done()
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
	has, err := w.drive.has(n, tag, sum)
	if err != nil {
		return fmt.Errorf("ask the Drive: %w", err)
	}
	if !has {
		return fmt.Errorf("%s:%s was acknowledged, and Drive does not have it", n, tag)
	}
	if !w.background {
		n.done()
	}
	return nil
}

func (w *worker) mkdir() error {
	err := os.Mkdir(filepath.Join(w.m.dir, w.collection), 0o755)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

// write writes a file in pieces, syncs it perhaps, and closes it.
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
	if w.dice.IntN(3) == 0 {
		if err := f.Sync(); err != nil {
			return errors.Join(err, f.Close())
		}
		n.synced = sum
	}
	return f.Close()
}

// edit changes some bytes of a published image in place, as signing it does.
func (w *worker) edit(n *name, tag string) error {
	content, at, sum := w.k.changed(w.last[n.has.newest(tag)])
	n.attempt("an edit of "+tag, n.has.with(tag, sum))
	f, err := os.OpenFile(w.m.path(n, tag), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open %s:%s to edit it: %w", n, tag, err)
	}
	if _, err := f.WriteAt(content[at:at+8], at); err != nil {
		return errors.Join(fmt.Errorf("edit %s:%s: %w", n, tag, err), f.Close())
	}
	n.kept = sum
	w.pushes++
	if err := f.Close(); err != nil {
		return fmt.Errorf("close %s:%s after an edit: %w", n, tag, err)
	}
	return w.pushed(n, tag, content, sum)
}

// truncate tries to make half an image of a published one, which is refused.
func (w *worker) truncate(n *name, tag string) error {
	sum := n.has.newest(tag)
	n.attempt("a refused truncate of "+tag, n.has)
	err := os.Truncate(w.m.path(n, tag), int64(len(w.last[sum])/2))
	if !errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("truncate %s:%s to a half: want EINVAL: %w", n, tag, err)
	}
	n.settle()
	return w.read(n, tag)
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
	if err := os.Rename(w.m.path(n, from), w.m.path(n, to)); err != nil {
		return fmt.Errorf("move %s:%s to %s: %w", n, from, to, err)
	}
	n.removed[to] = false
	n.done()
	return nil
}

// remove removes the newest version of a tag.
func (w *worker) remove(n *name, tag string) error {
	n.attempt("a removal of "+tag, n.has.without(tag))
	if err := os.Remove(w.m.path(n, tag)); err != nil {
		return fmt.Errorf("remove %s:%s: %w", n, tag, err)
	}
	n.removed[tag] = true
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

func (w *worker) notePath() string { return filepath.Join(w.m.dir, w.collection, "note.txt") }

// writeNote replaces the note, as a careful editor saves: a new file, synced, renamed onto the old.
func (w *worker) writeNote() error {
	if err := w.mkdir(); err != nil {
		return err
	}
	text := fmt.Sprintf("note %d\n", w.dice.Uint64())
	w.note.may = strings.Repeat(text, 1+w.dice.IntN(3000))
	path := filepath.Join(filepath.Dir(w.notePath()), ".note.new")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	_, err = f.WriteString(w.note.may)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(path, w.notePath()); err != nil {
		return fmt.Errorf("save the note: %w", err)
	}
	w.note = note{has: w.note.may}
	total.operations.Add(1)
	return w.checkNote()
}
