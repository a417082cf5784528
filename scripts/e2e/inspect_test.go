//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fullDef describes an image that has what inspect shows, but for apps: building those runs a %post section, which needs
// more capabilities than some machines give.
const fullDef = `Bootstrap: localimage
From: /tmp/hello

%labels
    maintainer ann@uni.edu
    quoted "it's <so>"

%help
    Greets whom you name.
    In two lines.

%environment
    export GREETING="hello & welcome"

%runscript
    echo "$GREETING, $1"

%startscript
    exec sh -c "while true; do :; done"

%test
    test -x /bin/sh
`

// What inspect says of an image is what Apptainer says of the same file, read from Drive by a few ranges.
func TestInspectSaysWhatApptainerSays(t *testing.T) {
	w := newWorld(t)
	w.hello(t)
	require.NoError(t, os.WriteFile(w.path("full.def"), []byte(fullDef), 0o644))
	w.inside(t, 0, "cp -r hello /tmp && apptainer --quiet build --notest full.sif full.def >&2")
	w.inside(t, 0, `cp full.sif signed.sif
		apptainer key newpair --name Ann --email ann@uni.edu --comment test --password '' --push=false >&2
		apptainer sign --keyidx 0 signed.sif >&2`)
	w.sh(t, "cp "+science(t)+" science.sif")
	w.inside(t, 0, "apptainer sif dump 3 full.sif > full.sqsh")
	w.sh(t, `{ printf '#!/usr/bin/env run-singularity\n'; cat full.sqsh; } > full.simg`)

	w.sh(t, "chmod 0644 *.s*")
	sregfs := command{dir: w.dir, env: w.signIn(t, ann, 0)}
	for _, file := range []string{"hello.sif", "full.sif", "signed.sif", "science.sif", "full.sqsh", "full.simg"} {
		t.Run(file, func(t *testing.T) {
			name := "lab/" + strings.ReplaceAll(file, ".", "-") + ":1"
			sregfs.run(t, setup.sregfs, "-q", "push", "--name", name, file)
			sregfs.run(t, setup.sregfs, "cache", "clear")
			w.forgetRequests(t)
			var ours struct{ Meta json.RawMessage }
			require.NoError(t, json.Unmarshal([]byte(sregfs.run(t, setup.sregfs, "--json", "inspect", name)), &ours))
			st, err := os.Stat(w.path(file))
			require.NoError(t, err)
			var media int
			var sum int64
			for _, r := range w.requests(t) {
				if r.Op == "media" {
					media++
					sum += r.Out
				}
			}
			t.Logf("%s: %d ranges, %d of %d bytes", file, media, sum, st.Size())
			require.LessOrEqual(t, media, 4)
			require.LessOrEqual(t, sum, int64(1<<20))

			// Of a squashfs Apptainer asks in a container, which an ordinary user needs no capability for.
			var theirs struct {
				Data struct{ Attributes json.RawMessage }
			}
			require.NoError(t, json.Unmarshal([]byte(w.inside(t, userID, "apptainer inspect --all --json "+w.path(file))), &theirs))
			require.JSONEq(t, string(theirs.Data.Attributes), string(ours.Meta))
		})
	}
}

// People's scripts: singularity run $(sregfs get NAME), after a pull.
func TestRunOfWhatGetSays(t *testing.T) {
	w := newWorld(t)
	w.hello(t)
	sregfs := command{dir: w.dir, env: w.signIn(t, ann, 0)}
	sregfs.run(t, setup.sregfs, "push", "--name", "vsoch/hello-world", "hello.sif")
	sregfs.run(t, setup.sregfs, "pull", "vsoch/hello-world")
	require.Equal(t, "hello, script", w.inside(t, 0, "run "+sregfs.run(t, setup.sregfs, "get", "vsoch/hello-world")+" script"))
}
