package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index/image/imagetest"
)

// readers compares a file of the mount with the file that was pushed: in
// random 4 KiB pieces by 16 processes at once, and by mmap.
const readers = `
import hashlib, mmap, os, random, sys
mounted, pushed = sys.argv[1:3]
size = os.path.getsize(pushed)
assert os.path.getsize(mounted) == size, (os.path.getsize(mounted), size)
children = []
for seed in range(16):
    pid = os.fork()
    if pid == 0:
        rnd = random.Random(seed)
        a, b = os.open(mounted, os.O_RDONLY), os.open(pushed, os.O_RDONLY)
        for _ in range(200):
            off = rnd.randrange(size)
            if os.pread(a, 4096, off) != os.pread(b, 4096, off):
                print("differs at", off, file=sys.stderr)
                os._exit(1)
        os._exit(0)
    children.append(pid)
bad = [pid for pid in children if os.waitpid(pid, 0)[1] != 0]
assert not bad, bad
with open(mounted, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
    mapped = hashlib.sha256(m).hexdigest()
with open(pushed, "rb") as f:
    assert mapped == hashlib.file_digest(f, "sha256").hexdigest()
`

// The bytes read are the bytes pushed: whole, in pieces, by mmap; before,
// during and after other images are pushed.
func TestBytes(t *testing.T) {
	t.Parallel()
	w := newWorldIn(t, drivetest.Options{Dir: t.TempDir(), Users: []string{"ann@uni.edu", "bob@uni.edu"}})
	ann := w.as("ann@uni.edu")
	names := []string{"sif", "simg", "zeros", "byte"}
	w.file("sif", imagetest.SIF(t, 9<<20+123))
	w.file("simg", imagetest.Simg(t, 5<<20+7))
	w.file("zeros", make([]byte, 20<<20))
	w.file("byte", []byte{'x'})
	readersFile := w.file("readers.py", []byte(readers))
	target := func(mnt, name string) string {
		ext := ".sif"
		if name == "simg" {
			ext = ".simg"
		}
		return filepath.Join(mnt, "bytes", name+":1"+ext)
	}

	mnt := ann.mount()
	require.NoError(t, os.Mkdir(filepath.Join(mnt, "bytes"), 0o755))
	for _, name := range names {
		ann.sh(fmt.Sprintf("cp %s %s", name, target(mnt, name))).ok(t)
	}
	ann.sregfs("umount", mnt).ok(t)
	require.NoError(t, os.RemoveAll(w.path("state", "ann@uni.edu", "blocks")))

	mnt = ann.mount() // cold
	check := func(t *testing.T) {
		t.Helper()
		for _, name := range names {
			ann.sh(fmt.Sprintf("cmp %s %s && /usr/bin/python3 %s %s %s", name, target(mnt, name), readersFile, target(mnt, name), name)).ok(t)
		}
	}
	t.Run("before other pushes", check)
	t.Run("during other pushes", func(t *testing.T) {
		w.file("other", imagetest.SIF(t, 30<<20, imagetest.Seed(99)))
		done := make(chan result)
		go func() {
			done <- ann.sh(fmt.Sprintf("for i in 1 2 3 4 5; do head -c $((i * 1000)) /dev/urandom > tail$i; cat other tail$i > %s/bytes/other:$i.sif || exit 1; done", mnt))
		}()
		check(t)
		(<-done).ok(t)
	})
	t.Run("after other pushes", check)

	// The same from Drive's side.
	for _, f := range w.srv.User("ann@uni.edu").Files() {
		name, _, _ := strings.Cut(strings.TrimPrefix(f.Name, "bytes/"), ":")
		if f.Properties["type"] != "container" || name == "other" {
			continue
		}
		content, err := w.srv.User("ann@uni.edu").Content(f.ID)
		require.NoError(t, err)
		var got bytes.Buffer
		_, err = got.ReadFrom(content)
		require.NoError(t, err)
		require.NoError(t, content.Close())
		want, err := os.ReadFile(w.path(name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got.Bytes()), f.Name)
	}
}
