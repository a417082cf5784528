package drive

import (
	"net/http"
	"time"
)

// Hurry makes the pauses between attempts too short to matter.
func (c *Client) Hurry() {
	c.times.answered, c.times.cut, c.times.longest, c.times.away = 2*time.Millisecond, time.Millisecond, 10*time.Millisecond, 10*time.Millisecond
}

// HurryAway makes the pauses after no answer a hundredth of what they are, and all others endless.
func (c *Client) HurryAway() {
	c.times.cut, c.times.away = c.times.cut/100, c.times.away/100
	c.times.answered, c.times.longest = time.Hour, time.Hour
}

// ForgetHashes is a new process that never saw any content.
func (c *Client) ForgetHashes() { c.hashes.seen = nil }

// For tests of what is read from strangers.
var (
	ParseError        = func(status int, body []byte) *Error { return parseError(status, http.Header{}, body) }
	ParseContentRange = parseContentRange
	ParsePersisted    = parsePersisted
	ParseToken        = func(text []byte) (access, refresh string, err error) {
		f, err := parseToken(text)
		if err != nil {
			return "", "", err
		}
		return f.AccessToken, f.RefreshToken, nil
	}
	RetryAfter = retryAfter
	Quote      = quote
	RevokeURL  = revokeURL
)
