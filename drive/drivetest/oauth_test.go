package drivetest_test

import (
	"bytes"
	"encoding/json"
	"html"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"sregfs/drive/drivetest"
)

const fullScope = "https://www.googleapis.com/auth/drive"

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

// clock is a server's clock that tests turn forward.
type clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// clientConfig is the configuration a program makes of the server's client secrets.
func clientConfig(t *testing.T, s *drivetest.Server, scopes ...string) *oauth2.Config {
	t.Helper()
	if len(scopes) == 0 {
		scopes = []string{fullScope}
	}
	secrets, err := s.ClientSecrets()
	require.NoError(t, err)
	config, err := google.ConfigFromJSON(secrets, scopes...)
	require.NoError(t, err)
	config.RedirectURL = "http://127.0.0.1:43210/done?kept=1"
	return config
}

// answer is the query a browser is sent back with.
func answer(t *testing.T, redirect string) url.Values {
	t.Helper()
	u, err := url.Parse(redirect)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:43210", u.Host)
	require.Equal(t, "/done", u.Path)
	require.Equal(t, "1", u.Query().Get("kept"), "a query of the redirect address is kept")
	return u.Query()
}

// refused is the error of the token endpoint in err.
func refused(t *testing.T, err error) string {
	t.Helper()
	var e *oauth2.RetrieveError
	require.ErrorAs(t, err, &e)
	return e.ErrorCode
}

func TestSignIn(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{})
	config := clientConfig(t, s)
	verifier := oauth2.GenerateVerifier()
	offline := []oauth2.AuthCodeOption{oauth2.AccessTypeOffline, oauth2.ApprovalForce, oauth2.S256ChallengeOption(verifier)}

	to, err := s.User("").Authorize(config.AuthCodeURL("the state", offline...))
	require.NoError(t, err)
	got := answer(t, to)
	require.Equal(t, "the state", got.Get("state"))
	require.Equal(t, fullScope, got.Get("scope"))

	t.Run("a code without its verifier is worth nothing", func(t *testing.T) {
		_, err := config.Exchange(t.Context(), got.Get("code"))
		require.Equal(t, "invalid_grant", refused(t, err))
		_, err = config.Exchange(t.Context(), got.Get("code"), oauth2.VerifierOption(oauth2.GenerateVerifier()))
		require.Equal(t, "invalid_grant", refused(t, err))
	})
	t.Run("nor at another address", func(t *testing.T) {
		other := *config
		other.RedirectURL = "http://127.0.0.1:43210/"
		_, err := other.Exchange(t.Context(), got.Get("code"), oauth2.VerifierOption(verifier))
		require.Equal(t, "redirect_uri_mismatch", refused(t, err))
	})
	token, err := config.Exchange(t.Context(), got.Get("code"), oauth2.VerifierOption(verifier))
	require.NoError(t, err)
	require.NotEmpty(t, token.RefreshToken)
	require.Equal(t, "Bearer", token.TokenType)
	require.Equal(t, fullScope, token.Extra("scope"))
	require.InDelta(t, 3599, time.Until(token.Expiry).Seconds(), 60)

	about := func(access string) reply {
		return do(t, nil, "GET", s.URL()+"/drive/v3/about?fields=user", "", "Authorization: Bearer "+access)
	}
	require.Equal(t, 200, about(token.AccessToken).status)

	old := *token
	old.Expiry = time.Unix(1, 0)
	fresh, err := config.TokenSource(t.Context(), &old).Token()
	require.NoError(t, err)
	require.NotEqual(t, token.AccessToken, fresh.AccessToken)
	require.Equal(t, token.RefreshToken, fresh.RefreshToken, "a refresh brings no new refresh token")
	require.Equal(t, 200, about(fresh.AccessToken).status)

	t.Run("a code that comes again ends what it gave", func(t *testing.T) {
		_, err := config.Exchange(t.Context(), got.Get("code"), oauth2.VerifierOption(verifier))
		require.Equal(t, "invalid_grant", refused(t, err))
		require.Equal(t, 401, about(token.AccessToken).status)
		_, err = config.TokenSource(t.Context(), &old).Token()
		require.Equal(t, "invalid_grant", refused(t, err))
	})
}

func TestPlainChallenge(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{})
	config := clientConfig(t, s)
	verifier := oauth2.GenerateVerifier()
	to, err := s.User("").Authorize(config.AuthCodeURL("x", oauth2.SetAuthURLParam("code_challenge", verifier)))
	require.NoError(t, err)
	token, err := config.Exchange(t.Context(), answer(t, to).Get("code"), oauth2.VerifierOption(verifier))
	require.NoError(t, err)
	require.Empty(t, token.RefreshToken, "it was not asked for")
}

func TestRefreshTokensAreGivenOnce(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
	config := clientConfig(t, s)
	signIn := func(email string, options ...oauth2.AuthCodeOption) string {
		to, err := s.User(email).Authorize(config.AuthCodeURL("x", options...))
		require.NoError(t, err)
		token, err := config.Exchange(t.Context(), answer(t, to).Get("code"))
		require.NoError(t, err)
		return token.RefreshToken
	}
	require.Empty(t, signIn("ann@uni.edu"), "not without access_type=offline")
	first := signIn("ann@uni.edu", oauth2.AccessTypeOffline)
	require.NotEmpty(t, first)
	require.Empty(t, signIn("ann@uni.edu", oauth2.AccessTypeOffline), "not on a repeated consent")
	require.NotEmpty(t, signIn("bob@uni.edu", oauth2.AccessTypeOffline), "another account has not agreed before")
	live := func() bool {
		_, err := config.TokenSource(t.Context(), &oauth2.Token{RefreshToken: first}).Token()
		return err == nil
	}
	for range 99 {
		require.NotEmpty(t, signIn("ann@uni.edu", oauth2.AccessTypeOffline, oauth2.SetAuthURLParam("prompt", "consent")))
	}
	require.True(t, live(), "100 live at once")
	require.NotEmpty(t, signIn("ann@uni.edu", oauth2.AccessTypeOffline, oauth2.SetAuthURLParam("prompt", "consent")))
	require.False(t, live(), "the oldest goes when there are more")
}

func TestGrantsEnd(t *testing.T) {
	now := newClock()
	s := drivetest.NewServer(t, drivetest.Options{Now: now.Now, Limits: drivetest.Limits{GrantLife: 7 * 24 * time.Hour}})
	config := clientConfig(t, s)
	credentials := func() (token oauth2.Token) {
		dir := t.TempDir()
		require.NoError(t, s.User("").WriteCredentials(dir))
		b, err := os.ReadFile(filepath.Join(dir, "token.json"))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(b, &token))
		return token
	}
	refresh := func(token oauth2.Token) error {
		_, err := config.TokenSource(t.Context(), &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
		return err
	}
	get := func(access string) reply {
		return do(t, nil, "GET", s.URL()+"/drive/v3/files", "", "Authorization: Bearer "+access)
	}

	token := credentials()
	now.forward(59 * time.Minute)
	require.Equal(t, 200, get(token.AccessToken).status)
	now.forward(time.Minute)
	r := get(token.AccessToken)
	require.Equal(t, 401, r.status)
	require.Equal(t, "authError", r.reason(t))
	require.Contains(t, r.header.Get("WWW-Authenticate"), "invalid_token")
	require.NoError(t, refresh(token))
	now.forward(7 * 24 * time.Hour)
	require.Equal(t, "invalid_grant", refused(t, refresh(token)), "a program in testing is forgotten after 7 days")

	s.User("").RevokeTokens()
	token = credentials()
	require.NoError(t, refresh(token))
	r = do(t, nil, "POST", s.URL()+"/revoke", url.Values{"token": {token.AccessToken}}.Encode(), "Content-Type: application/x-www-form-urlencoded")
	require.Equal(t, 200, r.status, "%s", r.body)
	require.Equal(t, "invalid_grant", refused(t, refresh(token)), "an access token takes its refresh token with it")
	r = do(t, nil, "POST", s.URL()+"/revoke?token="+token.RefreshToken, "")
	require.Equal(t, 400, r.status)
	require.Equal(t, "invalid_token", r.text(t, "error"))

	token = credentials()
	s.User("").RevokeTokens()
	require.Equal(t, "invalid_grant", refused(t, refresh(token)))
	require.Equal(t, 401, get(token.AccessToken).status)
}

func TestTokenEndpointRefusals(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{})
	config := clientConfig(t, s)
	for _, c := range []struct {
		name, form string
		status     int
		want       string
	}{
		{"no grant type", "", 400, "invalid_request"},
		{"unknown grant type", "grant_type=password", 400, "unsupported_grant_type"},
		{"no client", "grant_type=refresh_token", 400, "invalid_request"},
		{"unknown client", "grant_type=refresh_token&client_id=x&client_secret=y", 401, "invalid_client"},
		{"wrong secret", "grant_type=refresh_token&client_id=" + config.ClientID + "&client_secret=y", 401, "invalid_client"},
		{"no secret", "grant_type=authorization_code&client_id=" + config.ClientID, 400, "invalid_request"},
		{"garbage", "grant_type=refresh_token&refresh_token=zz&client_id=" + config.ClientID + "&client_secret=" + config.ClientSecret, 400, "invalid_grant"},
		{"no code", "grant_type=authorization_code&client_id=" + config.ClientID + "&client_secret=" + config.ClientSecret, 400, "invalid_request"},
		{"unknown code", "grant_type=authorization_code&code=4/1&client_id=" + config.ClientID + "&client_secret=" + config.ClientSecret, 400, "invalid_grant"},
		{"no assertion", "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=x", 400, "invalid_request"},
		{"not a form", "%zz", 400, "invalid_request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := do(t, nil, "POST", s.URL()+"/token", c.form, "Content-Type: application/x-www-form-urlencoded")
			require.Equal(t, c.status, r.status, "%s", r.body)
			require.Equal(t, c.want, r.text(t, "error"))
		})
	}
	require.Equal(t, 405, do(t, nil, "GET", s.URL()+"/token", "").status)
	requests := s.Requests()
	require.Equal(t, "invalid_request", requests[0].Reason, "the log knows the reason")
	require.Equal(t, "oauth.token", requests[0].Op)
}

func TestConsentPageRefusals(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{})
	good := clientConfig(t, s).AuthCodeURL("x")
	for _, c := range []struct {
		name, key, value string
		status           int
		want             string
	}{
		{"no client", "client_id", "", 400, "invalid_request"},
		{"unknown client", "client_id", "x", 401, "invalid_client"},
		{"out of band", "redirect_uri", "urn:ietf:wg:oauth:2.0:oob", 400, "invalid_request"},
		{"out of band, automatic", "redirect_uri", "urn:ietf:wg:oauth:2.0:oob:auto", 400, "out-of-band"},
		{"no redirect", "redirect_uri", "", 400, "redirect_uri"},
		{"another machine", "redirect_uri", "http://evil.example/", 400, "redirect_uri_mismatch"},
		{"a name that looks local", "redirect_uri", "http://localhost.evil.example/", 400, "redirect_uri_mismatch"},
		{"with a user", "redirect_uri", "http://localhost@evil.example/", 400, "redirect_uri_mismatch"},
		{"a scheme of its own", "redirect_uri", "sregfs://127.0.0.1/", 400, "redirect_uri_mismatch"},
		{"script", "redirect_uri", "javascript:alert(1)", 400, "redirect_uri_mismatch"},
		{"no type", "response_type", "", 400, "response_type"},
		{"implicit", "response_type", "token", 400, "unsupported_response_type"},
		{"no scope", "scope", "", 400, "scope"},
		{"unknown scope", "scope", "https://www.googleapis.com/auth/drivel", 400, "invalid_scope"},
		{"unknown challenge", "code_challenge_method", "S512", 400, "code_challenge_method"},
		{"short challenge", "code_challenge", "abc", 400, "code_challenge"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, err := url.Parse(good)
			require.NoError(t, err)
			q := u.Query()
			q.Set(c.key, c.value)
			u.RawQuery = q.Encode()
			r := do(t, nil, "GET", u.String(), "")
			require.Equal(t, c.status, r.status, "%s", r.body)
			require.Contains(t, string(r.body), c.want)
			require.Contains(t, r.header.Get("Content-Type"), "text/html")
			_, err = s.User("").Authorize(u.String())
			require.ErrorContains(t, err, c.want)
		})
	}
	r := do(t, nil, "GET", good+"&prompt=none", "")
	require.Equal(t, 302, r.status)
	require.Equal(t, "interaction_required", answer(t, r.header.Get("Location")).Get("error"))
}

// browser is an HTTP client with cookies that does not follow redirects.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// open shows a page and returns its text and the number hidden in its form.
func open(t *testing.T, c *http.Client, address string) (page, number string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	resp, err := c.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(resp.Body)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode, b.String())
	require.Equal(t, "DENY", resp.Header.Get("X-Frame-Options"))
	found := regexp.MustCompile(`name="consent" value="([^"]+)"`).FindStringSubmatch(b.String())
	require.NotNil(t, found, b.String())
	return html.UnescapeString(b.String()), found[1]
}

// submit answers a page and returns the status and where the browser is sent.
func submit(t *testing.T, c *http.Client, address string, form url.Values) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode, resp.Header.Get("Location")
}

func TestConsentPage(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
	const readonly = "https://www.googleapis.com/auth/drive.readonly"
	config := clientConfig(t, s, fullScope, readonly)
	asked := config.AuthCodeURL("s", oauth2.SetAuthURLParam("login_hint", "bob@uni.edu"))
	b := browser(t)
	page, number := open(t, b, asked)
	for _, want := range []string{
		"sregfs", "ann@uni.edu", `value="bob@uni.edu" checked`, fullScope, readonly,
		`type="checkbox"`, `value="allow"`, `value="deny"`, "http://127.0.0.1:43210/done",
	} {
		require.Contains(t, page, want)
	}
	require.NotContains(t, page, `value="ann@uni.edu" checked`)
	action := s.URL() + "/o/oauth2/auth"
	yes := url.Values{"consent": {number}, "decision": {"allow"}, "account": {"bob@uni.edu"}, "scope": {readonly, "https://www.googleapis.com/auth/drive.file"}}

	t.Run("another browser cannot answer it", func(t *testing.T) {
		status, _ := submit(t, browser(t), action, yes)
		require.Equal(t, 400, status)
		other := browser(t)
		open(t, other, asked)
		status, _ = submit(t, other, action, yes)
		require.Equal(t, 400, status)
	})
	t.Run("what is ticked and was asked for is granted", func(t *testing.T) {
		status, to := submit(t, b, action, yes)
		require.Equal(t, 303, status)
		got := answer(t, to)
		require.Equal(t, readonly, got.Get("scope"))
		require.Equal(t, "s", got.Get("state"))
		token, err := config.Exchange(t.Context(), got.Get("code"))
		require.NoError(t, err)
		require.Equal(t, readonly, token.Extra("scope"))
		r := do(t, nil, "GET", s.URL()+"/drive/v3/about?fields=user(emailAddress)", "", "Authorization: Bearer "+token.AccessToken)
		require.Contains(t, string(r.body), "bob@uni.edu")
		r = do(t, nil, "POST", s.URL()+"/drive/v3/files", "{}", "Authorization: Bearer "+token.AccessToken, "Content-Type: application/json")
		require.Equal(t, 403, r.status)
		require.Equal(t, "insufficientPermissions", r.reason(t))
	})
	t.Run("it is answered once", func(t *testing.T) {
		status, _ := submit(t, b, action, yes)
		require.Equal(t, 400, status)
	})
	for name, form := range map[string]url.Values{
		"denied":         {"decision": {"deny"}, "scope": {fullScope}},
		"nothing ticked": {"decision": {"allow"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, number := open(t, b, asked)
			form.Set("consent", number)
			status, to := submit(t, b, action, form)
			require.Equal(t, 303, status)
			got := answer(t, to)
			require.Equal(t, "access_denied", got.Get("error"))
			require.Equal(t, "s", got.Get("state"))
			require.Empty(t, got.Get("code"))
		})
	}
	t.Run("a stranger is no account", func(t *testing.T) {
		_, number := open(t, b, asked)
		status, _ := submit(t, b, action, url.Values{"consent": {number}, "decision": {"allow"}, "account": {"eve@uni.edu"}, "scope": {fullScope}})
		require.Equal(t, 400, status)
	})
	t.Run("what a client says is text on the page", func(t *testing.T) {
		page := do(t, nil, "GET", s.URL()+"/o/oauth2/auth?client_id="+config.ClientID+"&redirect_uri="+url.QueryEscape("<script>alert(1)</script>"), "")
		require.NotContains(t, string(page.body), "<script>")
	})
}

func TestConsentPageWithCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed: ", err)
	}
	s := drivetest.NewServer(t, drivetest.Options{})
	config := clientConfig(t, s)
	jar := filepath.Join(t.TempDir(), "cookies")
	run := func(args ...string) string {
		var problems bytes.Buffer
		cmd := exec.CommandContext(t.Context(), curl, append([]string{"--silent", "--show-error", "--noproxy", "*", "--cookie", jar, "--cookie-jar", jar}, args...)...)
		cmd.Stderr = &problems
		out, err := cmd.Output()
		require.NoError(t, err, problems.String())
		return string(out)
	}
	page := run(config.AuthCodeURL("s", oauth2.AccessTypeOffline))
	number := regexp.MustCompile(`name="consent" value="([^"]+)"`).FindStringSubmatch(page)
	require.NotNil(t, number, page)
	to := run("--write-out", "%{redirect_url}", "--output", os.DevNull, "--data-urlencode", "consent="+number[1],
		"--data-urlencode", "scope="+fullScope, "--data", "decision=allow", s.URL()+"/o/oauth2/auth")
	reply := run("--user", config.ClientID+":"+config.ClientSecret, "--data", "grant_type=authorization_code",
		"--data-urlencode", "code="+answer(t, to).Get("code"), "--data-urlencode", "redirect_uri="+config.RedirectURL, config.Endpoint.TokenURL)
	var token struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Expires int    `json:"expires_in"`
	}
	require.NoError(t, json.Unmarshal([]byte(reply), &token), reply)
	require.NotEmpty(t, token.Refresh)
	require.Equal(t, 3599, token.Expires)
	require.Contains(t, run("--header", "Authorization: Bearer "+token.Access, s.URL()+"/drive/v3/about?fields=user"), "ann@uni.edu")
}

func TestServiceAccount(t *testing.T) {
	now := newClock()
	now.now = time.Now() // the library signs with the time of day
	s := drivetest.NewServer(t, drivetest.Options{Now: now.Now})
	robot := s.User("robot@sregfs-emulator.iam.gserviceaccount.com")
	path := filepath.Join(t.TempDir(), "key.json")
	require.NoError(t, robot.WriteServiceAccount(path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	key, err := os.ReadFile(path)
	require.NoError(t, err)
	config, err := google.JWTConfigFromJSON(key, fullScope)
	require.NoError(t, err)
	token, err := config.TokenSource(t.Context()).Token()
	require.NoError(t, err)
	r := do(t, nil, "GET", s.URL()+"/drive/v3/about?fields=user", "", "Authorization: Bearer "+token.AccessToken)
	require.Contains(t, string(r.body), robot.Email())
	r = do(t, nil, "POST", s.URL()+"/upload/drive/v3/files?uploadType=media", "content", "Authorization: Bearer "+token.AccessToken)
	require.Equal(t, "storageQuotaExceeded", r.reason(t), "service accounts own no storage")

	for name, spoil := range map[string]func(){
		"another's key": func() {
			require.NoError(t, s.User("other@sregfs-emulator.iam.gserviceaccount.com").WriteServiceAccount(path))
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			other, err := google.JWTConfigFromJSON(b, fullScope)
			require.NoError(t, err)
			config.PrivateKey, config.PrivateKeyID = other.PrivateKey, ""
		},
		"no such account":  func() { config.Email = "nobody@uni.edu" },
		"another audience": func() { config.Audience = "https://example.org/token" },
		"too long":         func() { config.Expires = 2 * time.Hour },
		"expired":          func() { now.forward(2 * time.Hour) },
		"of the future":    func() { now.forward(-2 * time.Hour) },
		"no scope":         func() { config.Scopes = nil },
		"delegation":       func() { config.Subject = "ann@uni.edu" },
	} {
		t.Run(name, func(t *testing.T) {
			saved, real := *config, now.Now()
			defer func() { *config = saved; now.forward(real.Sub(now.Now())) }()
			spoil()
			_, err := config.TokenSource(t.Context()).Token()
			var e *oauth2.RetrieveError
			require.ErrorAs(t, err, &e)
			t.Logf("%s", e.Body)
			require.Contains(t, []int{400, 401}, e.Response.StatusCode)
		})
	}
}

func TestScopes(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{})
	ann := s.User("")
	id := put(t, ann, "f", "content").ID
	for _, c := range []struct {
		scope                           string
		get, media, list, update, share int
	}{
		{"drive", 200, 200, 200, 200, 200},
		{"drive.readonly", 200, 200, 200, 403, 403},
		{"drive.metadata", 200, 403, 200, 200, 403},
		{"drive.metadata.readonly", 200, 403, 200, 403, 403},
		{"userinfo.email", 403, 403, 403, 403, 403},
	} {
		t.Run(c.scope, func(t *testing.T) {
			bearer := "Authorization: Bearer " + ann.AccessTokenFor("https://www.googleapis.com/auth/"+c.scope)
			file := s.URL() + "/drive/v3/files/" + id
			require.Equal(t, c.get, do(t, nil, "GET", file, "", bearer).status)
			require.Equal(t, c.media, do(t, nil, "GET", file+"?alt=media", "", bearer).status)
			require.Equal(t, c.list, do(t, nil, "GET", s.URL()+"/drive/v3/files", "", bearer).status)
			require.Equal(t, c.update, do(t, nil, "PATCH", file, `{"name":"g"}`, bearer).status)
			r := do(t, nil, "POST", file+"/permissions", `{"type":"anyone","role":"reader"}`, bearer)
			require.Equal(t, c.share, r.status, "%s", r.body)
			if c.share == 403 {
				require.Equal(t, "insufficientPermissions", r.reason(t))
				require.Contains(t, r.header.Get("WWW-Authenticate"), "insufficient_scope")
			}
		})
	}
	r := do(t, nil, "GET", s.URL()+"/drive/v3/files", "")
	require.Equal(t, 401, r.status)
	require.Equal(t, "required", r.reason(t))
	r = do(t, nil, "GET", s.URL()+"/drive/v3/files", "", "Authorization: Bearer nonsense")
	require.Equal(t, 401, r.status)
	require.Equal(t, "authError", r.reason(t))
}

func TestCredentialsSurviveARestart(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	open := func() *drivetest.Server {
		s, err := drivetest.Open(drivetest.Options{Dir: dir, Users: []string{"ann@uni.edu", "o'brien@uni.edu"}})
		require.NoError(t, err)
		require.NoError(t, s.Listen("127.0.0.1:0"))
		require.NoError(t, s.User("o'brien@uni.edu").WriteCredentials(filepath.Join(out, "o'brien")))
		return s
	}
	token := func() (token oauth2.Token) {
		b, err := os.ReadFile(filepath.Join(out, "o'brien", "token.json"))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(b, &token))
		return token
	}
	s := open()
	before := token()
	require.NoError(t, s.Close())
	s = open()
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	after := token()
	require.Equal(t, before.RefreshToken, after.RefreshToken)
	for _, access := range []string{before.AccessToken, after.AccessToken} {
		r := do(t, nil, "GET", s.URL()+"/drive/v3/about?fields=user", "", "Authorization: Bearer "+access)
		require.Contains(t, string(r.body), "o'brien@uni.edu")
	}
	_, err := clientConfig(t, s).TokenSource(t.Context(), &oauth2.Token{RefreshToken: before.RefreshToken}).Token()
	require.NoError(t, err)
	for _, name := range []string{"client_secrets.json", "token.json", "env"} {
		info, err := os.Stat(filepath.Join(out, "o'brien", name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
	}
	info, err := os.Stat(filepath.Join(dir, "oauth.json"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	shell := exec.CommandContext(t.Context(), "sh", "-c", `. "$1" && cat "$SREGFS_TOKEN" "$SREGISTRY_GOOGLE_DRIVE_CREDENTIALS" && echo "$SREGFS_DRIVE_URL"`,
		"sh", filepath.Join(out, "o'brien", "env"))
	printed, err := shell.CombinedOutput()
	require.NoError(t, err, "%s", printed)
	require.Contains(t, string(printed), after.RefreshToken)
	require.Contains(t, string(printed), `"installed"`)
	require.True(t, strings.HasSuffix(string(printed), s.URL()+"\n"))
}
