package drive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// errorBody is an error answer: of the API, or of the token endpoint, where error is a word.
type errorBody struct {
	Error       json.RawMessage `json:"error"`
	Description string          `json:"error_description"`
}

type apiError struct {
	Message string `json:"message"`
	Errors  []struct {
		Reason  string `json:"reason"`
		Message string `json:"message"`
	} `json:"errors"`
	Details []struct {
		Reason string `json:"reason"`
	} `json:"details"`
}

// parseError reads an answer from 400 on. Drive's bodies are an object, an array of one, or a web page of
// a front end; the status is believed over any code inside, and the message is only for people.
func parseError(status int, header http.Header, text []byte) *Error {
	e := &Error{Status: status, RetryAfter: retryAfter(header.Get("Retry-After"), time.Now())}
	e.Reason, e.Message = reasonOf(text)
	if e.Message == "" {
		e.Message = http.StatusText(status)
	}
	e.Kind = kindOf(status, e.Reason)
	return e
}

// reasonOf finds the reason and the message in an error body; both are "" in one of an unknown shape.
func reasonOf(text []byte) (reason, message string) {
	text = bytes.TrimSpace(text)
	outer := []errorBody{{}}
	var err error
	if bytes.HasPrefix(text, []byte("[")) {
		err = json.Unmarshal(text, &outer)
	} else {
		err = json.Unmarshal(text, &outer[0])
	}
	if err != nil || len(outer) == 0 || len(outer[0].Error) == 0 {
		return "", ""
	}
	var word string
	if json.Unmarshal(outer[0].Error, &word) == nil {
		return word, plain(outer[0].Description)
	}
	var in apiError
	if json.Unmarshal(outer[0].Error, &in) != nil {
		return "", ""
	}
	message = in.Message
	for _, e := range in.Errors {
		if reason == "" {
			reason = e.Reason
		}
		if message == "" {
			message = e.Message
		}
	}
	for _, d := range in.Details {
		if reason == "" {
			reason = d.Reason
		}
	}
	return plain(reason), plain(message)
}

// plain makes text of a server fit for one line of a log.
func plain(s string) string {
	const most = 400
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// retryAfter reads the header of that name: seconds, or a date. 0 if there is none.
func retryAfter(v string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// parseContentRange reads "bytes FIRST-LAST/TOTAL", the only form a single part with a known length has.
func parseContentRange(v string) (first, last, total int64, err error) {
	bad := fmt.Errorf("content range %.60q: %w", v, ErrProtocol)
	span, ok := strings.CutPrefix(v, "bytes ")
	if !ok {
		return 0, 0, 0, bad
	}
	span, size, ok := strings.Cut(span, "/")
	a, b, ok2 := strings.Cut(span, "-")
	if !ok || !ok2 {
		return 0, 0, 0, bad
	}
	var errs [3]error
	first, errs[0] = parseOffset(a)
	last, errs[1] = parseOffset(b)
	total, errs[2] = parseOffset(size)
	if errs != [3]error{} || last < first || total <= last {
		return 0, 0, 0, bad
	}
	return first, last, total, nil
}

// parsePersisted reads the Range header of a 308: "bytes=0-LAST" (or "0-LAST", as some servers have it),
// and gives the number of bytes the server holds. No header means none.
func parsePersisted(v string) (int64, error) {
	if v == "" {
		return 0, nil
	}
	last, ok := strings.CutPrefix(strings.TrimPrefix(v, "bytes="), "0-")
	n, err := parseOffset(last)
	if !ok || err != nil || n+1 <= 0 {
		return 0, fmt.Errorf("range %.60q: %w", v, ErrProtocol)
	}
	return n + 1, nil
}

// parseOffset reads decimal digits and nothing else, unlike strconv, which takes a sign.
func parseOffset(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err // fits: 63 bits
}
