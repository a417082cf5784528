package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"syscall"

	"sregfs/drive"
	"sregfs/index"
)

// The exit codes; never reused for another meaning.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitAmbiguous   = 4
	exitSignIn      = 5
	exitPermission  = 6 // permission or quota
	exitIntegrity   = 7
	exitConflict    = 8
	exitPartial     = 9
	exitNetwork     = 10
	exitInUse       = 12
	exitInterrupted = 130
)

// usageError is a mistake in how the command was called.
type usageError struct{ error }

// Unwrap gives the mistake itself.
func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitTable maps what went wrong to an exit code; the first match wins. Verbs
// that go through a mount see errno instead of our sentinels, so both are here.
var exitTable = []struct {
	err  error
	code int
}{
	{context.Canceled, exitInterrupted},
	{index.ErrAmbiguous, exitAmbiguous},
	{syscall.ENOTUNIQ, exitAmbiguous},
	{drive.ErrNoCredentials, exitSignIn},
	{drive.ErrCredentials, exitSignIn},
	{index.ErrSignIn, exitSignIn},
	{syscall.EKEYEXPIRED, exitSignIn},
	{index.ErrInUse, exitInUse},
	{index.ErrDigest, exitIntegrity},
	{index.ErrCorrupt, exitIntegrity},
	{syscall.EBADMSG, exitIntegrity},
	{index.ErrFull, exitPermission},
	{syscall.ENOSPC, exitPermission},
	{index.ErrQuota, exitPermission},
	{syscall.EDQUOT, exitPermission},
	{index.ErrReadOnly, exitPermission},
	{syscall.EROFS, exitPermission},
	{index.ErrPartial, exitPartial},
	{index.ErrOffline, exitNetwork},
	{syscall.ENETUNREACH, exitNetwork},
	{index.ErrTimeout, exitNetwork},
	{index.ErrRateLimit, exitNetwork},
	{syscall.ETIMEDOUT, exitNetwork},
	{context.DeadlineExceeded, exitNetwork},
	{iofs.ErrExist, exitConflict},
	{index.ErrBusy, exitConflict},
	{syscall.EBUSY, exitConflict},
	{iofs.ErrPermission, exitPermission},
	{iofs.ErrNotExist, exitNotFound},
}

func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if coded, ok := errors.AsType[*codedError](err); ok {
		return coded.code
	}
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	// A file of the caller's own that is missing is a plain error; not found
	// is said of images.
	if errors.As(err, new(localError)) {
		return exitError
	}
	for _, row := range exitTable {
		if errors.Is(err, row.err) {
			return row.code
		}
	}
	return exitError
}

// codedError is an error that comes with its exit code: what another process
// told us before it ended. Without text there is nothing more to say.
type codedError struct {
	text string
	code int
}

func (e *codedError) Error() string { return e.text }

// localError is trouble with a file that the caller named on this machine.
type localError struct{ error }

// Unwrap gives the trouble itself.
func (e localError) Unwrap() error { return e.error }

// localFile marks err as one about a file of the caller's.
func localFile(err error) error {
	if err == nil {
		return nil
	}
	return localError{err}
}

// sentence says err in one line, with what to do next. Only missing
// credentials take two, as in the registry tool.
func sentence(err error) string {
	if coded, ok := errors.AsType[*codedError](err); ok {
		return coded.text // it is one already
	}
	if errors.Is(err, drive.ErrNoCredentials) && !errors.As(err, new(localError)) {
		return "You must export SREGISTRY_GOOGLE_DRIVE_CREDENTIALS to use Google Drive client\n" +
			"https://singularityhub.github.io/sregistry-cli/client-google-drive"
	}
	return printable(reason(err))
}

// reason is sentence, as it stands.
func reason(err error) string {
	var path *os.PathError
	switch {
	case errors.As(err, new(localError)) && errors.As(err, &path) && errors.Is(err, iofs.ErrNotExist):
		return path.Path + " does not exist"
	case errors.As(err, new(localError)):
		return err.Error()
	case errors.Is(err, drive.ErrCredentials):
		return err.Error() + "; download the OAuth client file again, or point SREGISTRY_GOOGLE_DRIVE_CREDENTIALS at another"
	case errors.Is(err, context.Canceled):
		return "interrupted; a push goes on with the next mount or push, a pull with the next pull"
	}
	for _, row := range ofMounts {
		if errors.Is(err, row.errno) {
			return index.Sentence(row.err)
		}
	}
	return index.Sentence(err)
}

// ofMounts are error numbers that only a mount of ours gives, and what it means by them.
var ofMounts = []struct {
	errno syscall.Errno
	err   error
}{
	{syscall.EKEYEXPIRED, index.ErrSignIn},
	{syscall.ENETUNREACH, index.ErrOffline},
}
