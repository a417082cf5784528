package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// tool runs testdata/tool.py as ann: the registry tool's requests, by Google's
// Python library.
func (p person) tool(args ...string) result {
	p.w.t.Helper()
	user := p.w.srv.User(p.email)
	script := p.w.path("tool.py")
	return p.exec("/usr/bin/python3", append([]string{"-B", script, p.w.srv.URL(), user.AccessToken()}, args...)...)
}

func toolWorld(t *testing.T) (*world, person) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", "import googleapiclient, httplib2").CombinedOutput(); err != nil {
		t.Skipf("Debian's python3-googleapi is not installed: %v: %s", err, bytes.TrimSpace(out))
	}
	w := newWorld(t)
	require.NoError(t, exec.CommandContext(t.Context(), "cp", "testdata/tool.py", w.path("tool.py")).Run())
	return w, w.as("ann@uni.edu")
}

// What sregfs writes, the registry tool's requests find, fetch and share; and the
// other way round. Neither makes a folder of its own.
func TestTheToolAndSregfsShareOneRegistry(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"without a mount", "with a mount"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w, ann := toolWorld(t)
			w.file("ours.sif", imagetest.SIF(t, 300_000, imagetest.Labels{"maintainer": "ann"}))
			w.file("theirs.sif", imagetest.SIF(t, 400_000, imagetest.Seed(2)))
			if mode == "with a mount" {
				ann.mount()
			}
			ann.sregfs("push", "--name", "lab/ours:1.0", "ours.sif").ok(t)
			name := strings.TrimSpace(ann.tool("push", "theirs.sif", "lab/theirs:2.0", "maintainer=bob", "org.label-schema.usage=/help").ok(t))
			require.Regexp(t, `^lab/theirs:2\.0@[0-9a-f]{64}\.sif$`, name)
			require.Equal(t, 2, images(w))

			t.Run("the tool reads ours", func(t *testing.T) {
				require.Contains(t, ann.tool("search").ok(t), " lab/ours:1.0@")
				require.Contains(t, ann.tool("search", "ann").ok(t), "lab/ours:1.0@", "by a label")
				ann.tool("pull", "lab/ours:1.0", "got1.sif").ok(t)
				ann.sh("cmp ours.sif got1.sif").ok(t)
				require.Contains(t, ann.tool("share", "lab/ours:1.0", "bob@uni.edu").ok(t), "Share to bob@uni.edu complete: ")
				require.Contains(t, ann.sregfs("share", "ls", "lab/ours:1.0").ok(t), "bob@uni.edu reader")
			})
			t.Run("we read the tool's", func(t *testing.T) {
				uri := strings.TrimSuffix(name, ".sif")
				indextest.Eventually(t, func() bool { return strings.Contains(ann.sregfs("search").out, "\t"+uri+"\n") }, "the tool's image is listed")
				require.Contains(t, ann.sregfs("search", "theirs").ok(t), "\nmaintainer bob\n")
				for _, text := range []string{"lab/theirs:2.0", uri, strings.ToUpper("lab/theirs:2.0"), "google-drive://" + uri + ".sif"} {
					ann.sregfs("pull", "--force", "--name", "got2.sif", text).ok(t)
					ann.sh("cmp theirs.sif got2.sif").ok(t)
				}
				ann.sregfs("share", "--email", "bob@uni.edu", "lab/theirs:2.0").ok(t)
				ann.sregfs("rename", "lab/theirs:2.0", "lab/theirs:2.1").ok(t)
				require.Contains(t, ann.tool("search").ok(t), " lab/theirs:2.1@", "renamed for the tool as well")
				ann.sregfs("labels", "--set", "status=final", "lab/theirs:2.1").ok(t)
				require.Contains(t, ann.tool("search", "final").ok(t), "lab/theirs:2.1@")
				ann.sregfs("delete", "-f", "lab/theirs:2.1").ok(t)
			})
			t.Run("one folder", func(t *testing.T) {
				folders := 0
				for _, f := range w.srv.User("ann@uni.edu").Files() {
					if f.MimeType == "application/vnd.google-apps.folder" && f.Name == "sregistry" {
						folders++
					}
				}
				require.Equal(t, 1, folders)
			})
		})
	}
}

// The substring of a name is another image: 1.1 is not 1.10, whichever comes first.
func TestANameIsNotASubstring(t *testing.T) {
	t.Parallel()
	w, ann := toolWorld(t)
	for i, tag := range []string{"1.1", "1.10", "1.100"} {
		w.file(tag, imagetest.SIF(t, 200_000, imagetest.Seed(uint64(i))))
		ann.tool("push", tag, "t/x:"+tag).ok(t)
	}
	for _, tag := range []string{"1.1", "1.10", "1.100"} {
		ann.sregfs("pull", "--force", "--name", "got.sif", "t/x:"+tag).ok(t)
		ann.sh("cmp got.sif " + tag).ok(t)
	}
	oneLine(t, ann.sregfs("-q", "pull", "t/x:1"), exitNotFound, "t/x:1")
}

// Names of all eras, and files that somebody uploaded by hand, are shown, pulled
// and shared under the names they have.
func TestErasOfNames(t *testing.T) {
	t.Parallel()
	md5, sha := strings.Repeat("5", 32), strings.Repeat("7", 64)
	base := func(more ...string) map[string]string {
		p := map[string]string{"type": "container"}
		for i := 0; i < len(more); i += 2 {
			p[more[i]] = more[i+1]
		}
		return p
	}
	eras := []struct {
		era, file string
		props     map[string]string
		shown     string   // by search
		names     []string // that all mean it
		place     string   // in the mount
	}{
		{"E0", "expfactory/expfactory:master.simg", base("uri", "expfactory/expfactory:master", "collection", "expfactory", "image", "expfactory", "tag", "master", "version", md5),
			"expfactory/expfactory:master", []string{"expfactory/expfactory:master", "expfactory/expfactory:master@" + md5}, "expfactory/expfactory:master.simg"},
		{"E1", "vsoch/hello:latest.simg", base("uri", "vsoch/hello:latest@"+md5, "collection", "vsoch", "image", "hello", "tag", "latest", "version", md5),
			"vsoch/hello:latest@" + md5, []string{"vsoch/hello", "vsoch/hello:latest.simg"}, "vsoch/hello:latest.simg"},
		{"E2", "vsoch/cased:Dev.simg", base("uri", "vsoch/cased:Dev@"+md5, "collection", "vsoch", "image", "cased", "tag", "Dev", "version", md5),
			"vsoch/cased:Dev@" + md5, []string{"vsoch/cased:Dev", "vsoch/cased:dev"}, "vsoch/cased:Dev.simg"},
		{"E3", "vsoch/dashed-v1@" + md5 + ".simg", base("uri", "vsoch/dashed-v1@"+md5, "collection", "vsoch", "image", "dashed", "tag", "v1", "version", md5, "tag_uri", "vsoch/dashed-v1"),
			"vsoch/dashed-v1@" + md5, []string{"vsoch/dashed:v1"}, "vsoch/dashed:v1.simg"},
		{"E4", "vsoch/newer-v2@" + md5 + ".sif", base("uri", "vsoch/newer-v2@"+md5, "collection", "vsoch", "image", "newer", "tag", "v2", "version", md5, "storage_version", md5+"@"+md5, "registry", "my.lab"),
			"vsoch/newer-v2@" + md5, []string{"vsoch/newer:v2"}, "vsoch/newer:v2.sif"},
		{"E5", "vsoch/today:3@" + sha + ".sif", base("uri", "vsoch/today:3@"+sha, "collection", "vsoch", "image", "today", "tag", "3", "version", sha, "url", "vsoch/today", "original", "vsoch/today:3"),
			"vsoch/today:3@" + sha, []string{"vsoch/today:3", "vsoch/today:3@" + sha}, "vsoch/today:3.sif"},
		{"nested", "a/b/c:1.simg", base("uri", "a/b/c:1@"+md5, "collection", "a", "image", "b/c", "tag", "1", "version", md5),
			"a/b/c:1@" + md5, []string{"a/b/c:1"}, "a/b/c:1.simg"},
		{"by hand", "lab/manual:1.sif", base(), "lab/manual:1", []string{"lab/manual:1"}, "lab/manual:1.sif"},
		{"by hand, no name of ours", "My Image.simg", base(), "library/My Image:latest", []string{"library/my image"}, "library/My Image:latest.simg"},
	}
	for _, mode := range []string{"without a mount", "with a mount"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w, ann := toolWorld(t)
			user := w.srv.User("ann@uni.edu")
			mnt := ""
			for i, e := range eras {
				content := imagetest.SIF(t, 100_000, imagetest.Seed(uint64(i)))
				w.file(fmt.Sprint(i), content)
				indextest.PutRaw(t, user, drivetest.File{Name: e.file, Properties: e.props}, content)
			}
			if mode == "with a mount" {
				mnt = ann.mount()
			}
			list := ann.sregfs("-q", "search").ok(t)
			for i, e := range eras {
				require.Contains(t, list, "\t"+e.shown, e.era)
				for _, name := range e.names {
					ann.sregfs("pull", "--force", "--name", "got", name).ok(t)
					ann.sh(fmt.Sprintf("cmp got %d", i)).ok(t)
				}
				ann.sregfs("pull", e.names[0]).ok(t)
				here := strings.TrimSpace(ann.sregfs("get", e.names[0]).ok(t))
				require.True(t, strings.HasPrefix(here, w.path("home")), "%s: %s", e.era, here)
				require.Contains(t, ann.sregfs("share", "--email", "bob@uni.edu", e.names[0]).ok(t), "complete: ")
				if mnt != "" {
					ann.sh(fmt.Sprintf("cmp %d '%s/%s'", i, mnt, e.place)).ok(t)
				}
			}
			require.Equal(t, len(eras)-2, strings.Count(ann.tool("search", "@").out, "\n")+1, "E0 has no @, nor have those by hand")
			require.Equal(t, len(eras), strings.Count(w.as("bob@uni.edu").sregfs("-q", "search").ok(t), "\n")-2, "all were shared")
		})
	}
}
