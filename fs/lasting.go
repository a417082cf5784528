package fs

import (
	"encoding/binary"
	"iter"
	"strings"
	"sync"
	"time"

	fusefs "bazil.org/fuse/fs"
	"golang.org/x/sys/unix"

	"sregfs/index"
	"sregfs/index/image"
)

// lasting gives names to the kernel for keeps, and takes them back when one of them means something else. It takes all of
// them back at once: that is what one can tell the kernel without it waiting for a lock (doc.go, Deadlocks). It does so
// only when a name changed that the kernel may have, for a file that nobody has open then loses its pages.
type lasting struct {
	fs     *FS
	device int    // descriptor of the connection
	cancel func() // ends the subscription

	mu      sync.Mutex           // guards the rest; held while the kernel is told, which takes no time
	server  *fusefs.Server       // nil before it serves: then no attributes are given
	able    bool                 // the kernel can be told
	changes uint64               // counts what happened
	given   map[nameKey]struct{} // what the kernel may have, of this epoch
	until   time.Time            // until when no image is given by its tag, see unlinked
}

// nameKey stands for names that are taken back together: those of a tag, its versions included, or a directory's.
type nameKey uint64

// maxGiven bounds given: with so many names out, all are taken back and it begins anew.
const maxGiven = 1 << 20

// giveNames begins to follow the index on behalf of the connection with the descriptor device.
func giveNames(fsys *FS, device int) *lasting {
	l := &lasting{fs: fsys, device: device, given: map[nameKey]struct{}{}}
	l.able = newEpoch(device) == nil
	l.cancel = fsys.ix.Subscribe(l.happened)
	return l
}

// serving says that server answers the kernel, and can tell it things.
func (l *lasting) serving(server *fusefs.Server) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.server = server
}

// attributes returns how long the kernel may keep what a directory answers to stat(2). It is for an answer about a
// directory the kernel has: the kernel drops an answer that a notice overtakes, but a notice of a directory that the answer
// would be the first to tell of is lost.
func (l *lasting) attributes() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.server == nil {
		return 0
	}
	return longValid
}

// close ends what giveNames began; the descriptor is not used any more.
func (l *lasting) close() { l.cancel() }

// newEpoch makes the kernel ask anew for every name it has (FUSE_NOTIFY_INC_EPOCH: a header with this code and no body; the
// FUSE library is too old to know it). The kernel counts up a number and takes no lock. EINVAL: Linux is older than 6.16.
func newEpoch(device int) error {
	const code, size = 8, 16
	var msg [size]byte // struct fuse_out_header: length, code, and the number of no request
	binary.NativeEndian.PutUint32(msg[:], size)
	binary.NativeEndian.PutUint32(msg[4:], code)
	_, err := unix.Write(device, msg[:])
	return err
}

// now is the moment before a name is looked up, for give.
func (l *lasting) now() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changes
}

// give returns how long the kernel may keep the name of e, which was looked up since the moment since. If anything happened
// meanwhile, e may be out of date, and nobody would take it back. A change after this finds the name in given, and the
// kernel knows a name by the epoch in which it asked.
func (l *lasting) give(e entry, since uint64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.key == 0 || !l.able || l.changes != since || e.tag && time.Now().Before(l.until) {
		return 0
	}
	if len(l.given) >= maxGiven {
		l.takeBack()
	}
	l.given[e.key] = struct{}{}
	return longValid
}

// unlinked says that a thread removed the newest version of the tag of ref in my own space and is not to find the one
// before it for a while, which others do: the kernel, which has one answer for all, must ask.
func (l *lasting) unlinked(ref image.Ref) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes++
	l.until = time.Now().Add(comeBack)
	if l.has(tagKey("", ref)) {
		l.takeBack()
	}
}

// happened takes the names back if one of them changed, and what stat(2) answers for the directories it is in.
func (l *lasting) happened(events []index.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes++
	dirs := map[fusefs.Node]struct{}{}
	for _, e := range events {
		if len(l.given) > 0 && l.concerns(e) {
			l.takeBack()
		}
		collection, tag := e.Collection, ""
		switch {
		case e.Place != (index.Place{}):
			collection, tag = e.Place.Collection, e.Place.Tag
		case e.Image != "":
			tag = image.Ref{Image: e.Image, Tag: e.Tag}.TagDir()
		}
		if tag != "" {
			dirs[l.fs.tagDir(e.Space, collection, tag)] = struct{}{}
		}
		for path := range upwards(collection) {
			dirs[l.fs.collection(e.Space, path)] = struct{}{}
		}
	}
	for dir := range dirs {
		if l.server != nil {
			_ = l.server.InvalidateNodeDataRange(dir, -1, 0) // an offset below 0: the attributes alone. Mostly it has none
		}
	}
}

// upwards is a collection and those it is nested in, up to the top.
func upwards(collection string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for yield(collection) && collection != "" {
			collection = collection[:max(0, strings.LastIndexByte(collection, '/'))]
		}
	}
}

// takeBack takes all names back. The caller holds mu.
func (l *lasting) takeBack() {
	clear(l.given)
	if newEpoch(l.device) != nil {
		l.able = false // the connection is over
	}
}

// concerns says whether e changes a name that was given. The caller holds mu.
func (l *lasting) concerns(e index.Event) bool {
	ref := image.Ref{Collection: e.Collection, Image: e.Image, Tag: e.Tag}
	if e.Place != (index.Place{}) {
		r, _, isImage := e.Place.Ref()
		if !isImage {
			return false // no name like that is given
		}
		ref = r
	}
	if l.has(tagKey(e.Space, ref)) {
		return true
	}
	// Directories appear and vanish with what is in them. One that is still there is still the same.
	for path := range upwards(ref.Collection) {
		if l.has(dirKey(e.Space, path)) && !l.fs.ix.HasCollection(e.Space, path) {
			return true
		}
	}
	return false
}

func (l *lasting) has(key nameKey) bool {
	_, ok := l.given[key]
	return ok
}

// tagKey is the key of all names of a tag: as the catalogue compares them.
func tagKey(space string, ref image.Ref) nameKey {
	return nameKey(inodeOf("tag", strings.ToLower(space), strings.ToLower(ref.Dir()), strings.ToLower(ref.TagDir())))
}

// dirKey is the key of a collection's directory, or of the top of a space.
func dirKey(space, path string) nameKey {
	return nameKey(inodeOf(kindDir, strings.ToLower(space), strings.ToLower(image.Ref{Collection: path}.Dir())))
}
