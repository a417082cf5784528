//go:build e2e

package e2e

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// Images of Singularity 2.x are a squashfs, with or without a line in front that makes the file executable. They are
// pushed, labelled, listed under their own extension, and run.
func TestLegacyImages(t *testing.T) {
	const launcher = "#!/usr/bin/env run-singularity\n"
	w := newWorld(t)
	w.inside(t, 0, "apptainer sif dump 3 "+w.hello(t)+" > "+w.path("hello.sqsh"))
	squash, err := os.ReadFile(w.path("hello.sqsh"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(w.path("hello.simg"), append([]byte(launcher), squash...), 0o600))

	m := w.mount(t, ann, 0)
	m.push(t, w.path("hello.simg"), "old/hello:2.4.simg")
	m.push(t, w.path("hello.sqsh"), "old/bare:2.4.sqsh")
	m.unmount(t)

	m = w.mount(t, ann, 0, "--allow-other")
	simg, sqsh := m.path("old/hello:2.4.simg"), m.path("old/bare:2.4.sqsh")
	m.requireDigest(t, digest(t, w.path("hello.simg")), "old/hello:2.4.simg")
	m.requireDigest(t, digest(t, w.path("hello.sqsh")), "old/bare:2.4.sqsh")
	for _, u := range users {
		t.Run(u.name, func(t *testing.T) {
			require.Equal(t, "hello, old", w.inside(t, u.uid, "run "+simg+" old"))
			require.Equal(t, "hello, bare", w.inside(t, u.uid, "run "+sqsh+" bare"))
		})
	}
	require.Equal(t, "ann@uni.edu", w.sh(t, "getfattr --only-values -n user.sregfs.label.maintainer "+simg),
		"labels are read from the squashfs behind the launcher line")

	// Debian's own squashfs programs on the mounted file.
	require.Contains(t, w.sh(t, "unsquashfs -s "+sqsh), "Found a valid SQUASHFS")
	require.Contains(t, w.sh(t, "unsquashfs -o 31 -l "+simg), "bin/busybox")
	looked := w.sh(t, "mkdir tree && squashfuse -o offset=31 "+simg+" tree && { ls tree/bin; fusermount3 -u tree; }")
	require.Contains(t, looked, "busybox")
}
