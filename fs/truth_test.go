package fs_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/indextest"
)

// saveAs replaces the file of its first argument as editors do: the new text goes to a file beside it, is made durable, and
// takes the name.
const saveAs = `
import os, sys
path, new = sys.argv[1], open(sys.argv[2], "rb").read()
temp = os.path.join(os.path.dirname(path), "." + os.path.basename(path) + ".swp")
with open(temp, "wb") as f:
    f.write(new)
    f.flush()
    os.fsync(f.fileno())
os.rename(temp, path)
`

// TestTruthAtClose: promise 1, the other half. When Drive refuses an image for good, every program that writes one says so
// by its exit code, and the bytes are kept as a draft, also for programs that write to a temporary name first: it has
// the image's name then. When Drive has room again, the same command succeeds.
func TestTruthAtClose(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("mkdir c")
	script := local(t, "save.py", []byte(saveAs))
	for i, tool := range []struct{ name, command string }{
		{"cp", `cp "$SRC" c/x:1.sif`},
		{"cp -a", `cp -a "$SRC" c/x:1.sif`},
		{"cp to the tag's directory", `mkdir -p c/x:1 && cp "$SRC" c/x:1/`},
		{"dd", `dd if="$SRC" of=c/x:1.sif bs=64k`},
		{"dd with fsync", `dd if="$SRC" of=c/x:1.sif bs=64k conv=fsync`},
		{"rsync", `rsync "$SRC" c/x:1.sif`},
		{"rsync -a", `rsync -a "$SRC" c/x:1.sif`},
		{"rsync --inplace", `rsync -a --inplace "$SRC" c/x:1.sif`},
		{"rsync --partial", `rsync -a --partial "$SRC" c/x:1.sif`},
		{"install", `install -m 755 "$SRC" c/x:1.sif`},
		{"cat", `cat "$SRC" > c/x:1.sif`},
		{"cat in a group", `{ head -c 500000 "$SRC"; tail -c +500001 "$SRC"; } > c/x:1.sif`},
		{"tee", `tee c/x:1.sif < "$SRC" > /dev/null`},
		{"tar", `cp "$SRC" "$TMP/x:1.sif"; tar -C "$TMP" --force-local -cf "$TMP/t.tar" x:1.sif; tar --force-local -xf "$TMP/t.tar" -C c`},
		{"python", `python3 -c 'import shutil, sys; shutil.copy(sys.argv[1], "c/x:1.sif")' "$SRC"`},
		{"mv across", `cp -n "$SRC" "$TMP/moved"; mv "$TMP/moved" c/x:1.sif`},
		{"mv of a draft", `cp "$SRC" c/x.part; mv c/x.part c/x:1.sif`},
		{"an editor", `python3 "$SCRIPT" c/x:1.sif "$SRC"`},
	} {
		t.Run(tool.name, func(t *testing.T) {
			content := sif(t, 1<<20+12345, uint64(500+i))
			env := []string{"SRC=" + local(t, "src.sif", content), "SCRIPT=" + script, "TMP=" + filepath.Dir(local(t, "tmp", nil))}
			user.SetQuota(1 << 20)
			m.Sh(`touch -d yesterday "$SRC"`, env...) // rsync takes a file of the same size and second for the same
			out, code := m.Try("set -e; "+tool.command, env...)
			require.NotZero(t, code, "%s\n%s", out, m.Log())
			if !strings.HasPrefix(tool.name, "mv of") { // mv looks for its source again, which has its new name already
				require.Contains(t, out, "No space left on device")
			}
			require.Zero(t, images(user))
			require.Contains(t, m.Sh("sha256sum .sregfs/drafts/*"), sha(content), "kept as a draft")
			require.Equal(t, "failed", m.Sh("getfattr --only-values -n user.sregfs.state .sregfs/drafts/*"))

			user.SetQuota(0)
			out, code = m.Try("set -e; "+tool.command, env...)
			require.Zero(t, code, "%s\n%s", out, m.Log())
			requireOnDrive(t, user, "c/x:1", content)
			m.Sh("rm -rf c/*; rm -f .sregfs/drafts/*; mkdir -p c")
			require.Zero(t, images(user))
		})
	}
}

// TestTruthOfEdits: programs that change a published image in place, or replace it, say whether Drive took the change; if
// not, the image stands as it was.
func TestTruthOfEdits(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	old := []byte(strings.Repeat("a line of an image that is text\n", 3000))
	indextest.Put(t, user, "c/x:1", old, nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	script := local(t, "save.py", []byte(saveAs))
	for _, tool := range []struct{ name, command string }{
		{"sed -i", `sed -i 's/line/lime/' c/x:1.sif`},
		{"perl -i", `perl -pi -e 's/line/lime/' c/x:1.sif`},
		{"append", `echo more | cat >> c/x:1.sif`},
		{"dd into it", `printf lime | dd of=c/x:1.sif bs=1 seek=2 conv=notrunc`},
		{"an editor", `sed s/line/lime/ c/x:1.sif > "$TMP/new"; python3 "$SCRIPT" c/x:1.sif "$TMP/new"`},
	} {
		t.Run(tool.name, func(t *testing.T) {
			env := []string{"SCRIPT=" + script, "TMP=" + filepath.Dir(local(t, "tmp", nil))}
			user.SetQuota(int64(len(old)) + 1000)
			out, code := m.Try("set -e; "+tool.command, env...)
			require.NotZero(t, code, "%s\n%s", out, m.Log())
			require.Equal(t, sha(old), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0], "the image stands")
			require.Equal(t, 1, images(user))

			user.SetQuota(0)
			m.Sh("rm -f .sregfs/drafts/*")
			out, code = m.Try("set -e; "+tool.command, env...)
			require.Zero(t, code, "%s\n%s", out, m.Log())
			require.Equal(t, 2, images(user), "the change is a new version")
			require.NotEqual(t, sha(old), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0])
			m.Sh("rm c/x:1.sif; rm -f .sregfs/drafts/*; ls -A c")
			require.Equal(t, sha(old), strings.Fields(m.Sh("sha256sum c/x:1.sif"))[0], "and the old one is there again")
		})
	}
}
