package fs

import (
	"strings"
	"sync"
	"time"

	fusefs "bazil.org/fuse/fs"

	"sregfs/index"
)

// traces are names that mean something for a while after they lost their place in the tree, because programs that put
// them there, or take them away, come back for them. Nothing here is listed.
type traces struct {
	mu sync.Mutex
	// pushes: where a version was copied to in a tag's directory, under a name that is not its own -> Drive file id.
	// cp -p, install and rsync look at the name once more. Guarded by mu; bounded by maxTraces.
	pushes map[index.Place]string
	// removals: what a process that emptied a tag may still find, because rm -r has read both names already: the tag's
	// empty directory and its file. Guarded by mu; bounded by maxTraces.
	removals map[removal]fusefs.Node
	// unlinked: which names of a tag a thread removed, and what it does not find there for a while. Guarded by mu; bounded
	// by maxTraces.
	unlinked map[unlinking]before
}

// unlinking is a tag's name and the thread that removed its newest version.
type unlinking struct {
	place index.Place
	pid   uint32
}

// before is the version before a removed one.
type before struct {
	file  string    // its Drive file id: whatever else gets the name is found, whoever put it there
	until time.Time // when it is found again
}

// removal is a name in a directory and who may still find it.
type removal struct {
	dir  dirNode
	name string // in lower case
	pid  uint32
}

func newRemoval(dir dirNode, name string, pid uint32) removal {
	return removal{dir, strings.ToLower(name), pid}
}

// maxTraces bounds each kind. When one is full it starts anew: only programs years behind notice.
const maxTraces = 4096

func newTraces() *traces {
	return &traces{pushes: make(map[index.Place]string), removals: make(map[removal]fusefs.Node), unlinked: make(map[unlinking]before)}
}

// unlink remembers that pid removed the newest version of the name at place, which left file there. Programs that replace
// a file, as install and a mv from another disk, remove it and make it anew, and only if it is not there (O_EXCL): they must
// not find the version before.
func (t *traces) unlink(place index.Place, pid uint32, file string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.unlinked) >= maxTraces {
		clear(t.unlinked)
	}
	t.unlinked[unlinking{place.Fold(), pid}] = before{file, time.Now().Add(comeBack)}
}

// misses says whether pid is not to find file, which has the name at place now.
func (t *traces) misses(place index.Place, pid uint32, file string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.unlinked[unlinking{place.Fold(), pid}]
	return b.file == file && time.Now().Before(b.until)
}

// made ends what unlink began: pid made the file anew.
func (t *traces) made(place index.Place, pid uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.unlinked, unlinking{place.Fold(), pid})
}

// pushed remembers that place became img.
func (t *traces) pushed(place index.Place, img index.Image) {
	if place.Tag == "" || img.File == "" {
		return // other names resolve by themselves
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.pushes) >= maxTraces {
		clear(t.pushes)
	}
	t.pushes[place.Fold()] = img.File
}

// pushedAs finds what place became.
func (t *traces) pushedAs(place index.Place) (file string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	file, ok = t.pushes[place.Fold()]
	return file, ok
}

// leave lets a process find node though it is gone.
func (t *traces) leave(r removal, node fusefs.Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.removals) >= maxTraces {
		clear(t.removals)
	}
	t.removals[r] = node
}

// left finds what leave left.
func (t *traces) left(r removal) (fusefs.Node, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	node, ok := t.removals[r]
	return node, ok
}

// forget takes it away again and says whether it was there.
func (t *traces) forget(r removal) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.removals[r]
	delete(t.removals, r)
	return ok
}
