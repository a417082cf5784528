//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Signing writes into the image where it lies. That is a new version under the same tag, and the old one stays.
func TestSignInPlace(t *testing.T) {
	for _, u := range users {
		t.Run(u.name, func(t *testing.T) {
			w := newWorld(t)
			m := w.mount(t, ann, u.uid)
			hello := w.hello(t)
			m.push(t, hello, "lab/hello:latest.sif")
			before := m.ls(t, "lab/hello:latest")
			require.Len(t, before, 1)
			m.unmount(t)

			m = w.mount(t, ann, u.uid) // cold: signing has to fetch what it does not write
			w.inside(t, u.uid, `
				apptainer key newpair --name Ann --email ann@uni.edu --comment test --password '' --push=false >&2
				apptainer sign --keyidx 0 `+m.path("lab/hello:latest.sif")+` >&2
				apptainer verify `+m.path("lab/hello:latest.sif")+` >&2`)
			after := m.ls(t, "lab/hello:latest")
			require.Len(t, after, 2, "the signed image is a version of its own")
			require.Contains(t, after, before[0])
			m.requireDigest(t, digest(t, hello), "lab/hello:latest", before[0])
			m.unmount(t)

			m = w.mount(t, ann, u.uid)
			require.Equal(t, "hello, signed", w.inside(t, u.uid, "run "+m.path("lab/hello:latest.sif")+" signed"))
			require.Contains(t, w.inside(t, u.uid, "apptainer sif list "+m.path("lab/hello:latest.sif")), "Signature")
			require.NotContains(t, w.inside(t, u.uid, "apptainer sif list "+m.path("lab/hello:latest", before[0])), "Signature")
			require.Equal(t, "hello, old", w.inside(t, u.uid, "run "+m.path("lab/hello:latest", before[0])+" old"))
		})
	}
}

// The SIF tool, of Apptainer and of Debian itself, adds an object in place.
func TestAddInPlace(t *testing.T) {
	for _, tool := range []string{"apptainer sif", "siftool"} {
		t.Run(tool, func(t *testing.T) {
			w := newWorld(t)
			m := w.mount(t, ann, 0)
			m.push(t, w.hello(t), "lab/hello:latest.sif")
			require.NoError(t, os.WriteFile(w.path("note.txt"), []byte("read me\n"), 0o600))
			add := " add --datatype 7 " + m.path("lab/hello:latest.sif") + " " + w.path("note.txt")
			if tool == "siftool" {
				w.sh(t, tool+add)
			} else {
				w.inside(t, 0, tool+add)
			}
			require.Len(t, m.ls(t, "lab/hello:latest"), 2)
			m.unmount(t)

			m = w.mount(t, ann, 0)
			require.Contains(t, w.inside(t, 0, "apptainer sif list "+m.path("lab/hello:latest.sif")), "Generic")
			require.Contains(t, w.sh(t, "siftool list "+m.path("lab/hello:latest.sif")), "Generic")
			require.Equal(t, "hello, added", w.inside(t, 0, "run "+m.path("lab/hello:latest.sif")+" added"))
		})
	}
}

// A container keeps the image it was started from: blocks that it first asks for after the tag was moved on are still
// those of the old version. Half of one image and half of another would be worse than any error.
func TestRunningContainerKeepsItsImage(t *testing.T) {
	for _, u := range users {
		t.Run(u.name, func(t *testing.T) {
			w := newWorld(t)
			m := w.mount(t, ann, 0)
			m.push(t, science(t), "lab/tool:1.sif")
			m.unmount(t)

			m = w.mount(t, ann, 0, "--allow-other")
			line := w.insideLine(u.uid, `run `+m.path("lab/tool:1.sif")+` -c '
print("started", flush=True)
input()
import numpy, scipy.linalg
print(int(numpy.dot([1, 2, 3], [4, 5, 6])), flush=True)'`)
			cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			stdin, err := cmd.StdinPipe()
			require.NoError(t, err)
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			says := bufio.NewReader(stdout)
			first, err := says.ReadString('\n')
			if err == nil {
				m.push(t, w.hello(t), "lab/tool:1.sif")
				m.by.run(t, "rm", m.path("lab/tool:1", m.oldest(t, "lab/tool:1")))
			}
			_, _ = io.WriteString(stdin, "go on\n")
			rest, _ := io.ReadAll(says)
			require.NoError(t, cmd.Wait(), "%s", tail(stderr.String()))
			require.Equal(t, "started\n32\n", first+string(rest))
			require.Equal(t, "hello, new", w.inside(t, u.uid, "run "+m.path("lab/tool:1.sif")+" new"))
		})
	}
}

// oldest names the version of a tag directory that was pushed first.
func (m *mount) oldest(t *testing.T, tag string) string {
	t.Helper()
	all := strings.Fields(m.by.run(t, "ls", "-tr", m.path(tag)))
	require.Len(t, all, 2)
	return all[0]
}
