//go:build e2e

package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image/imagetest"
)

// inPieces compares a file of the mount with the one that was pushed: in random 4 KiB pieces by 16 processes at once,
// then as one mapping.
const inPieces = `
import hashlib, mmap, os, random, sys
mounted, pushed, digest = sys.argv[1:4]
size = os.path.getsize(pushed)
children = []
for seed in range(16):
    pid = os.fork()
    if pid == 0:
        rnd = random.Random(seed)
        a, b = os.open(mounted, os.O_RDONLY), os.open(pushed, os.O_RDONLY)
        same = all(os.pread(a, 4096, off) == os.pread(b, 4096, off) for off in (rnd.randrange(size) for _ in range(50)))
        os._exit(0 if same else 1)
    children.append(pid)
bad = [pid for pid in children if os.waitpid(pid, 0)[1] != 0]
assert not bad, bad
with open(mounted, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
    assert hashlib.sha256(m).hexdigest() == digest
`

// A large image goes through whole: in by cp, out in random pieces, by mmap and from front to back, and each byte comes
// from Drive once: before, during and after another image is pushed.
func TestThreeGigabytes(t *testing.T) {
	w := newWorld(t)
	file := w.path("large.sif")
	f, err := os.Create(file)
	require.NoError(t, err)
	require.NoError(t, imagetest.WriteSIF(f, 3<<30))
	require.NoError(t, f.Close())
	want := digest(t, file)

	m := w.mount(t, ann, 0)
	m.push(t, file, "big/large:1.sif")
	m.unmount(t)

	m = w.mount(t, ann, 0) // an empty state: nothing is cached
	w.forgetRequests(t)
	script := w.path("pieces.py")
	require.NoError(t, os.WriteFile(script, []byte(inPieces), 0o644))
	m.by.run(t, "/usr/bin/python3", script, m.path("big/large:1.sif"), file, want)
	m.requireDigest(t, want, "big/large:1.sif")

	// The same while other images are pushed, and after.
	other := w.path("other.sif")
	f, err = os.Create(other)
	require.NoError(t, err)
	require.NoError(t, imagetest.WriteSIF(f, 50<<20, imagetest.Seed(2)))
	require.NoError(t, f.Close())
	pushed := make(chan error, 1)
	go func() {
		_, err := m.by.try(t, "cp", other, m.path("big/other:1.sif"))
		pushed <- err
	}()
	m.by.run(t, "/usr/bin/python3", script, m.path("big/large:1.sif"), file, want)
	require.NoError(t, <-pushed)
	m.requireDigest(t, want, "big/large:1.sif")
	m.requireDigest(t, digest(t, other), "big/other:1.sif")

	var bytes int64
	for _, r := range w.requests(t) {
		if strings.Contains(r.Query, "alt=media") {
			bytes += r.Out
		}
	}
	t.Logf("3 GiB in pieces, mapped and whole: Drive served %.2f of the image", float64(bytes)/(3<<30))
	require.LessOrEqual(t, bytes, int64(3<<30)*102/100)
}
