//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Programs written in Go, as Apptainer and siftool are, get SIGURG from their own runtime at any time, and the kernel
// tells a file system of every signal that a program handles. None of them may end the wait for a push.
func TestSignalsLeaveAPushAlone(t *testing.T) {
	w := newWorld(t, "--latency", "500ms") // so that close takes long enough to be hit
	m := w.mount(t, ann, 0)
	m.push(t, w.hello(t), "lab/hello:latest.sif")
	require.NoError(t, os.WriteFile(w.path("note.txt"), []byte("read me\n"), 0o600))

	var said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "siftool", "add", "--datatype", "7", m.path("lab/hello:latest.sif"), w.path("note.txt"))
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ticks := time.NewTicker(10 * time.Millisecond)
	defer ticks.Stop()
	for {
		select {
		case err := <-ended:
			require.NoError(t, err, "%s", tail(said.String()))
			require.Len(t, m.ls(t, "lab/hello:latest"), 2)
			return
		case <-ticks.C:
			_ = cmd.Process.Signal(syscall.SIGURG)
		}
	}
}

// ^C, on the other hand, ends a cp that waits for Drive, and not the push: that goes on, and its image arrives.
func TestInterruptEndsAWaitingCopy(t *testing.T) {
	w := newWorld(t, "--fault", noUploads)
	m := w.mount(t, ann, 0, "--timeout", "1h") // nothing but the signal ends the wait
	m.by.run(t, "mkdir", m.path("lab"))
	cmd := exec.CommandContext(t.Context(), "cp", w.hello(t), m.path("lab/hello:latest.sif"))
	require.NoError(t, cmd.Start())
	// cp waits in close once its bytes are in the draft.
	require.Eventually(t, func() bool {
		wait, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/syscall")
		return err == nil && bytes.HasPrefix(wait, fmt.Append(nil, syscall.SYS_CLOSE, " "))
	}, 30*time.Second, 10*time.Millisecond)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		require.Error(t, err)
	case <-time.After(2 * time.Minute):
		t.Fatal("^C did not end cp")
	}
	w.uploadsWork(t)
	m.unmount(t) // waits for the push

	m = w.mount(t, ann, 0)
	m.requireDigest(t, digest(t, w.hello(t)), "lab/hello:latest.sif")
}

// A push that is under way when the mount ends, by SIGTERM as at the end of a session or by umount --no-wait, is finished
// by the next mount; umount without it returns when Drive has the image.
func TestThePushOutlivesTheMount(t *testing.T) {
	for _, end := range []struct {
		name    string
		unmount func(*testing.T, *mount)
		arrives bool
	}{
		{"SIGTERM", func(t *testing.T, m *mount) {
			t.Helper()
			var status struct{ PID int }
			require.NoError(t, json.Unmarshal([]byte(m.by.run(t, "cat", m.path(".sregfs/status"))), &status))
			process, err := os.FindProcess(status.PID)
			require.NoError(t, err)
			require.NoError(t, process.Signal(syscall.SIGTERM))
			require.Eventually(t, func() bool {
				mounts, err := os.ReadFile("/proc/self/mounts")
				return err == nil && !bytes.Contains(mounts, []byte(m.dir)) && !running(status.PID)
			}, 2*time.Minute, 50*time.Millisecond)
		}, false},
		{"umount --no-wait", func(t *testing.T, m *mount) {
			t.Helper()
			m.by.run(t, setup.sregfs, "umount", "--no-wait", m.dir)
		}, false},
		{"umount", func(t *testing.T, m *mount) {
			t.Helper()
			waits := make(chan error, 1)
			go func() {
				_, err := m.by.try(t, setup.sregfs, "umount", m.dir)
				waits <- err
			}()
			m.w.uploadsWork(t)
			require.NoError(t, <-waits)
		}, true},
	} {
		t.Run(end.name, func(t *testing.T) {
			w := newWorld(t, "--fault", noUploads)
			m := w.mount(t, ann, 0, "--push", "background", "--timeout", "1h")
			m.push(t, w.hello(t), "lab/hello:latest.sif")
			end.unmount(t, m)
			m.mounted = false
			w.uploadsWork(t)
			if !end.arrives {
				m.by.run(t, setup.sregfs, "mount", m.dir)
				m.mounted = true
				m.by.run(t, "sync", m.path("lab/hello:latest.sif")) // returns when Drive has it
				m.unmount(t)
			}
			m = w.mount(t, ann, 0)
			m.requireDigest(t, digest(t, w.hello(t)), "lab/hello:latest.sif")
		})
	}
}

// noUploads is a fault rule: no byte of an image goes up.
const noUploads = "PUT /upload/* status=503 reason=backendError"

// uploadsWork ends the faults.
func (w *world) uploadsWork(t *testing.T) {
	t.Helper()
	w.debug(t, http.MethodDelete, "faults")
}

// running says whether a process is there and not merely waiting to be buried.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}
