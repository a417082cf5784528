package main

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sregfs/drive/drivetest"
	"sregfs/index"
)

// diagnosis reads what doctor printed, by check. What it says of mounts that other tests have on this machine is left out.
func (w *world) diagnosis(r result) map[string]finding {
	t := w.t
	t.Helper()
	var list []finding
	require.NoError(t, json.Unmarshal([]byte(r.out), &list), r.out+r.err)
	out := map[string]finding{}
	bad := 0
	for _, f := range list {
		require.Equal(t, f.OK, f.Next == "", f)
		require.NotEmpty(t, f.Message, f.Check)
		if !f.OK {
			bad++
		}
		out[f.Check] = f
	}
	require.Len(t, out, len(checks))
	code := exitOK
	if bad > 0 {
		code = exitError
	}
	require.Equal(t, code, r.code, r.out+r.err)
	if m := out["mounts"]; !m.OK && !strings.Contains(m.Message, w.dir) {
		out["mounts"] = finding{Check: "mounts", OK: true}
	}
	return out
}

func (p person) doctor() map[string]finding {
	p.w.t.Helper()
	return p.w.diagnosis(p.sregfs("--json", "--timeout", "2s", "doctor"))
}

// onTmpfs mounts a small disk at dir.
func (w *world) onTmpfs(dir, options string) {
	w.t.Helper()
	if os.Getuid() != 0 {
		w.t.Skip("only root makes small disks")
	}
	require.NoError(w.t, os.MkdirAll(dir, 0o700))
	require.NoError(w.t, unix.Mount("tmpfs", dir, "tmpfs", 0, options))
	w.t.Cleanup(func() { require.NoError(w.t, unix.Unmount(dir, 0)) })
}

// withDate is Drive with a clock of its own.
func (w *world) withDate(date string) string {
	home, err := url.Parse(w.srv.URL())
	require.NoError(w.t, err)
	proxy := httputil.NewSingleHostReverseProxy(home)
	proxy.ModifyResponse = func(r *http.Response) error {
		r.Header["Date"] = []string{date}
		return nil
	}
	other := httptest.NewServer(proxy)
	w.t.Cleanup(other.Close)
	return "SREGFS_DRIVE_URL=" + other.URL
}

// tokenFields changes the token file of a person.
func (w *world) tokenFields(email string, fields map[string]any) {
	w.t.Helper()
	path := w.path("users", email, "token.json")
	text, err := os.ReadFile(path)
	require.NoError(w.t, err)
	var token map[string]any
	require.NoError(w.t, json.Unmarshal(text, &token))
	maps.Copy(token, fields)
	text, err = json.Marshal(token)
	require.NoError(w.t, err)
	require.NoError(w.t, os.WriteFile(path, text, 0o600))
}

// Each thing that can be wrong is found, alone, with the one thing to do.
func TestDoctor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, f := range w.as("ann@uni.edu").doctor() {
		require.True(t, f.OK, name+": "+f.Message)
	}
	project := func(w *world) string {
		text, err := os.ReadFile(w.path("users", "ann@uni.edu", "client_secrets.json"))
		require.NoError(t, err)
		_, id, _ := strings.Cut(string(text), `"client_id": "`)
		id, _, _ = strings.Cut(id, "-")
		require.Regexp(t, `^\d+$`, id)
		return id
	}
	now := time.Now()
	for name, c := range map[string]struct {
		env   func(w *world) []string // breaks something, and gives what is to be in the environment
		check string                  // the first one that fails
		also  []string                // others that cannot go well then
		says  string
		next  string
	}{
		"no fusermount3":  {func(*world) []string { return []string{"PATH=/nowhere"} }, "fusermount3", nil, "not installed", "install the package fuse3"},
		"state is a file": {func(w *world) []string { return []string{"SREGFS_STATE_DIR=" + w.file("file", nil)} }, "state", []string{"cache"}, "no directory", "SREGFS_STATE_DIR"},
		"cache is a file": {func(w *world) []string { return []string{"SREGFS_CACHE_DIR=" + w.file("file", nil)} }, "cache", nil, "no directory", "SREGFS_CACHE_DIR"},
		"full disk of state": {func(w *world) []string {
			w.onTmpfs(w.path("disk"), "size=1m")
			return []string{"SREGFS_STATE_DIR=" + w.path("disk", "state")}
		}, "state", []string{"cache"}, "1.0 MiB free", "free some room"},
		"full disk of cache": {func(w *world) []string {
			w.onTmpfs(w.path("disk"), "size=100m")
			return []string{"SREGFS_CACHE_DIR=" + w.path("disk")}
		}, "cache", nil, "100 MiB free", "free some room"},
		"read-only disk": {func(w *world) []string {
			w.onTmpfs(w.path("disk"), "size=1g")
			require.NoError(t, unix.Mount("", w.path("disk"), "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
			return []string{"SREGFS_CACHE_DIR=" + w.path("disk")}
		}, "cache", nil, "read-only", "SREGFS_CACHE_DIR"},
		"token for all": {func(w *world) []string {
			require.NoError(t, os.Chmod(w.path("users", "ann@uni.edu", "token.json"), 0o755))
			return nil
		}, "token file", nil, "0755", "sregfs logout"},
		"no credentials":        {func(*world) []string { return []string{"SREGISTRY_GOOGLE_DRIVE_CREDENTIALS="} }, "credentials", []string{"sign-in", "drive"}, "none", "export SREGISTRY_GOOGLE_DRIVE_CREDENTIALS"},
		"credentials not there": {func(w *world) []string { return []string{"SREGISTRY_GOOGLE_DRIVE_CREDENTIALS=" + w.path("none")} }, "credentials", []string{"sign-in", "drive"}, "does not exist", "download"},
		"credentials broken": {func(w *world) []string {
			return []string{"SREGISTRY_GOOGLE_DRIVE_CREDENTIALS=" + w.file("c", []byte("{}"))}
		}, "credentials", []string{"sign-in", "drive"}, "needed is an OAuth client", "download"},
		"not signed in": {func(w *world) []string { return []string{"SREGFS_TOKEN=" + w.path("none")} }, "sign-in", []string{"drive"}, "nobody is signed in", "sregfs login"},
		"grant that ends soon": {func(w *world) []string {
			w.tokenFields("ann@uni.edu", map[string]any{"granted": now.Add(-162 * time.Hour), "grant_ends": now.Add(6*time.Hour + 30*time.Second)})
			return nil
		}, "sign-in", nil, "(6 days ago), ends " + now.Add(6*time.Hour+30*time.Second).Local().Format("2006-01-02 15:04") + " (in 6 hours)", "7 days: publish"},
		"grant that ended": {func(w *world) []string {
			w.tokenFields("ann@uni.edu", map[string]any{"granted": now.Add(-8 * 24 * time.Hour), "grant_ends": now.Add(-24 * time.Hour)})
			w.srv.User("ann@uni.edu").RevokeTokens()
			return nil
		}, "sign-in", []string{"drive"}, "(8 days ago), ended " + now.Add(-24*time.Hour).Local().Format("2006-01-02") + "", "7 days: publish"},
		"grant withdrawn": {func(w *world) []string {
			w.tokenFields("ann@uni.edu", map[string]any{"granted": now.Add(-time.Hour)})
			w.srv.User("ann@uni.edu").RevokeTokens()
			return nil
		}, "drive", nil, "no longer", "sregfs login"},
		"grant of an unknown day": {func(w *world) []string { w.srv.User("ann@uni.edu").RevokeTokens(); return nil }, "drive", nil, "no longer", "7 days: publish"},
		"API off": {func(w *world) []string {
			w.srv.Fault(drivetest.On("GET", "/drive/v3/about").Status(403, "accessNotConfigured"))
			return nil
		}, "drive", nil, "switched off", "project=" + "PROJECT"},
		"scope too narrow": {func(w *world) []string {
			w.srv.Fault(drivetest.On("GET", "/drive/v3/about").Status(403, "insufficientPermissions"))
			return nil
		}, "drive", nil, "does not include", "tick"},
		"no network": {func(*world) []string { return []string{"SREGFS_DRIVE_URL=http://127.0.0.1:1"} }, "drive", []string{"clock"}, "cannot be reached", "reaches http://127.0.0.1:1"},
		"a portal": {func(w *world) []string {
			portal := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("<html>Welcome!")) }))
			t.Cleanup(portal.Close)
			return []string{"SREGFS_DRIVE_URL=" + portal.URL}
		}, "drive", nil, "proxy", "portal"},
		"clock behind": {func(w *world) []string { return []string{w.withDate(now.Add(time.Hour).UTC().Format(http.TimeFormat))} }, "clock", nil, "differs from Drive's by -", "set the clock"},
		"clock ahead": {func(w *world) []string {
			return []string{w.withDate(now.Add(-time.Hour).UTC().Format(http.TimeFormat))}
		}, "clock", nil, "differs from Drive's by 1h", "set the clock"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			env := c.env(w)
			got := w.as("ann@uni.edu", env...).doctor()
			for check, f := range got {
				require.Equal(t, check != c.check && !slices.Contains(c.also, check), f.OK, "%s: %s", check, f.Message)
			}
			require.Contains(t, got[c.check].Message, c.says)
			require.Contains(t, got[c.check].Next, strings.Replace(c.next, "PROJECT", project(w), 1))
		})
	}
}

func TestDoctorForPeople(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	require.Contains(t, ann.sregfs("doctor").out, "ok    fuse ")
	out := w.as("ann@uni.edu", "SREGFS_TOKEN="+w.path("none")).sregfs("-q", "doctor")
	require.Equal(t, exitError, out.code)
	require.Contains(t, out.out, "FAIL  sign-in            nobody is signed in\n                      -> sregfs login\n")
	require.NotContains(t, out.out, "ok  ")
	require.Contains(t, out.err, "checks found something to do")
}

func TestDoctorWithoutFUSE(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can take a device away")
	}
	w := newWorld(t)
	r := w.as("ann@uni.edu").sh(`unshare --mount sh -c 'mount -t tmpfs none /dev && exec "$SREGFS" --json doctor'`)
	f := w.diagnosis(r)["fuse"]
	require.False(t, f.OK)
	require.Contains(t, f.Message, "/dev/fuse")
	require.Contains(t, f.Next, "modprobe fuse")
}

// Not in parallel: others would find the dead mount.
func TestDoctorOfMounts(t *testing.T) {
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	mnt := ann.mount()
	got := ann.doctor()
	require.Contains(t, got["mounts"].Message, mnt)
	require.Contains(t, got["state"].Message, "in use by the mount at "+mnt)

	holder, held := index.Holder(w.path("state", "ann@uni.edu"))
	require.True(t, held)
	require.NoError(t, syscall.Kill(holder.PID, syscall.SIGKILL))
	w.released("ann@uni.edu")
	f := ann.doctor()["mounts"]
	require.False(t, f.OK, f.Message)
	require.Equal(t, "sregfs umount --lazy "+mnt, f.Next)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", strings.Replace(f.Next, "sregfs", `"$SREGFS"`, 1)) // as it says
	self, err := os.Executable()
	require.NoError(t, err)
	cmd.Env = append(ann.env(), "SREGFS="+self)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.NotContains(t, ann.doctor()["mounts"].Message, mnt)
}
