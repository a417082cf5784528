package drive_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/sync/errgroup"

	"sregfs/drive"
	"sregfs/drive/drivetest"
)

func write(t *testing.T, path string, v any) string {
	t.Helper()
	text, ok := v.(string)
	if !ok {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		text = string(b)
	}
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// readToken is the token file of w, whose other fields it leaves alone.
func (w *world) readToken() (tok oauth2.Token) {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, "token.json"))
	require.NoError(w.t, err)
	require.NoError(w.t, json.Unmarshal(b, &tok))
	return tok
}

// expire makes the token file one whose access token is over.
func (w *world) expire() oauth2.Token {
	w.t.Helper()
	tok := w.readToken()
	tok.AccessToken, tok.Expiry = "spent", time.Now().Add(-time.Hour)
	write(w.t, filepath.Join(w.dir, "token.json"), tok)
	return tok
}

func TestOpenAuth(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		text any
		want error
		says string
	}{
		"not JSON":         {"rubbish, GOCSPX-secret", drive.ErrCredentials, "not JSON"},
		"empty":            {"", drive.ErrCredentials, "not JSON"},
		"an array":         {"[]", drive.ErrCredentials, "not JSON"},
		"nothing in it":    {"{}", drive.ErrCredentials, "neither"},
		"another kind":     {map[string]string{"type": "authorized_user"}, drive.ErrCredentials, "authorized_user"},
		"no client id":     {map[string]any{"installed": map[string]string{}}, drive.ErrCredentials, "client_id"},
		"a bad address":    {map[string]any{"web": map[string]string{"client_id": "x", "token_uri": "nowhere"}}, drive.ErrCredentials, "token_uri"},
		"a key of no one":  {map[string]string{"type": "service_account"}, drive.ErrCredentials, "client_email"},
		"a key not PEM":    {map[string]string{"type": "service_account", "client_email": "a@b", "private_key": "GOCSPX-secret"}, drive.ErrCredentials, "PEM"},
		"a key of nothing": {map[string]string{"type": "service_account", "client_email": "a@b", "private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}, drive.ErrCredentials, "RSA"},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, filepath.Join(dir, "client.json"), c.text)
			_, err := drive.OpenAuth(drive.AuthOptions{Credentials: path})
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, path)
			require.NotContains(t, err.Error(), "GOCSPX")
		})
	}
	_, err := drive.OpenAuth(drive.AuthOptions{})
	require.ErrorIs(t, err, drive.ErrNoCredentials)
	_, err = drive.OpenAuth(drive.AuthOptions{Credentials: filepath.Join(dir, "nothing")})
	require.ErrorIs(t, err, drive.ErrNoCredentials)
	_, err = drive.OpenAuth(drive.AuthOptions{Credentials: dir})
	require.ErrorIs(t, err, drive.ErrCredentials)

	auth, err := drive.OpenAuth(drive.AuthOptions{Credentials: write(t, filepath.Join(dir, "web.json"), `{"web":{"client_id":"x"}}`)})
	require.NoError(t, err, "Google's addresses are the default")
	require.Equal(t, drive.KindWeb, auth.Kind())
	require.False(t, auth.SignedIn())
}

func TestNotSignedIn(t *testing.T) {
	w := start(t, drivetest.Options{})
	require.NoError(t, os.Remove(filepath.Join(w.dir, "token.json")))
	w.srv.ResetRequests()
	for name, auth := range map[string]*drive.Auth{"no auth": nil, "no token": w.openAuth(w.dir)} {
		c := w.client(drive.Options{Auth: auth})
		_, err := c.About(t.Context())
		require.ErrorIs(t, err, drive.ErrSignIn, name)
		require.False(t, drive.Retryable(err))
		require.Contains(t, drive.Sentence(err), "sregfs login")
	}
	require.Empty(t, w.srv.Requests(), "and nobody was asked")
}

func TestRefresh(t *testing.T) {
	w := start(t, drivetest.Options{})
	spent := w.expire()
	killed := write(t, filepath.Join(w.dir, ".token-123"), "of a program that was killed while it saved it")
	require.NoError(t, os.Chtimes(killed, time.Time{}, time.Now().Add(-time.Hour)))
	var g errgroup.Group
	for range 16 {
		g.Go(func() error { _, err := w.About(t.Context()); return err })
	}
	require.NoError(t, g.Wait())
	fetched := 0
	for _, r := range w.srv.Requests() {
		if r.Path == "/token" {
			fetched++
		}
	}
	require.Equal(t, 1, fetched, "one for all")
	saved := w.readToken()
	require.True(t, saved.Valid())
	require.NotEqual(t, spent.AccessToken, saved.AccessToken)
	require.Equal(t, spent.RefreshToken, saved.RefreshToken)
	info, err := os.Stat(filepath.Join(w.dir, "token.json"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	files, err := os.ReadDir(w.dir)
	require.NoError(t, err)
	require.Len(t, files, 3, "nothing temporary is left")
}

func TestRefreshThroughFaults(t *testing.T) {
	for name, fault := range map[string]*drivetest.Rule{
		"a page of a proxy": drivetest.On("POST", "/token").Status(502, "").HTML().Times(2),
		"cut":               drivetest.On("POST", "/token").DropReply().Times(2),
		"too many":          drivetest.On("POST", "/token").Status(429, "rateLimitExceeded").Times(1),
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, drivetest.Options{})
			w.expire()
			w.srv.Fault(fault)
			_, err := w.About(t.Context())
			require.NoError(t, err)
			require.Positive(t, fault.Hits())
		})
	}
}

func TestGrantThatEnded(t *testing.T) {
	w := start(t, drivetest.Options{})
	_, err := w.About(t.Context())
	require.NoError(t, err)
	require.True(t, w.auth.SignedIn())
	w.user.RevokeTokens()
	_, err = w.About(t.Context())
	require.ErrorIs(t, err, drive.ErrSignIn)
	var e *drive.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "invalid_grant", e.Reason)
	require.False(t, w.auth.SignedIn())

	w.srv.ResetRequests()
	_, err = w.About(t.Context())
	require.ErrorIs(t, err, drive.ErrSignIn)
	require.Empty(t, w.srv.Requests(), "a refused grant is not tried again")

	// `sregfs login` in another process: the running client goes on.
	require.NoError(t, w.user.WriteCredentials(w.dir))
	_, err = w.About(t.Context())
	require.NoError(t, err)

	// `sregfs logout` in another process.
	require.NoError(t, os.Remove(filepath.Join(w.dir, "token.json")))
	_, err = w.About(t.Context())
	require.ErrorIs(t, err, drive.ErrSignIn)
}

func TestTokenIsNotSavedUnasked(t *testing.T) {
	w := start(t, drivetest.Options{})
	before := w.expire()
	auth, err := drive.OpenAuth(drive.AuthOptions{
		Credentials: filepath.Join(w.dir, "client_secrets.json"), Token: filepath.Join(w.dir, "token.json"),
	})
	require.NoError(t, err)
	_, err = w.client(drive.Options{Auth: auth}).About(t.Context())
	require.NoError(t, err)
	require.Equal(t, before.AccessToken, w.readToken().AccessToken)
}

func TestBrokenTokenFile(t *testing.T) {
	w := start(t, drivetest.Options{})
	for _, text := range []string{"", "{", "[]", "{}", `{"access_token":5}`} {
		write(t, filepath.Join(w.dir, "token.json"), text)
		auth := w.openAuth(w.dir)
		require.False(t, auth.SignedIn())
		_, err := w.client(drive.Options{Auth: auth}).About(t.Context())
		require.ErrorIs(t, err, drive.ErrSignIn)
	}
}

func TestTheRegistryToolsToken(t *testing.T) {
	w := start(t, drivetest.Options{})
	var secrets struct {
		Installed struct {
			ID     string `json:"client_id"`
			Secret string `json:"client_secret"`
			Token  string `json:"token_uri"`
		}
	}
	b, err := os.ReadFile(filepath.Join(w.dir, "client_secrets.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &secrets))
	// As oauth2client 4.1.3 writes it.
	old := map[string]any{
		"access_token": "spent", "client_id": secrets.Installed.ID, "client_secret": secrets.Installed.Secret,
		"refresh_token": w.readToken().RefreshToken, "token_expiry": "2018-05-01T12:00:00Z", "token_uri": secrets.Installed.Token,
		"user_agent": nil, "revoke_uri": nil, "id_token": nil, "id_token_jwt": nil,
		"token_response": map[string]any{"access_token": "spent", "expires_in": 3600, "token_type": "Bearer"},
		"scopes":         []string{drive.Scope}, "token_info_uri": nil, "invalid": false,
		"_class": "OAuth2Credentials", "_module": "oauth2client.client",
	}
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "google-drive"), old)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	options := drive.AuthOptions{Credentials: filepath.Join(w.dir, "client_secrets.json"), Save: true}

	t.Run("imported", func(t *testing.T) {
		o := options
		o.Import, o.Token = path, filepath.Join(dir, "deep", "down", "token")
		auth, err := drive.OpenAuth(o)
		require.NoError(t, err)
		require.True(t, auth.SignedIn())
		_, err = w.client(drive.Options{Auth: auth}).About(t.Context())
		require.NoError(t, err)
		require.FileExists(t, o.Token)
		o.Import = ""
		auth, err = drive.OpenAuth(o)
		require.NoError(t, err)
		require.True(t, auth.SignedIn(), "once is enough")
	})
	t.Run("in our place", func(t *testing.T) {
		o := options
		o.Token = path
		auth, err := drive.OpenAuth(o)
		require.NoError(t, err)
		_, err = w.client(drive.Options{Auth: auth}).About(t.Context())
		require.NoError(t, err)
		_, err = w.client(drive.Options{Auth: auth}).About(t.Context())
		require.NoError(t, err)
	})
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after, "the Python tool can still read its file")
	t.Run("of another client", func(t *testing.T) {
		other := map[string]any{}
		for k, v := range old {
			other[k] = v
		}
		other["client_id"] = "another"
		o := options
		o.Import, o.Token = write(t, filepath.Join(dir, "other"), other), filepath.Join(dir, "token2")
		auth, err := drive.OpenAuth(o)
		require.NoError(t, err)
		require.False(t, auth.SignedIn())
	})
}

func TestServiceAccount(t *testing.T) {
	w := start(t, drivetest.Options{})
	const robot = "robot@project.iam.gserviceaccount.com"
	path := filepath.Join(t.TempDir(), "key.json")
	require.NoError(t, w.srv.User(robot).WriteServiceAccount(path))
	auth, err := drive.OpenAuth(drive.AuthOptions{Credentials: path, Token: filepath.Join(t.TempDir(), "token"), Save: true})
	require.NoError(t, err)
	require.Equal(t, drive.KindServiceAccount, auth.Kind())
	require.True(t, auth.SignedIn())
	require.NoError(t, auth.Login(t.Context(), drive.Login{}), "there is nobody to ask")
	c := w.client(drive.Options{Auth: auth})
	about, err := c.About(t.Context())
	require.NoError(t, err)
	require.Equal(t, robot, about.Email)

	f := w.put("an image", noise(10))
	_, err = w.Share(t.Context(), f.ID, drive.Invite{Email: robot})
	require.NoError(t, err)
	require.NoError(t, c.ReadRange(t.Context(), contentOf(f), make([]byte, 10), 0, nil))
	_, err = c.BeginUpload(t.Context(), drive.NewFile{Name: "x", Size: 1})
	require.ErrorIs(t, err, drive.ErrFull, "it has no storage of its own")
}

func TestClientUnknownToGoogle(t *testing.T) {
	w := start(t, drivetest.Options{})
	w.expire()
	path := filepath.Join(w.dir, "client_secrets.json")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	write(t, path, strings.Replace(string(b), `"client_id": "`, `"client_id": "not-`, 1))
	_, err = w.client(drive.Options{Auth: w.openAuth(w.dir)}).About(t.Context())
	require.ErrorIs(t, err, drive.ErrCredentials)
}

// The token goes to the API's own host, wherever a session's address may point.
func TestTokenStaysAtHome(t *testing.T) {
	w := start(t, drivetest.Options{})
	seen := make(chan string, 10)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Get("Authorization")
		rw.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(elsewhere.Close)
	_, err := w.Upload(t.Context(), elsewhere.URL+"/upload?upload_id=1", strings.NewReader("x"), 1, nil)
	require.ErrorIs(t, err, drive.ErrSession)
	require.Empty(t, <-seen)
}
