//go:build crash

package crash

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// disk is a file system in an image, whose power can be cut.
type disk struct {
	kind, options string
	image, dir    string
}

// kinds are the file systems a power cut is tried on: mkfs's type and the options of mount. With commit=600 ext4 writes
// its journal when it is asked to, and not by the clock.
var kinds = map[string][2]string{
	"ext4":           {"ext4", "commit=600"},
	"ext4-writeback": {"ext4", "commit=600,data=writeback"},
	"xfs":            {"xfs", ""},
}

const diskSize = 512 << 20

// newDisk makes and mounts one, or skips the test where that is not possible.
func newDisk(t *testing.T, name string) *disk {
	t.Helper()
	base := t.TempDir()
	d := &disk{kind: kinds[name][0], options: kinds[name][1], image: filepath.Join(base, "image"), dir: filepath.Join(base, "disk")}
	if os.Geteuid() != 0 {
		t.Skip("a power cut needs root: a file system of its own is mounted")
	}
	mkfs, err := exec.LookPath("mkfs." + d.kind)
	if err != nil {
		t.Skipf("no mkfs.%s here (packages e2fsprogs and xfsprogs)", d.kind)
	}
	f, err := os.Create(d.image)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(diskSize))
	require.NoError(t, f.Close())
	require.NoError(t, run(mkfs, "-q", d.image))
	require.NoError(t, os.Mkdir(d.dir, 0o700))
	if err := d.mount(); err != nil {
		t.Skipf("no loop mounts of %s here: %v", d.kind, err)
	}
	t.Cleanup(func() { d.umount(t) })
	return d
}

func (d *disk) mount() error {
	options := strings.Trim("loop,"+d.options, ",")
	return run("mount", "-t", d.kind, "-o", options, d.image, d.dir)
}

// The shutdown ioctl that ext4 and XFS share, _IOR('X', 125, __u32), and its flag by which nothing is written out first.
const (
	goDown     = 0x8004587d
	noLogFlush = 2
)

// cut takes the power away.
func (d *disk) cut(t *testing.T) {
	t.Helper()
	f, err := os.Open(d.dir)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, unix.IoctlSetPointerInt(int(f.Fd()), goDown, noLogFlush))
}

// restore brings it back: the journal is replayed, and what was in memory is gone. Nobody may use the disk.
func (d *disk) restore(t *testing.T) {
	t.Helper()
	d.umount(t)
	require.NoError(t, d.mount())
}

// umount returns when the file system is no more. A program in a mount namespace of its own, a container say, that came up
// meanwhile has a copy of the mount, and while it runs a new mount would find the dead file system and not the disk.
func (d *disk) umount(t *testing.T) {
	t.Helper()
	require.NoError(t, run("umount", d.dir))
	eventually(t, func() error {
		files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(b)) == d.image {
				return fmt.Errorf("%s still has the disk", f)
			}
		}
		return err
	})
}
