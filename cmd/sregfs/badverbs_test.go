package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// Without the network and without credentials, what is on this machine is found,
// shown, moved and removed; what needs Drive says so, with its code.
func TestVerbsOffline(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"no network", "no credentials", "no network, with a mount"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ann := w.as("ann@uni.edu")
			w.file("i.sif", imagetest.SIF(t, 300_000, imagetest.Labels{"maintainer": "ann"}))
			w.file("other.sif", imagetest.SIF(t, 300_000, imagetest.Seed(5)))
			indextest.Put(t, w.srv.User("ann@uni.edu"), "lab/far:1", imagetest.SIF(t, 200_000, imagetest.Seed(6)), nil)
			ann.sregfs("push", "--name", "lab/near:1", "i.sif").ok(t)
			ann.sregfs("pull", "lab/near:1").ok(t)
			ann.sregfs("prefetch", "lab/near:1").ok(t)

			off, code := w.as("ann@uni.edu", "SREGFS_DRIVE_URL=http://127.0.0.1:1", "SREGFS_TIMEOUT=2s"), exitNetwork
			if mode == "no credentials" {
				off, code = w.as("ann@uni.edu", "SREGISTRY_GOOGLE_DRIVE_CREDENTIALS="), exitSignIn
			}
			if strings.HasSuffix(mode, "with a mount") {
				off.mount()
			}
			place := off.sregfs("get", "lab/near:1").ok(t)
			require.True(t, strings.HasPrefix(place, w.path("home")), place)
			off.sh("cmp i.sif " + place).ok(t)
			require.Contains(t, off.sregfs("images").ok(t), "local \t   [google-drive]\tlab/near:1")
			require.Contains(t, off.sregfs("images", "--all").ok(t), "remote\t   [google-drive]\tlab/far:1")
			require.Contains(t, off.sregfs("inspect", "lab/near:1").ok(t), `"maintainer": "ann"`)
			require.Contains(t, off.sregfs("pin", "lab/near:1").ok(t), "pinned")
			require.Contains(t, off.sregfs("prefetch", "lab/near:1").ok(t), "in the cache")
			off.sregfs("add", "--copy", "--name", "lab/added:1", "other.sif").ok(t)
			off.sregfs("mv", "lab/added:1", "moved.sif").ok(t)
			off.sregfs("rename", "lab/added:1", "lab/renamed:2").ok(t)
			require.Equal(t, w.path("moved.sif")+"\n", off.sregfs("get", "lab/renamed:2").ok(t))
			off.sregfs("rm", "lab/renamed:2").ok(t)
			require.NoFileExists(t, w.path("moved.sif"))

			r := off.sregfs("-q", "inspect", "lab/far:1")
			require.Equal(t, code, r.code, r.err)
			require.Contains(t, r.out, `"uri": "lab/far:1@`, "the record is known all the same")
			for _, args := range []string{"prefetch lab/far:1", "rename lab/far:1 lab/x:1", "delete -f lab/far:1", "share --email bob@uni.edu lab/far:1",
				"labels --set a=b lab/far:1", "push --name lab/new:1 other.sif"} {
				r := off.sregfs(append([]string{"-q"}, strings.Fields(args)...)...)
				require.Equal(t, code, r.code, "%s: %s", args, r.err)
			}
		})
	}
}

// Bad input of each verb is one clear line with its code, and nothing is half done.
func TestVerbsBadInput(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"without a mount", "with a mount"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ann := w.as("ann@uni.edu")
			whole := imagetest.SIF(t, 300_000)
			w.file("whole.sif", whole)
			w.file("half.sif", whole[:100_000])
			w.file("there", []byte("mine"))
			w.file("Singularity", []byte("Bootstrap: docker\nFrom: alpine\n"))
			w.file("page.sif", []byte("<!DOCTYPE html><title>Sign in</title>"))
			w.file("oci.tar.gz", []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"))
			ann.sh("mkfifo pipe; mkdir dir; ln -s nowhere dangling").ok(t)
			user := w.srv.User("ann@uni.edu")
			for _, name := range []string{"lab/one:1", "lab/two:1"} {
				indextest.Put(t, user, name, whole, nil)
			}
			sum := onlySHA(t, user)
			if mode == "with a mount" {
				ann.mount()
			}
			verbs := []string{"get %", "inspect %", "pull %", "record %", "share --email bob@uni.edu %", "rename % lab/x:1", "mv % x.sif", "rm %", "delete -f %",
				"labels %", "pin %", "unpin %", "prefetch %", "dedupe %", "shell -c true %"}
			for _, verb := range verbs {
				call := func(name string) result {
					return ann.sregfs(append([]string{"-q"}, strings.Fields(strings.ReplaceAll(verb, "%", name))...)...)
				}
				oneLine(t, call("lab/nothing:1"), exitNotFound, "lab/nothing")
				oneLine(t, call("lab/on"), exitNotFound, "lab/on")
				oneLine(t, call(sum), exitAmbiguous, "lab/one:1", "lab/two:1", "id")
				for _, bad := range []string{"lab//one", "lab/one:", "a/b:c:d", "/etc/passwd", "..", "lab/" + strings.Repeat("x", 300)} {
					r := call(bad)
					require.Contains(t, []int{exitNotFound, exitError, exitUsage}, r.code, "%s %s: %s", verb, bad, r.err)
					require.Equal(t, 1, strings.Count(r.err, "\n"), "%s %s: %s", verb, bad, r.err)
				}
				words := append([]string{"-q"}, strings.Fields(verb)...)
				words[slices.Index(words, "%")] = ""
				empty := ann.sregfs(words...)
				require.Equal(t, exitUsage, empty.code, "%s: %s", verb, empty.err)
			}
			for args, want := range map[string]struct {
				code int
				text string
			}{
				"add none.sif":                                           {exitError, "none.sif does not exist"},
				"add half.sif":                                           {exitPartial, "half.sif"},
				"add --name lab/x:1 .":                                   {exitError, "regular file"},
				"add --name a:b:c:d whole.sif":                           {exitUsage, "a:b:c:d"},
				"push --name lab/x:1 none.sif":                           {exitError, "none.sif does not exist"},
				"push --name lab/x:1 half.sif":                           {exitPartial, "half.sif"},
				"push --name lab/x:1 Singularity":                        {exitError, "text/plain"},
				"push --name lab/x:1 page.sif":                           {exitError, "text/html"},
				"push --name lab/x:1 oci.tar.gz":                         {exitError, "gzip"},
				"push --name lab/x:1 pipe":                               {exitError, "regular file"},
				"push --name lab/x:1 /dev/zero":                          {exitError, "regular file"},
				"push --name lab/x:1 dangling":                           {exitError, "dangling does not exist"},
				"push --name lab/x:1 -":                                  {exitError, "- does not exist"},
				"add --name lab/x:1 Singularity":                         {exitError, "text/plain"},
				"add --name lab/x:1 pipe":                                {exitError, "regular file"},
				"pull --force --name dir lab/two:1":                      {exitConflict, "no regular file"},
				"pull --force --name /dev/null lab/two:1":                {exitConflict, "no regular file"},
				"pull --name whole.sif/x lab/two:1":                      {exitError, "not a directory"},
				"push whole.sif":                                         {exitUsage, "--name"},
				"push --name lab/x --tag a/b whole.sif":                  {exitUsage, "a/b"},
				"share --email nonsense lab/one:1":                       {exitError, "nonsense"},
				"share --email bob@uni.edu --role king lab/one:1":        {exitError, "king"},
				"share lab/one:1":                                        {exitUsage, "--email"},
				"rename lab/one:1 lab//":                                 {exitUsage, "lab//"},
				"rename lab/one:1 lab/" + strings.Repeat("y", 85) + ":1": {exitError, "cut"},
				"mv lab/one:1 x.sif":                                     {exitNotFound, "sregfs pull"},
				"rm lab/one:1":                                           {exitNotFound, "sregfs delete"},
				"delete lab/one:1":                                       {exitUsage, "--force"},
				"labels --set novalue lab/one:1":                         {exitUsage, "KEY=VALUE"},
				"labels --set a=b":                                       {exitUsage, "IMAGE"},
				"pull --name there lab/two:1":                            {exitConflict, "--force"},
				"pull --name x lab/one:1 lab/two:1":                      {exitUsage, "--name"},
				"pull --name no/such/dir/x.sif lab/two:1":                {exitOK, ""},
				"search --progress loud":                                 {exitUsage, "loud"},
			} {
				r := ann.sregfs(append([]string{"-q"}, strings.Fields(args)...)...)
				if want.code == exitOK {
					r.ok(t)
					continue
				}
				oneLine(t, r, want.code, want.text)
			}
			require.Equal(t, 2, images(w))
			require.Equal(t, "mine", ann.sh("cat there").ok(t))
			ann.sh("test -f whole.sif && test -z \"$(ls x.sif 2>/dev/null)\" && test -z \"$(ls -A home/ann@uni.edu/.singularity/shub 2>/dev/null)\"").ok(t)
		})
	}
}

// onlySHA is the checksum that the user's images share.
func onlySHA(t *testing.T, user *drivetest.User) string {
	t.Helper()
	for _, f := range user.Files() {
		if f.SHA256 != "" {
			return f.SHA256
		}
	}
	t.Fatal("no image")
	return ""
}
