package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"syscall"

	"bazil.org/fuse"

	"sregfs/index"
)

// errnos is the one table from our errors to the kernel's; the first match counts. What is not in it is EIO, a bug.
var errnos = []struct {
	err   error
	errno syscall.Errno
}{
	{syscall.EPERM, syscall.EPERM}, // is an ErrPermission too
	{iofs.ErrNotExist, syscall.ENOENT},
	{iofs.ErrExist, syscall.EEXIST},
	{index.ErrReadOnly, syscall.EROFS},
	{index.ErrQuota, syscall.EDQUOT},
	{index.ErrFull, syscall.ENOSPC},
	{index.ErrNoCredentials, syscall.EKEYEXPIRED},
	{index.ErrCredentials, syscall.EKEYEXPIRED},
	{index.ErrSignIn, syscall.EKEYEXPIRED},
	{index.ErrOffline, syscall.ENETUNREACH},
	{index.ErrTimeout, syscall.ETIMEDOUT},
	{context.DeadlineExceeded, syscall.ETIMEDOUT},
	{index.ErrRateLimit, syscall.EBUSY},
	{index.ErrAbusive, syscall.EACCES},
	{iofs.ErrPermission, syscall.EACCES},
	{index.ErrDigest, syscall.EBADMSG},
	{index.ErrChanged, syscall.ESTALE},
	{index.ErrTooLong, syscall.ENAMETOOLONG}, // is an ErrName too
	{index.ErrName, syscall.EINVAL},
	{index.ErrNotImage, syscall.EINVAL},
	{index.ErrPartial, syscall.EINVAL},
	{index.ErrAmbiguous, syscall.ENOTUNIQ},
	{index.ErrBusy, syscall.EBUSY},
	{index.ErrInUse, syscall.EBUSY},
	{index.ErrNotEmpty, syscall.ENOTEMPTY},
	{index.ErrInvalid, syscall.EINVAL},
	{index.ErrCorrupt, syscall.EUCLEAN},
	{index.ErrSchema, syscall.EPROTO},
	{index.ErrProtocol, syscall.EPROTO},
	{index.ErrTruncated, syscall.EREMOTEIO},
	{index.ErrToken, syscall.EREMOTEIO},
	{index.ErrSession, syscall.EREMOTEIO},
	// Our own refusals, and the local disk's.
	{syscall.EINVAL, syscall.EINVAL},
	{syscall.ENOTSUP, syscall.ENOTSUP},
	{syscall.ENODATA, syscall.ENODATA},
	{syscall.ESTALE, syscall.ESTALE},
	{syscall.EISDIR, syscall.EISDIR},
	{syscall.EXDEV, syscall.EXDEV},
	{syscall.ENOSPC, syscall.ENOSPC},
	{syscall.EDQUOT, syscall.EDQUOT},
	{syscall.EFBIG, syscall.EFBIG},
}

// quiet are the errnos that belong to ordinary work and are not worth a line in the log.
var quiet = map[syscall.Errno]bool{
	syscall.ENOENT: true, syscall.EEXIST: true, syscall.ENOTEMPTY: true, syscall.ENOTSUP: true, syscall.ESTALE: true,
}

// kernelError is an error with the errno that the kernel gets for it.
type kernelError struct {
	err   error
	errno syscall.Errno
}

func (e *kernelError) Error() string     { return e.err.Error() }
func (e *kernelError) Unwrap() error     { return e.err }
func (e *kernelError) Errno() fuse.Errno { return fuse.Errno(e.errno) }

var _ fuse.ErrorNumber = (*kernelError)(nil)

// errnoOf looks err up.
func errnoOf(err error) syscall.Errno {
	for _, e := range errnos {
		if errors.Is(err, e.err) {
			return e.errno
		}
	}
	return syscall.EIO
}

// reply is the one door to the kernel: every handler ends with it. It chooses the errno and logs the sentence a person
// needs, once. what names the operation and its subject.
func (fsys *FS) reply(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return context.Canceled // bare: the library compares with ==, and answers EINTR if the caller was interrupted
	}
	errno := errnoOf(err)
	switch {
	case errno == syscall.EIO:
		fsys.log.Errorf("%s: %s", what, index.Sentence(err))
	case quiet[errno]:
		fsys.log.Debugf("%s: %v", what, err)
	default:
		fsys.log.Warnf("%s: %s", what, index.Sentence(err))
	}
	return &kernelError{err: err, errno: errno}
}

// refusal is an error of our own making: an errno and the reason in words.
type refusal struct {
	errno  syscall.Errno
	reason string
}

func (e *refusal) Error() string { return e.reason }

// Unwrap gives the errno, which also is io/fs's kind of error.
func (e *refusal) Unwrap() error { return e.errno }

// refuse makes a refusal whose reason is formatted.
func refuse(errno syscall.Errno, format string, args ...any) error {
	return &refusal{errno, fmt.Sprintf(format, args...)}
}
