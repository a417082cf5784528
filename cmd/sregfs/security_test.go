package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// What strangers wrote into names, labels and properties, and what Drive says in its errors, is shown as text: nothing of
// it steers the terminal or turns the direction of writing, for people or in JSON.
func TestNothingSteersTheTerminal(t *testing.T) {
	t.Parallel()
	const evil = "x\x1b[2J\x9b31m\u202egnp\u200b\u009b2J\r\a"
	w := newWorld(t)
	ann, bob := w.srv.User("ann@uni.edu"), w.as("bob@uni.edu")
	f := indextest.PutRaw(t, ann, drivetest.File{
		Name: evil + ".sif", Description: `{"long` + evil + `":"` + strings.Repeat("x", 200) + `"}`,
		Properties: map[string]string{"type": "container", "uri": evil, "collection": "c" + evil, "image": "i" + evil, "tag": evil, "label" + evil: evil, "sregfs.profile.0": evil},
	}, imagetest.SIF(t, 300_000, imagetest.Labels{"a" + evil: evil}))
	w.as("ann@uni.edu").sregfs("share", "--email", "bob@uni.edu", f.ID).ok(t)

	clean := func(r result, what string) {
		t.Helper()
		for _, text := range []string{r.out, r.err} {
			for _, bad := range []string{"\x1b", "\x9b", "\u009b", "\u202e", "\u200b", "\r", "\a"} {
				require.NotContains(t, text, bad, what)
			}
		}
	}
	said := func(args ...string) {
		t.Helper()
		for _, args := range [][]string{args, append([]string{"--json"}, args...), append([]string{"--debug"}, args...)} {
			r := bob.sregfs(args...)
			require.Zero(t, r.code, "%q: %s", args, r.err)
			require.Contains(t, r.out, f.ID[:8], args)
			clean(r, strings.Join(args, " "))
		}
	}
	for _, mode := range []string{"without a mount", "with a mount"} {
		t.Run(mode, func(t *testing.T) {
			if mode == "with a mount" {
				mnt := bob.mount()
				bob.sh("cp " + w.file("half.sif", imagetest.SIF(t, 300_000)[:1000]) + " " + mnt + "/$'draft\\e[2J:1.sif'")
				clean(bob.sregfs("status"), "status")
				clean(bob.sregfs("--json", "status"), "status")
			}
			said("search")
			said("search", "gnp")
			said("inspect", f.ID)
			clean(bob.sregfs("share", "ls", f.ID), "share ls")
			clean(bob.sregfs("pull", "--force", "--name", w.path("pulled"), f.ID), "pull")
			clean(bob.sregfs("get", "c/"+evil), "no such name")
			require.Contains(t, bob.sregfs("pull", f.ID).ok(t), "Success! ")
		})
	}
	w.srv.Fault(drivetest.On("GET", "/drive/v3/*").Status(403, "bad"+evil))
	clean(w.as("bob@uni.edu", "SREGFS_STATE_DIR="+w.path("fresh")).sregfs("search"), "an error of Drive's")
	// Everything was kept under the directory of images: no name led out of it.
	require.Empty(t, bob.sh("find . -newer pulled -name '*gnp*' -not -path './home/*' -not -path './state/*'").ok(t))
}

// Another's image that claims to be one of mine is not taken for it: not by its name in any case, nor its id or checksum.
func TestAStrangersImageIsNotMine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	mine, theirs := imagetest.SIF(t, 300_000), imagetest.SIF(t, 300_000, imagetest.Seed(7))
	ann.sregfs("push", "--name", "lab/tool:1", w.file("mine.sif", mine)).ok(t)
	own := onlyImage(t, w)
	uri := own.Properties["uri"]
	bob := w.as("bob@uni.edu")
	for _, props := range []map[string]string{
		{"type": "container", "uri": uri, "collection": "lab", "image": "tool", "tag": "1", "version": own.Properties["version"]},
		{"type": "container", "uri": strings.ToUpper(uri), "collection": "LAB", "image": "Tool", "tag": "1"},
		{"type": "container", "collection": "lab", "image": "tool", "tag": "2"},
		{"type": "container", "collection": "shared-with-me/ann@uni.edu/lab", "image": "tool", "tag": "1"},
		{"type": "container", "collection": "lab", "image": own.ID, "tag": "latest", "version": own.ID},
	} {
		f := indextest.PutRaw(t, w.srv.User("bob@uni.edu"), drivetest.File{Name: "lab/tool:1.sif", Properties: props}, theirs)
		bob.sregfs("share", "--email", "ann@uni.edu", "--role", "writer", f.ID).ok(t)
	}
	for _, mode := range []string{"without a mount", "with a mount"} {
		t.Run(mode, func(t *testing.T) {
			if mode == "with a mount" {
				mnt := ann.mount()
				require.Equal(t, "tool:1\ntool:1.sif\n", ann.sh("ls "+mnt+"/lab").ok(t))
				ann.sh("cmp mine.sif " + mnt + "/lab/tool:1.sif && cmp mine.sif " + mnt + "/LAB/TOOL:1.sif").ok(t)
				ann.sh("test $(ls " + mnt + "/lab/tool:1 | wc -l) = 1 && cmp mine.sif " + mnt + "/lab/tool:1/*.sif").ok(t)
				ann.sh("ls -R " + mnt + "/shared-with-me/bob@uni.edu | grep -q tool:2").ok(t)
			}
			for _, name := range []string{"lab/tool:1", "LAB/Tool:1", uri, own.ID, own.Properties["version"], own.SHA256} {
				ann.sregfs("pull", "--force", "--name", w.path("got.sif"), name).ok(t)
				ann.sh("cmp mine.sif got.sif").ok(t)
			}
			ann.sregfs("share", "--email", "eve@uni.edu", "lab/tool:1").ok(t)
			require.Len(t, onlyImage(t, w).Permissions, 2, "mine was shared, not the stranger's")
		})
	}
}

// pull follows no link that stands where the image is to go, and leaves the mode to the umask.
func TestPullFollowsNoLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	sif := imagetest.SIF(t, 300_000)
	ann.sregfs("push", "--name", "c/i:t", w.file("i.sif", sif)).ok(t)
	victim := w.file("victim", []byte("precious"))
	require.NoError(t, os.Symlink(victim, w.path("out.sif")))
	require.NoError(t, os.Symlink(w.path("i.sif"), w.path("same.sif")))
	require.NoError(t, syscall.Mkfifo(w.path("pipe.sif"), 0o600))
	for _, name := range []string{"out.sif", "same.sif", "pipe.sif"} {
		oneLine(t, ann.sregfs("-q", "pull", "--name", w.path(name), "c/i:t"), exitConflict, name)
		oneLine(t, ann.sregfs("-q", "pull", "--force", "--name", w.path(name), "c/i:t"), exitConflict, name)
	}
	kept, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "precious", string(kept))
	for umask, mode := range map[string]os.FileMode{"022": 0o755, "077": 0o700} {
		path := w.path("pulled-" + umask)
		ann.sh("umask " + umask + "; $SREGFS -q pull --name " + path + " c/i:t").ok(t)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm())
	}
	hidden, err := filepath.Glob(w.path(".*"))
	require.NoError(t, err)
	require.Empty(t, hidden, "nothing half pulled is left")
}
