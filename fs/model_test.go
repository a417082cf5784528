package fs_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sregfs/drive"
	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// TestModel does random things to a registry, through two mounts of its owner and behind their backs, and holds Drive,
// both mounts and the mount of somebody it is shared with against a model (model_state_test.go) after each of them.
//
// An operation that a mount acknowledged shows on that mount at once and is on Drive as the model has it: the same files
// and no others, the newest of each name the one that came last. Everywhere else it shows sooner or later.
//
// The run is short unless rapid's flags make it long:
//
//	go test ./fs -run TestModel -timeout 2h -rapid.checks=200 -rapid.steps=100 -v
//
// -rapid.seed repeats a run as far as its choices go. What it found is kept in model_cases_test.go.
func TestModel(t *testing.T) {
	shorten(t)
	all := &total{done: tally{}}
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rt, all)
		rt.Repeat(w.actions())
		w.finish()
	})
	t.Logf("%d operations modelled: %s", all.done.sum(), all.done)
}

// shorten makes rapid's defaults, which are for functions that take microseconds, fit for mounts.
func shorten(t *testing.T) {
	t.Helper()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]string{"rapid.checks": "4", "rapid.steps": "40", "rapid.nofailfile": "true", "rapid.shrinktime": "2m"} {
		_, env := os.LookupEnv(strings.ToUpper(strings.ReplaceAll(name, ".", "_")))
		if given[name] || env {
			continue
		}
		f := flag.Lookup(name)
		old := f.Value.String()
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = flag.Set(name, old) }) // it was valid before
	}
}

// total is what all checks of a test have in common.
type total struct {
	done tally
	told bool // the story of a failure
}

// tally counts the operations by kind.
type tally map[string]int

func (c tally) sum() (n int) {
	for _, k := range c {
		n += k
	}
	return n
}

func (c tally) String() string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(c)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, c[k]))
	}
	return strings.Join(parts, ", ")
}

// checkTB is one check of rapid's as a testing.TB, which rapid.T is not quite: what fails fails the check, and what a
// helper cleans up is cleaned up with it.
type checkTB struct {
	testing.TB
	rt    *rapid.T
	total *total
	story []string // what was done
}

// tell tells the story of the first failure as it was: rapid repeats it to make it shorter, and what hangs on a moment may
// not fail again.
func (c *checkTB) tell(what string) {
	if c.total.told {
		return
	}
	c.total.told = true
	c.TB.Logf("%s\n%s", strings.Join(c.story, "\n"), what)
}

func (w *world) log(format string, args ...any) {
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), w.tmp+"/", "")
	w.rt.Log(text)
	w.t.story = append(w.t.story, time.Now().Format("15:04:05.000 ")+text)
}

func (c *checkTB) Helper() {}
func (c *checkTB) Errorf(f string, args ...any) {
	c.tell(fmt.Sprintf(f, args...))
	c.rt.Errorf(f, args...)
}
func (c *checkTB) Fatalf(f string, args ...any) {
	c.Errorf(f, args...)
	c.FailNow()
}
func (c *checkTB) FailNow()                   { c.rt.FailNow() }
func (c *checkTB) Fatal(args ...any)          { c.Fatalf("%s", fmt.Sprint(args...)) }
func (c *checkTB) Error(args ...any)          { c.Errorf("%s", fmt.Sprint(args...)) }
func (c *checkTB) Failed() bool               { return c.rt.Failed() }
func (c *checkTB) Log(args ...any)            { c.rt.Log(args...) }
func (c *checkTB) Logf(f string, args ...any) { c.rt.Logf(f, args...) }
func (c *checkTB) Cleanup(f func())           { c.rt.Cleanup(f) }
func (c *checkTB) TempDir() string {
	dir, err := os.MkdirTemp("", "sregfs-model-")
	if err != nil {
		c.rt.Fatal(err)
	}
	c.rt.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// The people of the model: who owns the registry, and who parts of it are shared with.
const (
	owner  = "ann@uni.edu"
	sharee = "bob@uni.edu"
)

// world is a Drive, its mounts, and what the model knows of them.
type world struct {
	t  *checkTB
	rt *rapid.T

	srv       *drivetest.Server
	ann       *drivetest.User
	root      string // the registry's folder
	elsewhere string // another folder
	sides     []*side
	bob       *fstest.M
	client    *drive.Client // the owner's, for what is done behind the mounts' backs
	tmp       string

	background bool // close returns when the journal has the image
	lagging    bool // listings and the feed are behind

	contents map[string]string // path of a local file by MD5
	reg      registry
	pending  *side // it may have pushes under way; nil: nobody has
}

// side is one of the owner's mounts, with what is local to it.
type side struct {
	*fstest.M
	name   string
	drafts map[string]string // MD5 by path
	made   map[string]bool   // directories made by mkdir
	left   map[string]bool   // directories that may be there still: emptied by this mount, which keeps them for rm -r
	moved  map[string]bool   // those of left that were moved along with a collection: made anew there, and so remembered
}

func newWorld(t *testing.T, rt *rapid.T, all *total) *world {
	t.Helper()
	w := &world{t: &checkTB{TB: t, rt: rt, total: all}, rt: rt, contents: map[string]string{}}
	w.tmp = w.t.TempDir()
	w.background = rapid.Bool().Draw(rt, "background")
	lag := rapid.SampledFrom([]time.Duration{0, 0, 150 * time.Millisecond}).Draw(rt, "lag")
	w.lagging = lag > 0
	w.log("background %v, lag %v", w.background, lag)
	w.srv = drivetest.NewServer(w.t, drivetest.Options{
		Users: []string{owner, sharee}, Quirks: drivetest.Quirks{ListLag: lag, ChangesLag: lag},
	})
	w.ann = w.srv.User(owner)
	w.root = indextest.Root(w.t, w.ann)
	w.client = indextest.Client(w.t, w.srv, w.ann)
	indextest.Eventually(w.t, func() bool { // or each mount would make a folder of its own
		_, _, err := w.client.Folder(w.t.Context(), index.DefaultRoot)
		return err == nil
	}, "the registry's folder is listed")
	folder, err := w.ann.Put(drivetest.File{Name: "elsewhere", MimeType: "application/vnd.google-apps.folder"}, nil)
	if err != nil {
		rt.Fatal(err)
	}
	w.elsewhere = folder.ID
	for i, tag := range []string{"c/x:1", "c/x:1", "c/n/y:latest", "d/x:2"} { // so that there is something to begin with
		w.put(tag, w.keep(imagetest.SIF(w.t, 60_000, imagetest.Seed(100+i))))
	}
	for _, name := range []string{"A", "B"} {
		m := fstest.Mount(w.t, w.srv, fstest.Options{User: owner, Background: w.background})
		w.sides = append(w.sides, &side{m, name, map[string]string{}, map[string]bool{}, map[string]bool{}, map[string]bool{}})
	}
	w.bob = fstest.Mount(w.t, w.srv, fstest.Options{User: sharee})
	return w
}

// actions are what can happen, by name. Each draws what it needs, is nothing (skip) if there is nothing to do it to, and ends in
// w.acknowledged or w.happened.
func (w *world) actions() map[string]func(*rapid.T) {
	local := map[string]func(*side){
		"push": w.push, "pushAgain": w.push, "edit": w.edit, "pushVersion": w.pushVersion, "move": w.moveTag, "moveTagDir": w.moveTagDir,
		"moveCollection": w.moveCollection, "remove": w.removeNewest, "removeVersion": w.removeVersion, "removeTree": w.removeTree,
		"mkdir": w.mkdir, "rmdir": w.rmdir, "draft": w.draft, "moveDraft": w.moveDraft, "removeDraft": w.removeDraft,
		"label": w.label, "share": w.share, "unshare": w.unshare, "read": w.readRanges, "readAll": w.readAll,
		"kill": w.kill, "remount": w.remount,
	}
	remote := map[string]func(){
		"remotePut": w.remotePut, "remoteVersion": w.remoteVersion, "remoteDuplicate": w.remoteDuplicate, "remoteByHand": w.remoteByHand,
		"remoteRetag": w.remoteRetag, "remoteTrash": w.remoteTrash, "remoteRestore": w.remoteRestore, "remoteDelete": w.remoteDelete,
		"remoteMove": w.remoteMove, "remoteReplace": w.remoteReplace, "remoteLabel": w.remoteLabel, "remoteShare": w.remoteShare,
		"remoteUnshare": w.remoteUnshare, "sharee": w.shareeLooks,
	}
	all := map[string]func(*rapid.T){}
	for name, do := range local {
		all[name] = func(*rapid.T) { w.try(name, func() { do(w.side()) }) }
	}
	for name, do := range remote {
		all[name] = func(*rapid.T) {
			w.try(name, func() {
				w.drain()
				do()
			})
		}
	}
	return all
}

// inapplicable is what an operation panics with that finds nothing to do it to. Rapid's own way, SkipNow, ends a check
// that does it a few times.
type inapplicable struct{}

func (w *world) try(name string, do func()) {
	defer func() {
		if r := recover(); r == nil {
			w.t.total.done[name]++
		} else if _, ok := r.(inapplicable); !ok {
			panic(r)
		}
	}()
	do()
}

func skip() { panic(inapplicable{}) }

// side picks the mount to do something on.
func (w *world) side() *side { return rapid.SampledFrom(w.sides).Draw(w.rt, "mount") }

// finish looks at everything once more.
func (w *world) finish() {
	w.drain()
	for _, s := range w.sides {
		w.settle(s)
		w.readEverything(s)
	}
	w.shareeLooks()
}
