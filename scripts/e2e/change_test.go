//go:build e2e

package e2e

import (
	"os"
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
