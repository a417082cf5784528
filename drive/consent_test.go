package drive_test

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
)

// login signs w in, as the account's owner does who agrees.
func (w *world) login() {
	w.t.Helper()
	require.NoError(w.t, w.auth.Login(w.t.Context(), drive.Login{Prompt: func(address string) error {
		to, err := w.user.Authorize(address)
		browser(w.t, to)
		return err
	}}))
}

func TestConsentIsRemembered(t *testing.T) {
	t.Run("of a project in testing", func(t *testing.T) {
		w := start(t, drivetest.Options{Limits: drivetest.Limits{GrantLife: 7 * 24 * time.Hour}})
		require.Zero(t, w.auth.Consent(), "written by another program")
		before := time.Now().Add(-time.Second)
		w.login()
		given := w.auth.Consent()
		require.WithinRange(t, given.Given, before, time.Now())
		require.WithinDuration(t, given.Given.Add(7*24*time.Hour), given.Ends, 30*time.Second)
		w.expire() // as another program would write it: what is known of the consent is gone
		require.Zero(t, w.openAuth(w.dir).Consent())
		_, err := w.About(t.Context())
		require.NoError(t, err)
		again := w.openAuth(w.dir).Consent()
		require.Zero(t, again.Given)
		require.WithinDuration(t, given.Ends, again.Ends, 30*time.Second, "a refresh tells the end again")
	})
	t.Run("of a published one", func(t *testing.T) {
		w := start(t, drivetest.Options{})
		w.login()
		given := w.auth.Consent()
		require.NotZero(t, given.Given)
		require.Zero(t, given.Ends)
		spoil(t, filepath.Join(w.dir, "token.json"))
		_, err := w.About(t.Context())
		require.NoError(t, err)
		require.Equal(t, given, w.openAuth(w.dir).Consent(), "kept when the token is refreshed")
		require.NoError(t, w.auth.Logout(t.Context()))
		require.Zero(t, w.auth.Consent())
	})
}

// spoil ends the access token in the file at path, and leaves the rest as it is.
func spoil(t *testing.T, path string) {
	t.Helper()
	var fields map[string]any
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &fields))
	fields["access_token"], fields["expiry"] = "spent", time.Now().Add(-time.Hour)
	write(t, path, fields)
}

// Somebody signs in, or out, while a refresh is under way: what they did counts, and is not written over.
func TestSignInDuringARefresh(t *testing.T) {
	for _, deed := range []string{"in", "out"} {
		t.Run("sign "+deed, func(t *testing.T) {
			w := start(t, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
			token := filepath.Join(w.dir, "token.json")
			asked, release := make(chan struct{}), make(chan struct{})
			home, err := url.Parse(w.srv.URL())
			require.NoError(t, err)
			pass := httputil.NewSingleHostReverseProxy(home)
			slow := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				close(asked)
				<-release
				pass.ServeHTTP(rw, r)
			}))
			t.Cleanup(slow.Close)
			secrets, err := os.ReadFile(filepath.Join(w.dir, "client_secrets.json"))
			require.NoError(t, err)
			client := write(t, filepath.Join(t.TempDir(), "client.json"), strings.Replace(string(secrets), w.srv.URL()+"/token", slow.URL+"/token", 1))
			spoil(t, token)
			auth, err := drive.OpenAuth(drive.AuthOptions{Credentials: client, Token: token, Save: true})
			require.NoError(t, err)
			c := w.client(drive.Options{Auth: auth})
			type outcome struct {
				about drive.About
				err   error
			}
			done := make(chan outcome, 1)
			go func() {
				about, err := c.About(t.Context())
				done <- outcome{about, err}
			}()
			<-asked
			if deed == "in" {
				other := t.TempDir()
				require.NoError(t, w.srv.User("bob@uni.edu").WriteCredentials(other))
				require.NoError(t, os.Rename(filepath.Join(other, "token.json"), token))
			} else {
				require.NoError(t, os.Remove(token))
			}
			close(release)
			got := <-done
			if deed == "out" {
				require.ErrorIs(t, got.err, drive.ErrSignIn)
				require.NoFileExists(t, token)
				return
			}
			require.NoError(t, got.err)
			require.Equal(t, "bob@uni.edu", got.about.Email)
			about, err := w.client(drive.Options{Auth: w.openAuth(w.dir)}).About(t.Context())
			require.NoError(t, err)
			require.Equal(t, "bob@uni.edu", about.Email)
		})
	}
}

// A client of type Web is answered where its file says, on either loopback address, and at the next one if a port is taken.
func TestWebClientSignsIn(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	busy := "http://" + taken.Addr().String() + "/"
	free := func(address string) string {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
		require.NoError(t, err)
		defer l.Close()
		return l.Addr().String()
	}
	web := func(w *world, redirects ...string) *drive.Auth {
		secrets, err := os.ReadFile(filepath.Join(w.dir, "client_secrets.json"))
		require.NoError(t, err)
		var file map[string]map[string]any
		require.NoError(t, json.Unmarshal(secrets, &file))
		file["installed"]["redirect_uris"] = redirects
		path := write(t, filepath.Join(t.TempDir(), "web.json"), map[string]any{"web": file["installed"]})
		auth, err := drive.OpenAuth(drive.AuthOptions{Credentials: path, Token: filepath.Join(t.TempDir(), "token"), Save: true})
		require.NoError(t, err)
		return auth
	}
	_, port, err := net.SplitHostPort(free("127.0.0.1:0"))
	require.NoError(t, err)
	redirects := map[string][]string{
		"by name":      {"http://localhost:" + port + "/oauth2callback"},
		"with no path": {"http://" + free("127.0.0.1:0")},
		"the next one": {busy, "http://" + free("127.0.0.1:0") + "/"},
	}
	if l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "[::1]:0"); err == nil {
		require.NoError(t, l.Close())
		redirects["IPv6"] = []string{"http://" + l.Addr().String() + "/"}
	}
	for name, uris := range redirects {
		t.Run(name, func(t *testing.T) {
			w := start(t, drivetest.Options{})
			auth := web(w, uris...)
			var page <-chan string
			require.NoError(t, auth.Login(t.Context(), drive.Login{Prompt: func(address string) error {
				to, err := w.user.Authorize(address)
				require.NoError(t, err)
				require.True(t, strings.HasPrefix(to, uris[len(uris)-1]), to)
				page = browser(t, to)
				return nil
			}}))
			require.Contains(t, <-page, "Signed in")
			require.True(t, auth.SignedIn())
		})
	}
	t.Run("none is free", func(t *testing.T) {
		w := start(t, drivetest.Options{})
		err := web(w, busy).Login(t.Context(), drive.Login{Prompt: func(string) error { t.Error("nobody can answer"); return nil }})
		require.ErrorContains(t, err, busy)
		require.ErrorContains(t, err, "in use")
	})
}
