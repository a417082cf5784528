//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ann owns the registry, bob is who she shares with.
const (
	ann = "ann@uni.edu"
	bob = "bob@uni.edu"
)

// A world is one emulated Drive with its people, and one directory that everybody may enter and that the Apptainer
// root sees at the same path.
type world struct {
	dir  string
	url  string // of the emulator
	made int    // mounts so far, for their names
}

// newWorld starts an emulator with these further flags; it ends with the test.
func newWorld(t *testing.T, flags ...string) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "sregfs-e2e-") //nolint:usetesting // the ordinary user has no way into t.TempDir
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	w := &world{dir: dir}

	cmd := exec.CommandContext(context.Background(), setup.sregfs, append([]string{"emulator", "--listen", "127.0.0.1:0", "--dir", w.path("drive"),
		"--user", ann, "--user", bob}, flags...)...)
	cmd.Env = w.environ(0)
	var stderr bytes.Buffer // read after Wait only
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := make(chan string)
	go func() { // ends with the process
		defer close(lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		for range lines {
		}
		err := cmd.Wait()
		if err != nil || t.Failed() {
			t.Logf("the emulator said:\n%s", tail(stderr.String()))
		}
		require.NoError(t, err, "the emulator ends well on SIGTERM")
	})
	deadline := time.After(time.Minute)
	for w.url == "" {
		select {
		case line, ok := <-lines:
			require.True(t, ok, "the emulator ended before it listened")
			w.url, _ = strings.CutPrefix(line, "listening on ")
		case <-deadline:
			t.Fatal("the emulator never said that it listens")
		}
	}
	go func() { // what else it says must not block it
		for range lines {
		}
	}()
	return w
}

func (w *world) path(elem ...string) string {
	return filepath.Join(append([]string{w.dir}, elem...)...)
}

// environ is an environment in which nothing of the person who runs the tests shows.
func (w *world) environ(uid int) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "HOME=" + w.path("home", strconv.Itoa(uid))}
}

// signIn gives the user uid a home with the credentials of person, and returns the environment that names them.
func (w *world) signIn(t *testing.T, person string, uid int) []string {
	t.Helper()
	theirs := w.path("drive/users", person)
	home := w.path("home", strconv.Itoa(uid))
	own := filepath.Join(home, person)
	if _, err := os.Stat(own); err != nil {
		require.NoError(t, os.MkdirAll(home, 0o755))
		require.NoError(t, run("cp", "-r", theirs, own))
		require.NoError(t, run("chown", "-R", fmt.Sprintf("%d:%d", uid, uid), home))
	}
	env, err := os.ReadFile(filepath.Join(own, "env"))
	require.NoError(t, err)
	// The paths in it are of the emulator's own copies, which another user may not read.
	env = bytes.ReplaceAll(env, []byte(theirs), []byte(own))
	vars := w.environ(uid)
	for _, m := range regexp.MustCompile(`(?m)^export (\w+)='?([^'\n]*)'?$`).FindAllSubmatch(env, -1) {
		vars = append(vars, string(m[1])+"="+string(m[2]))
	}
	require.Greater(t, len(vars), 4, "env has export lines:\n%s", env)
	return vars
}

// A command is one that a user types: its output is returned, and a failure ends the test with all it said.
type command struct {
	uid int
	env []string // nil: of the tests
	dir string
}

func (c command) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := c.try(t, name, args...)
	require.NoError(t, err)
	return out
}

// try is run for commands that may fail. The output is standard output without the blanks around it.
func (c command) try(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // also in Cleanup, where t.Context() is over
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	cmd.WaitDelay = 10 * time.Second // a daemon that keeps our pipe is an error: it would hang $(…) in a shell
	if c.uid != 0 {
		id := uint32(c.uid)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return strings.TrimSpace(stdout.String()), fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), strings.Join(args, " "), err,
			tail(stdout.String()), tail(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// sh runs a shell script outside the Apptainer root, as root.
func (w *world) sh(t *testing.T, script string) string {
	t.Helper()
	return command{dir: w.dir}.run(t, "sh", "-ec", script)
}

// inside runs a shell script in the Apptainer root as user uid, with the world's directory at its own path. In it,
// `run` and `exec_` are Apptainer's verbs with what this user needs.
func (w *world) inside(t *testing.T, uid int, script string) string {
	t.Helper()
	line := w.insideLine(uid, script)
	return command{}.run(t, line[0], line[1:]...)
}

func (w *world) insideLine(uid int, script string) []string {
	line := []string{filepath.Join(setup.scripts, "in-apptainer-root"), "--root", setup.root, "--bind", w.dir, "--chdir", w.dir}
	privs := " --no-privs"
	if uid != 0 {
		line = append(line, "--user", strconv.Itoa(uid))
		privs = ""
	}
	verbs := fmt.Sprintf(`run() { apptainer --quiet run%[1]s "$@"; }; exec_() { apptainer --quiet exec%[1]s "$@"; }`, privs)
	return append(line, "--", "sh", "-ec", verbs+"\n"+script)
}

// request is what the tests need of an entry of the emulator's log.
type request struct {
	Time                           time.Time
	Method, Path, Query, Op, Range string
	Status                         int
	Out                            int64
}

// requests returns what was asked of Drive since the last forgetRequests.
func (w *world) requests(t *testing.T) (r []request) {
	t.Helper()
	require.NoError(t, json.Unmarshal(w.debug(t, http.MethodGet, "requests"), &r))
	return r
}

func (w *world) forgetRequests(t *testing.T) {
	t.Helper()
	w.debug(t, http.MethodDelete, "requests")
}

func (w *world) debug(t *testing.T, method, page string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.url+"/debug/"+page, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Less(t, resp.StatusCode, 300, "%s", body)
	return body
}

// tail is the end of what a program said: enough to see why.
func tail(s string) string {
	if const4k := 4096; len(s) > const4k {
		s = "…" + s[len(s)-const4k:]
	}
	return s
}
