package drive_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
)

// The listener of a sign-in answers the browser that comes back from consent, and nobody else.
func TestLoginListensForItsOwnAnswer(t *testing.T) {
	w := start(t, drivetest.Options{})
	w.signOut()
	var home *url.URL
	var page <-chan string
	err := w.auth.Login(t.Context(), drive.Login{Prompt: func(address string) error {
		asked, err := url.Parse(address)
		require.NoError(t, err)
		home, err = url.Parse(asked.Query().Get("redirect_uri"))
		require.NoError(t, err)
		require.False(t, listens(t, "http://127.0.0.2:"+home.Port()), "on one address only")
		to, err := w.user.Authorize(address)
		require.NoError(t, err)
		good, err := url.Parse(to)
		require.NoError(t, err)
		forged := good.Query()
		forged.Set("state", "guess")
		for name, c := range map[string]struct {
			method, host, path, query string
			want                      int
		}{
			"another name of this machine": {"GET", "evil.example:" + home.Port(), "/", good.RawQuery, http.StatusNotFound},
			"another path":                 {"GET", home.Host, "/favicon.ico", good.RawQuery, http.StatusNotFound},
			"a form":                       {"POST", home.Host, "/", good.RawQuery, http.StatusNotFound},
			"a guessed state":              {"GET", home.Host, "/", forged.Encode(), http.StatusBadRequest},
			"no state":                     {"GET", home.Host, "/", "code=4/mine", http.StatusBadRequest},
			"no code":                      {"GET", home.Host, "/", "state=" + good.Query().Get("state"), http.StatusBadRequest},
		} {
			req, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+home.Host+c.path+"?"+c.query, nil)
			require.NoError(t, err)
			req.Host = c.host
			resp, err := http.DefaultClient.Do(req)
			require.NoError(t, err, name)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, c.want, resp.StatusCode, name)
		}
		require.False(t, w.auth.SignedIn(), "none of it counted")
		page = browser(t, to)
		return nil
	}})
	require.NoError(t, err)
	require.Contains(t, <-page, "signed in")
	require.False(t, listens(t, home.String()), "used once, and closed")
}

// What the browser brings back is shown as text, not as a page.
func TestLoginPageShowsTextOnly(t *testing.T) {
	w := start(t, drivetest.Options{})
	var page <-chan string
	err := w.auth.Login(t.Context(), drive.Login{Prompt: func(address string) error {
		asked, err := url.Parse(address)
		require.NoError(t, err)
		answer := url.Values{"state": {asked.Query().Get("state")}, "error": {"<script>alert(1)</script>\x1b[2J"}}
		page = browser(t, asked.Query().Get("redirect_uri")+"?"+answer.Encode())
		return nil
	}})
	require.ErrorIs(t, err, drive.ErrSignIn)
	text := <-page
	require.NotContains(t, text, "<script>alert")
	require.Equal(t, 1, strings.Count(text, "<script"), "the page's own")
	require.NotContains(t, err.Error(), "\x1b")
}

// A token file that others could read is closed to them before it is used.
func TestTokenFileIsClosedToOthers(t *testing.T) {
	w := start(t, drivetest.Options{})
	path := filepath.Join(w.dir, "token.json")
	require.NoError(t, os.Chmod(path, 0o644))
	_, err := w.client(drive.Options{Auth: w.openAuth(w.dir)}).About(t.Context())
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// The refresh token and the client's secret go to the token endpoint named in the client file, not to where it points.
func TestTokenEndpointIsNotFollowedElsewhere(t *testing.T) {
	w := start(t, drivetest.Options{})
	w.expire()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		t.Error("a token endpoint was followed to another address")
		rw.WriteHeader(http.StatusBadRequest)
	}))
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		here := httptest.NewServer(http.RedirectHandler(elsewhere.URL+"/token", status))
		t.Cleanup(here.Close)
		path := filepath.Join(t.TempDir(), "client.json")
		write(t, path, map[string]any{"installed": map[string]string{"client_id": "x", "client_secret": "sesame", "token_uri": here.URL}})
		auth, err := drive.OpenAuth(drive.AuthOptions{Credentials: path, Token: filepath.Join(w.dir, "token.json")})
		require.NoError(t, err)
		_, err = w.client(drive.Options{Auth: auth, Timeout: 200 * time.Millisecond}).About(t.Context())
		require.Error(t, err, status)
	}
}

// A certificate nobody vouches for is no Drive.
func TestCertificatesAreChecked(t *testing.T) {
	w := start(t, drivetest.Options{})
	fake := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Error("a request reached it, with " + strings.Join(r.Header.Values("Authorization"), ""))
	}))
	fake.Config.ErrorLog = nil
	t.Cleanup(fake.Close)
	c, err := drive.New(drive.Options{URL: fake.URL, Auth: w.auth, Timeout: 3 * time.Second}) // time for a handshake on a busy machine
	require.NoError(t, err)
	t.Cleanup(c.Close)
	_, err = c.About(t.Context())
	require.ErrorContains(t, err, "certificate")
}

// A service that is asked over plain HTTP is said, unless it is on this machine.
func TestPlainAddressesAreSaid(t *testing.T) {
	for address, warned := range map[string]bool{
		"http://192.0.2.1:80": true, "http://drive.example": true, "http://127.0.0.1:1": false, "http://[::1]:1": false,
		"http://localhost:1": false, "https://192.0.2.1": false,
	} {
		log, said := test.NewNullLogger()
		c, err := drive.New(drive.Options{URL: address, Log: log})
		require.NoError(t, err)
		c.Close()
		path := write(t, filepath.Join(t.TempDir(), "client.json"), map[string]any{"installed": map[string]string{"client_id": "x", "token_uri": address + "/token"}})
		_, err = drive.OpenAuth(drive.AuthOptions{Credentials: path, Log: log})
		require.NoError(t, err)
		if !warned {
			require.Empty(t, said.AllEntries(), address)
			continue
		}
		require.Len(t, said.AllEntries(), 2, address)
		require.Equal(t, logrus.WarnLevel, said.LastEntry().Level)
		require.Contains(t, said.LastEntry().Message, "encryption")
	}
}

// Whatever a server sends for a reply, it costs bounded memory and ends.
func TestRepliesAreBounded(t *testing.T) {
	// Three tries of 64 MiB each. Google's library reads them by io.ReadAll, whose buffer grows by a quarter at a time: in
	// all it allocates five times what it reads, of which the last two buffers are held at once.
	const (
		read = 3 * 64 << 20
		most = 5*read + 64<<20
	)
	w := start(t, drivetest.Options{})
	for name, text := range map[string]struct{ head, more string }{
		"endless text":  {`{"user":{"displayName":"`, strings.Repeat("a", 1<<16)},
		"endless depth": {`{"user":`, strings.Repeat("[", 1<<16)},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Type", "application/json")
				// The server is in this process too: it must not be what allocates.
				_, err := rw.Write([]byte(text.head))
				for more := []byte(text.more); err == nil; { // until the client has had enough
					_, err = rw.Write(more)
				}
			}))
			t.Cleanup(srv.Close)
			c, err := drive.New(drive.Options{URL: srv.URL, Auth: w.auth, Timeout: 20 * time.Second})
			require.NoError(t, err)
			c.Hurry()
			t.Cleanup(c.Close)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err = c.About(t.Context())
			runtime.ReadMemStats(&after)
			require.Error(t, err)
			t.Logf("%d MiB allocated", (after.TotalAlloc-before.TotalAlloc)>>20)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(most))
			require.Less(t, c.Stats().BytesIn, int64(read+1<<20), "no more is read than what is looked at")
		})
	}
}

// The files of the sign-in are small, whatever stands in their place.
func TestClientFilesAreBounded(t *testing.T) {
	w := start(t, drivetest.Options{})
	path := filepath.Join(t.TempDir(), "client.json")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(1<<40)) // more than any machine has
	require.NoError(t, f.Close())
	_, err = drive.OpenAuth(drive.AuthOptions{Credentials: path})
	require.ErrorIs(t, err, drive.ErrCredentials)

	require.NoError(t, os.Truncate(filepath.Join(w.dir, "token.json"), 1<<40))
	auth := w.openAuth(w.dir)
	require.False(t, auth.SignedIn())

	deep := strings.Repeat(`{"installed":`, 50_000)
	_, err = drive.OpenAuth(drive.AuthOptions{Credentials: write(t, path, deep)})
	require.ErrorIs(t, err, drive.ErrCredentials)
	require.False(t, json.Valid([]byte(deep)))
}

// FuzzClientFile: a client file is used or refused, and neither the refusal nor the log quotes it.
func FuzzClientFile(f *testing.F) {
	for _, text := range []string{
		`{"installed":{"client_id":"x","client_secret":"sesame","token_uri":"https://a/b"}}`, `{"web":{"client_id":"x","redirect_uris":["http://localhost:1/"]}}`,
		`{"type":"service_account","client_email":"a@b","private_key":"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}`, `{"installed":null}`, `[]`, ``,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		log, said := test.NewNullLogger()
		path := filepath.Join(t.TempDir(), "client.json")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		auth, err := drive.OpenAuth(drive.AuthOptions{Credentials: path, Log: log})
		require.Equal(t, err == nil, auth != nil)
		if err != nil {
			require.ErrorIs(t, err, drive.ErrCredentials)
			require.NotContains(t, err.Error(), "sesame")
		}
		for _, e := range said.AllEntries() {
			require.NotContains(t, e.Message, "sesame")
		}
	})
}
