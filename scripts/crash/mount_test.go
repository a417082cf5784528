//go:build crash

package crash

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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

// newMount prepares a mount of the Drive r, reached at url, with its state in a directory that has the user's sign-in;
// it is cleared away with the test.
func newMount(t *testing.T, r *remote, url, state string, args ...string) *mount {
	t.Helper()
	base := t.TempDir()
	m := &mount{t: t, dir: filepath.Join(base, "mnt"), state: state, log: filepath.Join(base, "log")}
	require.NoError(t, os.Mkdir(m.dir, 0o755))
	require.NoError(t, os.MkdirAll(state, 0o700))
	token, err := os.ReadFile(r.credentials("token.json"))
	require.NoError(t, err)
	f, err := os.OpenFile(filepath.Join(state, "token"), os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.Write(token)
	require.NoError(t, errors.Join(err, f.Sync(), f.Close()))
	m.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + base, "SREGFS_STATE_DIR=" + m.state, "SREGFS_DRIVE_URL=" + url,
		"SREGISTRY_GOOGLE_DRIVE_CREDENTIALS=" + r.credentials("client_secrets.json"), "SREGFS_READY_FD=3",
	}
	m.args = append([]string{"mount", "--debug", "--poll", "200ms", "--timeout", "30s", "--cache-min-free", "1MB", "--upload-chunk", "16M"}, args...)
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
	cmd := exec.Command(program, slices.Concat(m.args, []string{m.dir})...) //nolint:noctx // it is killed
	cmd.Env = slices.Concat(m.env, []string{"SREGFS_CRASH_AT=" + armed})
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

// freeze stops every thread of the process where it is, so that it sees nothing of what comes.
func (m *mount) freeze() {
	m.t.Helper()
	if err := m.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return // it has ended by itself
	}
	tasks := fmt.Sprintf("/proc/%d/task/*/stat", m.cmd.Process.Pid)
	eventually(m.t, func() error {
		stats, err := filepath.Glob(tasks)
		for _, stat := range stats {
			b, _ := os.ReadFile(stat)
			if _, state, _ := bytes.Cut(b, []byte(") ")); len(state) > 0 && !strings.ContainsRune("TtZX", rune(state[0])) {
				return fmt.Errorf("a thread goes on: %s", b)
			}
		}
		return err
	})
}

// died waits for the process to end at the point it was armed for.
func (m *mount) died() {
	m.t.Helper()
	select {
	case <-m.ended:
		status, _ := m.cmd.ProcessState.Sys().(syscall.WaitStatus)
		require.Equal(m.t, syscall.SIGKILL, status.Signal(), "%v", m.cmd.ProcessState)
	case <-time.After(2 * time.Minute):
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

// fsck asks the program whether Drive, the records and the disk agree.
func (m *mount) fsck() {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), program, "fsck", "--json")
	cmd.Env = m.env
	out, err := cmd.CombinedOutput()
	require.NoError(m.t, err, "fsck: %s", out)
}

// The names that the state directory may hold, and the drafts there may be. A mount that ended at the wrong moment leaves
// at most the unfinished draft of the last life: the next start removes it.
var (
	stateNames = regexp.MustCompile(`^(holder|index|drafts|blocks|reserve|token|\.token-\d+|lost\+found)$`)
	draftNames = regexp.MustCompile(`^\d+-((one|two):[ab]\.sif(\.kept-\d+)?|\.(one|two)\.part|note\.txt|\.note\.new)$`)
	fileNames  = regexp.MustCompile(`^[0-9a-f]{16}$`)
)

// tidy holds the state directory against what may be there, and returns the paths of the drafts.
func (m *mount) tidy() (drafts []string) {
	m.t.Helper()
	unsaved := 0
	for _, name := range m.list(m.state) {
		require.Regexp(m.t, stateNames, name, "in the state directory")
		if strings.HasPrefix(name, ".token-") {
			unsaved++
		}
	}
	require.Less(m.t, unsaved, 20, "a sign-in that was being saved at a kill is swept up after a minute")
	b, err := os.ReadFile(filepath.Join(m.state, "token"))
	require.NoError(m.t, err)
	var token struct {
		Refresh string `json:"refresh_token"`
	}
	require.NoError(m.t, json.Unmarshal(b, &token), "the sign-in is damaged: %q", b)
	require.NotEmpty(m.t, token.Refresh)

	control := filepath.Join(m.dir, ".sregfs/drafts")
	for _, name := range m.list(control) {
		require.Regexp(m.t, draftNames, name, "a draft nobody wrote")
		drafts = append(drafts, filepath.Join(control, name))
	}
	files := m.list(filepath.Join(m.state, "drafts"))
	for _, name := range files {
		require.Regexp(m.t, fileNames, name, "among the drafts' files")
	}
	require.Len(m.t, files, len(drafts), "each draft has a file, each file a draft: %v, %v", files, drafts)
	return drafts
}

// clean removes the drafts that a kill left half written, as a user does, but for the notes.
func (m *mount) clean(drafts []string) {
	m.t.Helper()
	for _, path := range drafts {
		if !strings.HasSuffix(path, "-note.txt") {
			require.NoError(m.t, os.Remove(path))
		}
	}
}

func (m *mount) list(dir string) (names []string) {
	m.t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(m.t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// path is the file of a tag.
func (m *mount) path(n *name, tag string) string {
	return filepath.Join(m.dir, n.collection, n.image+":"+tag+".sif")
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
