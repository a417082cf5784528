package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image/imagetest"
)

// signIn is a running 'sregfs login'.
type signIn struct {
	t        testing.TB
	cmd      *exec.Cmd
	in       io.WriteCloser
	out      *bufio.Reader
	errors   bytes.Buffer
	url      string // what it asks to visit
	printed  strings.Builder
	redirect string // where the browser ends when the person allows it
}

// login starts a sign-in where there is no browser.
func (p person) login(args ...string) *signIn {
	p.w.t.Helper()
	s := p.signIn(append(p.env(), "PATH=/nowhere", "BROWSER="), args...)
	var err error
	s.redirect, err = p.w.srv.User(p.email).Authorize(s.url)
	require.NoError(p.w.t, err)
	return s
}

// signIn starts a sign-in, and reads on until it says what to visit.
func (p person) signIn(env []string, args ...string) *signIn {
	t := p.w.t
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	s := &signIn{t: t, cmd: exec.CommandContext(t.Context(), self, append([]string{"login"}, args...)...)}
	s.cmd.Env, s.cmd.Stderr = env, &s.errors
	s.in, err = s.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	s.out = bufio.NewReader(out)
	require.NoError(t, s.cmd.Start())
	for s.url == "" {
		line, err := s.out.ReadString('\n')
		require.NoError(t, err)
		s.printed.WriteString(line)
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "http") {
			s.url = line
		}
	}
	return s
}

// visit is the browser going to address; it returns the page.
func (s *signIn) visit(address string) string {
	s.t.Helper()
	resp, err := http.Get(address) //nolint:noctx // the server is the process that the test started
	require.NoError(s.t, err)
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return string(page)
}

func (s *signIn) end() result {
	s.t.Helper()
	rest, err := io.ReadAll(s.out)
	require.NoError(s.t, err)
	s.printed.Write(rest)
	_ = s.cmd.Wait() // the code says it
	return result{s.printed.String(), s.errors.String(), s.cmd.ProcessState.ExitCode()}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu", "SREGFS_TOKEN="+w.path("mine", "token"))
	oneLine(t, ann.sregfs("-q", "search"), exitSignIn, "sregfs login")

	t.Run("denied", func(t *testing.T) {
		s := ann.login()
		denied, err := url.Parse(s.redirect)
		require.NoError(t, err)
		q := denied.Query()
		q.Del("code")
		q.Set("error", "access_denied")
		denied.RawQuery = q.Encode()
		s.visit(denied.String())
		oneLine(t, s.end(), exitSignIn)
	})
	t.Run("in the browser", func(t *testing.T) {
		s := ann.login()
		require.Contains(t, s.printed.String(), "No browser was found on this machine.")
		require.NotContains(t, s.printed.String(), "opened")
		s.visit(s.redirect)
		require.Contains(t, s.end().ok(t), "Authentication successful.\n")
		info, err := os.Stat(w.path("mine", "token"))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		ann.sregfs("search").ok(t)
	})
	t.Run("nobody answers", func(t *testing.T) {
		for _, how := range [][]string{{"login", "--wait", "50ms"}, {"login", "--wait", "50ms", "--noauth_local_webserver"}} {
			silent, say, err := os.Pipe() // a terminal at which nobody types
			require.NoError(t, err)
			defer silent.Close()
			defer say.Close()
			self, err := os.Executable()
			require.NoError(t, err)
			var errOut bytes.Buffer
			cmd := exec.CommandContext(t.Context(), self, how...)
			cmd.Env, cmd.Stdin, cmd.Stderr = append(ann.env(), "PATH=/nowhere", "BROWSER="), silent, &errOut
			_ = cmd.Run() // the code says it
			oneLine(t, result{err: errOut.String(), code: cmd.ProcessState.ExitCode()}, exitSignIn, "within 50ms", "sregfs login")
		}
		ann.sregfs("search").ok(t)
		oneLine(t, ann.sregfs("login", "--wait", "0s"), exitUsage, "--wait")
	})
	t.Run("logout", func(t *testing.T) {
		ann.sregfs("logout").ok(t)
		require.NoFileExists(t, w.path("mine", "token"))
		w.file("i.sif", imagetest.SIF(t, 100_000))
		require.Equal(t, exitSignIn, ann.sregfs("push", "--name", "a/b", w.path("i.sif")).code)
	})
	t.Run("by pasting", func(t *testing.T) {
		s := ann.login("--noauth_local_webserver")
		_, err := io.WriteString(s.in, s.redirect+"\n")
		require.NoError(t, err)
		require.Contains(t, s.end().ok(t), "Authentication successful.\n")
		ann.sregfs("search").ok(t)
	})
	t.Run("through the tunnel", func(t *testing.T) {
		s := ann.login("--noauth_local_webserver")
		require.Contains(t, s.visit(s.redirect), "Signed in")
		s.end().ok(t)
	})
	t.Run("nonsense pasted", func(t *testing.T) {
		s := ann.login("--noauth_local_webserver")
		_, err := io.WriteString(s.in, "http://127.0.0.1:1/?state=guess&code=4/abc\n")
		require.NoError(t, err)
		require.NoError(t, s.in.Close())
		r := s.end()
		oneLine(t, r, exitSignIn, "paste the whole address")
		require.Contains(t, r.out, "No, that is not the answer to this sign-in")
	})
	t.Run("pasted badly, then well", func(t *testing.T) {
		s := ann.login("--noauth_local_webserver")
		_, err := io.WriteString(s.in, "ls -l\n\n \""+s.redirect[:40]+"\r\n"+s.redirect[40:]+"\" \n")
		require.NoError(t, err)
		r := s.end()
		require.Contains(t, r.ok(t), "Authentication successful.\n")
		require.Regexp(t, `(?m)^    ssh -N -L (\d+):127\.0\.0\.1:\d+ \S+@\S+$`, r.out)
	})
}
