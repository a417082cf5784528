//go:build soak

package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sregfs/drive/drivetest"
)

// seeds are those of images, no two alike.
var seeds atomic.Uint64

// A writer does what people do, on images of its own. What the last system call acknowledged is in its images; what was
// under way when the mount died is found out from Drive.
type writer struct {
	m      *machine
	h      *history
	user   *drivetest.User
	guest  string // who is shared with
	dice   *rand.Rand
	images []*image
}

// image is one name with the versions of each tag, the newest last.
type image struct {
	collection, name string
	tags             map[string][]*version
}

func (i *image) key() string { return i.collection + "/" + i.name }

func (w *writer) file(i *image, tag string) string {
	return filepath.Join(w.m.dir, i.collection, i.name+":"+tag+".sif")
}

// work goes on until stop is closed.
func (w *writer) work(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-w.h.failed:
			return
		default:
		}
		w.m.gate.RLock()
		life, i, from := w.m.life(), w.images[w.dice.IntN(len(w.images))], now()
		may, err := w.something(i)
		w.m.gate.RUnlock()
		switch {
		case err == nil:
		case dead(err) && w.m.wasDown(from, now()):
			for w.m.life() == life { // until it is mounted again, and its journal empty
				select {
				case <-w.h.failed:
					return
				case <-time.After(50 * time.Millisecond):
				}
			}
			if err := w.reconcile(i, may); err != nil {
				w.h.fail("%s, after a kill on %s: %v", i.key(), w.m.name, err)
			}
		default:
			w.h.fail("%s on %s, begun at %s: %v", i.key(), w.m.name, clock(from), err)
		}
	}
}

// places says for versions with which something was under way under which tags they may be, "" if in none.
type places map[*version][]string

// something is one thing to do, by the dice. It returns what may have become of it if it fails.
func (w *writer) something(i *image) (places, error) {
	tag := []string{"a", "b"}[w.dice.IntN(2)]
	other := map[string]string{"a": "b", "b": "a"}[tag]
	here := i.tags[tag]
	switch roll := w.dice.IntN(12); {
	case roll < 1 && len(here) > 0:
		return w.retag(i, tag, other)
	case roll < 3 && len(here) > 0:
		return w.remove(i, tag, len(here)-1, w.file(i, tag))
	case roll < 5 && len(here) > 0:
		return places{}, w.share(i, tag)
	case len(here) > 2:
		return w.remove(i, tag, 0, filepath.Join(w.m.dir, i.collection, i.name+":"+tag, here[0].sum+".sif"))
	}
	return w.push(i, tag)
}

// push writes a new version: to the tag's file, as cp does, or to a file of another name that is then renamed, as rsync does.
func (w *writer) push(i *image, tag string) (places, error) {
	c := content{seed: seeds.Add(1), size: sifSize + headerSize + 1 + w.dice.Int64N(1<<20)}
	if w.dice.IntN(3) == 0 {
		c.size += w.dice.Int64N(11 << 20)
	}
	v := &version{content: c, sum: c.sum()}
	w.h.mu.Lock()
	w.h.of(i.key()).versions[c.seed] = v
	w.h.mu.Unlock()
	defer w.h.begin(i.key(), pushing)()
	may := places{v: {tag, ""}}

	path := w.file(i, tag)
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return may, err
	}
	direct := w.dice.IntN(2) == 0
	if !direct {
		path = filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".part")
	}
	err := w.write(path, c)
	if err == nil && !direct {
		err = os.Rename(path, w.file(i, tag))
	}
	if err != nil {
		return may, fmt.Errorf("push %d to %s: %w", c.seed, path, err)
	}
	i.tags[tag] = append(i.tags[tag], v)
	if !slices.ContainsFunc(w.user.Files(), func(f drivetest.File) bool { return !f.Trashed && f.MD5 == v.sum && f.Properties["tag"] == tag }) {
		return may, fmt.Errorf("push %d to %s was acknowledged, and Drive does not have it", c.seed, path)
	}
	w.count(func(t *tally) { t.pushes++ })
	return may, w.look(i, tag)
}

// write writes a file in pieces and closes it.
func (w *writer) write(path string, c content) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	piece := make([]byte, []int{4 << 10, 100_000, 1 << 20}[w.dice.IntN(3)])
	for off := int64(0); off < c.size && err == nil; off += int64(len(piece)) {
		p := piece[:min(int64(len(piece)), c.size-off)]
		c.at(p, off)
		_, err = f.Write(p)
	}
	return errors.Join(err, f.Close())
}

// look checks that a tag's file is the newest version, here and at once.
func (w *writer) look(i *image, tag string) error {
	f, err := os.Open(w.file(i, tag))
	if err != nil {
		return fmt.Errorf("look at what was pushed: %w", err)
	}
	defer f.Close()
	want := i.tags[tag][len(i.tags[tag])-1]
	for _, off := range []int64{sifSize, 0, w.dice.Int64N(want.size), want.size - 1} {
		if _, err := piece(f, want.content, off, 100_000); err != nil {
			return fmt.Errorf("%s is not what was pushed: %w", f.Name(), err)
		}
	}
	return nil
}

// retag moves a tag, with all its versions, onto another one.
func (w *writer) retag(i *image, from, to string) (places, error) {
	may := places{}
	for _, v := range i.tags[from] {
		may[v] = []string{from, to}
	}
	defer w.h.begin(i.key(), moving)()
	if err := os.Rename(w.file(i, from), w.file(i, to)); err != nil {
		return may, fmt.Errorf("retag: %w", err)
	}
	i.tags[to] = append(i.tags[to], i.tags[from]...)
	i.tags[from] = nil
	w.count(func(t *tally) { t.retags++ })
	return may, w.look(i, to)
}

// remove removes the n-th version of a tag, which has the file path.
func (w *writer) remove(i *image, tag string, n int, path string) (places, error) {
	v := i.tags[tag][n]
	may := places{v: {tag, ""}}
	defer w.h.begin(i.key(), moving)()
	w.h.mu.Lock()
	v.removed = now()
	w.h.mu.Unlock()
	if err := rm(path); err != nil {
		return may, fmt.Errorf("remove %s: %w", v.sum, err)
	}
	i.tags[tag] = slices.Delete(i.tags[tag], n, n+1)
	w.count(func(t *tally) { t.removals++ })
	return may, nil
}

// rm removes a file, in a process of its own: who removed a name does not find the version before it there for a while.
func rm(path string) error {
	cmd := exec.CommandContext(context.Background(), "rm", path)
	cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	for _, errno := range []syscall.Errno{syscall.ENOTCONN, syscall.ECONNABORTED, syscall.ECONNREFUSED} {
		if err != nil && strings.Contains(strings.ToLower(string(out)), errno.Error()) {
			return errno
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// share shares the newest version of a tag.
func (w *writer) share(i *image, tag string) error {
	if err := unix.Setxattr(w.file(i, tag), "user.sregfs.share", []byte(w.guest), 0); err != nil {
		return fmt.Errorf("share %s: %w", w.file(i, tag), err)
	}
	v := i.tags[tag][len(i.tags[tag])-1]
	w.h.mu.Lock()
	v.shared = true
	w.h.mu.Unlock()
	w.count(func(t *tally) { t.shares++ })
	return nil
}

func (w *writer) count(f func(*tally)) {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	f(&w.h.tally)
}

// stored is where Drive has the versions of an image, the newest last in each tag.
func stored(user *drivetest.User, i *image) (map[string][]string, error) {
	files := user.Files()
	slices.SortStableFunc(files, func(a, b drivetest.File) int { return a.Modified.Compare(b.Modified) })
	tags := map[string][]string{}
	for _, f := range files {
		p := f.Properties
		if f.Trashed || p["type"] != "container" || p["collection"] != i.collection || p["image"] != i.name {
			continue
		}
		for tag, sums := range tags {
			if slices.Contains(sums, f.MD5) {
				return nil, fmt.Errorf("%s is in Drive twice, under %s and %s", f.MD5, tag, p["tag"])
			}
		}
		tags[p["tag"]] = append(tags[p["tag"]], f.MD5)
	}
	return tags, nil
}

// sharedWith are the versions that guest may read, as Drive has it.
func sharedWith(user *drivetest.User, guest string) map[string]bool {
	shared := map[string]bool{}
	for _, f := range user.Files() {
		if !f.Trashed && slices.ContainsFunc(f.Permissions, func(p drivetest.Permission) bool { return p.Email == guest }) {
			shared[f.MD5] = true
		}
	}
	return shared
}

// reconcile holds what Drive has of i against what was acknowledged, and against what may be of it when something was
// under way. From then on Drive's word counts.
func (w *writer) reconcile(i *image, may places) error {
	tags, err := stored(w.user, i)
	if err != nil {
		return err
	}
	all := map[string]*version{}
	for tag, list := range i.tags {
		for _, v := range list {
			all[v.sum] = v
			if may[v] == nil {
				if may == nil {
					may = places{}
				}
				may[v] = []string{tag}
			}
		}
	}
	for v := range may {
		all[v.sum] = v
	}
	found := map[string]string{}
	shared := sharedWith(w.user, w.guest)
	now := map[string][]*version{}
	for tag, sums := range tags {
		for _, sum := range sums {
			v := all[sum]
			if v == nil {
				return fmt.Errorf("Drive has %s under %s, which nobody pushed or which was removed", sum, tag)
			}
			found[sum] = tag
			now[tag] = append(now[tag], v)
		}
	}
	for v, tags := range may {
		if !slices.Contains(tags, found[v.sum]) {
			return fmt.Errorf("Drive has %d (%s) under %q, it should be under %q", v.seed, v.sum, found[v.sum], strings.Join(tags, "|"))
		}
		if found[v.sum] == "" {
			continue
		}
		w.h.mu.Lock()
		lost := v.shared && !shared[v.sum]
		v.removed, v.shared = 0, shared[v.sum] // a share that was under way may have come to its end
		w.h.mu.Unlock()
		if lost {
			return fmt.Errorf("%d (%s) was shared, and Drive does not know", v.seed, v.sum)
		}
	}
	i.tags = now
	return nil
}
