package drivetest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
)

func TestUnitsPerMinute(t *testing.T) {
	now := newClock()
	s := drivetest.NewServer(t, drivetest.Options{Now: now.Now, Users: []string{"ann@uni.edu", "bob@uni.edu"}, Limits: drivetest.Limits{UnitsPerMinute: 210}, Quirks: drivetest.Quirks{RetryAfter: 3 * time.Second}})
	list := func(email string) reply { return do(t, s.User(email), "GET", s.URL()+"/drive/v3/files", "") }
	require.Equal(t, 200, list("ann@uni.edu").status)
	require.Equal(t, 200, list("ann@uni.edu").status)
	seen := map[string]bool{}
	for range 6 {
		r := list("ann@uni.edu")
		require.Equal(t, "3", r.header.Get("Retry-After"))
		seen[fmt.Sprint(r.status, r.reason(t))] = true
	}
	require.Equal(t, map[string]bool{"403userRateLimitExceeded": true, "403rateLimitExceeded": true, "429rateLimitExceeded": true}, seen)
	require.Equal(t, 200, list("bob@uni.edu").status, "each user has his own minute")
	now.forward(time.Minute)
	require.Equal(t, 200, list("ann@uni.edu").status)
}

func TestDownloadQuotaCountsWhatWasAskedFor(t *testing.T) {
	now := newClock()
	s := drivetest.NewServer(t, drivetest.Options{Now: now.Now, Limits: drivetest.Limits{FileDownload: 1000}})
	ann := s.User("")
	one, two := put(t, ann, "one", strings.Repeat("x", 600)).ID, put(t, ann, "two", strings.Repeat("y", 600)).ID
	get := func(id, ranges string) reply {
		return do(t, ann, "GET", s.URL()+"/drive/v3/files/"+id+"?alt=media", "", "Range: "+ranges)
	}
	require.Equal(t, 206, get(one, "bytes=599-").status)
	require.Equal(t, 206, get(one, "bytes=0-").status)
	require.Equal(t, 206, get(one, "bytes=-399").status)
	r := get(one, "bytes=0-0")
	require.Equal(t, 403, r.status, "1 + 600 + 399 bytes were asked for")
	require.Equal(t, "downloadQuotaExceeded", r.reason(t))
	require.Equal(t, 206, get(two, "bytes=0-0").status, "it is about one file")
	require.Equal(t, 200, do(t, ann, "GET", s.URL()+"/drive/v3/files/"+one, "").status, "and about content")
	now.forward(24 * time.Hour)
	require.Equal(t, 206, get(one, "bytes=0-0").status)
}

func TestUploadPerDay(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{Limits: drivetest.Limits{UploadPerDay: 1000}})
	ann := s.User("")
	upload := func(kind string) reply {
		return do(t, ann, "POST", s.URL()+"/upload/drive/v3/files?uploadType="+kind, strings.Repeat("x", 600))
	}
	require.Equal(t, 200, upload("media").status)
	begin := do(t, ann, "POST", s.URL()+"/upload/drive/v3/files?uploadType=resumable", "{}", "Content-Type: application/json")
	require.Equal(t, 200, begin.status)
	r := do(t, nil, "PUT", begin.header.Get("Location"), strings.Repeat("x", 5000))
	require.Equal(t, 200, r.status, "the upload that crosses the limit completes: %s", r.body)
	r = upload("media")
	require.Equal(t, 403, r.status)
	require.Equal(t, "userRateLimitExceeded", r.reason(t))
	require.Contains(t, string(r.body), `"User rate limit exceeded."`)
	require.Equal(t, 403, do(t, ann, "POST", s.URL()+"/upload/drive/v3/files?uploadType=resumable", "{}").status)
	require.Equal(t, 200, do(t, ann, "POST", s.URL()+"/drive/v3/files", "{}", "Content-Type: application/json").status, "a file without content is none")
	big := put(t, ann, "big", strings.Repeat("x", 5000)).ID
	copied := func() int { return do(t, ann, "POST", s.URL()+"/drive/v3/files/"+big+"/copy", "{}").status }
	require.Equal(t, 403, copied(), "a copy counts as an upload")
	s.SetLimits(drivetest.Limits{UploadPerDay: 10_000})
	require.Equal(t, []int{200, 403}, []int{copied(), copied()})
	s.SetLimits(drivetest.Limits{})
	require.Equal(t, 200, upload("media").status)
}
