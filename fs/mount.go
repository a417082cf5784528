package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
	"golang.org/x/sys/unix"

	"sregfs/index"
)

// Mounted is a registry that is mounted. It ends when it is unmounted, by Unmount or by anybody else.
type Mounted struct {
	dir    string
	fs     *FS
	cancel context.CancelFunc // ends the requests under way
	guard  *guard             // nil without auto_unmount
	device uint32             // minor of the mount's device: the number of its connection

	connection *connection // its end ends the requests under way

	done chan struct{} // closed when the kernel has let go and every request has ended
	err  error         // why; set before done closes
}

// readAhead is what the kernel reads ahead: without the option a read is never more than 4096 bytes, with it never more
// than 128 KiB. Reading ahead for real is the index's business.
const readAhead = 128 << 10

// Mount mounts ix at dir and returns when the root answers. Cancelling ctx gives up waiting for that; it does not end
// the mount. The errors are sentences that say what to do.
func Mount(ctx context.Context, dir string, ix *index.Index, o Options) (*Mounted, error) {
	o = o.withDefaults()
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	if err := CheckMountPoint(ctx, dir, ""); err != nil {
		return nil, err
	}
	if err := checkSystem(o); err != nil {
		return nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	before, err := fuseDescriptors()
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", dir, err)
	}
	conn, err := mountKernel(dir, o.mountOptions())
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", dir, err)
	}
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m := &Mounted{dir: dir, fs: newFS(base, dir, ix, o), cancel: cancel, done: make(chan struct{})}
	if m.connection, err = watchConnection(before, cancel); err == nil && o.AutoUnmount {
		if m.guard, err = startGuard(dir); err != nil {
			err = fmt.Errorf("auto_unmount: %w", err)
			m.connection.close()
		}
	}
	if err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("mount %s: %w", dir, err), Unmount(context.WithoutCancel(ctx), dir, true), conn.Close())
	}
	m.fs.names = giveNames(m.fs, int(m.connection.device.Fd()))
	server := fusefs.New(conn, &fusefs.Config{WithContext: m.fs.withContext})
	go m.serve(conn, server)
	if err := m.ready(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("mount %s: %w", dir, err), m.Unmount(context.WithoutCancel(ctx)))
	}
	m.fs.names.serving(server)
	return m, nil
}

func (o Options) mountOptions() []fuse.MountOption {
	opts := []fuse.MountOption{
		fuse.FSName(o.FSName), fuse.Subtype(subtype),
		fuse.AsyncRead(), fuse.MaxReadahead(readAhead),
		fuse.HandleKillPriv(), // else the kernel asks for security.capability before every write; we have no such bits to clear
	}
	if o.AllowOther || o.AllowRoot {
		opts = append(opts, fuse.AllowOther())
	}
	if o.AllowOther || o.AllowRoot || o.DefaultPermissions {
		opts = append(opts, fuse.DefaultPermissions())
	}
	if o.ReadOnly {
		opts = append(opts, fuse.ReadOnly())
	}
	return opts
}

// checkSystem says what the machine lacks for a mount.
func checkSystem(o Options) error {
	if _, err := exec.LookPath("fusermount3"); err != nil {
		return errors.New("fusermount3 is not installed; it is in the package fuse3")
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("FUSE cannot be used here: %w", err)
	}
	f.Close()
	if (o.AllowOther || o.AllowRoot) && os.Getuid() != 0 {
		conf, _ := os.ReadFile("/etc/fuse.conf") // absent: the option is off
		for line := range strings.Lines(string(conf)) {
			if strings.TrimSpace(line) == "user_allow_other" {
				return nil
			}
		}
		return refuse(syscall.EACCES, "allow_other needs the line user_allow_other in /etc/fuse.conf")
	}
	return nil
}

// serve answers the kernel until the mount is gone.
func (m *Mounted) serve(conn *fuse.Conn, server *fusefs.Server) {
	defer close(m.done)
	m.err = server.Serve(m.fs)
	m.guard.dismiss()
	// The order matters: the connection can be closed only when nobody reads from it or answers on it.
	m.cancel()
	m.fs.names.close()
	m.connection.close()
	m.err = errors.Join(m.err, conn.Close())
	m.fs.sweepAll()
}

// readyWait is how long the root may take to answer; it is asked of memory.
const readyWait = 30 * time.Second

// ready waits until the root answers and notes which device it is.
func (m *Mounted) ready(ctx context.Context) error {
	answer := make(chan error, 1)
	var st unix.Stat_t
	go func() { answer <- unix.Stat(m.dir, &st) }() // ends when the mount answers or is gone
	timeout := time.NewTimer(readyWait)
	defer timeout.Stop()
	select {
	case err := <-answer:
		m.device = unix.Minor(st.Dev)
		return err
	case <-m.done:
		return errors.Join(errors.New("the kernel let go of it at once"), m.err)
	case <-ctx.Done():
		return ctx.Err()
	case <-timeout.C:
		return fmt.Errorf("the root does not answer: %w", syscall.ETIMEDOUT)
	}
}

// Wait returns when the mount has ended and every request with it.
func (m *Mounted) Wait() error {
	<-m.done
	return m.err
}

// Unmount ends the mount: at once if nothing is open; else it is taken out of the tree, and ends when the last file is
// closed or ctx is done, whichever comes first.
func (m *Mounted) Unmount(ctx context.Context) error {
	m.guard.dismiss()
	select {
	case <-m.done:
		return nil // somebody else has unmounted it
	default:
	}
	late := context.WithoutCancel(ctx) // the end of ctx makes it harder, it does not call it off
	err := Unmount(late, m.dir, false)
	if errors.Is(err, unix.EBUSY) {
		m.fs.log.Warnf("%s is busy: it is taken out of the tree, and ends when the last file in it is closed", m.dir)
		err = Unmount(late, m.dir, true)
	}
	if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: no mount there (any more)
		return err
	}
	select {
	case <-m.done:
		return nil
	case <-ctx.Done():
	}
	m.cancel()
	if err := m.abort(); err != nil {
		return errors.Join(ctx.Err(), err)
	}
	<-m.done
	return nil
}

// abort makes the kernel drop the connection, ours alone.
func (m *Mounted) abort() error {
	if m.device == 0 {
		return errors.New("the connection of the mount is not known")
	}
	path := fmt.Sprintf("/sys/fs/fuse/connections/%d/abort", m.device)
	if err := os.WriteFile(path, []byte("1"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("abort the mount: %w", err)
	}
	return nil
}

// guard is a process that unmounts when we die. fusermount3 has such a mode, which the FUSE library cannot drive.
type guard struct {
	cmd   *exec.Cmd
	alive *os.File // our end of its standard input: it ends with us
	once  sync.Once
}

func startGuard(dir string) (*guard, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := exec.Command("sh", "-c", `cat; exec fusermount3 -u -z -q -- "$0"`, dir) //nolint:noctx // it outlives every context, and us
	cmd.Stdin = r
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // ^C is not for it
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return &guard{cmd: cmd, alive: w}, nil
}

// dismiss ends the guard without an unmount: whoever mounts here next is none of its business.
func (g *guard) dismiss() {
	if g == nil {
		return
	}
	g.once.Do(func() {
		_ = g.cmd.Process.Signal(syscall.SIGKILL)
		_ = g.cmd.Wait()
		_ = g.alive.Close()
	})
}
