package drivetest_test

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
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

func TestTokenInEachPlaceTheServiceTakesIt(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{})
	token := s.User("").AccessToken()
	about := s.URL() + "/drive/v3/about?fields=user"
	for _, name := range []string{"access_token", "oauth_token"} {
		r := do(t, nil, "GET", about+"&"+name+"="+token, "")
		require.Equal(t, 200, r.status, "%s: %s", name, r.body)
	}
	for _, scheme := range []string{"Bearer ", "bearer ", "BEARER  "} {
		r := do(t, nil, "GET", about, "", "Authorization: "+scheme+token)
		require.Equal(t, 200, r.status, "%s: %s", scheme, r.body)
	}
	require.Equal(t, "authError", do(t, nil, "GET", about+"&access_token=x", "").reason(t))
	require.Equal(t, "authError", do(t, nil, "GET", about+"&access_token="+token, "", "Authorization: Bearer x").reason(t), "the header counts")
	require.Equal(t, "required", do(t, nil, "GET", about, "", "Authorization: Basic "+token).reason(t))
	for _, q := range s.Requests() {
		require.NotContains(t, q.Query, token, "a token is no text for a log")
	}
}
