package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index"
)

// The test binary is also the program: started with this variable it is
// sregfs, so that tests run real processes, race detector and all.
const asProgram = "SREGFS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	if err := fstest.Private(); err != nil {
		panic(err)
	}
	// Else the race detector lets each process sleep a second before it exits.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// world is a Drive and the directory in which a person sits.
type world struct {
	t   testing.TB
	srv *drivetest.Server
	dir string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldIn(t, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
}

func newWorldIn(t testing.TB, o drivetest.Options) *world {
	t.Helper()
	w := &world{t: t, srv: drivetest.NewServer(t, o), dir: t.TempDir()}
	for _, user := range []string{"ann@uni.edu", "bob@uni.edu"} {
		require.NoError(t, w.srv.User(user).WriteCredentials(w.path("users", user)))
	}
	return w
}

func (w *world) path(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

// result is what one command did.
type result struct {
	out, err string
	code     int
}

// person is somebody with an environment.
type person struct {
	w     *world
	email string
	extra []string
}

func (w *world) as(email string, extra ...string) person {
	return person{w: w, email: email, extra: extra}
}

func (p person) env() []string {
	users := p.w.path("users", p.email)
	return append(append(withoutSettings(os.Environ()),
		asProgram+"=1",
		"HOME="+p.w.path("home", p.email),
		"SREGFS_DRIVE_URL="+p.w.srv.URL(),
		"SREGISTRY_GOOGLE_DRIVE_CREDENTIALS="+filepath.Join(users, "client_secrets.json"),
		"SREGFS_TOKEN="+filepath.Join(users, "token.json"),
		"SREGFS_STATE_DIR="+p.w.path("state", p.email),
	), p.extra...)
}

// sregfs runs the program and returns what it printed and its exit code.
func (p person) sregfs(args ...string) result {
	p.w.t.Helper()
	self, err := os.Executable()
	require.NoError(p.w.t, err)
	return p.exec(self, args...)
}

// sh runs a shell command; $SREGFS is the program.
func (p person) sh(script string) result {
	p.w.t.Helper()
	return p.exec("bash", "-o", "pipefail", "-c", script)
}

func (p person) exec(name string, args ...string) result {
	p.w.t.Helper()
	ctx, cancel := context.WithTimeout(p.w.t.Context(), 15*time.Minute)
	defer cancel()
	self, err := os.Executable()
	require.NoError(p.w.t, err)
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = p.w.dir, append(p.env(), "SREGFS="+self)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(p.w.t, err, "%s %v: %s", name, args, errOut.String())
	}
	return result{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// ok requires that the command succeeded, and returns its output.
func (r result) ok(t testing.TB) string {
	t.Helper()
	require.Zero(t, r.code, "stdout: %s\nstderr: %s", r.out, r.err)
	return r.out
}

// mount mounts the registry for p at a new directory, and unmounts it with the
// test.
func (p person) mount(args ...string) string {
	p.w.t.Helper()
	dir, err := os.MkdirTemp(p.w.dir, "mnt-")
	require.NoError(p.w.t, err)
	p.sregfs(append([]string{"mount", "--poll", "200ms", dir}, args...)...).ok(p.w.t)
	p.w.t.Cleanup(func() {
		if mounted, err := isMountPoint(dir); err == nil && mounted {
			umount := exec.CommandContext(context.WithoutCancel(p.w.t.Context()), "fusermount3", "-u", "-z", dir)
			if out, err := umount.CombinedOutput(); err != nil {
				p.w.t.Errorf("unmount %s: %v: %s", dir, err, out)
			}
		}
		p.w.released(p.email)
	})
	return dir
}

// released waits until no process has the person's state directory: it must
// not be deleted under a mount that is still closing. A container that somebody
// started meanwhile has the mount in its own namespace where the root is not
// shared, and keeps it up for as long as it runs: the failure names it.
func (w *world) released(email string) {
	free := func() bool {
		_, held := index.Holder(w.path("state", email))
		return !held
	}
	if !assert.Eventually(w.t, free, time.Minute, 10*time.Millisecond) {
		var seen []string
		tables, _ := filepath.Glob("/proc/[0-9]*/mountinfo") // a good pattern
		for _, table := range tables {
			if text, err := os.ReadFile(table); err == nil && bytes.Contains(text, []byte(w.dir)) {
				seen = append(seen, table)
			}
		}
		w.t.Fatalf("a mount of %s has not ended; it is in %v", email, seen)
	}
}

// file writes a file into the person's directory.
func (w *world) file(name string, data []byte) string {
	w.t.Helper()
	path := w.path(name)
	require.NoError(w.t, os.WriteFile(path, data, 0o644))
	return path
}

// requests counts the requests of one kind that Drive has seen.
func (w *world) requests(op string) int {
	n := 0
	for _, r := range w.srv.Requests() {
		if r.Op == op {
			n++
		}
	}
	return n
}

// oneLine requires that an error was said in one line that holds each text.
func oneLine(t testing.TB, r result, code int, texts ...string) {
	t.Helper()
	require.Equal(t, code, r.code, "stdout: %s\nstderr: %s", r.out, r.err)
	line := strings.TrimSuffix(r.err, "\n")
	require.NotContains(t, line, "\n")
	require.True(t, strings.HasPrefix(line, "ERROR "), line)
	for _, text := range texts {
		require.Contains(t, line, text)
	}
}
