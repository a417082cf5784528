package main

import (
	"bufio"
	"encoding/json"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
)

// desk is a person at a desk: their browser opens where programs want it to.
type desk struct {
	person
	opened *bufio.Reader // the addresses the program opened
}

func (w *world) atDesk(email string, extra ...string) desk {
	w.t.Helper()
	pipe := w.path("opened")
	require.NoError(w.t, syscall.Mkfifo(pipe, 0o600))
	opened, err := os.OpenFile(pipe, os.O_RDWR, 0)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = opened.Close() })
	script := w.file("browser", []byte("#!/bin/sh\nprintf '%s\\n' \"$1\" >"+pipe+"\n"))
	require.NoError(w.t, os.Chmod(script, 0o755))
	env := append([]string{"SREGFS_TOKEN=" + w.path("mine", "token"), "BROWSER=no-such-browser:" + script + " %s"}, extra...)
	return desk{w.as(email, env...), bufio.NewReader(opened)}
}

// login starts a sign-in, and waits until the browser was opened.
func (d desk) login(args ...string) *signIn {
	d.w.t.Helper()
	s := d.signIn(d.env(), args...)
	opened, err := d.opened.ReadString('\n')
	require.NoError(d.w.t, err)
	require.Contains(d.w.t, s.printed.String(), "Your browser has been opened to visit:\n\n    http")
	require.Equal(d.w.t, s.url, strings.TrimSpace(opened))
	return s
}

// signedIn requires that the sign-in went well and is of use.
func (d desk) signedIn(s *signIn) {
	t := d.w.t
	t.Helper()
	r := s.end()
	require.Contains(t, r.ok(t), "Authentication successful.\n")
	require.Empty(t, r.err)
	info, err := os.Stat(d.w.path("mine", "token"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	d.sregfs("search").ok(t)
}

const (
	allow = "button[value=allow]"
	deny  = "button[value=deny]"
	tick  = "input[name=scope]"
)

func TestLoginInABrowser(t *testing.T) {
	t.Parallel()
	browser := startChromium(t)
	// at is a fresh world, a person in it who is signing in, and the tab that has opened.
	at := func(t *testing.T) (desk, *signIn, *tab) {
		t.Helper()
		d := newWorld(t).atDesk("ann@uni.edu")
		s := d.login()
		b := newTab(browser, t)
		b.visit(s.url)
		require.Contains(t, b.text("h1"), "wants access to your Google Account")
		return d, s, b
	}

	t.Run("allow", func(t *testing.T) {
		d, s, b := at(t)
		b.click(allow)
		require.Equal(t, "Signed in to Google Drive", b.text("h1.good"))
		d.signedIn(s)
		trail := b.trail()
		for _, secret := range []string{"code=", "4/0A", "ya29.", "1//", "state="} {
			for _, line := range trail {
				if !strings.HasPrefix(line, s.url) { // the address that was opened, which has the state
					require.NotContains(t, line, secret)
				}
			}
		}
		to, _ := redirectOf(s.url)
		require.Equal(t, to, trail[0], "without the code")
		require.NotEmpty(t, b.requests())
		for _, address := range b.requests() {
			require.True(t, strings.HasPrefix(address, d.w.srv.URL()+"/") || strings.HasPrefix(address, to) || strings.HasPrefix(address, "data:"), address)
		}
	})
	t.Run("a double click", func(t *testing.T) {
		d, s, b := at(t)
		b.doubleClick(allow)
		require.Equal(t, "Signed in to Google Drive", b.text("h1.good"))
		d.signedIn(s)
	})
	t.Run("deny", func(t *testing.T) {
		d, s, b := at(t)
		b.click(deny)
		require.Equal(t, "That did not work", b.text("h1.bad"))
		require.Contains(t, b.text("main p"), "consent was not given")
		oneLine(t, s.end(), exitSignIn, "consent was not given", "sregfs login")
		require.NoFileExists(t, d.w.path("mine", "token"))
		require.Equal(t, exitSignIn, d.sregfs("search").code)
	})
	t.Run("Drive unticked", func(t *testing.T) {
		d, s, b := at(t)
		b.click(tick)
		b.click(allow)
		require.Contains(t, b.text("h1.bad + p"), "tick")
		oneLine(t, s.end(), exitSignIn, "tick", "Google Drive files", "sregfs login")
		require.NoFileExists(t, d.w.path("mine", "token"))
	})
	t.Run("Drive unticked among others", func(t *testing.T) {
		d := newWorld(t).atDesk("ann@uni.edu")
		s := d.login()
		b := newTab(browser, t)
		b.visit(strings.Replace(s.url, url.QueryEscape(drive.Scope), url.QueryEscape(drive.Scope+" "+drive.Scope+".file"), 1))
		b.click("input[value='" + drive.Scope + "']")
		b.click(allow)
		require.Contains(t, b.text("h1.bad + p"), "tick")
		oneLine(t, s.end(), exitSignIn, "tick", "Google Drive files", "sregfs login")
		require.NoFileExists(t, d.w.path("mine", "token"))
	})
	t.Run("a forged answer", func(t *testing.T) {
		d, s, b := at(t)
		to, _ := redirectOf(s.url)
		forger := newTab(browser, t, b)
		forger.visit(to + "?state=guess&code=4/stolen")
		require.Contains(t, forger.text("body"), "not the answer")
		require.NoFileExists(t, d.w.path("mine", "token"))
		b.click(allow)
		require.Equal(t, "Signed in to Google Drive", b.text("h1.good"))
		d.signedIn(s)
	})
	t.Run("the window is closed", func(t *testing.T) {
		d, s, b := at(t)
		b.close()
		require.NoError(t, s.cmd.Process.Signal(os.Interrupt))
		oneLine(t, s.end(), exitInterrupted, "interrupted")
		require.NoFileExists(t, d.w.path("mine", "token"))
		s = d.login()
		b = newTab(browser, t)
		b.visit(s.url)
		b.click(allow)
		d.signedIn(s)
	})
	t.Run("given up in the terminal first", func(t *testing.T) {
		d, s, b := at(t)
		require.NoError(t, s.cmd.Process.Signal(os.Interrupt))
		require.Equal(t, exitInterrupted, s.end().code)
		_, err := chromedp.RunResponse(b.ctx, chromedp.Click(chromedp.CSS(allow)))
		require.ErrorContains(t, err, "ERR_CONNECTION_REFUSED")
		require.NoFileExists(t, d.w.path("mine", "token"))
	})
	t.Run("two at once", func(t *testing.T) {
		d, first, b := at(t)
		second := d.login()
		other := newTab(browser, t, b)
		other.visit(second.url)
		b.click(allow)
		require.Equal(t, "Signed in to Google Drive", b.text("h1.good"))
		d.signedIn(first)
		other.click(allow)
		require.Equal(t, "Signed in to Google Drive", other.text("h1.good"))
		d.signedIn(second)
	})
	t.Run("as somebody else", func(t *testing.T) {
		d, s, b := at(t)
		b.click("input[value='bob@uni.edu']")
		b.click(allow)
		d.signedIn(s)
		require.Contains(t, d.sregfs("doctor").out, "bob@uni.edu")
	})
	t.Run("a web client on localhost", func(t *testing.T) {
		w := newWorld(t)
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		_, port, err := net.SplitHostPort(l.Addr().String())
		require.NoError(t, err)
		d := w.atDesk("ann@uni.edu", "SREGISTRY_GOOGLE_DRIVE_CREDENTIALS="+w.webClient("http://localhost:"+port+"/callback"))
		oneLine(t, d.sregfs("login"), exitSignIn, "localhost:"+port, "in use")
		require.NoError(t, l.Close())
		s := d.login()
		b := newTab(browser, t)
		b.visit(s.url)
		b.click(allow)
		require.Equal(t, "Signed in to Google Drive", b.text("h1.good"))
		d.signedIn(s)
	})
	t.Run("a project in testing", func(t *testing.T) {
		w := newWorldIn(t, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}, Limits: drivetest.Limits{GrantLife: 7 * 24 * time.Hour}})
		d := w.atDesk("ann@uni.edu")
		s := d.login()
		b := newTab(browser, t)
		b.visit(s.url)
		b.click(allow)
		d.signedIn(s)
		require.Regexp(t, `ok    sign-in .* given 20\d\d-.*, ends 20\d\d-`, d.sregfs("doctor").ok(t))
	})
}

// webClient makes an OAuth client file of the type Web with these redirect addresses.
func (w *world) webClient(redirects ...string) string {
	w.t.Helper()
	text, err := os.ReadFile(w.path("users", "ann@uni.edu", "client_secrets.json"))
	require.NoError(w.t, err)
	var file map[string]map[string]any
	require.NoError(w.t, json.Unmarshal(text, &file))
	file["installed"]["redirect_uris"] = redirects
	text, err = json.Marshal(map[string]any{"web": file["installed"]})
	require.NoError(w.t, err)
	return w.file("web.json", text)
}
