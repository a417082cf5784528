//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
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

// ^C, on the other hand, ends a cp that waits for Drive, at once.
func TestInterruptEndsAWaitingCopy(t *testing.T) {
	w := newWorld(t, "--latency", "2s")
	m := w.mount(t, ann, 0)
	m.by.run(t, "mkdir", m.path("lab"))
	cmd := exec.CommandContext(t.Context(), "cp", w.hello(t), m.path("lab/hello:latest.sif"))
	require.NoError(t, cmd.Start())
	// cp waits in close once its bytes are in the draft.
	require.Eventually(t, func() bool {
		wait, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/syscall")
		return err == nil && bytes.HasPrefix(wait, fmt.Append(nil, syscall.SYS_CLOSE, " "))
	}, 30*time.Second, 10*time.Millisecond)
	begin := time.Now()
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.Error(t, cmd.Wait())
	require.Less(t, time.Since(begin), 3*time.Second, "Drive needs longer for each of several answers")
}
