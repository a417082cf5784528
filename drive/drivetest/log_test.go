package drivetest_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
)

// lockedBuffer is a buffer a server writes to while the test reads it.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestRequestLog(t *testing.T) {
	var out lockedBuffer
	s := drivetest.NewServer(t, drivetest.Options{Log: &out})
	ann := s.User("")
	content := strings.Repeat("x", 300_000)
	id := put(t, ann, "f", content).ID
	// What a client has read to its end is in the log: no wait, and often enough to see a race.
	for i := range 50 {
		r := do(t, ann, "GET", s.URL()+"/drive/v3/files/"+id+"?alt=media", "", "Range: bytes=1-200000")
		require.Equal(t, 206, r.status)
		require.Len(t, s.Requests(), i+1)
	}
	got := s.Requests()[0]
	require.Equal(t, "ann@uni.edu", got.User)
	require.Equal(t, "GET", got.Method)
	require.Equal(t, "/drive/v3/files/"+id, got.Path)
	require.Equal(t, "alt=media", got.Query)
	require.Equal(t, "bytes=1-200000", got.Range)
	require.Equal(t, 206, got.Status)
	require.EqualValues(t, 200_000, got.Out)
	require.Equal(t, 200, got.Units)
	require.Equal(t, "media", got.Op)
	require.NotEmpty(t, got.Connection)
	require.NotZero(t, got.Time)
	require.Positive(t, got.Latency)
	require.NotEqual(t, got.Connection, s.Requests()[1].Connection, "each request of this test has its own")

	s.ResetRequests()
	require.Empty(t, s.Requests())
	do(t, ann, "POST", s.URL()+"/upload/drive/v3/files?uploadType=media", content)
	do(t, ann, "GET", s.URL()+"/drive/v3/files/nowhere", "")
	require.EqualValues(t, len(content), s.Requests()[0].In)
	require.Equal(t, "notFound", s.Requests()[1].Reason)

	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 52)
	var last drivetest.Request
	require.NoError(t, json.Unmarshal([]byte(lines[51]), &last))
	require.Equal(t, "notFound", last.Reason)
}

func TestRequestForPeople(t *testing.T) {
	text := drivetest.Request{Method: "GET", Path: "/drive/v3/files", Query: "q=name%3D%27a%1b%27", Status: 200, Out: 12, User: "ann@uni.edu", Range: "bytes=0-1"}.String()
	require.Contains(t, text, "200 GET /drive/v3/files?q=name='a?' [bytes=0-1] out 12")
	require.Contains(t, text, "ann@uni.edu")
	require.Contains(t, drivetest.Request{}.String(), "cut")
}

func TestDebugPages(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{})
	debug := s.URL() + "/debug/"
	do(t, s.User(""), "GET", s.URL()+"/drive/v3/files", "")
	var requests []drivetest.Request
	require.NoError(t, json.Unmarshal(do(t, nil, "GET", debug+"requests", "").body, &requests))
	require.Len(t, requests, 1)
	require.Contains(t, string(do(t, nil, "GET", debug+"requests?format=text", "").body), "200 GET /drive/v3/files")
	require.Equal(t, 204, do(t, nil, "DELETE", debug+"requests", "").status)
	require.JSONEq(t, "[]", string(do(t, nil, "GET", debug+"requests", "").body))

	require.Equal(t, 400, do(t, nil, "POST", debug+"faults", "GET * stall\nGET").status)
	require.JSONEq(t, "[]", string(do(t, nil, "GET", debug+"faults", "").body), "all or nothing")
	require.Equal(t, 204, do(t, nil, "POST", debug+"faults", "# two\n\nGET /drive/* status=503 reason=backendError times=1\nPUT * stall\n").status)
	require.Equal(t, 503, do(t, s.User(""), "GET", s.URL()+"/drive/v3/files", "").status)
	require.JSONEq(t, `[{"rule":"GET /drive/* times=1 status=503 reason=backendError","hits":1},{"rule":"PUT * stall","hits":0}]`,
		string(do(t, nil, "GET", debug+"faults", "").body))
	require.Equal(t, 403, do(t, nil, "DELETE", debug+"faults", "", "Origin: https://example.org").status)
	require.Equal(t, 204, do(t, nil, "DELETE", debug+"faults", "", "Origin: "+s.URL()).status)
	require.JSONEq(t, "[]", string(do(t, nil, "GET", debug+"faults", "").body))

	require.Equal(t, 204, do(t, nil, "POST", debug+"shape", `{"latency":"1ms","perConnection":40000000}`).status)
	require.JSONEq(t, `{"latency":"1ms","perConnection":40000000,"total":0}`, string(do(t, nil, "GET", debug+"shape", "").body))
	for _, bad := range []string{"", `{"latency":"x"}`, `{"total":-1}`, `{"latency":"-1s"}`} {
		require.Equal(t, 400, do(t, nil, "POST", debug+"shape", bad).status)
	}
	require.Equal(t, 404, do(t, nil, "GET", debug+"nothing", "").status)
}
