package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image/imagetest"
)

// emulator starts the command on a Drive in dir, and returns its process and the address it prints.
func emulator(t *testing.T, dir string, args ...string) (cmd *exec.Cmd, url string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd = exec.CommandContext(t.Context(), self, append([]string{"emulator", "--dir", dir}, args...)...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	require.True(t, ok, line)
	return cmd, url
}

// TestEmulatorSurvivesAKill uses the command as its help says, kills it, and goes on with another.
func TestEmulatorSurvivesAKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	person := w.as("ann@uni.edu")
	dir := w.path("drive")
	users := []string{"--user", "ann@uni.edu", "--user", "bob@uni.edu"}
	w.file("a.sif", imagetest.SIF(t, 300_000))
	as := func(email string) string { return ". " + filepath.Join(dir, "users", email, "env") + "; $SREGFS -q " }

	cmd, url := emulator(t, dir, append(users, "--log", w.path("log"))...)
	person.sh(as("ann@uni.edu") + "push --name lab/a:1 a.sif").ok(t)
	busy := person.sregfs("emulator", "--dir", dir)
	oneLine(t, busy, exitError, "in use by another emulator")
	oneLine(t, person.sregfs("emulator", "--dir", w.path("other"), "--listen", strings.TrimPrefix(url, "http://")), exitError, "address already in use")
	log, err := os.ReadFile(w.path("log"))
	require.NoError(t, err)
	require.Contains(t, string(log), `"Op":"upload.begin"`)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()

	cmd, _ = emulator(t, dir, users...)
	require.Contains(t, person.sh(as("ann@uni.edu")+"search").ok(t), "lab/a:1@")
	person.sh(as("ann@uni.edu") + "share --email bob@uni.edu lab/a:1").ok(t)
	person.sh(as("ann@uni.edu") + "pull --name got.sif lab/a:1 && cmp a.sif got.sif").ok(t)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait())
}

func TestEmulatorUsage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, args := range [][]string{
		{}, {"--fault", "nonsense"}, {"--bandwidth", "0"}, {"--bandwidth", "fast"}, {"--total-bandwidth", "-5"}, {"--latency", "-1s"},
		{"--user", "nobody"}, {"--user", "../../ann@uni.edu"}, {"--user", ""}, {"extra"},
	} {
		if len(args) > 0 {
			args = append(args, "--dir", w.path("drive"))
		}
		oneLine(t, w.as("ann@uni.edu").sregfs(append([]string{"emulator"}, args...)...), exitUsage)
	}
}
