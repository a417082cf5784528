package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"syscall"
	"testing"

	"bazil.org/fuse"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"

	"sregfs/index"
)

// TestErrnoComplete: every error the index may return has an errno of its own choosing; EIO is for bugs.
func TestErrnoComplete(t *testing.T) {
	for _, err := range append(index.Errors(), iofs.ErrNotExist, iofs.ErrPermission, iofs.ErrExist) {
		require.NotEqual(t, syscall.EIO, errnoOf(fmt.Errorf("wrapped: %w", err)), "%v", err)
	}
	for err, want := range map[error]syscall.Errno{
		iofs.ErrNotExist: syscall.ENOENT, iofs.ErrPermission: syscall.EACCES, index.ErrReadOnly: syscall.EROFS, index.ErrSignIn: syscall.EKEYEXPIRED,
		index.ErrOffline: syscall.ENETUNREACH, index.ErrFull: syscall.ENOSPC, index.ErrQuota: syscall.EDQUOT, index.ErrDigest: syscall.EBADMSG,
		index.ErrTimeout: syscall.ETIMEDOUT, index.ErrName: syscall.EINVAL, index.ErrTooLong: syscall.ENAMETOOLONG, index.ErrAmbiguous: syscall.ENOTUNIQ,
		index.ErrBusy: syscall.EBUSY, index.ErrPartial: syscall.EINVAL, errors.New("a bug"): syscall.EIO, syscall.ENOSPC: syscall.ENOSPC,
	} {
		require.Equal(t, want, errnoOf(fmt.Errorf("wrapped: %w", err)), "%v", err)
	}
}

// TestReply: the kernel gets the errno through the library, an interrupt stays bare, and the log has one line.
func TestReply(t *testing.T) {
	log, lines := test.NewNullLogger()
	log.SetLevel(logrus.InfoLevel)
	fsys := &FS{log: log}
	require.NoError(t, fsys.reply("op", nil))
	require.Equal(t, context.Canceled, fsys.reply("op", fmt.Errorf("x: %w", context.Canceled))) //nolint:testifylint // identity matters to the library
	require.Empty(t, lines.Entries)
	err := fsys.reply("push c/x:1", fmt.Errorf("x: %w", index.ErrFull))
	require.Equal(t, fuse.Errno(syscall.ENOSPC), fuse.ToErrno(err))
	require.Len(t, lines.Entries, 1)
	require.Contains(t, lines.LastEntry().Message, "push c/x:1: ")
	require.Equal(t, fuse.Errno(syscall.ENOENT), fuse.ToErrno(fsys.reply("look up", notFound)))
	require.Len(t, lines.Entries, 1, "what is missing is no news")
}

func TestParseMount(t *testing.T) {
	m, ok := parseMount(`36 35 0:39 / /mnt/a\040b rw,nosuid shared:1 master:2 - fuse.sregfs drive\072x rw,user_id=0`)
	require.True(t, ok)
	require.Equal(t, MountInfo{Dir: "/mnt/a b", fsType: "fuse.sregfs"}, m)
	for _, line := range []string{"", "-", "1 2 3 - ", "36 35 0:39 / /mnt rw"} {
		_, ok := parseMount(line)
		require.False(t, ok, line)
	}
}

func FuzzParseMount(f *testing.F) {
	f.Add(`36 35 0:39 / /mnt/a\040b rw - fuse.sregfs x rw`)
	f.Add(`\`)
	f.Fuzz(func(t *testing.T, line string) {
		if m, ok := parseMount(line); ok && m.Dir == "" {
			t.Fatalf("%q has no directory", line)
		}
	})
}

func TestSetOwner(t *testing.T) {
	var o Options
	require.NoError(t, o.SetOwner(-1, -1, ""))
	require.Equal(t, Options{}, o)
	require.NoError(t, o.SetOwner(7, 8, "027"))
	require.Equal(t, uint32(7), *o.UID)
	require.Equal(t, uint32(8), *o.GID)
	require.Equal(t, uint32(0o27), *o.Umask)
	require.Error(t, o.SetOwner(-1, -1, "9"))
	require.Error(t, o.SetOwner(-1, -1, "1777"))
}
