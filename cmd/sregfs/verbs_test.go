package main

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index/image/imagetest"
)

// Each verb must say the same whether or not a mount owns the state.
func TestVerbs(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"without a mount", "with a mount"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ann := w.as("ann@uni.edu")
			sif := imagetest.SIF(t, 1<<20, imagetest.Labels{"maintainer": "ann"})
			file := w.file("hello.sif", sif)
			sum := md5.Sum(sif)
			version := hex.EncodeToString(sum[:])
			if mode == "with a mount" {
				ann.mount()
			}
			head := fmt.Sprintf("[client|google-drive] [database|badger://%s]\n[folder][sregistry]\n", w.path("state", "ann@uni.edu"))

			require.Equal(t, head+"No containers found, based on properties type:container\n", ann.sregfs("search").ok(t))

			name := "vsoch/hello-world:latest@" + version + ".sif"
			require.Equal(t, head+name+"\n", ann.sregfs("push", "--name", "vsoch/hello-world", file).ok(t))
			require.Equal(t, name+"\n", ann.sregfs("-q", "push", "--name", "vsoch/hello-world", "--tag", "latest", file).ok(t))
			require.Equal(t, 1, images(w), "the same image pushed twice is one file")

			f := onlyImage(t, w)
			require.Equal(t, head+"[drive://sregistry] Containers\n   [drive://sregistry] \t\t[id]\t[uri]\n1  "+f.ID+"\tvsoch/hello-world:latest@"+version+"\n",
				ann.sregfs("search").ok(t))
			place := ann.sregfs("get", f.ID).ok(t)
			for _, text := range []string{"vsoch/hello-world", f.ID, version} {
				for _, scheme := range []string{"google-drive://", "google_drive://", "drive://"} {
					require.Equal(t, place, ann.sregfs("get", scheme+text).ok(t))
				}
			}
			hit := ann.sregfs("search", "hello").ok(t)
			require.True(t, strings.HasPrefix(hit, head+"[drive://sregistry] Found 1 containers\nvsoch/hello-world:latest@"+version+"\nid         "+f.ID+"\n"), hit)
			require.Contains(t, hit, "\ntag        latest\n")
			require.Contains(t, hit, "\nmaintainer ann\n")
			require.Contains(t, ann.sregfs("search", "nothing-like-it").ok(t), "Found 0 containers")

			var doc struct {
				Collection, Tag, Version, ID string
				Meta                         struct{ Labels map[string]string }
			}
			require.NoError(t, json.Unmarshal([]byte(ann.sregfs("--json", "inspect", "vsoch/hello-world").ok(t)), &doc))
			require.Equal(t, "vsoch", doc.Collection)
			require.Equal(t, version, doc.Version)
			require.Equal(t, f.ID, doc.ID)
			require.Equal(t, "ann", doc.Meta.Labels["maintainer"])

			pulled := w.path("pulled.sif")
			require.Contains(t, ann.sregfs("pull", "--name", pulled, "vsoch/hello-world:latest").ok(t), "Success! "+pulled)
			got, err := os.ReadFile(pulled)
			require.NoError(t, err)
			require.Equal(t, sif, got)
			stored := filepath.Join(w.path("home", "ann@uni.edu"), ".singularity/shub/vsoch/hello-world/latest@"+version+".sif")
			require.Contains(t, ann.sregfs("pull", f.ID).ok(t), "Success! "+stored)
			require.Equal(t, stored+"\n", ann.sregfs("get", "vsoch/hello-world@"+version).ok(t))

			require.Equal(t, head+"vsoch/hello-world:latest\nShare to bob@uni.edu complete: "+permission(t, w, func() {
				ann.sregfs("share", "--email", "bob@uni.edu", "vsoch/hello-world").ok(t)
			})+"!\n", ann.sregfs("share", "--email", "bob@uni.edu", "vsoch/hello-world").ok(t), "sharing twice is sharing once")
			require.Contains(t, ann.sregfs("share", "ls", "vsoch/hello-world").ok(t), "bob@uni.edu reader")
			ann.sregfs("share", "rm", "--email", "bob@uni.edu", "vsoch/hello-world").ok(t)
			require.NotContains(t, ann.sregfs("share", "ls", "vsoch/hello-world").ok(t), "bob@uni.edu")
		})
	}
}

// images counts the image files in ann's Drive.
func images(w *world) int {
	n := 0
	for _, f := range w.srv.User("ann@uni.edu").Files() {
		if f.Properties["type"] == "container" {
			n++
		}
	}
	return n
}

func onlyImage(t testing.TB, w *world) drivetest.File {
	t.Helper()
	require.Equal(t, 1, images(w))
	for _, f := range w.srv.User("ann@uni.edu").Files() {
		if f.Properties["type"] == "container" {
			return f
		}
	}
	panic("unreachable")
}

// permission runs act and returns the id of bob's permission on the only image.
func permission(t testing.TB, w *world, act func()) string {
	t.Helper()
	act()
	for _, p := range onlyImage(t, w).Permissions {
		if p.Email == "bob@uni.edu" {
			return p.ID
		}
	}
	t.Fatal("bob has no permission")
	return ""
}

func TestGetWithoutACopyGivesTheAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	ann.sregfs("push", "--name", "c/i:t", w.file("i.sif", imagetest.SIF(t, 100_000))).ok(t)
	require.Equal(t, w.srv.URL()+"/drive/v3/files/"+onlyImage(t, w).ID+"?alt=media\n", ann.sregfs("get", "c/i:t").ok(t))
}

func TestVersionAndHelp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nobody := w.as("ann@uni.edu", "SREGISTRY_GOOGLE_DRIVE_CREDENTIALS=")
	require.Equal(t, "dev\n", nobody.sregfs("version").ok(t))
	require.Equal(t, "dev\n", nobody.sregfs("--version").ok(t))
	require.Contains(t, nobody.sregfs("--help").ok(t), "Exit codes:")
	require.Contains(t, nobody.sregfs("completion", "bash").ok(t), "__start_sregfs")
}
