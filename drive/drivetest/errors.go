package drivetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// apiError is an error in Drive's own vocabulary. Clients read the HTTP status and Reason; Message is for
// people, except that some clients tell quotas apart by it.
type apiError struct {
	Status       int
	Reason       string // "notFound", "userRateLimitExceeded", …
	Message      string // "" = the usual one for Reason
	Domain       string // "" = the usual one for Reason
	LocationType string // "parameter" or "header"; "" = none
	Location     string
}

// Error is for logs of the emulator; clients get the JSON of writeError.
func (e *apiError) Error() string {
	return fmt.Sprintf("%d %s: %s", e.Status, e.Reason, e.message())
}

// usualMessages are the sentences the service sends with a reason, where it is known to send one.
var usualMessages = map[string]string{
	"authError":                          "Invalid Credentials",
	"required":                           "Login Required",
	"backendError":                       "Backend Error",
	"internalError":                      "Internal Error",
	"transientError":                     "Transient failure.",
	"rateLimitExceeded":                  "Rate Limit Exceeded",
	"userRateLimitExceeded":              "User Rate Limit Exceeded",
	"dailyLimitExceeded":                 "Daily Limit Exceeded",
	"sharingRateLimitExceeded":           "Rate limit exceeded. User message: \"Sorry, you have exceeded your sharing quota.\"",
	"downloadQuotaExceeded":              "The download quota for this file has been exceeded.",
	"storageQuotaExceeded":               "The user's Drive storage quota has been exceeded.",
	"quotaExceeded":                      "The user has exceeded their Drive storage quota.",
	"cannotDownloadAbusiveFile":          "This file has been identified as malware or spam and cannot be downloaded.",
	"fileNotDownloadable":                "Only files with binary content can be downloaded. Use Export with Docs Editors files.",
	"insufficientFilePermissions":        "The user does not have sufficient permissions for this file.",
	"insufficientParentPermissions":      "Insufficient permissions for the specified parent.",
	"insufficientPermissions":            "Request had insufficient authentication scopes.",
	"appNotAuthorizedToFile":             "The user has not granted the app access to the file.",
	"accessNotConfigured":                "Access Not Configured. The Drive API is not enabled for this project.",
	"fileIdInUse":                        "A file already exists with the provided ID.",
	"propertyLengthLimitExceeded":        "Properties and app properties are limited to 124 bytes in UTF-8 encoding, counting both the key and the value.",
	"propertyCountLimitExceeded":         "The maximum number of properties and app properties on the file has been exceeded.",
	"requestedRangeNotSatisfiable":       "Request range not satisfiable",
	"numChildrenInNonRootLimitExceeded":  "The limit for this folder's number of children has been exceeded.",
	"myDriveHierarchyDepthLimitExceeded": "A My Drive item cannot contain more than 100 levels of folders.",
	"invalid":                            "Invalid Value",
	"parseError":                         "Parse Error",
}

// usageReasons belong to the domain usageLimits, all others to global.
var usageReasons = map[string]bool{
	"rateLimitExceeded": true, "userRateLimitExceeded": true, "dailyLimitExceeded": true,
	"sharingRateLimitExceeded": true, "accessNotConfigured": true, "quotaExceeded": true,
}

func (e *apiError) message() string {
	if e.Message != "" {
		return e.Message
	}
	if m := usualMessages[e.Reason]; m != "" {
		return m
	}
	return http.StatusText(e.Status)
}

func (e *apiError) domain() string {
	switch {
	case e.Domain != "":
		return e.Domain
	case usageReasons[e.Reason]:
		return "usageLimits"
	}
	return "global"
}

// errorItem and errorReply are the shape every JSON error of the service has.
type errorItem struct {
	Message      string `json:"message"`
	Domain       string `json:"domain"`
	Reason       string `json:"reason"`
	Location     string `json:"location,omitempty"`
	LocationType string `json:"locationType,omitempty"`
}

type errorReply struct {
	Error struct {
		Code    int         `json:"code"`
		Message string      `json:"message"`
		Errors  []errorItem `json:"errors"`
	} `json:"error"`
}

// body is e as the service writes it.
func (e *apiError) body() []byte {
	var reply errorReply
	reply.Error.Code = e.Status
	reply.Error.Message = e.message()
	reply.Error.Errors = []errorItem{{e.message(), e.domain(), e.Reason, e.Location, e.LocationType}}
	b, err := json.MarshalIndent(reply, "", " ")
	if err != nil {
		return []byte(`{"error":{"code":500}}`) // strings and ints always encode
	}
	return append(b, '\n')
}

// writeError answers err: an apiError as itself, anything else as the 500 of a broken server, with its text.
func writeError(w http.ResponseWriter, err error) {
	var e *apiError
	if !errors.As(err, &e) {
		e = &apiError{Status: http.StatusInternalServerError, Reason: "internalError", Message: "emulator: " + err.Error()}
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=UTF-8")
	h.Set("Cache-Control", "private, max-age=0")
	h.Set("Vary", "Origin, X-Origin, Referer")
	if e.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="https://accounts.google.com/", error="invalid_token"`)
	}
	h.Del("Content-Length")
	w.WriteHeader(e.Status)
	_, _ = w.Write(e.body())
}

// The constructors below are for errors that more than one file answers.

func errNotFound(id string) *apiError {
	return &apiError{Status: 404, Reason: "notFound", Message: "File not found: " + id + ".", LocationType: "parameter", Location: "fileId"}
}

func errNoRoute(path string) *apiError {
	return &apiError{Status: 404, Reason: "notFound", Message: "The requested URL " + strings.ToValidUTF8(path, "?") + " was not found on this server."}
}

func errForbidden(reason string) *apiError { return &apiError{Status: 403, Reason: reason} }

func errBadRequest(message string) *apiError {
	return &apiError{Status: 400, Reason: "badRequest", Message: message}
}

// errParameter is a 400 about one query parameter; message "" is "Invalid Value".
func errParameter(name, message string) *apiError {
	return &apiError{Status: 400, Reason: "invalid", Message: message, LocationType: "parameter", Location: name}
}

// retryAfter sets the header of that name on errors of rate, for clients that honour it.
func retryAfter(w http.ResponseWriter, err error, wait time.Duration) {
	var e *apiError
	if wait > 0 && errors.As(err, &e) && (e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable || usageReasons[e.Reason]) {
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
}
