//go:build soak

package soak

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
)

// A machine is one mount, with a state of its own, and the readers on it.
type machine struct {
	t     *testing.T
	name  string
	owner bool   // it mounts the registry itself, not what was shared
	dir   string // mount point
	root  string // where the collections are, beneath it
	state string
	log   string
	env   []string

	// gate is held for reading by who uses the mount from this process, and for writing by who takes it away.
	gate sync.RWMutex

	cmd     *exec.Cmd // the mount; both are the operator's
	ended   chan struct{}
	readers *exec.Cmd
	tell    io.WriteCloser
	paused  chan struct{}
	gone    chan struct{} // closed when all was heard of the readers

	mu      sync.Mutex
	lives   int             // guarded by mu; mounts so far
	downs   []interval      // guarded by mu; when there was no mount
	evicted map[int]float64 // guarded by mu; bytes that each life was last seen to have evicted
}

// An interval is a time, in Unix nanoseconds; to is 0 while it lasts.
type interval struct{ from, to int64 }

func (i interval) meets(from, to int64) bool { return i.from <= to && (i.to == 0 || i.to >= from) }

func now() int64 { return time.Now().UnixNano() }

func newMachine(t *testing.T, srv *drivetest.Server, name, person, beneath string) *machine {
	t.Helper()
	base := t.TempDir()
	m := &machine{
		t: t, name: name, owner: beneath == "", dir: filepath.Join(base, "mnt"), state: filepath.Join(base, "state"), log: filepath.Join(base, "log"),
		paused: make(chan struct{}), evicted: map[int]float64{},
	}
	m.root = filepath.Join(m.dir, beneath)
	require.NoError(t, os.Mkdir(m.dir, 0o755))
	require.NoError(t, srv.User(person).WriteCredentials(base))
	m.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + base, "SREGFS_STATE_DIR=" + m.state, "SREGFS_DRIVE_URL=" + srv.URL(),
		"SREGISTRY_GOOGLE_DRIVE_CREDENTIALS=" + filepath.Join(base, "client_secrets.json"), "SREGFS_TOKEN=" + filepath.Join(base, "token.json"),
	}
	t.Cleanup(func() {
		if m.cmd != nil {
			if t.Failed() {
				_ = m.cmd.Process.Signal(syscall.SIGQUIT) // its log ends with what its goroutines do
				select {
				case <-m.ended:
				case <-time.After(10 * time.Second):
				}
			}
			_ = m.cmd.Process.Kill()
			<-m.ended
			_ = run("fusermount3", "-uz", m.dir)
		}
		if m.readers != nil {
			_ = m.tell.Close()
			_ = m.readers.Process.Kill()
			<-m.gone
			_ = m.readers.Wait()
		}
		if t.Failed() {
			text, _ := os.ReadFile(m.log)
			t.Logf("the end of the log of %s:\n%s", m.name, text[max(0, len(text)-128<<10):])
		}
	})
	return m
}

// start mounts, over the dead mount if there is one, and returns when it answers.
func (m *machine) start() {
	m.t.Helper()
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(m.t, err)
	defer log.Close()
	r, w, err := os.Pipe()
	require.NoError(m.t, err)
	defer r.Close()
	cmd := exec.CommandContext(context.Background(), program, "mount", "--debug", "--poll", "1s", "--cache-size", "24MB", "--cache-min-free", "1MB", m.dir)
	cmd.Env = append(slices.Clone(m.env), "SREGFS_READY_FD=3")
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
	line, err := bufio.NewReader(r).ReadBytes('\n')
	require.NoError(m.t, err, "%s ended without a word", m.name)
	var answer struct{ Error string }
	require.NoError(m.t, json.Unmarshal(line, &answer))
	require.Empty(m.t, answer.Error)
}

// down notes that the mount goes; up, that it is back.
func (m *machine) down() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.downs = append(m.downs, interval{from: now()})
}

func (m *machine) up() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.downs[len(m.downs)-1].to = now()
	m.lives++
}

// wasDown says whether the mount was away at some moment of a time.
func (m *machine) wasDown(from, to int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.downs {
		if d.meets(from, to) {
			return true
		}
	}
	return false
}

func (m *machine) life() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lives
}

// remount unmounts as a person does, and mounts again.
func (m *machine) remount() {
	m.t.Helper()
	m.pause()
	defer m.goOn()
	m.gate.Lock()
	defer m.gate.Unlock()
	m.down()
	m.unmount()
	m.start()
	m.up()
}

func (m *machine) unmount() {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "umount", m.dir)
	cmd.Env = m.env
	out, err := cmd.CombinedOutput()
	require.NoError(m.t, err, "unmount %s: %s", m.name, out)
	<-m.ended
	require.True(m.t, m.cmd.ProcessState.Success(), "the mount of %s ended with %v", m.name, m.cmd.ProcessState)
	m.cmd = nil
}

// kill ends the mount as kill -9 does, in the middle of whatever goes on, and mounts again. What was under way is pushed
// then, or it was not written to its end, and a person would throw it away.
func (m *machine) kill() {
	m.t.Helper()
	m.down()
	require.NoError(m.t, m.cmd.Process.Kill())
	<-m.ended
	m.gate.Lock()
	defer m.gate.Unlock()
	m.start()
	m.drain()
	drafts := filepath.Join(m.dir, ".sregfs/drafts")
	entries, err := os.ReadDir(drafts)
	require.NoError(m.t, err)
	for _, e := range entries {
		require.NoError(m.t, os.Remove(filepath.Join(drafts, e.Name())))
	}
	m.up()
}

func (m *machine) status() (s index.Status, err error) {
	b, err := os.ReadFile(filepath.Join(m.dir, ".sregfs/status"))
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	return s, err
}

// drain waits until the journal is empty. In this world nothing is final.
func (m *machine) drain() {
	m.t.Helper()
	eventually(m.t, func() error {
		s, err := m.status()
		require.NoError(m.t, err)
		for _, p := range s.Pushes {
			require.False(m.t, p.Final, "parked: %+v", p)
		}
		if len(s.Pushes) > 0 {
			return fmt.Errorf("%s has still to push: %+v", m.name, s.Pushes)
		}
		return nil
	})
}

// metrics are the figures of .sregfs/metrics.
func (m *machine) metrics() (map[string]float64, error) {
	b, err := os.ReadFile(filepath.Join(m.dir, ".sregfs/metrics"))
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(b)) {
		var name string
		var value float64
		if n, _ := fmt.Sscan(line, &name, &value); n == 2 && !strings.HasPrefix(line, "#") {
			all[strings.TrimPrefix(name, "sregfs_")] = value
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.evicted[m.lives] = all["cache_evicted_bytes_total"]
	return all, nil
}

// full says whether the mount had to make room in its cache.
func (m *machine) full() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.evicted[m.lives] > 0
}

// read starts a process of n readers, whose events are handed to hear.
func (m *machine) read(n int, seed uint64, hear func(*machine, event)) {
	m.t.Helper()
	self, err := os.Executable()
	require.NoError(m.t, err)
	job, err := json.Marshal(readerJob{Mount: m.dir, Root: m.root, Seed: seed, Readers: n})
	require.NoError(m.t, err)
	cmd := exec.CommandContext(context.Background(), self)
	cmd.Env = append(os.Environ(), readerVariable+"="+string(job), "GOMAXPROCS=16") // each may stand still in a page fault
	cmd.Stderr = os.Stderr
	m.tell, err = cmd.StdinPipe()
	require.NoError(m.t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(m.t, err)
	require.NoError(m.t, cmd.Start())
	m.readers, m.gone = cmd, make(chan struct{})
	go func() {
		defer close(m.gone)
		for in := json.NewDecoder(out); ; {
			var e event
			switch err := in.Decode(&e); {
			case err != nil:
				return
			case e.Op == opPaused:
				m.paused <- struct{}{}
			default:
				hear(m, e)
			}
		}
	}()
}

// pause returns when no reader has anything open; goOn lets them go on.
func (m *machine) pause() {
	m.t.Helper()
	_, err := io.WriteString(m.tell, "pause\n")
	require.NoError(m.t, err)
	select {
	case <-m.paused:
	case <-time.After(3 * time.Minute):
		m.t.Fatalf("a reader on %s hangs", m.name)
	}
}

func (m *machine) goOn() {
	_, err := io.WriteString(m.tell, "go\n")
	require.NoError(m.t, err)
}

// stopReading ends the readers.
func (m *machine) stopReading() {
	m.t.Helper()
	require.NoError(m.t, m.tell.Close())
	<-m.gone
	require.NoError(m.t, m.readers.Wait())
	m.readers = nil
}

// dead says whether an error is what a system call gets whose mount has died, or is not there.
func dead(err error) bool {
	return errors.Is(err, syscall.ENOTCONN) || errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.ECONNREFUSED)
}

// eventually waits until check is content.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(3 * time.Minute); ; {
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
