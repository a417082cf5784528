package drivetest_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"sregfs/drive/drivetest"
)

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
	t.Run("drive.file", func(t *testing.T) {
		bob := s.User("bob@uni.edu")
		theirs := put(t, bob, "theirs", "content").ID
		share := do(t, bob, "POST", s.URL()+"/drive/v3/files/"+theirs+"/permissions", `{"type":"user","role":"writer","emailAddress":"ann@uni.edu"}`)
		require.Equal(t, 200, share.status)
		bearer := "Authorization: Bearer " + ann.AccessTokenFor("https://www.googleapis.com/auth/drive.file")
		get := func(id string) int { return do(t, nil, "GET", s.URL()+"/drive/v3/files/"+id, "", bearer).status }
		require.Equal(t, []int{200, 404, 404}, []int{get(id), get(theirs), get("root")}, "own files, but neither shared ones nor My Drive")
		list := do(t, nil, "GET", s.URL()+"/drive/v3/files?fields=files(id)", "", bearer)
		require.Contains(t, string(list.body), id)
		require.NotContains(t, string(list.body), theirs)
		made := do(t, nil, "POST", s.URL()+"/drive/v3/files", "{}", bearer, "Content-Type: application/json")
		require.Equal(t, 200, made.status, "%s", made.body)
		require.Equal(t, 200, get(made.text(t, "id")))
		require.Equal(t, 200, do(t, ann, "GET", s.URL()+"/drive/v3/files/"+theirs, "").status, "the drive scope sees it")
	})
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
