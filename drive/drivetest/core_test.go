package drivetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// client speaks to a Server over HTTP as one user, and asserts.
type client struct {
	t     *testing.T
	root  string
	token string
}

func newClient(t *testing.T, s *Server, email string) *client {
	t.Helper()
	return &client{t, s.URL(), s.User(email).AccessToken()}
}

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
	resp, err := noRedirects.Do(req)
	require.NoError(c.t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	return reply{resp.StatusCode, resp.Header, got}
}

// noRedirects hands a 308 to the test.
var noRedirects = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

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

// put creates a file with content by a media upload.
func (c *client) put(name string, content []byte) string {
	c.t.Helper()
	meta, err := json.Marshal(map[string]any{"name": name})
	require.NoError(c.t, err)
	var b bytes.Buffer
	fmt.Fprintf(&b, "--xx\r\nContent-Type: application/json\r\n\r\n%s\r\n--xx\r\nContent-Type: application/octet-stream\r\n\r\n", meta)
	b.Write(content)
	b.WriteString("\r\n--xx--\r\n")
	r := c.send("POST", "/upload/drive/v3/files?uploadType=multipart&fields=id", &b, "Content-Type", `multipart/related; boundary="xx"`)
	require.Equal(c.t, 200, r.status, "%s", r.body)
	return c.object(r)["id"].(string)
}

func TestSmoke(t *testing.T) {
	s := NewServer(t, Options{})
	c := newClient(t, s, "")
	folder := c.do("POST", "/drive/v3/files", `{"name":"sregistry","mimeType":"application/vnd.google-apps.folder"}`)["id"].(string)
	id := c.put("a.sif", []byte("hello"))
	c.do("PATCH", "/drive/v3/files/"+id+"?addParents="+folder+"&removeParents=root", `{"properties":{"type":"container"}}`)
	require.Equal(t, "a.sif", c.names("'"+folder+"' in parents and properties has { key='type' and value='container' }"))
	got := c.do("GET", "/drive/v3/files/"+id+"?fields=*", "")
	t.Log(got)
	r := c.send("GET", "/drive/v3/files/"+id+"?alt=media", nil, "Range", "bytes=1-3")
	require.Equal(t, 206, r.status)
	require.Equal(t, "ell", string(r.body))
}
