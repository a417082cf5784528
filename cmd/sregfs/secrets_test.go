package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	iofs "io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
)

// secrets are what nobody but the token file and the records of the journal may hold.
type secrets struct {
	t     testing.TB
	words map[string]string // to what each is
	// PKCE: the verifier itself never shows, but any text can be held against its challenge.
	challenge string
	said      map[string]string // all that was produced, by where
}

func (s *secrets) add(what, word string) {
	s.t.Helper()
	require.Greater(s.t, len(word), 8, what)
	s.words[word] = what
}

// tokens takes the tokens that the file at path holds now.
func (s *secrets) tokens(path string) {
	s.t.Helper()
	var tok struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	text, err := os.ReadFile(path)
	require.NoError(s.t, err)
	require.NoError(s.t, json.Unmarshal(text, &tok))
	s.add("access token", tok.Access)
	s.add("refresh token", tok.Refresh)
}

var verifierLike = regexp.MustCompile(`[A-Za-z0-9_-]{43,128}`)

// check looks for each secret, plain and as a part of an address, in all that was said.
func (s *secrets) check() {
	s.t.Helper()
	for where, text := range s.said {
		for word, what := range s.words {
			for _, form := range []string{word, url.QueryEscape(word)} {
				require.False(s.t, strings.Contains(text, form), "the %s is in %s:\n%s", what, where, text)
			}
		}
		for _, word := range verifierLike.FindAllString(text, -1) {
			sum := sha256.Sum256([]byte(word))
			require.NotEqual(s.t, s.challenge, base64.RawURLEncoding.EncodeToString(sum[:]), "the PKCE verifier is in %s", where)
		}
	}
}

// processes notes the arguments and the environment of pid and its children.
func (s *secrets) processes(when string, pid int) {
	for _, file := range []string{"cmdline", "environ"} {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file)) // a process that has ended has none
		s.said[fmt.Sprintf("%s of %d %s", file, pid, when)] = string(text)
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		for child := range strings.FieldsSeq(string(text)) {
			if n, err := strconv.Atoi(child); err == nil {
				s.processes(when, n)
			}
		}
	}
}

// A whole session, at its most talkative and with everything going wrong, says no secret: not in what it prints, logs,
// shows in .sregfs or in the process list, nor in the traces of a crash. Only the token file and, for uploads to go on
// after a kill, the records have them, and both are closed to others.
//
// Not in parallel: others would find the mount that crashes.
func TestASessionKeepsItsSecrets(t *testing.T) {
	w := newWorld(t)
	ann := w.as("ann@uni.edu", "SREGFS_TOKEN="+w.path("mine", "token"), "GOTRACEBACK=all")
	s := &secrets{t: t, words: map[string]string{}, said: map[string]string{}}
	run := func(args ...string) result {
		t.Helper()
		r := ann.sregfs(append([]string{"--debug", "--timeout", "1s"}, args...)...)
		s.said[fmt.Sprint("output of ", args, " ", len(s.said))] = r.out + r.err
		return r
	}
	var client struct {
		Installed struct {
			Secret string `json:"client_secret"`
		}
	}
	text, err := os.ReadFile(w.path("users", "ann@uni.edu", "client_secrets.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &client))
	s.add("client secret", client.Installed.Secret)

	// A sign-in that the token endpoint spoils, then one that goes well.
	for _, spoiled := range []bool{true, false} {
		w.srv.ClearFaults()
		if spoiled {
			w.srv.Fault(drivetest.On("POST", "/token").DropReply())
		}
		login := ann.login("--debug")
		asked, err := url.Parse(login.url)
		require.NoError(t, err)
		s.challenge = asked.Query().Get("code_challenge")
		back, err := url.Parse(login.redirect)
		require.NoError(t, err)
		s.add("authorization code", back.Query().Get("code"))
		s.said["page of the sign-in"] = login.visit(login.redirect)
		s.processes("at login", login.cmd.Process.Pid)
		r := login.end()
		require.Equal(t, spoiled, r.code != 0, r.err)
		s.said[fmt.Sprint("output of login ", spoiled)] = r.out + r.err
		s.check()
	}
	token := w.path("mine", "token")
	s.tokens(token)

	file := w.file("i.sif", imagetest.SIF(t, 3<<20))
	require.Zero(t, run("push", "--name", "c/one:1", file).code)
	mnt := ann.mount("--debug", "--timeout", "1s", "--push", "background")
	holder, held := index.Holder(w.path("state", "ann@uni.edu"))
	require.True(t, held)
	log := w.path("state", "ann@uni.edu", "log")
	// Each fault on every kind of request, while a push, a read, a share and a refresh want something.
	for i, spoil := range []func(*drivetest.Rule) *drivetest.Rule{
		(*drivetest.Rule).DropReply,
		func(r *drivetest.Rule) *drivetest.Rule { return r.CutRequest(1000) },
		func(r *drivetest.Rule) *drivetest.Rule { return r.Status(503, "backendError") },
		func(r *drivetest.Rule) *drivetest.Rule { return r.Status(404, "notFound") },
		func(r *drivetest.Rule) *drivetest.Rule { return r.Status(403, "storageQuotaExceeded") },
		func(r *drivetest.Rule) *drivetest.Rule { return r.Status(401, "authError") },
	} {
		w.srv.ClearFaults()
		w.srv.Fault(spoil(drivetest.On("PUT", "*")), spoil(drivetest.On("GET", "*")).Nth(3), spoil(drivetest.On("POST", "/token")))
		w.file("next.sif", imagetest.SIF(t, 3<<20, imagetest.Seed(i+10)))
		r := ann.sh(fmt.Sprintf(`cp next.sif %[1]s/c/n%[2]d:1.sif; timeout 3 python3 -c 'import os; f = os.open("%[1]s/c/n%[2]d:1.sif", os.O_RDONLY); os.fsync(f)'
			echo > %[1]s/.sregfs/refresh; echo 'bob@uni.edu c/one:1' > %[1]s/.sregfs/share; cat %[1]s/c/one:1.sif | wc -c
			cat %[1]s/.sregfs/{status,transfers,images,share,refresh,metrics}; getfattr -d %[1]s/c/*.sif`, mnt, i))
		s.said[fmt.Sprintf("the mount's files, fault %d", i)] = r.out + r.err
		s.processes("with a mount", holder.PID)
		run("status")
		run("--json", "status", mnt)
	}
	w.srv.ClearFaults()
	run("share", "--email", "bob@uni.edu", "c/one:1")
	s.tokens(token)
	sessions := 0
	for _, r := range w.srv.Requests() {
		query, err := url.ParseQuery(r.Query)
		require.NoError(t, err)
		if id := query.Get("upload_id"); id != "" {
			s.add("address of an upload session", id)
			sessions++
		}
	}
	require.Positive(t, sessions)

	// The grant ends, and the mount crashes.
	w.srv.User("ann@uni.edu").RevokeTokens()
	s.said["with a dead grant"] = ann.sh("echo > " + mnt + "/.sregfs/refresh; cat " + mnt + "/.sregfs/{refresh,status}").out
	run("status")
	require.NoError(t, syscall.Kill(holder.PID, syscall.SIGQUIT))
	w.released("ann@uni.edu")
	traces, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Contains(t, string(traces), "SIGQUIT")
	require.Contains(t, string(traces), "goroutine ")
	s.said["the log"] = string(traces)
	run("logout")
	s.check()

	// What does hold them is closed to others.
	require.NoError(t, filepath.WalkDir(w.path("state", "ann@uni.edu"), func(path string, e iofs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := e.Info()
		require.NoError(t, err)
		if e.IsDir() {
			require.Equal(t, os.FileMode(0o700), info.Mode().Perm(), path)
		}
		require.False(t, strings.HasPrefix(e.Name(), "core"), "no core is dumped")
		return nil
	}))
}
