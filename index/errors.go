package index

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"strings"

	"sregfs/drive"
	"sregfs/index/image"
)

// What drive reports, so that the floors above need not know drive.
var (
	ErrNoCredentials = drive.ErrNoCredentials
	ErrCredentials   = drive.ErrCredentials
	ErrSignIn        = drive.ErrSignIn
	ErrOffline       = drive.ErrOffline
	ErrTimeout       = drive.ErrTimeout
	ErrRateLimit     = drive.ErrRateLimit
	ErrQuota         = drive.ErrQuota
	ErrFull          = drive.ErrFull
	ErrAbusive       = drive.ErrAbusive
	ErrInvalid       = drive.ErrInvalid
	ErrToken         = drive.ErrToken
	ErrSession       = drive.ErrSession
	ErrProtocol      = drive.ErrProtocol
	ErrTruncated     = drive.ErrTruncated
	ErrChanged       = drive.ErrChanged
)

// What image reports.
var (
	ErrName    = image.ErrName
	ErrTooLong = image.ErrTooLong
)

// What the local state adds. Not found, no permission and exists already are those of io/fs.
var (
	ErrInUse     = errors.New("the local state is in use")
	ErrAmbiguous = errors.New("more than one image answers to this name")
	ErrPartial   = errors.New("not a whole image")
	ErrNotImage  = errors.New("the name is not that of an image")
	ErrReadOnly  = errors.New("read-only")
	ErrCorrupt   = errors.New("damaged record")
	ErrDigest    = errors.New("the content does not match its checksum")
	ErrBusy      = errors.New("busy")
	ErrNotEmpty  = errors.New("directory not empty")
	ErrSchema    = errors.New("the local state was written by a newer sregfs")
)

// Errors lists every sentinel an error of this package may be, those of drive included, so that a table that maps them
// can be tested for completeness.
func Errors() []error {
	own := []error{
		ErrInUse, ErrAmbiguous, ErrPartial, ErrNotImage, ErrReadOnly, ErrCorrupt, ErrDigest, ErrBusy, ErrNotEmpty, ErrSchema,
		ErrTooLong, ErrName,
	}
	return append(own, drive.Errors()...)
}

// InUseError is ErrInUse with who holds the state.
type InUseError struct {
	PID   int    `json:"pid"`
	Mount string `json:"mount"` // mount point, "" if the holder has none
}

// Error names the process and its mount point.
func (e *InUseError) Error() string {
	if e.Mount == "" {
		return fmt.Sprintf("%v by process %d", ErrInUse, e.PID)
	}
	return fmt.Sprintf("%v by process %d, mounted at %s", ErrInUse, e.PID, e.Mount)
}

// Is makes e an ErrInUse.
func (e *InUseError) Is(target error) bool { return target == ErrInUse }

// AmbiguousError is ErrAmbiguous with the images that answer.
type AmbiguousError struct {
	Text       string
	Candidates []Image
}

// Error lists the candidates with their ids, which are never ambiguous.
func (e *AmbiguousError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q: %v:", e.Text, ErrAmbiguous)
	for i, img := range e.Candidates {
		if i == 8 {
			fmt.Fprintf(&b, " … %d more", len(e.Candidates)-i)
			break
		}
		fmt.Fprintf(&b, " %s (id %s", img.Ref, img.File)
		if img.Space != "" {
			fmt.Fprintf(&b, ", of %s", img.Space)
		}
		b.WriteString(")")
	}
	return b.String()
}

// Is makes e an ErrAmbiguous.
func (e *AmbiguousError) Is(target error) bool { return target == ErrAmbiguous }

// Sentence says in one line what happened and what a person can do about it.
func Sentence(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrInUse):
		return err.Error() + "; use that mount, unmount it, or choose another state directory with SREGFS_STATE_DIR"
	case errors.Is(err, ErrAmbiguous):
		return err.Error() + "; name one of them by its id"
	case errors.Is(err, ErrSchema):
		return err.Error() + "; use that version, or another state directory"
	case errors.Is(err, ErrCorrupt):
		return err.Error() + "; 'sregfs fsck --repair' sets the index aside and lists the registry afresh; drafts are kept"
	case errors.Is(err, ErrDigest):
		return err.Error() + "; what Drive holds, or what was received, is damaged"
	case fromDrive(err):
		return drive.Sentence(err)
	}
	return err.Error()
}

// fromDrive tells whether drive knows best what err means: an answer of Drive's, or no answer.
func fromDrive(err error) bool {
	var e *drive.Error
	if errors.As(err, &e) {
		return true
	}
	here := []error{iofs.ErrNotExist, iofs.ErrExist, iofs.ErrPermission, ErrInvalid} // said here too, with the particulars
	return slices.ContainsFunc(drive.Errors(), func(kind error) bool { return errors.Is(err, kind) && !slices.Contains(here, kind) })
}
