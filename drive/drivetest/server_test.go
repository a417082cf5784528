package drivetest_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
)

func TestCloseEndsEverything(t *testing.T) {
	s, err := drivetest.Open(drivetest.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	require.Empty(t, s.URL())
	require.NoError(t, s.Listen("127.0.0.1:0"))
	require.Error(t, s.Listen("127.0.0.1:0"), "a server listens once")
	ann := s.User("")
	id := put(t, ann, "big", strings.Repeat("x", 1<<20)).ID

	// One of each that could hold Close up: an idle connection, one that never sends a request, a stalled
	// request, one that waits for its latency, and a slow download.
	idle := &http.Transport{}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/debug/requests", nil)
	require.NoError(t, err)
	resp, err := idle.RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	var dialer net.Dialer
	mute, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL(), "http://"))
	require.NoError(t, err)
	s.Fault(drivetest.On("GET", "/drive/v3/about").Stall())
	ended := make(chan error, 3)
	start := func(path string) { // a download whose end is sent to ended
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+path, nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+ann.AccessToken())
		go func() {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			resp, err := transport.RoundTrip(req)
			if err == nil {
				_, err = resp.Body.Read(make([]byte, 1<<20))
				for err == nil {
					_, err = resp.Body.Read(make([]byte, 1<<20))
				}
				_ = resp.Body.Close()
			}
			ended <- err
		}()
	}
	start("/drive/v3/about?fields=user")
	s.SetShape(drivetest.Shape{PerConnection: 1000})
	start("/drive/v3/files/" + id + "?alt=media")
	require.Eventually(t, func() bool { return len(s.Requests()) == 0 && hits(t, s) == 1 }, 10*time.Second, time.Millisecond)
	s.SetShape(drivetest.Shape{Latency: time.Hour})
	start("/drive/v3/files")

	require.NoError(t, s.Close())
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	require.NotContains(t, string(stacks), "drivetest.(*Server)", "a request is still being served")
	require.NoError(t, s.Close(), "twice is no error")
	for range 3 {
		require.Error(t, <-ended)
	}
	_, err = dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL(), "http://"))
	require.Error(t, err, "nobody listens")
	require.Error(t, s.Listen("127.0.0.1:0"))
	idle.CloseIdleConnections()
	require.NoError(t, mute.Close())
	require.Eventually(t, func() bool {
		stacks := make([]byte, 1<<20)
		return !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("net/http.(*conn)"))
	}, 10*time.Second, 5*time.Millisecond, "connections are left")
}

// hits is how often the first fault acted, by the debug page.
func hits(t *testing.T, s *drivetest.Server) int {
	t.Helper()
	r := do(t, nil, "GET", s.URL()+"/debug/faults", "")
	return strings.Count(string(r.body), `"hits": 1`)
}

func TestHandlerUnderForeignListener(t *testing.T) {
	s, err := drivetest.Open(drivetest.Options{Shape: drivetest.Shape{PerConnection: 1 << 30}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	front := httptest.NewServer(s.Handler())
	t.Cleanup(front.Close)
	r := do(t, s.User(""), "GET", front.URL+"/drive/v3/about?fields=user", "")
	require.Equal(t, 200, r.status, "%s", r.body)
	require.Error(t, s.User("").WriteCredentials(t.TempDir()), "credentials hold an address, and there is none")
}

func TestOpenRefusesBrokenState(t *testing.T) {
	dir := t.TempDir()
	s, err := drivetest.Open(drivetest.Options{Dir: dir})
	require.NoError(t, err)
	_, err = drivetest.Open(drivetest.Options{Dir: dir})
	require.Error(t, err, "the directory is in use")
	require.NoError(t, s.Close())
	writeFile(t, dir+"/oauth.json", `{"V":2}`)
	_, err = drivetest.Open(drivetest.Options{Dir: dir})
	require.ErrorContains(t, err, "version 2")
	writeFile(t, dir+"/oauth.json", `{`)
	_, err = drivetest.Open(drivetest.Options{Dir: dir})
	require.ErrorContains(t, err, "oauth.json")
}

func TestOpenRefusesWhatIsNoAddress(t *testing.T) {
	for _, user := range []string{"", "nobody", "@uni.edu", "ann@", "../../ann@uni.edu", "a/b@uni.edu", "ann@uni.edu\n", "a b@uni.edu"} {
		dir := t.TempDir()
		_, err := drivetest.Open(drivetest.Options{Dir: dir, Users: []string{"bob@uni.edu", user}})
		require.ErrorIs(t, err, drivetest.ErrAddress, "%q", user)
		require.NoFileExists(t, dir+"/journal")
	}
}

func TestListenWithoutHostIsLoopback(t *testing.T) {
	s, err := drivetest.Open(drivetest.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	require.NoError(t, s.Listen(":0"))
	require.True(t, strings.HasPrefix(s.URL(), "http://127.0.0.1:"), s.URL())
}

func TestClientThatLeavesFreesItsRequest(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{})
	rule := drivetest.On("POST", "*").Stall()
	s.Fault(rule)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL()+"/drive/v3/files", strings.NewReader("{}"))
	require.NoError(t, err)
	ended := make(chan error)
	go func() {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		ended <- err
	}()
	require.Eventually(t, func() bool { return rule.Hits() == 1 }, 10*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Eventually(t, func() bool { return len(s.Requests()) == 1 }, 10*time.Second, time.Millisecond)
	require.Zero(t, s.Requests()[0].Status)
}

func TestAddressesBehindATLSFront(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{})
	back, err := url.Parse(s.URL())
	require.NoError(t, err)
	front := httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(back)
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}})
	t.Cleanup(front.Close)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, front.URL+"/upload/drive/v3/files?uploadType=resumable", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+s.User("").AccessToken())
	resp, err := front.Client().Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.True(t, strings.HasPrefix(resp.Header.Get("Location"), front.URL+"/upload/"), resp.Header.Get("Location"))
}
