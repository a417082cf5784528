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
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"sregfs/drive/drivetest"
)

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
	first := ""
	t.Run("what is ticked and was asked for is granted", func(t *testing.T) {
		status, to := submit(t, b, action, yes)
		first = to
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
		status, to := submit(t, b, action, yes)
		require.Equal(t, 303, status)
		require.Equal(t, first, to, "a second click gives no second code")
		status, to = submit(t, b, action, url.Values{"consent": {number}, "decision": {"deny"}})
		require.Equal(t, 303, status)
		require.Equal(t, first, to)
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
