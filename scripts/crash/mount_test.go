//go:build crash

package crash

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/index"
)

// mount is the program at work on a mount point, in a process to be killed.
type mount struct {
	t     *testing.T
	dir   string // mount point
	state string
	env   []string
	args  []string
	log   string

	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has ended
	lives int           // mounts so far
}

// newMount prepares a mount of the Drive at url, whose credentials are in a directory; it is cleared away with the test.
func newMount(t *testing.T, url, credentials string, args ...string) *mount {
	t.Helper()
	base := t.TempDir()
	m := &mount{t: t, dir: filepath.Join(base, "mnt"), state: filepath.Join(base, "state"), log: filepath.Join(base, "log")}
	require.NoError(t, os.Mkdir(m.dir, 0o755))
	m.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + base, "SREGFS_STATE_DIR=" + m.state, "SREGFS_DRIVE_URL=" + url,
		"SREGISTRY_GOOGLE_DRIVE_CREDENTIALS=" + filepath.Join(credentials, "client_secrets.json"),
		"SREGFS_TOKEN=" + filepath.Join(credentials, "token.json"), "SREGFS_READY_FD=3",
	}
	m.args = append([]string{"mount", "--debug", "--poll", "200ms", "--cache-min-free", "1MB"}, args...)
	t.Cleanup(func() {
		if m.cmd != nil {
			m.kill()
		}
		if m.lives > 0 {
			_ = run("fusermount3", "-uz", m.dir)
		}
		if t.Failed() {
			text, _ := os.ReadFile(m.log)
			t.Logf("the end of the mount's log:\n%s", text[max(0, len(text)-16<<10):])
		}
	})
	return m
}

// errDied is of a process that was killed before it answered.
var errDied = errors.New("it was killed before it answered")

// start mounts, over the dead mount if there is one, with the program armed for a point ("" = none).
func (m *mount) start(armed string) error {
	m.t.Helper()
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(m.t, err)
	defer log.Close()
	fmt.Fprintf(log, "--- life %d %s\n", m.lives+1, armed)
	r, w, err := os.Pipe()
	require.NoError(m.t, err)
	defer r.Close()
	cmd := exec.Command(program, append(m.args, m.dir)...)
	cmd.Env = append(m.env, "SREGFS_CRASH_AT="+armed)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(m.t, cmd.Start())
	require.NoError(m.t, w.Close())
	ended := make(chan struct{})
	go func() { // ends with the process
		_ = cmd.Wait()
		close(ended)
	}()
	m.cmd, m.ended = cmd, ended
	m.lives++
	line, err := bufio.NewReader(r).ReadBytes('\n')
	if err != nil {
		<-ended
		m.cmd = nil
		if status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus); armed != "" && status.Signaled() {
			return errDied
		}
		return fmt.Errorf("the mount ended without a word: %v", cmd.ProcessState)
	}
	var answer struct{ Error string }
	require.NoError(m.t, json.Unmarshal(line, &answer))
	if answer.Error != "" {
		<-ended
		m.cmd = nil
		return errors.New(answer.Error)
	}
	return nil
}

// kill ends the process, if it did not end itself, and waits for its end. The dead mount stays.
func (m *mount) kill() {
	_ = m.cmd.Process.Signal(syscall.SIGKILL)
	<-m.ended
	m.cmd = nil
}

// died waits for the process to end at the point it was armed for.
func (m *mount) died() {
	m.t.Helper()
	select {
	case <-m.ended:
		status, _ := m.cmd.ProcessState.Sys().(syscall.WaitStatus)
		require.Equal(m.t, syscall.SIGKILL, status.Signal(), "%v", m.cmd.ProcessState)
		m.cmd = nil
	case <-time.After(time.Minute):
		m.t.Fatal("it never came to the point it was armed for")
	}
}

// status is what the mount says of itself.
func (m *mount) status() (s index.Status, err error) {
	b, err := os.ReadFile(filepath.Join(m.dir, ".sregfs/status"))
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	return s, err
}

// drain waits until the journal is empty. A push that is parked fails the test: in this world nothing is final.
func (m *mount) drain() {
	m.t.Helper()
	eventually(m.t, func() error {
		s, err := m.status()
		require.NoError(m.t, err)
		for _, p := range s.Pushes {
			require.False(m.t, p.Final, "parked: %+v", p)
		}
		if len(s.Pushes) > 0 {
			return fmt.Errorf("still to push: %+v", s.Pushes)
		}
		return nil
	})
}

// eventually waits until check is content.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			require.NoError(t, err)
		}
		<-tick.C
	}
}
