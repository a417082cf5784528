package drivetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// client speaks to a Server over HTTP as one user, and asserts.
type client struct {
	t     testing.TB
	http  *http.Client
	root  string
	token string
}

func newClient(t testing.TB, s *Server, email string) *client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	noRedirects := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // a 308 is for the test
	return &client{t, &http.Client{Transport: transport, CheckRedirect: noRedirects}, s.URL(), s.User(email).AccessToken()}
}

// virtualClock stands still unless time passes on purpose.
type virtualClock struct{ passed atomic.Int64 }

func (c *virtualClock) now() time.Time {
	return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(c.passed.Load()))
}

func (c *virtualClock) pass(d time.Duration) { c.passed.Add(int64(d)) }

// reply is an answer read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// send makes a request. path is absolute or a whole URL; header is name, value, ….
func (c *client) send(method, path string, body io.Reader, header ...string) reply {
	c.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = c.root + path
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, path, body)
	require.NoError(c.t, err)
	req.Header.Set("Authorization", "Bearer "+c.token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if req.Header.Get("Authorization") == "" {
		req.Header.Del("Authorization")
	}
	resp, err := c.http.Do(req)
	require.NoError(c.t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	return reply{resp.StatusCode, resp.Header, got}
}

// do sends JSON text and returns the JSON object of a 2xx answer.
func (c *client) do(method, path, body string) map[string]any {
	c.t.Helper()
	r := c.send(method, path, strings.NewReader(body), "Content-Type", "application/json")
	require.Less(c.t, r.status, 300, "%s %s: %s", method, path, r.body)
	return c.object(r)
}

func (c *client) object(r reply) map[string]any {
	c.t.Helper()
	var got map[string]any
	if len(r.body) > 0 {
		require.NoError(c.t, json.Unmarshal(r.body, &got), "%s", r.body)
	}
	return got
}

// fails sends JSON text and checks status and reason of the error.
func (c *client) fails(status int, reason, method, path, body string) errorReply {
	c.t.Helper()
	r := c.send(method, path, strings.NewReader(body), "Content-Type", "application/json")
	return c.isError(r, status, reason)
}

func (c *client) isError(r reply, status int, reason string) errorReply {
	c.t.Helper()
	var e errorReply
	require.Equal(c.t, status, r.status, "%s", r.body)
	require.NoError(c.t, json.Unmarshal(r.body, &e), "%s", r.body)
	require.Equal(c.t, status, e.Error.Code)
	require.Len(c.t, e.Error.Errors, 1)
	require.Equal(c.t, reason, e.Error.Errors[0].Reason, "%s", r.body)
	return e
}

// get is the metadata of a file, all of it.
func (c *client) get(id string) map[string]any {
	c.t.Helper()
	return c.do("GET", "/drive/v3/files/"+id+"?fields=*", "")
}

// names lists the names of files that match q, joined by blanks, in the order of creation.
func (c *client) names(q string, more ...string) string {
	c.t.Helper()
	v := url.Values{"q": {q}, "fields": {"files(name)"}, "orderBy": {"createdTime"}}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	if v.Get("orderBy") == "" {
		v.Del("orderBy")
	}
	var names []string
	for _, f := range c.do("GET", "/drive/v3/files?"+v.Encode(), "")["files"].([]any) {
		names = append(names, f.(map[string]any)["name"].(string))
	}
	return strings.Join(names, " ")
}

// folder creates a folder and returns its id; parent "" is My Drive.
func (c *client) folder(name, parent string) string {
	c.t.Helper()
	meta := map[string]any{"name": name, "mimeType": folderType}
	if parent != "" {
		meta["parents"] = []string{parent}
	}
	body, err := json.Marshal(meta)
	require.NoError(c.t, err)
	return c.do("POST", "/drive/v3/files", string(body))["id"].(string)
}

// put creates a file with content by a multipart upload, and returns its id; more metadata is name, value, ….
func (c *client) put(name string, content []byte, more ...any) string {
	c.t.Helper()
	fields := map[string]any{"name": name}
	for i := 0; i < len(more); i += 2 {
		fields[more[i].(string)] = more[i+1]
	}
	meta, err := json.Marshal(fields)
	require.NoError(c.t, err)
	var b bytes.Buffer
	fmt.Fprintf(&b, "--xx\r\nContent-Type: application/json\r\n\r\n%s\r\n--xx\r\nContent-Type: application/octet-stream\r\n\r\n", meta)
	b.Write(content)
	b.WriteString("\r\n--xx--\r\n")
	r := c.send("POST", "/upload/drive/v3/files?uploadType=multipart&fields=id", &b, "Content-Type", `multipart/related; boundary="xx"`)
	require.Equal(c.t, 200, r.status, "%s", r.body)
	return c.object(r)["id"].(string)
}
