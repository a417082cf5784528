package drivetest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
)

// reply is an HTTP reply read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
	err    error // of reading the body
}

// reason is that of an error reply.
func (r reply) reason(t *testing.T) string {
	t.Helper()
	var e struct {
		Error struct{ Errors []struct{ Reason string } }
	}
	require.NoError(t, json.Unmarshal(r.body, &e), "%s", r.body)
	require.NotEmpty(t, e.Error.Errors, "%s", r.body)
	return e.Error.Errors[0].Reason
}

// text is the value of a string field of a JSON reply.
func (r reply) text(t *testing.T, field string) string {
	t.Helper()
	var fields map[string]any
	require.NoError(t, json.Unmarshal(r.body, &fields), "%s", r.body)
	value, _ := fields[field].(string)
	return value
}

// do sends one request, signed in as u unless u is nil. headers are "Name: value".
func do(t *testing.T, u *drivetest.User, method, url, body string, headers ...string) reply {
	t.Helper()
	out, err := try(t, u, method, url, body, headers...)
	require.NoError(t, err)
	return out
}

// try is do for a request whose connection may break before there is a status.
func try(t *testing.T, u *drivetest.User, method, url, body string, headers ...string) (reply, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	if u != nil {
		req.Header.Set("Authorization", "Bearer "+u.AccessToken())
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req) // no redirects, no second try
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, content, err}, nil
}

// put stores a file with this content.
func put(t *testing.T, u *drivetest.User, name, content string) drivetest.File {
	t.Helper()
	f, err := u.Put(drivetest.File{Name: name, MimeType: "application/octet-stream"}, strings.NewReader(content))
	require.NoError(t, err)
	return f
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{})
	ann := s.User("")
	media := s.URL() + "/drive/v3/files/" + put(t, ann, "a", "content").ID + "?alt=media"
	get, head := do(t, ann, "GET", media, ""), do(t, ann, "HEAD", media, "")
	require.Equal(t, 200, head.status)
	require.Empty(t, head.body)
	for _, name := range []string{"Content-Length", "Content-Type", "X-Goog-Hash"} {
		require.Equal(t, get.header.Get(name), head.header.Get(name), name)
	}
	require.Equal(t, 404, do(t, ann, "HEAD", s.URL()+"/drive/v3/files/none?alt=media", "").status)
	require.Equal(t, 206, do(t, ann, "HEAD", media, "", "Range: bytes=0-1").status)
	require.Zero(t, s.Requests()[1].Out)
}
