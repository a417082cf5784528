package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// signedIn signs p in, in a browser that agrees to everything.
func (p person) signedIn() {
	p.w.t.Helper()
	s := p.login()
	require.Contains(p.w.t, s.visit(s.redirect), "Signed in")
	s.end().ok(p.w.t)
}

// A grant that ends under a mount is said by everything that needs it; a new sign-in beside the mount lets all go on,
// without mounting again.
func TestSignInBesideAMount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu", "SREGFS_TOKEN="+w.path("mine", "token"))
	user := w.srv.User("ann@uni.edu")
	ann.signedIn()
	sif := imagetest.SIF(t, 300_000)
	indextest.Put(t, user, "lab/far:1", sif, nil)
	w.file("near.sif", sif)
	mnt := ann.mount("--push", "background")
	ann.sh("test $(ls " + mnt + "/lab | wc -l) = 2").ok(t)
	far := mnt + "/lab/far:1.sif"

	user.RevokeTokens()
	ann.sh("cp near.sif " + mnt + "/lab/near:1.sif").ok(t) // a promise of the journal, not yet of Drive
	r := ann.sh("cat " + far + " > copy.sif")
	require.NotZero(t, r.code)
	require.Contains(t, r.err, "Key has expired")
	require.Contains(t, ann.sh("ls "+mnt+"/lab").ok(t), "near:1.sif")
	require.Eventually(t, func() bool { return strings.Contains(ann.sregfs("status", mnt).out, "sregfs login") }, time.Minute, 100*time.Millisecond)
	oneLine(t, ann.sregfs("-q", "pull", "lab/far:1"), exitSignIn, "sregfs login")
	oneLine(t, ann.sregfs("-q", "share", "--email", "bob@uni.edu", "lab/far:1"), exitSignIn, "sregfs login")
	require.Equal(t, 1, images(w))

	// Somebody else's consent is of no use here, and nothing of theirs is touched.
	other := w.as("bob@uni.edu", "SREGFS_TOKEN="+w.path("mine", "token"), "SREGFS_STATE_DIR="+w.path("state", "ann@uni.edu"))
	other.signedIn()
	require.Contains(t, ann.sh("cat "+far).err, "Key has expired")
	require.Eventually(t, func() bool { return strings.Contains(ann.sregfs("status", mnt).out, "bob@uni.edu") }, time.Minute, 100*time.Millisecond)
	require.Equal(t, 1, images(w))

	ann.signedIn()
	ann.sh("cmp near.sif " + far).ok(t)
	require.Eventually(t, func() bool { return images(w) == 2 }, time.Minute, 50*time.Millisecond, "the push goes on")
	ann.sregfs("share", "--email", "bob@uni.edu", "lab/near:1").ok(t)
	require.Eventually(t, func() bool { return !strings.Contains(ann.sregfs("status", mnt).out, "sregfs login") }, time.Minute, 100*time.Millisecond)
}

// logout withdraws the grant and removes the file, beside a mount too: what is here can still be used.
func TestLogoutBesideAMount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.path("mine", "token")
	ann := w.as("ann@uni.edu", "SREGFS_TOKEN="+token)
	user := w.srv.User("ann@uni.edu")
	ann.signedIn()
	near, far := imagetest.SIF(t, 300_000), imagetest.SIF(t, 300_000, imagetest.Seed(2))
	indextest.Put(t, user, "lab/near:1", near, nil)
	indextest.Put(t, user, "lab/far:1", far, nil)
	w.file("near.sif", near)
	mnt := ann.mount()
	ann.sh("cmp near.sif " + mnt + "/lab/near:1.sif").ok(t)
	kept, err := os.ReadFile(token)
	require.NoError(t, err)

	require.Equal(t, "Signed out.\n", ann.sregfs("logout").ok(t))
	require.NoFileExists(t, token)
	require.Equal(t, 1, w.requests("oauth.revoke"))
	ann.sh("cmp near.sif " + mnt + "/lab/near:1.sif").ok(t)
	require.Contains(t, ann.sh("cat "+mnt+"/lab/far:1.sif").err, "Key has expired")
	require.NoFileExists(t, token, "the mount does not bring it back")
	stolen := w.as("ann@uni.edu", "SREGFS_TOKEN="+w.file("copy", kept), "SREGFS_STATE_DIR="+w.path("state", "copy"))
	oneLine(t, stolen.sregfs("-q", "search"), exitSignIn, "sregfs login")

	ann.signedIn()
	ann.sh("cat " + mnt + "/lab/far:1.sif > /dev/null").ok(t)

	require.Equal(t, "Signed out.\n", ann.sregfs("logout").ok(t))
	ann.sregfs("logout").ok(t)
}

// An access token that Drive no longer takes is renewed without anybody noticing.
func TestRefreshUnderAMount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	indextest.Put(t, w.srv.User("ann@uni.edu"), "lab/far:1", imagetest.SIF(t, 300_000), nil)
	w.tokenFields("ann@uni.edu", map[string]any{"access_token": "ya29.spent", "expiry": time.Now().Add(time.Hour)})
	ann := w.as("ann@uni.edu")
	mnt := ann.mount()
	ann.sh("cat " + mnt + "/lab/far:1.sif > /dev/null").ok(t)
	text, err := os.ReadFile(w.path("users", "ann@uni.edu", "token.json"))
	require.NoError(t, err)
	require.NotContains(t, string(text), "ya29.spent")
}

func TestServiceAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const robot = "robot@project.iam.gserviceaccount.com"
	key := w.path("key.json")
	require.NoError(t, w.srv.User(robot).WriteServiceAccount(key))
	ann := w.as("ann@uni.edu")
	sif := w.file("i.sif", imagetest.SIF(t, 300_000))
	ann.sregfs("push", "--name", "lab/i:1", sif).ok(t)
	ann.sregfs("share", "--email", robot, "lab/i:1").ok(t)

	machine := w.as("robot", "SREGISTRY_GOOGLE_DRIVE_CREDENTIALS="+key, "SREGFS_TOKEN="+w.path("none"))
	require.NoError(t, os.MkdirAll(w.path("home", "robot"), 0o700))
	require.Contains(t, machine.sregfs("login").ok(t), "no sign-in is needed")
	mnt := machine.mount("-r")
	machine.sh("cmp i.sif " + mnt + "/shared-with-me/ann@uni.edu/lab/i:1.sif").ok(t)
	require.Contains(t, machine.sregfs("doctor").out, "a service account")
	require.NotContains(t, machine.sregfs("logout").ok(t), "Signed out")
	require.NoFileExists(t, w.path("none"))
	require.FileExists(t, key)

	require.NoError(t, os.Chmod(key, 0o644))
	f := machine.doctor()["credentials"]
	require.Equal(t, "chmod 600 "+key, f.Next)
}

// The sign-in of the Python tool is used while there is none of ours, and its file stays as that tool left it.
func TestTheToolsSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	users := w.path("users", "ann@uni.edu")
	var secrets map[string]map[string]any
	var ours map[string]any
	read := func(path string, v any) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, v))
	}
	read(filepath.Join(users, "client_secrets.json"), &secrets)
	read(filepath.Join(users, "token.json"), &ours)
	client := secrets["installed"]
	// As oauth2client 4.1.3 writes it.
	theirs := fmt.Sprintf(`{"access_token": "spent", "client_id": %q, "client_secret": %q, "refresh_token": %q, "token_expiry": "2018-05-01T12:00:00Z",
 "token_uri": %q, "user_agent": null, "revoke_uri": null, "id_token": null, "id_token_jwt": null, "token_response": {"access_token": "spent", "expires_in": 3600},
 "scopes": [%q], "token_info_uri": null, "invalid": false, "_class": "OAuth2Credentials", "_module": "oauth2client.client"}`,
		client["client_id"], client["client_secret"], ours["refresh_token"], client["token_uri"], drive.Scope)
	require.NoError(t, os.MkdirAll(w.path("cache", ".sregistry"), 0o700))
	file := w.file("cache/.sregistry/google-drive", []byte(theirs))
	token := w.path("mine", "token")
	ann := w.as("ann@uni.edu", "SREGISTRY_CREDENTIALS_CACHE="+w.path("cache"), "SREGFS_TOKEN="+token)
	indextest.Put(t, w.srv.User("ann@uni.edu"), "lab/i:1", imagetest.SIF(t, 100_000), nil)
	require.Contains(t, ann.sregfs("search").ok(t), "lab/i:1")
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, theirs, string(after))
	require.FileExists(t, token, "kept as ours from now on")
	require.Contains(t, ann.doctor()["sign-in"].Message, "unknown day")
	// The next consent is ours, and is dated.
	ann.signedIn()
	require.Contains(t, ann.doctor()["sign-in"].Message, "0 minutes ago")
}
