//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What ann shares bob sees and runs; what she takes back he sees no more. Neither mounts again for it.
func TestShare(t *testing.T) {
	w := newWorld(t)
	anns := w.mount(t, ann, 0, "--poll", "1s")
	bobs := w.mount(t, bob, 0, "--poll", "1s", "--allow-other")
	anns.push(t, w.hello(t), "lab/hello:latest.sif")
	anns.push(t, w.hello(t), "lab/secret:latest.sif")
	require.NotContains(t, bobs.ls(t), "shared-with-me", "nothing is shared yet")

	anns.by.run(t, "setfattr", "-n", "user.sregfs.share", "-v", bob, anns.path("lab/hello:latest.sif"))
	shared := bobs.path("shared-with-me", ann, "lab/hello:latest.sif")
	appears := func(want bool) func() bool {
		return func() bool {
			_, err := bobs.by.try(t, "stat", shared)
			return (err == nil) == want
		}
	}
	require.Eventually(t, appears(true), time.Minute, 250*time.Millisecond, "bob sees what ann shares")
	require.Equal(t, []string{"hello:latest", "hello:latest.sif"}, bobs.ls(t, "shared-with-me", ann, "lab"), "and nothing else")
	bobs.requireDigest(t, digest(t, w.hello(t)), "shared-with-me", ann, "lab/hello:latest.sif")
	for _, u := range users {
		require.Equal(t, "hello, "+u.name, w.inside(t, u.uid, "run "+shared+" '"+u.name+"'"))
	}
	_, err := bobs.by.try(t, "rm", shared)
	require.Error(t, err, "a reader removes nothing")
	_, err = bobs.by.try(t, "cp", w.hello(t), shared)
	require.Error(t, err, "a reader pushes nothing")

	anns.by.run(t, "setfattr", "-n", "user.sregfs.unshare", "-v", bob, anns.path("lab/hello:latest.sif"))
	require.Eventually(t, appears(false), time.Minute, 250*time.Millisecond, "what is taken back goes away")
	anns.requireDigest(t, digest(t, w.hello(t)), "lab/hello:latest.sif")
}
