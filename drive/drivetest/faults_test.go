package drivetest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
)

// faultServer is a server with one file of 10,000 bytes.
func faultServer(t *testing.T) (s *drivetest.Server, file, content string) {
	t.Helper()
	s = drivetest.NewServer(t, drivetest.Options{})
	content = strings.Repeat("0123456789", 1000)
	return s, s.URL() + "/drive/v3/files/" + put(t, s.User(""), "f", content).ID, content
}

func TestFaultConditions(t *testing.T) {
	s, file, _ := faultServer(t)
	get := func(address string) int { return do(t, s.User(""), "GET", address, "").status }
	rule := drivetest.On("GET", "/drive/v3/files/*").Query("alt", "media").Nth(2).Status(403, "downloadQuotaExceeded")
	s.Fault(rule)
	require.Equal(t, []int{200, 200, 403, 200, 200}, []int{get(file), get(file + "?alt=media"), get(file + "?alt=media"), get(file + "?alt=media"), get(file)})
	require.Equal(t, 1, rule.Hits())

	s.ClearFaults()
	first, second := drivetest.On("*", "*").Times(2).Status(500, "internalError"), drivetest.On("get", "/drive/*/files*").Status(429, "rateLimitExceeded")
	s.Fault(first, second)
	require.Equal(t, []int{500, 500, 429, 429}, []int{get(file), get(file), get(file), get(file)})
	require.Equal(t, []int{2, 2}, []int{first.Hits(), second.Hits()})
	require.Equal(t, 200, get(s.URL()+"/drive/v3/about?fields=user"))

	s.ClearFaults()
	rule = drivetest.On("", "*").Chance(0.5).Status(503, "backendError")
	s.Fault(rule)
	for range 60 {
		get(file)
	}
	require.Greater(t, rule.Hits(), 10)
	require.Less(t, rule.Hits(), 50)
}

func TestFaultErrors(t *testing.T) {
	s, file, _ := faultServer(t)
	get := func(r *drivetest.Rule) reply {
		s.ClearFaults()
		s.Fault(r)
		return do(t, s.User(""), "GET", file, "")
	}
	r := get(drivetest.On("", "*").Status(403, "userRateLimitExceeded").Message("User rate limit exceeded.").RetryAfter(1500 * time.Millisecond))
	require.Equal(t, "userRateLimitExceeded", r.reason(t))
	require.Contains(t, string(r.body), `"User rate limit exceeded."`)
	require.Contains(t, string(r.body), `"usageLimits"`)
	require.Equal(t, "2", r.header.Get("Retry-After"))

	r = get(drivetest.On("", "*").Status(502, "").HTML())
	require.Equal(t, 502, r.status)
	require.Contains(t, r.header.Get("Content-Type"), "text/html")
	require.Contains(t, string(r.body), "<title>")

	r = get(drivetest.On("", "*").Status(503, "backendError").Array())
	require.True(t, strings.HasPrefix(string(r.body), "[{"), "%s", r.body)
	require.Equal(t, "backendError", s.Requests()[len(s.Requests())-1].Reason)

	s.ClearFaults()
	s.Fault(drivetest.On("POST", "/token").Status(400, "invalid_grant").Message("Token has been expired or revoked."))
	r = do(t, nil, "POST", s.URL()+"/token", "")
	require.JSONEq(t, `{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`, string(r.body))
}

func TestFaultsOfReplies(t *testing.T) {
	s, file, content := faultServer(t)
	get := func(r *drivetest.Rule, headers ...string) (reply, error) {
		s.ClearFaults()
		s.ResetRequests()
		s.Fault(r)
		return try(t, s.User(""), "GET", file+"?alt=media", "", headers...)
	}
	t.Run("cut", func(t *testing.T) {
		r, err := get(drivetest.On("GET", "*").Cut(5000))
		require.NoError(t, err)
		require.Equal(t, "10000", r.header.Get("Content-Length"))
		require.Truef(t, errors.Is(r.err, syscall.ECONNRESET) || errors.Is(r.err, io.ErrUnexpectedEOF), "%v", r.err)
		require.True(t, strings.HasPrefix(content, string(r.body)))
		require.LessOrEqual(t, len(r.body), 5000)
		require.EqualValues(t, 5000, s.Requests()[0].Out)
	})
	t.Run("cut of a longer reply than there is", func(t *testing.T) {
		r, err := get(drivetest.On("GET", "*").Cut(50000))
		if err == nil {
			err = r.err
		}
		if err == nil {
			require.Equal(t, content, string(r.body), "all was sent before the reset")
		}
	})
	t.Run("cut before the first byte", func(t *testing.T) {
		r, err := get(drivetest.On("GET", "*").Cut(0))
		require.True(t, err != nil || r.err != nil)
		require.Empty(t, r.body)
	})
	t.Run("corrupt", func(t *testing.T) {
		r, err := get(drivetest.On("GET", "*").Corrupt())
		require.NoError(t, err)
		require.Len(t, r.body, len(content))
		var wrong []int
		for i := range r.body {
			if r.body[i] != content[i] {
				wrong = append(wrong, i)
			}
		}
		require.Equal(t, []int{0, 4096, 8192}, wrong)
	})
	t.Run("short body", func(t *testing.T) {
		r, err := get(drivetest.On("GET", "*").ShortBody(), "Range: bytes=0-999")
		require.NoError(t, err)
		require.NoError(t, r.err)
		require.Equal(t, 206, r.status)
		require.Equal(t, "bytes 0-999/10000", r.header.Get("Content-Range"))
		require.Equal(t, content[:500], string(r.body))
	})
	t.Run("range ignored", func(t *testing.T) {
		r, err := get(drivetest.On("GET", "*").IgnoreRange(), "Range: bytes=0-999")
		require.NoError(t, err)
		require.Equal(t, 200, r.status)
		require.Equal(t, content, string(r.body))
		require.Equal(t, "bytes=0-999", s.Requests()[0].Range, "the log has what the client asked")
	})
	t.Run("wrong range", func(t *testing.T) {
		r, err := get(drivetest.On("GET", "*").WrongRange(), "Range: bytes=0-999")
		require.NoError(t, err)
		require.Equal(t, "bytes 1-1000/10000", r.header.Get("Content-Range"))
		require.Equal(t, content[:1000], string(r.body))
	})
	t.Run("trickle", func(t *testing.T) {
		began := time.Now()
		r, err := get(drivetest.On("GET", "*").Trickle(10_000), "Range: bytes=0-4999")
		require.NoError(t, err)
		require.NoError(t, r.err)
		require.Equal(t, content[:5000], string(r.body))
		require.GreaterOrEqual(t, time.Since(began), 450*time.Millisecond)
	})
	t.Run("delay and stall end with the client", func(t *testing.T) {
		for _, rule := range []*drivetest.Rule{drivetest.On("GET", "*").Stall(), drivetest.On("GET", "*").Delay(time.Hour)} {
			s.ClearFaults()
			s.ResetRequests()
			s.Fault(rule)
			ctx, cancel := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, file, nil)
			require.NoError(t, err)
			ended := make(chan error, 1)
			go func() {
				_, err := http.DefaultClient.Do(req) //nolint:bodyclose // there is none
				ended <- err
			}()
			require.Eventually(t, func() bool { return rule.Hits() == 1 }, 10*time.Second, time.Millisecond)
			cancel()
			require.Error(t, <-ended)
			require.Eventually(t, func() bool { return len(s.Requests()) == 1 }, 10*time.Second, time.Millisecond)
			require.Equal(t, 0, s.Requests()[0].Status)
			require.Equal(t, rule.String(), s.Requests()[0].Fault)
		}
	})
}

func TestFaultsAfterTheFact(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{})
	create := func(r *drivetest.Rule) (reply, error) {
		s.ClearFaults()
		s.Fault(r)
		return try(t, s.User(""), "POST", s.URL()+"/drive/v3/files", `{"name":"`+r.String()+`"}`, "Content-Type: application/json")
	}
	names := func() (names []string) {
		for _, f := range s.User("").Files() {
			if f.MimeType != "application/vnd.google-apps.folder" {
				names = append(names, f.Name)
			}
		}
		return names
	}
	_, err := create(drivetest.On("POST", "*").DropReply())
	require.Error(t, err)
	require.Equal(t, []string{"POST * drop-reply"}, names(), "it was carried out")
	r, err := create(drivetest.On("POST", "*").Status(503, "backendError").After())
	require.NoError(t, err)
	require.Equal(t, 503, r.status)
	require.Len(t, names(), 2, "it was carried out")
	r, err = create(drivetest.On("POST", "*").Status(503, "backendError"))
	require.NoError(t, err)
	require.Equal(t, 503, r.status)
	require.Len(t, names(), 2, "it was not carried out")
}

func TestErrorReachesAClientThatStillSends(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{})
	s.Fault(drivetest.On("POST", "/upload/*").Status(503, "backendError"))
	content := strings.Repeat("x", 32<<20)
	for range 5 {
		r := do(t, s.User(""), "POST", s.URL()+"/upload/drive/v3/files?uploadType=media", content)
		require.Equal(t, 503, r.status)
	}
	require.EqualValues(t, len(content), s.Requests()[0].In)
}

func TestFaultCutsRequest(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{})
	ann := s.User("")
	content := strings.Repeat("abcdefgh", 100_000)
	begin := do(t, ann, "POST", s.URL()+"/upload/drive/v3/files?uploadType=resumable&fields=id,size", `{"name":"f"}`, "Content-Type: application/json")
	session := begin.header.Get("Location")
	require.NotEmpty(t, session, "%s", begin.body)
	s.Fault(drivetest.On("PUT", "/upload/*").CutRequest(600_000).Times(1))
	_, err := try(t, nil, "PUT", session, content, "Content-Range: bytes 0-799999/800000")
	require.Error(t, err, "the connection is cut")
	r := do(t, nil, "PUT", session, "", "Content-Range: bytes */800000")
	require.Equal(t, 308, r.status)
	require.Equal(t, "bytes=0-524287", r.header.Get("Range"), "whole steps of 256 KiB are kept")
	r = do(t, nil, "PUT", session, content[524288:], "Content-Range: bytes 524288-799999/800000")
	require.Equal(t, 200, r.status, "%s", r.body)
	f, ok := ann.File(r.text(t, "id"))
	require.True(t, ok)
	require.EqualValues(t, 800_000, f.Size)
}
