package fs_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

func TestControlFiles(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.SIF(t, 2<<20, imagetest.Labels{"maintainer": "ann"})
	file := indextest.Put(t, srv.User(""), "c/x:1", content, nil)
	m := fstest.Mount(t, srv, fstest.Options{})

	var status index.Status
	require.NoError(t, json.Unmarshal([]byte(m.Sh("cat .sregfs/status")), &status))
	require.Equal(t, "ann@uni.edu", status.Account)
	require.Equal(t, 1, status.Images)
	require.Equal(t, m.Dir(), status.Mount)

	var img index.Image
	require.NoError(t, json.Unmarshal([]byte(m.Sh("cat .sregfs/images")), &img))
	require.Equal(t, file.ID, img.File)
	require.Equal(t, "c/x:1@"+md5sum(content), img.Ref.String())

	var record index.Image
	require.NoError(t, json.Unmarshal([]byte(m.Sh("exec 5<> .sregfs/record; echo c/x:1 >&5; cat <&5")), &record))
	require.Equal(t, img, record)
	require.Contains(t, m.Sh("cat .sregfs/record"), file.ID, "the next reader sees the answer")
	require.Contains(t, m.Fail("echo c/none:1 > .sregfs/record"), "No such file or directory")
	require.Equal(t, "2", m.Sh("exec 5<> .sregfs/record; printf 'c/x:1\nc/x:1\n' >&5; wc -l <&5"), "an answer a command")
	// Read from the start of the same descriptor, and after a command that failed.
	m.Sh(`python3 -c '
import os
fd = os.open(".sregfs/record", os.O_RDWR)
os.write(fd, b"c/x:1\n"); assert os.pread(fd, 1000, 0).startswith(b"{"), 1
os.close(fd)
fd = os.open(".sregfs/record", os.O_RDWR)
try: os.write(fd, b"c/none:1\n")
except FileNotFoundError: pass
else: assert False
assert b"none" in os.read(fd, 1000)
'`)

	m.Sh("echo c/x:1 > .sregfs/prefetch")
	require.Equal(t, "local", m.Sh("getfattr --only-values -n user.sregfs.state c/x:1.sif"))
	require.Equal(t, "1 images", m.Sh("exec 5<> .sregfs/refresh; echo now >&5; cat <&5"))
	metrics := m.Sh("cat .sregfs/metrics")
	require.Contains(t, metrics, "\nsregfs_images 1\n")
	for _, name := range []string{"goroutines", "heap_bytes", "open_fds", "resident_bytes"} {
		require.Regexp(t, `(?m)^sregfs_`+name+` [1-9]\d*$`, metrics)
	}
	require.Regexp(t, `(?m)^sregfs_gc_cycles_total \d+$`, metrics)
	require.Regexp(t, `(?m)^sregfs_fetched_bytes_total\{class="\w+"\} [1-9]\d*$`, metrics)
	require.Regexp(t, `(?m)^sregfs_fetched_requests_total\{class="\w+"\} [1-9]\d*$`, metrics)
	require.Regexp(t, `^\w+ [1-9]\d* requests [1-9]\d* bytes`, m.Sh("exec 5< c/x:1.sif; getfattr --only-values -n user.sregfs.fetched c/x:1.sif"))
	require.Empty(t, m.Sh("cat .sregfs/transfers"))

	require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum .sregfs/id/" + file.ID))[0])
	require.Equal(t, file.ID, m.Sh("ls .sregfs/id"))
	require.Equal(t, "deffile\nhelp\nlabels.json\nrunscript", m.Sh("ls .sregfs/meta/c/x:1"))
	require.Contains(t, m.Sh("cat .sregfs/meta/c/x:1/labels.json"), `"maintainer": "ann"`)
	require.Equal(t, ".sregfs/meta\n.sregfs/meta/c\n.sregfs/meta/c/x:1", m.Sh("find .sregfs/meta -type d"))

	require.NotContains(t, m.Sh("ls -A"), ".sregfs")
	for _, command := range []string{"echo x > .sregfs/status", "rm .sregfs/status", "touch .sregfs/new", "mkdir .sregfs/new", "mv .sregfs/share .sregfs/s", "rm .sregfs/id/" + file.ID, "echo x > .sregfs/meta/c/x:1/help"} {
		m.Fail(command)
	}
}

// TestDuplicatesById: of two files with one name one shows, and both are reachable by id.
func TestDuplicatesById(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(1, 1000)
	a := indextest.Put(t, srv.User(""), "c/x:1", content, nil)
	b := indextest.Put(t, srv.User(""), "c/x:1", content, nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	require.Equal(t, "x:1\nx:1.sif", m.Sh("ls c"))
	for _, f := range []drivetest.File{a, b} {
		require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum .sregfs/id/" + f.ID))[0])
	}
}

// TestDraftsDirectory: what is left of a failed push can be looked at, moved to where it belongs, and removed.
func TestDraftsDirectory(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := sif(t, 1<<20, 1)
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("mkdir c; cp " + local(t, "src", content) + " c/x.part; echo note > c/note.txt")
	require.Equal(t, sha(content), strings.Fields(m.Sh("sha256sum .sregfs/drafts/*-x.part"))[0])
	m.Sh("mv .sregfs/drafts/*-x.part c/x:1.sif; rm .sregfs/drafts/*-note.txt")
	requireOnDrive(t, srv.User(""), "c/x:1", content)
	require.Equal(t, "x:1\nx:1.sif", m.Sh("ls c"))
}

// TestPushCommands: a push that failed for good is tried again, or given up, by number.
func TestPushCommands(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	srv.User("").SetQuota(1000)
	m := fstest.Mount(t, srv, fstest.Options{})
	content := sif(t, 1<<20, 1)
	m.Fail("mkdir c && cp " + local(t, "src", content) + " c/x:1.sif")
	id := m.Sh("jq .id .sregfs/transfers")
	srv.User("").SetQuota(0)
	m.Sh("echo retry " + id + " > .sregfs/push")
	indextest.Eventually(t, func() bool { return images(srv.User("")) == 1 }, "the push")
	requireOnDrive(t, srv.User(""), "c/x:1", content)
	indextest.Eventually(t, func() bool { return m.Sh("ls .sregfs/drafts") == "" }, "its draft has gone")
	require.Contains(t, m.Fail("echo retry 99999 > .sregfs/push"), "No such file")
	require.Contains(t, m.Fail("echo nonsense > .sregfs/push"), "Invalid argument")
	m.Sh("echo junk > c/y.part; echo drop $(ls .sregfs/drafts | cut -d- -f1) > .sregfs/push; test ! -e c/y.part")
}
