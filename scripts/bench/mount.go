package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sregfs/drive/drivetest"
	"sregfs/index"
)

// tool is the sregfs command with a state directory and the credentials of the bench's user.
func (b *bench) tool(state string, args ...string) *exec.Cmd { return b.toolOn(b.srv, state, args...) }

// toolOn is tool for another Drive.
func (b *bench) toolOn(srv *drivetest.Server, state string, args ...string) *exec.Cmd {
	cmd := b.command(b.o.sregfs, args...)
	credentials := filepath.Join(state, "credentials")
	if err := srv.User("").WriteCredentials(credentials); err != nil {
		cmd.Err = err
	}
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + state, "LANG=C.UTF-8",
		"SREGFS_DRIVE_URL=" + srv.URL(), "SREGFS_STATE_DIR=" + filepath.Join(state, "state"), "SREGISTRY_STORAGE=" + filepath.Join(state, "storage"),
		"SREGISTRY_GOOGLE_DRIVE_CREDENTIALS=" + filepath.Join(credentials, "client_secrets.json"), "SREGFS_TOKEN=" + filepath.Join(credentials, "token.json"),
	}
	return cmd
}

// A mounted file system and the process behind it.
type mounted struct {
	dir     string // the mount point
	pid     int
	gone    bool
	unmount func() error // also waits for the process
	killed  func()       // waits for the process after it was killed; nil if it is not our child
}

// end unmounts; calling it again, or after kill, does nothing.
func (m *mounted) end() error {
	if m.gone {
		return nil
	}
	m.gone = true
	return m.unmount()
}

// kill ends the process at once and takes the mount away: nothing more is fetched.
func (m *mounted) kill() error {
	m.gone = true
	err := unix.Kill(m.pid, unix.SIGKILL)
	if m.killed != nil {
		m.killed()
	}
	_, umount := output(exec.Command("fusermount3", "-uz", m.dir)) //nolint:noctx // nothing may be left, whatever ends the run
	return errors.Join(err, umount)
}

// mount mounts the registry with the state in a directory, on a fast line, and looks at the collection once.
func (b *bench) mount(state string, flags ...string) (*mounted, error) {
	b.fast()
	return b.mountOn(b.srv, state, flags...)
}

// mountOn is mount for another Drive.
func (b *bench) mountOn(srv *drivetest.Server, state string, flags ...string) (*mounted, error) {
	m := &mounted{dir: filepath.Join(state, "mnt"), gone: true}
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return nil, err
	}
	b.log = filepath.Join(state, "state/log")
	args := append([]string{"mount", "--allow-other", "--poll", "1h"}, flags...)
	m.unmount = func() error { return b.unmount(srv, state, m.dir) }
	b.after = append(b.after, m.end)
	if _, err := output(b.toolOn(srv, state, append(args, m.dir)...)); err != nil {
		return nil, err
	}
	m.gone = false
	holder, held := index.Holder(filepath.Join(state, "state"))
	if !held {
		return nil, errors.New("nobody holds the state of the mount")
	}
	m.pid = holder.PID
	_, err := os.ReadDir(filepath.Join(m.dir, "lab"))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return m, err
}

// unmount unmounts as a person does. The kernel lets go of a container's loop device some time after the container has
// ended, so busy is no error for a while.
func (b *bench) unmount(srv *drivetest.Server, state, dir string) error {
	const busy = 8 // the exit code
	for try := 0; b.ctx.Err() == nil; try++ {
		_, err := output(b.toolOn(srv, state, "umount", dir))
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != busy || try == 100 {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-b.ctx.Done():
		}
	}
	_, err := output(exec.Command("fusermount3", "-uz", dir)) //nolint:noctx // interrupted: nothing may be left
	return err
}

// usage is what a process has used so far.
type usage struct {
	cpu  time.Duration
	peak int64 // bytes resident, at most
	now  int64 // bytes resident
}

// used reads the usage of a process from /proc.
func used(pid int) (u usage, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// The name in parentheses may hold blanks; utime and stime are the 12th and 13th fields after it, in ticks of 10 ms.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(n) * 10 * time.Millisecond
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		var kb int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kb); err == nil {
			u.peak = kb << 10
		}
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kb); err == nil {
			u.now = kb << 10
		}
	}
	return u, err
}
