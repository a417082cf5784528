package fs

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
	"github.com/sirupsen/logrus"

	"sregfs/index"
)

// Options of a mount. The zero value mounts for the calling user, read-write.
type Options struct {
	AllowOther         bool    // other users may look; the kernel then checks permission bits, and only the owner and root may change anything
	AllowRoot          bool    // root may use the mount, nobody else but the owner
	DefaultPermissions bool    // the kernel checks permission bits
	ReadOnly           bool    // refuse every change with EROFS
	AutoUnmount        bool    // unmount when this process dies
	UID, GID           *uint32 // owner shown, default: this process
	Umask              *uint32 // permission bits taken away, default none
	FSName             string  // source shown by mount(8), default "sregfs"
	Log                logrus.FieldLogger
}

// SetOwner sets UID, GID and Umask as the command line has them: -1 and "" keep the default, umask is octal.
func (o *Options) SetOwner(uid, gid int, umask string) error {
	for _, id := range []struct {
		value int
		to    **uint32
	}{{uid, &o.UID}, {gid, &o.GID}} {
		if id.value < 0 {
			continue
		}
		if id.value > math.MaxUint32 {
			return fmt.Errorf("owner %d is no number of a user or group", id.value)
		}
		v := uint32(id.value)
		*id.to = &v
	}
	if umask == "" {
		return nil
	}
	v, err := strconv.ParseUint(umask, 8, 32)
	if err != nil || v > 0o777 {
		return fmt.Errorf("umask %q is not an octal number up to 777", umask)
	}
	v32 := uint32(v)
	o.Umask = &v32
	return nil
}

func (o Options) withDefaults() Options {
	if o.UID == nil {
		uid := uint32(os.Getuid())
		o.UID = &uid
	}
	if o.GID == nil {
		gid := uint32(os.Getgid())
		o.GID = &gid
	}
	if o.Umask == nil {
		o.Umask = new(uint32)
	}
	if o.AllowRoot {
		// FUSE has no allow_root of its own: everybody may come, and the permission bits keep all but root and the owner out.
		umask := *o.Umask | 0o077
		o.Umask = &umask
	}
	if o.FSName == "" {
		o.FSName = "sregfs"
	}
	if o.Log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		o.Log = silent
	}
	return o
}

// FS is one mounted registry.
type FS struct {
	ix      *index.Index
	o       Options
	log     logrus.FieldLogger
	dir     string          // where it is mounted
	uid     uint32          // who mounted it
	base    context.Context //nolint:containedctx // the mount's life, which every request shares (context.go)
	since   time.Time       // the time shown where Drive has none
	drafts  *openDrafts
	readers *openImages
	traces  *traces
	names   *lasting

	requests atomic.Int64 // of the kernel, since the mount
	cmds     *answers
}

// newFS makes the file system over ix. base ends when it is unmounted.
func newFS(base context.Context, dir string, ix *index.Index, o Options) *FS {
	return &FS{
		ix: ix, o: o, log: o.Log, dir: dir, uid: uint32(os.Getuid()), base: base, since: time.Now(),
		drafts: newOpenDrafts(), readers: newOpenImages(), traces: newTraces(), cmds: newAnswers(),
	}
}

var (
	_ fusefs.FS         = (*FS)(nil)
	_ fusefs.FSStatfser = (*FS)(nil)
)

// Root is the top of my registry.
func (fsys *FS) Root() (fusefs.Node, error) { return fsys.collection("", ""), nil }

// Figures of statfs(2): sizes are Drive's, in blocks of blockSize; a file name has at most nameMax bytes.
const (
	blockSize = 4096
	nameMax   = 255
	unlimited = 1 << 50 // what an unlimited Drive shows as its size, in bytes
	quotaWait = time.Second
)

// Statfs shows Drive's quota. A Drive that does not answer soon shows as unlimited: df and the kernel's loop driver,
// which asks when a container starts, must not wait for it.
func (fsys *FS) Statfs(ctx context.Context, _ *fuse.StatfsRequest, resp *fuse.StatfsResponse) error {
	ctx, cancel := context.WithTimeout(ctx, quotaWait)
	defer cancel()
	total, free := int64(unlimited), int64(unlimited)
	if q, err := fsys.ix.Quota(ctx); err == nil {
		total = cmp.Or(q.Limit, unlimited)
		free = max(0, total-q.Usage)
	}
	resp.Bsize, resp.Frsize, resp.Namelen = blockSize, blockSize, nameMax
	resp.Blocks, resp.Bfree, resp.Bavail = uint64(total)/blockSize, uint64(free)/blockSize, uint64(free)/blockSize
	resp.Files, resp.Ffree = 1<<32, 1<<31
	return nil
}

// mayChange says whether the process behind a request may change anything: the owner, whoever mounted, or root.
// Without allow_other the kernel lets nobody else in anyway.
func (fsys *FS) mayChange(h *fuse.Header) error {
	if fsys.o.ReadOnly {
		return index.ErrReadOnly
	}
	if !fsys.owns(h) {
		return os.ErrPermission
	}
	return nil
}

// owns says whether the process behind a request is the owner, whoever mounted, or root.
func (fsys *FS) owns(h *fuse.Header) bool {
	return h.Uid == 0 || h.Uid == *fsys.o.UID || h.Uid == fsys.uid
}

// fill sets what all nodes share. mode loses the umask's bits.
func (fsys *FS) fill(a *fuse.Attr, inode uint64, mode os.FileMode, modified time.Time) {
	if modified.IsZero() {
		modified = fsys.since
	}
	a.Inode, a.Mode, a.Nlink = inode, mode&^os.FileMode(*fsys.o.Umask), 1 // 1 link: a directory's subdirectories are not counted
	a.Uid, a.Gid = *fsys.o.UID, *fsys.o.GID
	a.Atime, a.Mtime, a.Ctime = modified, modified, modified
	a.BlockSize = 128 << 10 // what one request carries
}

// setSize sets the size of a file in bytes.
func setSize(a *fuse.Attr, size int64) {
	a.Size = uint64(max(0, size))
	a.Blocks = (a.Size + 511) / 512
}
