package fs_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// tryOps does every operation on the path in argv[1] and prints "NAME ERRNO" (0 is success). What it makes it removes.
const tryOps = `
import ctypes, errno, os, select, stat, sys
path, outside = sys.argv[1], sys.argv[2]
libc = ctypes.CDLL(None, use_errno=True)
def fd(flags, f):
    d = os.open(path, flags)
    try: return f(d)
    finally: os.close(d)
def must(r):
    if r < 0: raise OSError(ctypes.get_errno(), '')
ops = {
    'stat': lambda: os.stat(path),
    'access': lambda: os.access(path, os.R_OK) or must(-1),
    'open': lambda: fd(os.O_RDONLY, lambda d: None),
    'read': lambda: fd(os.O_RDONLY, lambda d: os.read(d, 10)),
    'fsync': lambda: fd(os.O_RDONLY, os.fsync),
    'fdatasync': lambda: fd(os.O_RDONLY, os.fdatasync),
    'poll': lambda: fd(os.O_RDONLY, lambda d: select.select([d], [], [], 0)),
    'listdir': lambda: os.listdir(path),
    'statvfs': lambda: os.statvfs(path),
    'write': lambda: fd(os.O_WRONLY, lambda d: os.write(d, b'')),
    'truncate': lambda: os.truncate(path, 5),
    'chmod': lambda: os.chmod(path, 0o700),
    'chown': lambda: os.chown(path, 1, 1),
    'utime': lambda: os.utime(path, (1, 1)),
    'listxattr': lambda: os.listxattr(path),
    'getxattr': lambda: os.getxattr(path, 'user.none'),
    'setxattr': lambda: os.setxattr(path, 'user.none', b'x'),
    'removexattr': lambda: os.removexattr(path, 'user.none'),
    'symlink': lambda: os.symlink('x', path + '/new' if os.path.isdir(path) else path + '.new'),
    'link': lambda: os.link(path, path + '.new'),
    'mknod': lambda: os.mknod(path + '/new' if os.path.isdir(path) else path + '.new', stat.S_IFIFO),
    'mkdir': lambda: (os.mkdir(path + '/new'), os.rmdir(path + '/new')),
    'create': lambda: (open(path + '/new', 'x').close(), os.unlink(path + '/new')),
    'lookup': lambda: os.stat(path + '/none'),
    'unlink': lambda: os.unlink(path + '/none'),
    'rmdir': lambda: os.rmdir(path + '/none'),
    'rename': lambda: os.rename(path + '/none', path + '/other'),
    'fallocate': lambda: fd(os.O_RDWR, lambda d: must(libc.fallocate(d, 0, ctypes.c_long(0), ctypes.c_long(1 << 20)))),
    'flock': lambda: fd(os.O_RDONLY, lambda d: __import__('fcntl').flock(d, 6)),
    'lockf': lambda: fd(os.O_RDONLY, lambda d: __import__('fcntl').lockf(d, 5)),
}
for name, op in ops.items():
    try: op(); e = 'ok'
    except OSError as x: e = errno.errorcode.get(x.errno, x.errno)
    print(name, e)
`

// TestEveryOperationOnEveryNode: the library's defaults for what a node does not implement lie, so each kind of node
// answers each operation by itself; EIO and ENOSYS are never the answer.
func TestEveryOperationOnEveryNode(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
	content := imagetest.Bytes(1, 10_000)
	file := indextest.Put(t, srv.User(""), "c/x:1", content, nil)
	bobs := indextest.Put(t, srv.User("bob@uni.edu"), "b/y:1", content, nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	bob := fstest.Mount(t, srv, fstest.Options{User: "bob@uni.edu"})
	bob.Sh("setfattr -n user.sregfs.share -v ann@uni.edu b/y:1.sif; echo " + bobs.ID)
	indextest.Eventually(t, func() bool {
		m.Sh("echo > .sregfs/refresh")
		_, code := m.Try("test -e shared-with-me")
		return code == 0
	}, "shared")
	script := local(t, "ops.py", []byte(tryOps))
	// What every kind answers, and where a kind differs.
	anyFile := "stat ok access ok open ok read ok fsync ok fdatasync ok poll ok listdir ENOTDIR statvfs ok write EPERM truncate EPERM chmod ok chown ok utime ok listxattr ok getxattr ENODATA " +
		"setxattr ENOTSUP removexattr ENODATA symlink EPERM link EPERM mknod EPERM mkdir ENOTDIR create ENOTDIR lookup ENOTDIR unlink ENOTDIR rmdir ENOTDIR rename ENOTDIR fallocate EPERM flock ok lockf ok"
	anyDir := "stat ok access ok open ok read EISDIR fsync ok fdatasync ok poll ok listdir ok statvfs ok write EISDIR truncate EISDIR chmod ok chown ok utime ok listxattr ok getxattr ENODATA " +
		"setxattr ENOTSUP removexattr ENODATA symlink EPERM link EPERM mknod EPERM mkdir EROFS create EROFS lookup ENOENT unlink ENOENT rmdir ENOENT rename ENOENT fallocate EISDIR flock ok lockf ok"
	for _, c := range []struct{ path, base, differs string }{
		{".", anyDir, "mkdir ok create ok link ?"},
		{"c", anyDir, "mkdir ok create ok"},
		{"c/x:1", anyDir, "create ok"},
		{"c/x:1/" + md5sum(content) + ".sif", anyFile, ""},
		{"c/x:1.sif", anyFile, "write ok fallocate ok truncate ok"},
		{"c/draft.txt", anyFile, "write ok truncate ok fallocate ok"},
		{"shared-with-me", anyDir, ""},
		{"shared-with-me/bob@uni.edu", anyDir, ""},
		{"shared-with-me/bob@uni.edu/b", anyDir, ""},
		{"shared-with-me/bob@uni.edu/b/y:1", anyDir, ""},
		{"shared-with-me/bob@uni.edu/b/y:1.sif", anyFile, ""},
		{".sregfs", anyDir, ""},
		{".sregfs/status", anyFile, ""},
		{".sregfs/share", anyFile, "write ok truncate ok fallocate ENOTSUP"},
		{".sregfs/id", anyDir, ""},
		{".sregfs/id/" + file.ID, anyFile, ""},
		{".sregfs/drafts", anyDir, ""},
		{".sregfs/meta", anyDir, ""},
		{".sregfs/meta/c", anyDir, ""},
		{".sregfs/meta/c/x:1", anyDir, ""},
		{".sregfs/meta/c/x:1/labels.json", anyFile, "write EROFS fallocate EROFS"},
	} {
		t.Run(strings.ReplaceAll(c.path, "/", " "), func(t *testing.T) {
			m.Sh("echo draft > c/draft.txt")
			want, differs := answers(c.base), answers(c.differs)
			for op, errno := range differs {
				want[op] = errno
			}
			out := m.Sh("python3 " + script + " " + c.path + " " + t.TempDir())
			for op, errno := range answers(out) {
				require.NotContains(t, []string{"EIO", "ENOSYS"}, errno, op)
				if want[op] != "?" {
					require.Equal(t, want[op], errno, "%s on %s", op, c.path)
				}
			}
		})
	}
	require.Equal(t, fmt.Sprint(1), m.Sh("ls -d .sregfs/drafts/* 2>/dev/null | grep -c draft.txt"))
}

// answers reads "OP ERRNO OP ERRNO …".
func answers(text string) map[string]string {
	words := strings.Fields(text)
	all := make(map[string]string)
	for i := 0; i+1 < len(words); i += 2 {
		all[words[i]] = words[i+1]
	}
	return all
}
