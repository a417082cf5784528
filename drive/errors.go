package drive

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"net/http"
	"slices"
	"strings"
	"time"
)

// What can go wrong, as callers ask for it with errors.Is. Besides these, errors match io/fs.ErrNotExist
// (absent, or not visible to this account), io/fs.ErrPermission and io/fs.ErrExist (the id is in use).
var (
	ErrNoCredentials = errors.New("no OAuth client file")                         // none named, or none at that path
	ErrCredentials   = errors.New("the OAuth client file is not usable")          // broken, or of an unknown kind
	ErrSignIn        = errors.New("not signed in to Google Drive")                // no grant, or one that ended
	ErrOffline       = errors.New("cannot reach Google Drive")                    // no route, no name, refused, cut
	ErrTimeout       = errors.New("no answer from Google Drive in time")          // silence, or only server errors
	ErrRateLimit     = errors.New("too many requests for Google Drive")           // passing, retried before it is returned
	ErrQuota         = errors.New("a Google Drive quota is used up")              // of download, upload or sharing: for hours
	ErrFull          = errors.New("no room left on Google Drive")                 // storage, or number of items
	ErrAbusive       = errors.New("content withheld by Google Drive as malware")  // content is withheld
	ErrInvalid       = errors.New("not a valid request")                          // malformed: repeating it cannot help
	ErrToken         = errors.New("page token refused by Google Drive")           // list from the start
	ErrSession       = errors.New("the upload session is gone")                   // begin another, with the same id
	ErrProtocol      = errors.New("answer against the protocol of Google Drive")  // e.g. 200 where 206 was due
	ErrTruncated     = errors.New("the answer ended early")                       // a body shorter than announced
	ErrChanged       = errors.New("the file's content was replaced on the Drive") // not the revision asked for
)

// Errors lists every sentinel an error of this package can match, for tables that must be complete.
func Errors() []error {
	return []error{
		iofs.ErrNotExist, iofs.ErrPermission, iofs.ErrExist,
		ErrNoCredentials, ErrCredentials, ErrSignIn, ErrOffline, ErrTimeout, ErrRateLimit, ErrQuota, ErrFull,
		ErrAbusive, ErrInvalid, ErrToken, ErrSession, ErrProtocol, ErrTruncated, ErrChanged,
	}
}

// Error is one failed call. It matches exactly one of Errors by errors.Is, and holds no secret: neither
// tokens nor upload session addresses.
type Error struct {
	Op         string        // the API's name of the call, e.g. "files.get"
	File       string        // id of the file it was about, "" if none
	Status     int           // HTTP status, 0 if no answer came
	Reason     string        // Drive's reason, e.g. "rateLimitExceeded", "" if it gave none
	Message    string        // Drive's sentence
	RetryAfter time.Duration // how long Drive asked to wait, 0 if it did not
	Kind       error         // the sentinel
	Err        error         // what lies beneath, for people; nil if there is no more to say
}

// Error is a line for a log.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.File != "" {
		b.WriteString(" " + e.File)
	}
	if e.Err == nil || !errors.Is(e.Err, e.Kind) {
		b.WriteString(": " + e.Kind.Error())
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.Status == 0 {
		return b.String()
	}
	fmt.Fprintf(&b, " (%d", e.Status)
	if e.Reason != "" {
		b.WriteString(" " + e.Reason)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	return b.String() + ")"
}

// Is matches the sentinel, and nothing else: what lies beneath does not count, or a connection the
// firewall forbade would pass for a file one may not read.
func (e *Error) Is(target error) bool { return target == e.Kind }

// reasons says what Drive's reasons mean to us. What is not listed goes by its status.
// https://developers.google.com/drive/api/guides/handle-errors, and reports from the field.
var reasons = map[string]error{
	"rateLimitExceeded":     ErrRateLimit,
	"userRateLimitExceeded": ErrRateLimit,

	"dailyLimitExceeded":                 ErrQuota,
	downloadQuota:                        ErrQuota,
	"sharingRateLimitExceeded":           ErrQuota,
	"uploadQuotaExceeded":                ErrQuota,
	"storageQuotaExceeded":               ErrFull,
	"quotaExceeded":                      ErrFull,
	"teamDriveFileLimitExceeded":         ErrFull,
	"numChildrenInNonRootLimitExceeded":  ErrFull,
	"activeItemCreationLimitExceeded":    ErrFull,
	"myDriveHierarchyDepthLimitExceeded": ErrFull,
	"teamDriveHierarchyTooDeep":          ErrFull,

	"cannotDownloadAbusiveFile": ErrAbusive,

	"propertyLengthLimitExceeded": ErrInvalid,
	"propertyCountLimitExceeded":  ErrInvalid,
	"fieldNotWritable":            ErrInvalid,

	"authError":   ErrSignIn,
	"fileIdInUse": iofs.ErrExist,
}

// dailyWall is the message of the 403 userRateLimitExceeded that is not a rate limit: 750 GB went up
// within a day, and nothing more will for the rest of it. Drive tells the two apart by this text alone.
// rclone keys on the same (https://github.com/rclone/rclone/issues/3857).
const dailyWall = "User rate limit exceeded."

// kindOf gives the sentinel for an answer.
func kindOf(status int, reason string) error {
	if kind, ok := reasons[reason]; ok {
		return kind
	}
	switch {
	case status == http.StatusUnauthorized:
		return ErrSignIn
	case status == http.StatusForbidden:
		return iofs.ErrPermission
	case status == http.StatusNotFound:
		return iofs.ErrNotExist
	case status == http.StatusConflict:
		return iofs.ErrExist
	case status == http.StatusTooManyRequests:
		return ErrRateLimit
	case status == http.StatusRequestTimeout, status >= 500:
		return ErrTimeout
	case status >= 400:
		return ErrInvalid
	}
	return ErrProtocol
}

// Retryable says whether err is passing: the same call may succeed later without anybody doing anything.
// The calls of a Client have retried it for Options.Timeout before they return it.
func Retryable(err error) bool {
	return slices.ContainsFunc([]error{ErrOffline, ErrTimeout, ErrRateLimit, ErrTruncated}, func(kind error) bool {
		return errors.Is(err, kind)
	})
}
