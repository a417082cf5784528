package drive_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
)

func TestErrorBodies(t *testing.T) {
	for name, c := range map[string]struct {
		status                int
		body, reason, message string
		kind                  error
	}{
		"object": {403, `{"error":{"code":403,"message":"The limit","errors":[{"message":"m","domain":"usageLimits","reason":"rateLimitExceeded"}]}}`, "rateLimitExceeded", "The limit", drive.ErrRateLimit},
		"array":  {403, `[{"error":{"message":"x","errors":[{"reason":"downloadQuotaExceeded"}]}}]`, "downloadQuotaExceeded", "x", drive.ErrQuota},
		"another code inside": {410, `{"error":{"code":503,"message":"x","errors":[{"reason":"backendError"}]}}`,
			"backendError", "x", drive.ErrInvalid},
		"details only": {403, `{"error":{"status":"PERMISSION_DENIED","details":[{"@type":"t"},{"reason":"accessNotConfigured"}]}}`, "accessNotConfigured", "Forbidden", nil},
		"the message of a reason": {400, `{"error":{"errors":[{"reason":"invalid","message":"inner"}]}}`,
			"invalid", "inner", drive.ErrInvalid},
		"the token endpoint's": {400, `{"error":"invalid_grant","error_description":"Token has been\nexpired or revoked."}`, "invalid_grant", "Token has been expired or revoked.", drive.ErrInvalid},
		"a page":               {502, "<html><title>Error 502</title>", "", "Bad Gateway", drive.ErrTimeout},
		"nothing":              {500, "", "", "Internal Server Error", drive.ErrTimeout},
		"an empty array":       {500, "[]", "", "Internal Server Error", drive.ErrTimeout},
		"a word":               {500, `"error"`, "", "Internal Server Error", drive.ErrTimeout},
		"a number":             {500, `{"error":5}`, "", "Internal Server Error", drive.ErrTimeout},
		"null":                 {500, `{"error":null}`, "", "Internal Server Error", drive.ErrTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			e := drive.ParseError(c.status, []byte(c.body))
			require.Equal(t, c.status, e.Status)
			require.Equal(t, c.reason, e.Reason)
			require.Equal(t, c.message, e.Message)
			if c.kind != nil {
				require.ErrorIs(t, e, c.kind)
			}
		})
	}
}

func FuzzErrorBody(f *testing.F) {
	for _, seed := range []string{"", "[]", "{}", `{"error":"x","error_description":"y"}`, `[{"error":{"message":"m","errors":[{"reason":"r"}],"details":[{"reason":"d"}]}}]`, "<html>", "\xff{"} {
		f.Add(403, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		e := drive.ParseError(status, body)
		if e.Status != status || e.Kind == nil {
			t.Fatalf("%+v", e)
		}
		for _, s := range []string{e.Reason, e.Message, drive.Sentence(e)} {
			if strings.ContainsAny(s, "\r\n\x00") || !utf8.ValidString(s) || len(s) > 1000 {
				t.Fatalf("not fit for one line: %q", s)
			}
		}
	})
}

func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 0-9/10", "bytes */10", "bytes 0-9/*", "bytes 9-0/10", "bytes +0-9/10", "bytes 0-10/10", "", "bytes 0-9223372036854775806/9223372036854775807"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, v string) {
		first, last, total, err := drive.ParseContentRange(v)
		if err != nil {
			return
		}
		if first < 0 || last < first || total <= last {
			t.Fatalf("%q gave %d-%d/%d", v, first, last, total)
		}
		again := fmt.Sprintf("bytes %d-%d/%d", first, last, total)
		if a, b, c, err := drive.ParseContentRange(again); err != nil || a != first || b != last || c != total {
			t.Fatalf("%q does not read back", again)
		}
	})
}

func FuzzPersisted(f *testing.F) {
	for _, seed := range []string{"", "bytes=0-0", "bytes=0-262143", "0-99", "bytes=1-99", "bytes=0-", "bytes=0-9223372036854775807", "bytes=0--1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, v string) {
		n, err := drive.ParsePersisted(v)
		if err != nil {
			return
		}
		if n < 0 || (n == 0) != (v == "") {
			t.Fatalf("%q gave %d", v, n)
		}
	})
}

func FuzzToken(f *testing.F) {
	f.Add([]byte(`{"access_token":"a","refresh_token":"r","expiry":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"access_token":"a","token_expiry":"2018-05-01T12:00:00Z","_class":"OAuth2Credentials","client_id":"c"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		access, refresh, err := drive.ParseToken(text)
		if err == nil && access == "" && refresh == "" {
			t.Fatalf("%q is taken for a token", text)
		}
	})
}

func TestRetryAfterForms(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "soon": 0, "99999999999999999999": 0,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		require.Equal(t, want, drive.RetryAfter(v, now), v)
	}
}

func TestQuote(t *testing.T) {
	require.Equal(t, `'quinn\'s paper\\essay'`, drive.Quote(`quinn's paper\essay`))
}
