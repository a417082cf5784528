package drive

import (
	"errors"
	"fmt"
	iofs "io/fs"
)

// advice says, for each kind of error, what happened and what the person can do about it.
var advice = []struct {
	kind error
	text string
}{
	{ErrNoCredentials, "There is no OAuth client file: set SREGISTRY_GOOGLE_DRIVE_CREDENTIALS to the path of one."},
	{ErrCredentials, "The OAuth client file cannot be used: download it again from the Google Cloud console."},
	{ErrSignIn, "Google Drive does not know you, or no longer: run `sregfs login`."},
	{ErrOffline, "Google Drive cannot be reached: check the network. What is on this machine already can still be used."},
	{ErrTimeout, "Google Drive did not answer in time: try again in a few minutes."},
	{ErrRateLimit, "Google Drive asks for fewer requests: try again in a few minutes."},
	{ErrQuota, "A Google Drive quota is used up: it is given back within 24 hours."},
	{ErrFull, "Google Drive has no room left: remove something there, empty the bin, or buy storage."},
	{ErrAbusive, "Google Drive holds the file for malware and does not hand out its content."},
	{ErrInvalid, "Google Drive refused the request."},
	{ErrToken, "Google Drive refused to continue a list: it will be read from the start."},
	{ErrSession, "The upload has to start over: its session at Google Drive is gone."},
	{ErrProtocol, "The answer was not what Google Drive says it sends: is there a proxy, or a portal to sign in to?"},
	{ErrTruncated, "The connection to Google Drive keeps breaking: try again later."},
	{ErrChanged, "The file was replaced on Google Drive meanwhile: open it again."},
	{iofs.ErrNotExist, "It is not on Google Drive, or not shared with you."},
	{iofs.ErrPermission, "Google Drive does not allow you to do that."},
	{iofs.ErrExist, "Google Drive has a file with that id already."},
}

// reasonAdvice is more to the point where Drive's reason allows it.
var reasonAdvice = map[string]string{
	downloadQuota:                 "This file was downloaded too often: Google Drive gives it out again within 24 hours. Other files are not affected.",
	"sharingRateLimitExceeded":    "Too many invitations were sent today: Google Drive allows more tomorrow.",
	"dailyLimitExceeded":          "The day's requests of this OAuth client are used up: its owner can raise the limit in the Google Cloud console.",
	"userRateLimitExceeded":       "The day's uploads are used up (750 GB for each account): Google Drive takes more tomorrow.",
	"insufficientPermissions":     "The sign-in does not include access to the Drive: run `sregfs login` and tick it.",
	"appNotAuthorizedToFile":      "The sign-in does not include access to this file: run `sregfs login` and tick access to all of the Drive.",
	"accessNotConfigured":         "The Drive API is switched off for this OAuth client: switch it on in the Google Cloud console.",
	"propertyLengthLimitExceeded": "A name or label is too long for Google Drive: key and value together may have 124 bytes.",
	"propertyCountLimitExceeded":  "There are too many labels for Google Drive: a file may have 30.",
}

// Sentence is one line for a person: what is wrong, and what to do next. An error that is not of this
// package is given as it is.
func Sentence(err error) string {
	var (
		e     *Error
		other *otherAccount
	)
	if errors.As(err, &e) {
		switch {
		case e.Reason == "invalidSharingRequest" && e.Message != "":
			return "Google Drive did not share it: " + e.Message
		case e.Reason == "userRateLimitExceeded" && !errors.Is(e.Kind, ErrQuota):
		case reasonAdvice[e.Reason] != "":
			return reasonAdvice[e.Reason]
		}
	}
	for _, a := range advice {
		if !errors.Is(err, a.kind) || (e == nil && ofFiles(a.kind)) {
			continue // a missing file of this machine is not missing on the Drive
		}
		switch {
		case e != nil && errors.As(e.Err, &other):
			return fmt.Sprintf("You are %v: run `sregfs login` as %[2]s, or use another state directory with SREGFS_STATE_DIR.", other, plain(other.want))
		case errors.Is(a.kind, ErrSignIn) && e != nil && e.Err != nil:
			return "Not signed in: " + e.Err.Error() + ". Run `sregfs login`."
		case errors.Is(a.kind, ErrInvalid) && e != nil && e.Message != "":
			return "Google Drive refused the request: " + e.Message
		}
		return a.text
	}
	return err.Error()
}

// ofFiles says that kind is io/fs's, which errors of other origin match too.
func ofFiles(kind error) bool {
	return errors.Is(kind, iofs.ErrNotExist) || errors.Is(kind, iofs.ErrPermission) || errors.Is(kind, iofs.ErrExist)
}
