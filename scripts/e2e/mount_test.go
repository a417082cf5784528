//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A mount is a registry mounted by the command, with a state of its own.
type mount struct {
	w       *world
	by      command // how its owner types commands
	dir     string  // the mount point
	mounted bool
}

// mount mounts person's registry as user uid, with an empty state; it is unmounted at the end of the test.
func (w *world) mount(t *testing.T, person string, uid int, flags ...string) *mount {
	t.Helper()
	w.made++
	base := w.path(fmt.Sprintf("mount%d", w.made))
	m := &mount{w: w, dir: filepath.Join(base, "reg")}
	require.NoError(t, os.MkdirAll(m.dir, 0o755))
	require.NoError(t, run("chown", "-R", fmt.Sprintf("%d:%d", uid, uid), base))
	m.by = command{uid: uid, dir: base, env: append(w.signIn(t, person, uid), "SREGFS_STATE_DIR="+filepath.Join(base, "state"))}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(base, "state/log"))
			t.Logf("the log of %s:\n%s", m.dir, tail(string(log)))
		}
		if !m.mounted {
			return
		}
		if _, err := m.by.try(t, setup.sregfs, "umount", m.dir); err != nil {
			t.Errorf("unmounting at the end: %v", err)
			_ = run("fusermount3", "-uz", m.dir)
		}
	})
	m.by.run(t, setup.sregfs, append([]string{"mount"}, append(flags, m.dir)...)...)
	m.mounted = true
	return m
}

// unmount ends the mount as its owner does, and checks that it is gone.
func (m *mount) unmount(t *testing.T) {
	t.Helper()
	m.by.run(t, setup.sregfs, "umount", m.dir)
	m.mounted = false
	mounts, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	require.NotContains(t, string(mounts), m.dir, "nothing stays mounted")
}

// path is a path under the mount point.
func (m *mount) path(elem ...string) string {
	return filepath.Join(append([]string{m.dir}, elem...)...)
}

// ls lists a directory of the mount, by its owner's ls.
func (m *mount) ls(t *testing.T, elem ...string) []string {
	t.Helper()
	return strings.Fields(m.by.run(t, "ls", m.path(elem...)))
}

// digest is the SHA-256 of a local file, in hex.
func digest(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	require.NoError(t, err)
	return hex.EncodeToString(h.Sum(nil))
}

// requireDigest reads a file of the mount whole, in another process, and compares.
func (m *mount) requireDigest(t *testing.T, want string, elem ...string) {
	t.Helper()
	got, _, _ := strings.Cut(m.by.run(t, "sha256sum", m.path(elem...)), " ")
	require.Equal(t, want, got, "%s", filepath.Join(elem...))
}

// push copies a local image into the mount by cp, as its owner; cp that succeeds means that Drive has it.
func (m *mount) push(t *testing.T, local string, elem ...string) {
	t.Helper()
	to := m.path(elem...)
	m.by.run(t, "mkdir", "-p", filepath.Dir(to))
	m.by.run(t, "cp", local, to)
}

// helloDef describes the small image: busybox that greets.
const helloDef = `Bootstrap: localimage
From: /tmp/hello

%labels
    maintainer ann@uni.edu
    purpose greeting

%runscript
    echo "hello, $1"
`

// buildHello has user uid build the small image at path with apptainer.
func (w *world) buildHello(t *testing.T, uid int, path string) {
	t.Helper()
	def := w.path("hello.def")
	if _, err := os.Stat(def); err != nil {
		w.sh(t, `umask 022
			mkdir -p hello/bin hello/etc hello/tmp
			cp `+filepath.Join(setup.root, "apptainer/bin/busybox")+` hello/bin
			for a in sh cat echo id ls true; do ln -s busybox hello/bin/$a; done
			echo root:x:0:0::/:/bin/sh >hello/etc/passwd
			echo root:x:0: >hello/etc/group`)
		require.NoError(t, os.WriteFile(def, []byte(helloDef), 0o644))
	}
	// Each builds from a copy: in a user namespace nothing can be given to the owner of somebody else's files.
	w.inside(t, uid, "cp -r hello /tmp && apptainer --quiet build '"+path+"' hello.def >&2")
}

// hello is a local copy of the small image.
func (w *world) hello(t *testing.T) string {
	t.Helper()
	path := w.path("hello.sif")
	if _, err := os.Stat(path); err != nil {
		w.buildHello(t, 0, path)
	}
	return path
}

// science is the big image: python3, numpy, scipy and matplotlib, over 150 MB.
func science(t *testing.T) string {
	t.Helper()
	path := filepath.Join(setup.root, "science.sif")
	st, err := os.Stat(path)
	require.NoError(t, err)
	require.Greater(t, st.Size(), int64(150<<20))
	return path
}
