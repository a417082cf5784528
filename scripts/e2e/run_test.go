//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// users are the two ways an image starts: root through a loop device, others through squashfuse in a user namespace.
var users = []struct {
	name string
	uid  int
}{{"root", 0}, {"ordinary user", userID}}

// arithmetic is a program that needs numpy; it prints 32.
const arithmetic = `import numpy; print(int(numpy.dot([1, 2, 3], [4, 5, 6])))`

// Promise 1 and 2: what was pushed runs, from a machine that has nothing of it.
func TestPushedImagesRun(t *testing.T) {
	w := newWorld(t)
	m := w.mount(t, ann, 0)
	hello := w.hello(t)
	m.push(t, hello, "lab/hello:latest.sif")
	m.push(t, science(t), "lab/science:1.0.sif")
	require.NoError(t, run("mkdir", "-p", m.path("ann")))
	w.buildHello(t, 0, m.path("ann/built:2.sif")) // apptainer build writes the header last, and unlinks first
	require.Contains(t, m.ls(t, "ann"), "built:2.sif")
	m.requireDigest(t, digest(t, hello), "lab/hello:latest.sif")
	m.unmount(t)

	m = w.mount(t, ann, 0, "--allow-other") // a new state: index and cache are empty
	require.ElementsMatch(t, []string{"ann", "lab"}, m.ls(t))
	for _, u := range users {
		t.Run(u.name, func(t *testing.T) {
			img := m.path("lab/hello:latest.sif")
			require.Equal(t, "hello, world", w.inside(t, u.uid, "run "+img+" world"))
			require.Equal(t, fmt.Sprint(u.uid), w.inside(t, u.uid, "exec_ "+img+" id -u"))
			require.Contains(t, w.inside(t, u.uid, "apptainer inspect "+img), "purpose: greeting")
			require.Contains(t, w.inside(t, u.uid, "apptainer inspect --runscript "+img), `echo "hello, $1"`)

			require.Equal(t, "hello, build", w.inside(t, u.uid, "run "+m.path("ann/built:2.sif")+" build"))
			require.Equal(t, "32", w.inside(t, u.uid, "run "+m.path("lab/science:1.0.sif")+" -c '"+arithmetic+"'"))
			require.Equal(t, "32", w.inside(t, u.uid, "exec_ "+m.path("lab/science:1.0.sif")+" python3 -c '"+arithmetic+"'"))

			version := m.ls(t, "lab/hello:latest")
			require.Len(t, version, 1)
			require.Equal(t, "hello, version", w.inside(t, u.uid, "run "+m.path("lab/hello:latest", version[0])+" version"))
			require.Equal(t, "hello, cwd", w.inside(t, u.uid, "cd "+m.path("lab")+" && run ./hello:latest.sif cwd"))
		})
	}
	m.requireDigest(t, digest(t, hello), "lab/hello:latest.sif")
	m.requireDigest(t, digest(t, science(t)), "lab/science:1.0.sif")
	if strings.Contains(w.sh(t, "losetup -a"), m.dir) {
		t.Error("a loop device is left behind")
	}
}

// A person without root's rights mounts, pushes, builds and runs, all alone.
func TestOrdinaryUsersOwnMount(t *testing.T) {
	w := newWorld(t)
	m := w.mount(t, ann, userID)
	m.push(t, w.hello(t), "lab/hello:latest.sif")
	m.by.run(t, "mkdir", "-p", m.path("ann"))
	w.buildHello(t, userID, m.path("ann/built:2.sif"))
	m.unmount(t)

	m = w.mount(t, ann, userID)
	require.Equal(t, "hello, world", w.inside(t, userID, "run "+m.path("lab/hello:latest.sif")+" world"))
	require.Equal(t, "hello, build", w.inside(t, userID, "run "+m.path("ann/built:2.sif")+" build"))
	require.Contains(t, w.inside(t, userID, "apptainer inspect "+m.path("ann/built:2.sif")), "purpose: greeting")
	_, err := command{}.try(t, "ls", m.dir)
	require.Error(t, err, "without --allow-other not even root looks in")
}
