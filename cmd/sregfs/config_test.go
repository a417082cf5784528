package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image/imagetest"
)

// setting is a row of 'config show --json'.
type setting struct{ Key, Value, Origin string }

func settingsOf(t *testing.T, p person, args ...string) map[string]setting {
	t.Helper()
	var rows []setting
	require.NoError(t, json.Unmarshal([]byte(p.sregfs(append(args, "config", "show", "--json")...).ok(t)), &rows))
	out := map[string]setting{}
	for _, r := range rows {
		out[r.Key] = r
	}
	return out
}

// Each place a setting may come from wins over those after it.
func TestPrecedenceOfSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	home := w.path("home", "ann@uni.edu")
	config := filepath.Join(home, ".config", "sregfs", "config.yaml")
	tool := filepath.Join(home, ".sregistry")
	require.NoError(t, os.MkdirAll(filepath.Dir(config), 0o755))
	bare := w.as("ann@uni.edu")

	require.Equal(t, setting{"root", "sregistry", "default"}, settingsOf(t, bare)["root"])
	require.NoError(t, os.WriteFile(tool, []byte(`{"SREGISTRY_CLIENT":"google-drive","google-drive":{"SREGISTRY_GOOGLE_DRIVE_ROOT":"of-tool"},"hub":"x"}`), 0o600))
	require.Equal(t, setting{"root", "of-tool", tool}, settingsOf(t, bare)["root"])
	require.NoError(t, os.WriteFile(config, []byte("# mine\nroot: of-file\ncache_size: 3GB\ntimeout: 7s\n"), 0o600))
	require.Equal(t, setting{"root", "of-file", config}, settingsOf(t, bare)["root"])
	require.Equal(t, setting{"cache-size", "3GB", config}, settingsOf(t, bare)["cache-size"])
	require.Equal(t, "7s", settingsOf(t, bare)["timeout"].Value)
	theirs := w.as("ann@uni.edu", "SREGISTRY_GOOGLE_DRIVE_ROOT=of-variable")
	require.Equal(t, setting{"root", "of-variable", "SREGISTRY_GOOGLE_DRIVE_ROOT"}, settingsOf(t, theirs)["root"])
	ours := w.as("ann@uni.edu", "SREGISTRY_GOOGLE_DRIVE_ROOT=of-variable", "SREGFS_ROOT=ours")
	require.Equal(t, setting{"root", "ours", "SREGFS_ROOT"}, settingsOf(t, ours)["root"])
	require.Equal(t, setting{"root", "flagged", "--root"}, settingsOf(t, ours, "--root", "/a/flagged")["root"])
	require.Contains(t, theirs.sregfs("config", "show", "--origin").ok(t), "# SREGISTRY_GOOGLE_DRIVE_ROOT")
	require.Contains(t, theirs.sregfs("search").ok(t), "[folder][of-variable]")

	t.Run("set", func(t *testing.T) {
		bare.sregfs("config", "set", "root", "newer").ok(t)
		bare.sregfs("config", "set", "cache-size", "").ok(t)
		bare.sregfs("config", "set", "push", "background").ok(t)
		text, err := os.ReadFile(config)
		require.NoError(t, err)
		require.Equal(t, "# mine\nroot: newer\ntimeout: 7s\npush: background\n", string(text))
		require.Equal(t, config+"\n", bare.sregfs("config", "path").ok(t))
		oneLine(t, bare.sregfs("config", "set", "nonsense", "1"), exitUsage, "nonsense")
		oneLine(t, bare.sregfs("config", "set", "timeout", "soon"), exitUsage, "soon")
		oneLine(t, bare.sregfs("config", "set", "json", "true"), exitUsage, "json")
		oneLine(t, bare.sregfs("config"), exitUsage, "show")
	})
	t.Run("a mount takes them", func(t *testing.T) {
		mnt := bare.mount()
		w.file("i.sif", imagetest.SIF(t, 300_000))
		bare.sh("mkdir " + mnt + "/c && cp i.sif " + mnt + "/c/i:1.sif").ok(t)
		require.Contains(t, bare.sregfs("status", mnt).ok(t), "newer")
		bare.sregfs("umount", mnt).ok(t)
	})
	t.Run("bad files", func(t *testing.T) {
		require.NoError(t, os.WriteFile(config, []byte("colour: red\n"), 0o600))
		require.Contains(t, bare.sregfs("config", "show").err, "colour")
		for _, text := range []string{"[", "root: [a]\n", strings.Repeat("x", 2<<20)} {
			require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
			oneLine(t, bare.sregfs("-q", "images"), exitError, config)
		}
		require.NoError(t, os.WriteFile(config, []byte("timeout: soon\n"), 0o600))
		oneLine(t, bare.sregfs("-q", "images"), exitUsage, config, "soon")
		require.NoError(t, os.Remove(config))
		require.NoError(t, os.WriteFile(tool, []byte("{"), 0o600))
		require.Equal(t, "sregistry", settingsOf(t, bare)["root"].Value)
	})
}

// The registry tool's variables mean what they mean to it.
func TestVariablesOfTheTool(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	w.file("i.sif", imagetest.SIF(t, 300_000))
	ann.sregfs("push", "--name", "c/i:1", "i.sif").ok(t)
	secrets := filepath.Join(w.path("users", "ann@uni.edu"), "client_secrets.json")

	t.Run("SREGISTRY_STORAGE", func(t *testing.T) {
		p := w.as("ann@uni.edu", "SREGISTRY_STORAGE="+w.path("store"))
		require.Contains(t, p.sregfs("pull", "c/i:1").ok(t), "Success! "+w.path("store", "c", "i"))
	})
	t.Run("SREGISTRY_DATABASE", func(t *testing.T) {
		p := w.as("ann@uni.edu", "SREGFS_STATE_DIR=", "SREGISTRY_DATABASE="+w.path("database"))
		require.Contains(t, p.sregfs("search").ok(t), "badger://"+w.path("database", "sregfs"))
	})
	t.Run("MESSAGELEVEL", func(t *testing.T) {
		require.NotContains(t, w.as("ann@uni.edu", "MESSAGELEVEL=QUIET").sregfs("search").ok(t), "[folder]")
		require.Contains(t, w.as("ann@uni.edu", "MESSAGELEVEL=DEBUG").sregfs("search").err, "DEBUG")
	})
	t.Run("switches that broke the tool", func(t *testing.T) {
		p := w.as("ann@uni.edu", "SREGISTRY_DISABLE=yes", "SREGISTRY_DISABLE_CREDENTIAL_CACHE=yes", "SINGULARITY_DISABLE_CACHE=1",
			"SREGISTRY_DISABLE_CREDENTIAL_GOOGLE_DRIVE=true", "SREGISTRY_CLIENT=hub", "SREGISTRY_PYTHON_THREADS=9")
		require.Contains(t, p.sregfs("search").ok(t), "c/i:1@")
	})
	t.Run("misspelt as on the page", func(t *testing.T) {
		r := w.as("ann@uni.edu", "SREGISTRT_GOOGLE_DRIVE_ROOT=other").sregfs("search")
		require.Contains(t, r.ok(t), "[folder][sregistry]")
		require.Contains(t, r.err, "SREGISTRY_GOOGLE_DRIVE_ROOT")
	})
	t.Run("credentials that the tool kept", func(t *testing.T) {
		settings := w.file("settings", []byte(`{"google-drive":{"SREGISTRY_GOOGLE_DRIVE_CREDENTIALS":"`+secrets+`"}}`))
		p := w.as("ann@uni.edu", "SREGISTRY_GOOGLE_DRIVE_CREDENTIALS=", "SREGISTRY_CLIENT_SECRETS="+settings)
		require.Contains(t, p.sregfs("search").ok(t), "c/i:1@")
	})
	t.Run("SREGISTRY_HTTPS_NOVERIFY", func(t *testing.T) {
		r := w.as("ann@uni.edu", "SREGISTRY_HTTPS_NOVERIFY=true").sregfs("search")
		r.ok(t)
		require.Contains(t, r.err, "SSL_CERT_FILE")
	})
	t.Run("the client file by its other names", func(t *testing.T) {
		const none = "SREGISTRY_GOOGLE_DRIVE_CREDENTIALS="
		for _, env := range []string{
			"SREGFS_CREDENTIALS=" + secrets, "SREGFS_CREDENTIALS_FILE=" + secrets, "SREGFS_CREDENTIALS_COMMAND=cat " + secrets,
			"SREGISTRY_GOOGLE_DRIVE_CREDENTIALS_FILE=" + secrets, "SREGISTRY_GOOGLE_DRIVE_CREDENTIALS_COMMAND=cat '" + secrets + "' | jq .",
		} {
			name, _, _ := strings.Cut(env, "=")
			p := w.as("ann@uni.edu", none, env)
			require.Contains(t, p.sregfs("search").ok(t), "c/i:1@", env)
			require.Equal(t, name, settingsOf(t, p)["credentials"].Origin)
		}
		p := w.as("ann@uni.edu", none, "SREGFS_CREDENTIALS_COMMAND=cat "+secrets)
		require.Contains(t, p.doctor()["credentials"].Message, "SREGFS_CREDENTIALS_COMMAND")
		for command, says := range map[string]string{"exit 3": "exit status 3", "echo rubbish": "not JSON", "true": "not JSON", "no-such-store": "127"} {
			r := w.as("ann@uni.edu", none, "SREGFS_CREDENTIALS_COMMAND="+command+" 2>/dev/null").sregfs("-q", "search")
			oneLine(t, r, exitSignIn, says, "SREGFS_CREDENTIALS_COMMAND")
		}
		require.Contains(t, p.sh("ls "+p.mount("-r")).ok(t), "c\n")
	})
	t.Run("its sign-in", func(t *testing.T) {
		cache := w.path("cache", ".sregistry")
		require.NoError(t, os.MkdirAll(cache, 0o755))
		require.NoError(t, os.Rename(w.path("users", "ann@uni.edu", "token.json"), filepath.Join(cache, "google-drive")))
		p := w.as("ann@uni.edu", "SREGFS_TOKEN=", "SREGISTRY_CREDENTIALS_CACHE="+w.path("cache"))
		require.Contains(t, p.sregfs("search").ok(t), "c/i:1@")
	})
}
