package drivetest_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
)

// part is one call of a batch or its answer.
type part struct{ id, text string }

// batch sends parts in one body whose lines end in eol, and returns the answers in their order.
func batch(t *testing.T, u *drivetest.User, address, eol string, parts []part, headers ...string) (reply, []part) {
	t.Helper()
	const boundary = "===============42 =="
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "--%s\nContent-Type: application/http\nMIME-Version: 1.0\nContent-ID: %s\n\n%s\n", boundary, p.id, p.text)
	}
	fmt.Fprintf(&b, "--%s--\n", boundary)
	r := do(t, u, "POST", address, strings.ReplaceAll(b.String(), "\n", eol), append(headers, `Content-Type: multipart/mixed; boundary="`+boundary+`"`)...)
	if r.status != 200 {
		return r, nil
	}
	kind, params, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/mixed", kind)
	var answers []part
	mr := multipart.NewReader(bytes.NewReader(r.body), params["boundary"])
	for {
		p, err := mr.NextPart()
		if errors.Is(err, io.EOF) {
			return r, answers
		}
		require.NoError(t, err)
		require.Equal(t, "application/http", p.Header.Get("Content-Type"))
		inner, err := http.ReadResponse(bufio.NewReader(p), nil)
		require.NoError(t, err)
		content, err := io.ReadAll(inner.Body)
		require.NoError(t, err)
		require.NoError(t, inner.Body.Close())
		content = append(content, inner.Header.Get("Location")...) // of a redirection, which has nothing else
		answers = append(answers, part{p.Header.Get("Content-ID"), fmt.Sprintf("%d %s", inner.StatusCode, bytes.Join(bytes.Fields(content), nil))})
	}
}

func TestBatch(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
	ann, bob := s.User("ann@uni.edu"), s.User("bob@uni.edu")
	id := put(t, ann, "f", "content").ID
	calls := []part{
		{"<one + 1>", "GET /drive/v3/files/" + id + "?fields=name HTTP/1.1\nHost: www.googleapis.com\n\n"},
		{"<two + 2>", "PATCH /drive/v3/files/" + id + "?fields=name,properties HTTP/1.1\nContent-Type: application/json\ncontent-length: 48\n\n" + `{"name":"g","properties":{"a":"b \n c"}}` + "\n"},
		{"<three>", "GET /drive/v3/files/nowhere HTTP/1.1\n\n"},
		{"four", "GET https://www.googleapis.com/drive/v3/files/" + id + "?fields=name\n\n"},
		{"<five>", "GET /drive/v3/about?fields=user(emailAddress) HTTP/1.1\nAuthorization: Bearer " + bob.AccessToken() + "\n\n"},
		{"<six>", "DELETE /drive/v3/files/" + id + " HTTP/1.1"},
		{"<seven>", "GET /drive/v3/files/" + id + "?alt=media HTTP/1.1\n\n"},
		{"<eight>", "nonsense"},
		{"<nine>", "POST /drive/v3/files?fields=files(name)&q=trashed%3Dfalse HTTP/1.1\nX-HTTP-Method-Override: GET\n\n"},
	}
	for name, eol := range map[string]string{"LF": "\n", "CRLF": "\r\n"} {
		for _, path := range []string{"/batch/drive/v3", "/batch"} {
			t.Run(name+path, func(t *testing.T) {
				s.ResetRequests()
				require.NoError(t, ann.Patch(id, func(f *drivetest.File) { f.Name = "f" }))
				some := append([]part(nil), calls[:5]...)
				_, got := batch(t, ann, s.URL()+path, eol, append(some, calls[6:]...))
				require.Len(t, got, 8)
				require.Equal(t, part{"<response-one + 1>", `200 {"name":"f"}`}, got[0])
				require.Equal(t, part{"<response-two + 2>", `200 {"name":"g","properties":{"a":"b\nc"}}`}, got[1])
				require.Equal(t, "<response-three>", got[2].id)
				require.Contains(t, got[2].text, `404 {"error"`)
				require.Equal(t, part{"response-four", `200 {"name":"g"}`}, got[3])
				require.Equal(t, part{"<response-five>", `200 {"user":{"emailAddress":"bob@uni.edu"}}`}, got[4])
				where, ok := strings.CutPrefix(got[5].text, "302 ")
				require.True(t, ok, "content is not in a batch: %s", got[5].text)
				require.Equal(t, "content", string(do(t, ann, "GET", where, "").body))
				require.Equal(t, 401, do(t, nil, "GET", where, "").status)
				require.Contains(t, got[6].text, `400 {"error"`)
				require.Contains(t, got[7].text, `200 {"files"`)
				ops := map[string]bool{}
				for _, q := range s.Requests() {
					if q.Op == "media" { // whoever followed the redirection
						continue
					}
					ops[q.Op] = true
					require.Equal(t, q.Op != "batch", q.Batch, "%+v", q)
				}
				require.Equal(t, map[string]bool{"batch": true, "files.get": true, "files.update": true, "about.get": true, "files.list": true}, ops)
			})
		}
	}
	_, got := batch(t, ann, s.URL()+"/batch/drive/v3", "\r\n", calls[5:6])
	require.Equal(t, []part{{"<response-six>", "204 "}}, got)

	t.Run("outer query and headers hold for each call", func(t *testing.T) {
		_, got := batch(t, ann, s.URL()+"/batch/drive/v3?fields=user(emailAddress)", "\n", []part{{"<a>", "GET /drive/v3/about HTTP/1.1\n\n"}})
		require.Equal(t, []part{{"<response-a>", `200 {"user":{"emailAddress":"ann@uni.edu"}}`}}, got)
		_, got = batch(t, nil, s.URL()+"/batch/drive/v3", "\n", []part{{"<a>", "GET /drive/v3/about?fields=user HTTP/1.1\n\n"}})
		require.Contains(t, got[0].text, "401 ")
	})
	t.Run("not more than 100 calls", func(t *testing.T) {
		var many []part
		for i := range 101 {
			many = append(many, part{fmt.Sprintf("<%d>", i), "GET /drive/v3/about?fields=user HTTP/1.1\n\n"})
		}
		r, got := batch(t, ann, s.URL()+"/batch/drive/v3", "\n", many)
		require.Equal(t, 400, r.status)
		require.Empty(t, got)
		_, got = batch(t, ann, s.URL()+"/batch/drive/v3", "\n", many[:100])
		require.Len(t, got, 100)
		require.Equal(t, "<response-99>", got[99].id)
	})
	t.Run("a body that is no batch", func(t *testing.T) {
		r, _ := batch(t, ann, s.URL()+"/batch/drive/v3", "\n", nil)
		require.Equal(t, 400, r.status)
		require.Equal(t, 400, do(t, ann, "POST", s.URL()+"/batch/drive/v3", "{}", "Content-Type: application/json").status)
		require.Equal(t, 400, do(t, ann, "POST", s.URL()+"/batch/drive/v3", "--x\n", "Content-Type: multipart/mixed; boundary=x").status)
		require.Equal(t, 404, do(t, ann, "GET", s.URL()+"/batch/drive/v3", "").status)
	})
	t.Run("a call that is cut cuts the batch", func(t *testing.T) {
		s.Fault(drivetest.On("GET", "/drive/v3/about").Cut(3))
		_, err := try(t, ann, "POST", s.URL()+"/batch/drive/v3", "--x\nContent-Type: application/http\n\nGET /drive/v3/about?fields=user\n\n--x--\n", "Content-Type: multipart/mixed; boundary=x")
		require.Error(t, err)
	})
}

func TestMethodOverride(t *testing.T) {
	s := drivetest.NewServer(t, drivetest.Options{})
	ann := s.User("")
	id := put(t, ann, "f", "content").ID
	r := do(t, ann, "POST", s.URL()+"/drive/v3/files/"+id+"?fields=name", `{"name":"g"}`, "X-HTTP-Method-Override: patch", "Content-Type: application/json")
	require.Equal(t, "g", r.text(t, "name"), "%s", r.body)
	r = do(t, ann, "POST", s.URL()+"/drive/v3/files?fields=files(name)", "q=name%3D%27g%27&spaces=drive", "X-HTTP-Method-Override: GET", "Content-Type: application/x-www-form-urlencoded")
	require.Equal(t, 200, r.status)
	require.Contains(t, string(r.body), `"g"`)
	r = do(t, ann, "POST", s.URL()+"/drive/v3/files", "q=%zz", "X-HTTP-Method-Override: GET", "Content-Type: application/x-www-form-urlencoded")
	require.Equal(t, 400, r.status)
	r = do(t, ann, "POST", s.URL()+"/drive/v3/files/"+id, "", "X-HTTP-Method-Override: DELETE")
	require.Equal(t, 204, r.status)
	methods := []string{}
	for _, q := range s.Requests() {
		methods = append(methods, q.Method)
	}
	require.Equal(t, []string{"PATCH", "GET", "DELETE"}, methods)
}
