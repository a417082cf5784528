package main

import (
	"crypto/md5"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

var update = flag.Bool("update", false, "write the transcripts as they are now")

// transcript replays testdata/NAME.golden: lines that begin with "$ " are run
// by a shell in the person's directory, and what follows is what they print, on
// stdout and stderr, and "[exit N]" if they fail. words are replaced in the
// output by their keys.
func transcript(t *testing.T, p person, name string, words ...string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	words = append(words, p.w.srv.URL(), "{DRIVE}", p.w.path("state", p.email), "{STATE}", p.w.path("home", p.email), "{HOME}", p.w.dir, "{DIR}")
	replace := strings.NewReplacer(words...)
	id := regexp.MustCompile(`\b1[\w-]{32}`)
	permission := regexp.MustCompile(`complete: \w+!`)
	var got strings.Builder
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			got.WriteString(line)
		}
		script, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			continue
		}
		got.WriteString(line)
		r := p.sh("sregfs() { \"$SREGFS\" \"$@\"; }; exec 2>&1; " + script)
		out := permission.ReplaceAllString(replace.Replace(r.out), "complete: {PERMISSION}!")
		out = id.ReplaceAllStringFunc(out, func(s string) string {
			if s == pageHello || s == pageFactory {
				return s
			}
			return "{ID}"
		})
		got.WriteString(out)
		if r.code != 0 {
			fmt.Fprintf(&got, "[exit %d]\n", r.code)
		}
	}
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got.String()), 0o644))
	}
	require.Equal(t, string(text), got.String())
}

// Ids, versions and dates of the registry tool's page.
const (
	pageHello   = "1LuHUUhEMiWulnJiqBF0-5DgiJvSsvuPq"
	pageFactory = "1qOVpMmk4nAg0IX0rG_QT_GT5VpV5cKUe"
	pageVersion = "846442ecd7487f99fce3b8fb68ae15af"
)

// pageWorld is the registry of the registry tool's page, from the end of 2017.
func pageWorld(t *testing.T) (w *world, words []string) {
	t.Helper()
	w = newWorld(t)
	ann := w.srv.User("ann@uni.edu")
	simg := imagetest.Simg(t, 300_000)
	sum := md5.Sum(simg)
	w.file("hello.simg", simg)
	hello := indextest.PutRaw(t, ann, drivetest.File{
		Name: "vsoch/hello-world:latest.simg", Created: time.Date(2017, 12, 29, 9, 0, 0, 0, time.UTC), Modified: time.Date(2017, 12, 29, 10, 0, 0, 0, time.UTC),
		Properties: map[string]string{
			"type": "container", "collection": "vsoch", "image": "hello-world", "tag": "latest", "version": pageVersion,
			"uri": "vsoch/hello-world:latest@" + pageVersion, "storage": "vsoch/hello-world:latest.simg",
		},
	}, imagetest.Simg(t, 200_000, imagetest.Seed(2)))
	factory := indextest.PutRaw(t, ann, drivetest.File{
		Name: "expfactory/expfactory:master.simg", Created: time.Date(2017, 12, 28, 9, 0, 0, 0, time.UTC), Modified: time.Date(2017, 12, 28, 10, 0, 0, 0, time.UTC),
		Properties: map[string]string{
			"type": "container", "collection": "expfactory", "image": "expfactory", "tag": "master", "version": pageVersion,
			"uri": "expfactory/expfactory:master", "storage": "expfactory/expfactory:master.simg",
			"org.label-schema.usage": "/.singularity.d/runscript.help", "org.label-schema.build-size": "544MB",
		},
	}, imagetest.Simg(t, 100_000, imagetest.Seed(3)))
	return w, []string{hello.ID, pageHello, factory.ID, pageFactory, hex.EncodeToString(sum[:]), "{MD5}"}
}

// The examples of the registry tool's page print what the page shows, with and
// without a mount.
func TestPage(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"without a mount", "with a mount"} {
		t.Run(mode, func(t *testing.T) {
			w, words := pageWorld(t)
			ann := w.as("ann@uni.edu", "TZ=UTC")
			if mode == "with a mount" {
				words = append(words, ann.mount(), "{MOUNT}")
				transcript(t, ann, "page-mounted", words...)
				return
			}
			transcript(t, ann, "page", words...)
		})
	}
}
