package fs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// MountInfo is one mounted registry.
type MountInfo struct {
	Dir    string // mount point
	fsType string
}

// fsType is the type of our mounts: "fuse." and the subtype they are mounted with.
const (
	fsType  = "fuse." + subtype
	subtype = "sregfs"
)

// Mounts lists the registries mounted in this mount namespace.
func Mounts() ([]MountInfo, error) {
	all, err := mountTable()
	if err != nil {
		return nil, err
	}
	var ours []MountInfo
	for _, m := range all {
		if m.fsType == fsType {
			ours = append(ours, m)
		}
	}
	return ours, nil
}

// mountTable reads /proc/self/mountinfo; proc(5) has its format.
func mountTable() ([]MountInfo, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	defer f.Close()
	var all []MountInfo
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m, ok := parseMount(lines.Text()); ok {
			all = append(all, m)
		}
	}
	return all, lines.Err()
}

// parseMount reads "ID PARENT MAJ:MIN ROOT DIR OPTIONS [FIELDS…] - TYPE SOURCE OPTIONS".
func parseMount(line string) (MountInfo, bool) {
	before, behind, ok := strings.Cut(line, " - ")
	left, right := strings.Fields(before), strings.Fields(behind)
	if !ok || len(left) < 6 || len(right) < 2 {
		return MountInfo{}, false
	}
	return MountInfo{Dir: unescapeOctal(left[4]), fsType: right[0]}, true
}

// unescapeOctal undoes the \040 of the mount table.
func unescapeOctal(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mountedAt returns what is mounted at dir, an absolute path; the last one if several are stacked.
func mountedAt(dir string) (MountInfo, bool) {
	all, err := mountTable()
	if err != nil {
		return MountInfo{}, false
	}
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Dir == dir {
			return all[i], true
		}
	}
	return MountInfo{}, false
}

// CheckMountPoint says in one sentence what keeps dir from being mounted on: that it is missing, no directory, not empty,
// a mount point already, or overlaps stateDir ("": none), where our own files are. The dead mount of an earlier sregfs
// ("transport endpoint is not connected") is taken away.
func CheckMountPoint(ctx context.Context, dir, stateDir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	if err := clearDeadMount(ctx, dir); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return refuse(syscall.ENOENT, "mount point %s does not exist; make it with mkdir", dir)
	case err != nil:
		return fmt.Errorf("mount point: %w", err)
	case !info.IsDir():
		return refuse(syscall.ENOTDIR, "mount point %s is not a directory", dir)
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	if m, busy := mountedAt(real); busy {
		what := m.fsType
		if what == fsType {
			what = "a registry"
		}
		return refuse(syscall.EBUSY, "mount point %s is busy: %s is mounted there already", dir, what)
	}
	if err := checkOverlap(real, stateDir); err != nil {
		return err
	}
	return checkEmpty(dir)
}

// clearDeadMount unmounts a mount of ours at dir whose process is gone.
func clearDeadMount(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, syscall.ENOTCONN) {
		return nil
	}
	m, ok := mountedAt(dir)
	if !ok {
		if parent, err := filepath.EvalSymlinks(filepath.Dir(dir)); err == nil {
			m, ok = mountedAt(filepath.Join(parent, filepath.Base(dir)))
		}
	}
	if !ok || m.fsType != fsType {
		return refuse(syscall.ENOTCONN, "mount point %s belongs to a dead mount that is not ours (%s); unmount it with fusermount3 -u -z", dir, m.fsType)
	}
	if err := Unmount(ctx, m.Dir, true); err != nil {
		return fmt.Errorf("take the dead mount at %s away: %w", dir, err)
	}
	return nil
}

// checkOverlap refuses a mount point that would hide the state directory, or lie in it.
func checkOverlap(dir, stateDir string) error {
	if stateDir == "" {
		return nil
	}
	state, err := filepath.Abs(stateDir)
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	state = resolveExisting(state)
	switch {
	case within(dir, state):
		return refuse(syscall.EINVAL, "mount point %s is inside the state directory %s", dir, state)
	case within(state, dir):
		return refuse(syscall.EINVAL, "the state directory %s is inside the mount point %s", state, dir)
	}
	return nil
}

// resolveExisting resolves the symlinks of the part of path that exists.
func resolveExisting(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	return filepath.Join(resolveExisting(parent), filepath.Base(path))
}

// within says whether path is dir or lies beneath it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

func checkEmpty(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	defer f.Close()
	if names, _ := f.Readdirnames(1); len(names) > 0 {
		return refuse(syscall.ENOTEMPTY, "mount point %s is not empty", dir)
	}
	return nil
}

// unmountTimeout bounds one run of fusermount3.
const unmountTimeout = 10 * time.Second

// Unmount takes the registry mounted at dir out of the tree, and refuses to do so to any other file system. Lazy, it goes at once and what is open stays usable; else it is EBUSY
// while something is open. ctx bounds what takes time, which is to run fusermount3 where this process may not call
// umount(2).
func Unmount(ctx context.Context, dir string, lazy bool) error {
	flags := 0
	if lazy {
		flags = unix.MNT_DETACH
	}
	if m, ok := mountedAt(physical(dir)); ok && m.fsType != fsType {
		return refuse(unix.EINVAL, "%s is no mount of sregfs, but of %s", dir, m.fsType)
	}
	err := unix.Unmount(dir, flags|unix.UMOUNT_NOFOLLOW)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EINVAL):
		return refuse(unix.EINVAL, "%s is not a mount point", dir)
	case !errors.Is(err, unix.EPERM):
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return fusermount(ctx, dir, lazy)
}

// physical is dir as the mount table has it: without links on the way to it. What is mounted there is not asked; it may be
// dead, or hang.
func physical(dir string) string {
	parent, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if err != nil {
		return dir
	}
	return filepath.Join(parent, filepath.Base(dir))
}

// fusermount unmounts for who may not call umount(2).
func fusermount(ctx context.Context, dir string, lazy bool) error {
	args := []string{"-u"}
	if lazy {
		args = append(args, "-z")
	}
	ctx, cancel := context.WithTimeout(ctx, unmountTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "fusermount3", append(args, "--", dir)...).CombinedOutput()
	if err == nil {
		return nil
	}
	text := strings.TrimSpace(string(out))
	if strings.Contains(strings.ToLower(text), "busy") { // its only way to say so
		return fmt.Errorf("unmount %s: %w", dir, unix.EBUSY)
	}
	return fmt.Errorf("unmount %s: %w: %s", dir, err, text)
}
