package fstest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sregfs/drive/drivetest"
	"sregfs/fs"
	"sregfs/index"
)

// Options of a mount. The zero value mounts the registry of the server's default user with a state of its own.
type Options struct {
	User  string // e-mail address
	State string // state directory; "" = a fresh one
	Dir   string // mount point; "" = a fresh one

	ReadOnly, Background, AllowOther, AllowRoot, AutoUnmount bool

	UID       *uint32
	Remove    index.Removal
	CacheSize int64
	Poll      time.Duration // default 50 ms
	Timeout   time.Duration // default 20 s
}

// M is a mount in a process of its own.
type M struct {
	t     testing.TB
	c     config
	cmd   *exec.Cmd
	stdin io.Closer
	wait  chan struct{} // closed when the process has ended
	exit  error         // how; set before wait closes

	came   bool // it was mounted once
	killed bool // the dead mount is expected
}

// Mount mounts the registry of one of srv's users, and unmounts when the test ends.
func Mount(t testing.TB, srv *drivetest.Server, o Options) *M {
	t.Helper()
	m, err := TryMount(t, srv, o)
	require.NoError(t, err)
	return m
}

// TryMount is Mount for tests that expect an error.
func TryMount(t testing.TB, srv *drivetest.Server, o Options) (*M, error) {
	t.Helper()
	tmp := t.TempDir()
	if o.State == "" {
		o.State = filepath.Join(tmp, "state")
	}
	if o.Dir == "" {
		o.Dir = filepath.Join(tmp, "mnt")
		require.NoError(t, os.Mkdir(o.Dir, 0o755))
	}
	if o.Poll == 0 {
		o.Poll = 50 * time.Millisecond
	}
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	credentials := filepath.Join(tmp, "credentials")
	require.NoError(t, os.Mkdir(credentials, 0o700))
	require.NoError(t, srv.User(o.User).WriteCredentials(credentials))
	m := &M{t: t, c: config{Dir: o.Dir, Credentials: credentials, URL: srv.URL(), Log: filepath.Join(tmp, "log"), Options: o}}
	t.Cleanup(m.cleanup)
	return m, m.start()
}

// start starts the process and waits for its answer.
func (m *M) start() error {
	text, err := json.Marshal(m.c)
	require.NoError(m.t, err)
	self, err := os.Executable()
	require.NoError(m.t, err)
	cmd := exec.Command(self) //nolint:noctx // it ends by its standard input, in good order
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	require.NoError(m.t, err)
	r, w, err := os.Pipe()
	require.NoError(m.t, err)
	cmd.Stdout = w
	require.NoError(m.t, cmd.Start())
	require.NoError(m.t, w.Close())
	m.cmd, m.stdin, m.wait = cmd, stdin, make(chan struct{})
	m.killed = false
	go func(ended chan struct{}) {
		m.exit = cmd.Wait()
		close(ended)
	}(m.wait)
	defer r.Close()
	if err := m.answer(bufio.NewReader(r)); err != nil {
		<-m.wait
		m.cmd = nil
		return err
	}
	m.came = true
	return nil
}

// answer reads what the process says.
func (m *M) answer(out *bufio.Reader) error {
	line, err := out.ReadString('\n')
	if err != nil {
		return fmt.Errorf("the mount ended without a word: %w\n%s", err, m.Log())
	}
	var text string
	require.NoError(m.t, json.Unmarshal([]byte(line), &text), line)
	if text != "ok" {
		return &Refused{text}
	}
	return nil
}

// Refused is the sentence with which a mount did not come about.
type Refused struct{ Text string }

func (e *Refused) Error() string { return e.Text }

// Dir is the mount point.
func (m *M) Dir() string { return m.c.Dir }

// State is the state directory.
func (m *M) State() string { return m.c.Options.State }

// Log is what the mount has logged so far.
func (m *M) Log() string {
	b, err := os.ReadFile(m.c.Log)
	require.NoError(m.t, err)
	return string(b)
}

// SignIn replaces the token file of the mount, as a sign-in in another process does.
func (m *M) SignIn(user *drivetest.User) {
	m.t.Helper()
	require.NoError(m.t, user.WriteCredentials(m.c.Credentials))
}

// shellTime bounds a command, so that a mount that hangs fails the test and not the whole run.
const shellTime = 3 * time.Minute

// Sh runs a shell command in the top directory of the mount and returns what it prints. The command must succeed.
func (m *M) Sh(command string, env ...string) string {
	m.t.Helper()
	out, code := m.Try(command, env...)
	require.Zero(m.t, code, "%s\n%s", command, out)
	return strings.TrimSuffix(out, "\n")
}

// Fail runs a shell command that must fail, and returns what it prints.
func (m *M) Fail(command string, env ...string) string {
	m.t.Helper()
	out, code := m.Try(command, env...)
	require.NotZero(m.t, code, "%s\n%s", command, out)
	return out
}

// Try runs a shell command and returns its output and exit code.
func (m *M) Try(command string, env ...string) (string, int) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), shellTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", `cd "$SREGFS_TEST_DIR" || exit 99`+"\n"+command)
	cmd.Env = append(append(os.Environ(), "SREGFS_TEST_DIR="+m.c.Dir, "LC_ALL=C"), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(m.t, ctx.Err(), "%s\n%s\n%s", command, out, m.Log())
	if err != nil {
		require.IsType(m.t, &exec.ExitError{}, err, command)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// Unmount ends the mount in good order.
func (m *M) Unmount() {
	m.t.Helper()
	require.NoError(m.t, m.stop())
}

func (m *M) stop() error {
	if m.cmd == nil {
		return nil
	}
	_ = m.stdin.Close()
	<-m.wait
	m.cmd = nil
	return m.exit
}

// Kill ends the process as kill -9 does. The dead mount stays.
func (m *M) Kill() {
	m.t.Helper()
	require.NoError(m.t, m.cmd.Process.Kill())
	<-m.wait
	_ = m.stdin.Close()
	m.cmd, m.killed = nil, true
}

// Remount mounts again with the same state at the same place, after Unmount or Kill.
func (m *M) Remount() {
	m.t.Helper()
	require.NoError(m.t, m.start())
}

// Abort makes the kernel give the mount up: for a process that not even kill -9 ends.
func (m *M) Abort() { _ = unix.Unmount(m.c.Dir, unix.MNT_FORCE) }

// Ended waits until the process has ended by itself.
func (m *M) Ended() error {
	<-m.wait
	m.cmd = nil
	return m.exit
}

// cleanup leaves nothing mounted, and fails the test for what should not have been.
func (m *M) cleanup() {
	err := m.stop()
	mounts, merr := fs.Mounts()
	left := false
	for _, mt := range mounts {
		if m.came && mt.Dir == m.c.Dir {
			left = true
			_ = fs.Unmount(context.Background(), mt.Dir, true)
		}
	}
	text := ""
	if b, rerr := os.ReadFile(m.c.Log); rerr == nil {
		text = string(b)
	}
	if m.t.Failed() {
		m.t.Logf("log of the mount:\n%s", text)
	}
	require.NoError(m.t, err, "the mount did not end well")
	require.NoError(m.t, merr)
	require.False(m.t, left && !m.killed, "still mounted")
	require.NotContains(m.t, text, "panic in handler")
}

// PID is the number of the process that mounts.
func (m *M) PID() int { return m.cmd.Process.Pid }
