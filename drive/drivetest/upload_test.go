package drivetest

import (
	"bytes"
	"crypto/md5" //nolint:gosec // the service's checksum
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// begin opens a session for a new file and returns its address. header is name, value, ….
func (c *client) begin(meta string, header ...string) string {
	c.t.Helper()
	r := c.send("POST", "/upload/drive/v3/files?uploadType=resumable&fields=id,size,md5Checksum,mimeType,name", strings.NewReader(meta),
		append([]string{"Content-Type", "application/json; charset=UTF-8"}, header...)...)
	require.Equal(c.t, 200, r.status, "%s", r.body)
	require.Empty(c.t, r.body)
	require.Contains(c.t, r.header.Get("Location"), c.root+"/upload/drive/v3/files?uploadType=resumable&upload_id=")
	return r.header.Get("Location")
}

// chunk sends bytes to a session, without Authorization: its address is the credential.
func (c *client) chunk(session string, b []byte, contentRange string, header ...string) reply {
	c.t.Helper()
	header = append(header, "Authorization", "")
	if contentRange != "" {
		header = append(header, "Content-Range", contentRange)
	}
	return c.send("PUT", session, bytes.NewReader(b), header...)
}

// wants308 checks the reply to a chunk: how many bytes the server has.
func (c *client) wants308(r reply, size int) {
	c.t.Helper()
	require.Equal(c.t, 308, r.status, "%s", r.body)
	want := ""
	if size > 0 {
		want = fmt.Sprintf("bytes=0-%d", size-1)
	}
	require.Equal(c.t, want, r.header.Get("Range"))
	require.Equal(c.t, "0", r.header.Get("Content-Length"))
}

// wantsFile checks the reply to the last chunk, and that the file is the content.
func (c *client) wantsFile(r reply, content []byte) map[string]any {
	c.t.Helper()
	require.Equal(c.t, 200, r.status, "%s", r.body)
	got := c.object(r)
	sum := md5.Sum(content) //nolint:gosec // the service's checksum
	require.Equal(c.t, hex.EncodeToString(sum[:]), got["md5Checksum"])
	require.Equal(c.t, fmt.Sprint(len(content)), got["size"])
	media := c.send("GET", "/drive/v3/files/"+got["id"].(string)+"?alt=media", nil)
	require.True(c.t, bytes.Equal(content, media.body), "content")
	return got
}

const kib256 = 256 << 10

func TestResumableUpload(t *testing.T) {
	s := NewServer(t, Options{})
	c := newClient(t, s, "")
	content := noise(2*kib256 + 1000)
	n := len(content)
	meta := `{"name":"a.sif","properties":{"type":"container","registry":null}}`

	t.Run("chunks with a known total", func(t *testing.T) {
		u := c.begin(meta, "X-Upload-Content-Length", fmt.Sprint(n), "X-Upload-Content-Type", "application/x-sif")
		c.wants308(c.chunk(u, nil, "bytes */*"), 0)
		c.wants308(c.chunk(u, nil, fmt.Sprintf("bytes */%d", n)), 0)
		r := c.chunk(u, content[:kib256], fmt.Sprintf("bytes 0-%d/%d", kib256-1, n))
		c.wants308(r, kib256)
		sum := md5.Sum(content[:kib256]) //nolint:gosec // the service's checksum
		require.Equal(t, hex.EncodeToString(sum[:]), r.header.Get("X-Range-Md5"))
		require.Equal(t, "UploadServer", r.header.Get("Server"))
		require.Equal(t, 0, strings.Count(c.names("name='a.sif'"), "a.sif"), "no file before the end")
		c.wants308(c.chunk(u, content[kib256:2*kib256], fmt.Sprintf("bytes %d-%d/%d", kib256, 2*kib256-1, n)), 2*kib256)
		got := c.wantsFile(c.chunk(u, content[2*kib256:], fmt.Sprintf("bytes %d-%d/%d", 2*kib256, n-1, n)), content)
		require.Equal(t, "application/x-sif", got["mimeType"])
		require.Equal(t, map[string]any{"type": "container"}, c.get(got["id"].(string))["properties"], "a null at creation is left out")
		// The reply was lost: asking again, or sending the last chunk again, gives the same file.
		for _, r := range []reply{
			c.chunk(u, nil, "bytes */*"), c.chunk(u, nil, fmt.Sprintf("bytes */%d", n)),
			c.chunk(u, content[2*kib256:], fmt.Sprintf("bytes %d-%d/%d", 2*kib256, n-1, n)),
		} {
			require.Equal(t, 200, r.status)
			require.Equal(t, got["id"], c.object(r)["id"])
		}
		require.Equal(t, "a.sif", c.names("name='a.sif'"), "one file")
	})
	t.Run("chunks with an unknown total", func(t *testing.T) {
		u := c.begin(`{}`)
		c.wants308(c.chunk(u, content[:kib256], fmt.Sprintf("bytes 0-%d/*", kib256-1)), kib256)
		c.wants308(c.chunk(u, content[kib256:2*kib256], fmt.Sprintf("bytes %d-%d/*", kib256, 2*kib256-1)), 2*kib256)
		got := c.wantsFile(c.chunk(u, content[2*kib256:], fmt.Sprintf("bytes %d-%d/%d", 2*kib256, n-1, n)), content)
		require.Equal(t, "Untitled", got["name"])
		require.Equal(t, "application/octet-stream", got["mimeType"])
	})
	t.Run("an aligned stream of unknown total is ended by a question", func(t *testing.T) {
		u := c.begin(`{}`)
		c.wants308(c.chunk(u, content[:2*kib256], fmt.Sprintf("bytes 0-%d/*", 2*kib256-1)), 2*kib256)
		c.wants308(c.chunk(u, nil, fmt.Sprintf("bytes */%d", n)), 2*kib256) // not all is there yet
		c.wants308(c.chunk(u, nil, "bytes */*"), 2*kib256)
		c.wantsFile(c.chunk(u, nil, fmt.Sprintf("bytes */%d", 2*kib256)), content[:2*kib256])
	})
	t.Run("in the dialect without 308", func(t *testing.T) {
		u := c.begin(`{}`)
		r := c.send("POST", u, bytes.NewReader(content[:kib256]), "Content-Range", fmt.Sprintf("bytes 0-%d/*", kib256-1), "X-GUploader-No-308", "yes")
		require.Equal(t, 200, r.status)
		require.Equal(t, "308", r.header.Get("X-Http-Status-Code-Override"))
		require.Equal(t, fmt.Sprintf("bytes=0-%d", kib256-1), r.header.Get("Range"))
		r = c.send("POST", u, bytes.NewReader(content[kib256:]), "Content-Range", fmt.Sprintf("bytes %d-%d/%d", kib256, n-1, n), "X-GUploader-No-308", "yes")
		require.Empty(t, r.header.Get("X-Http-Status-Code-Override"))
		c.wantsFile(r, content)
	})
	t.Run("whole in one request", func(t *testing.T) {
		c.wantsFile(c.chunk(c.begin(meta), content, ""), content)
		c.wantsFile(c.chunk(c.begin(meta), content, fmt.Sprintf("bytes 0-%d/%d", n-1, n)), content)
		u := c.begin(meta) // of unknown length
		r := c.send("PUT", u, struct{ io.Reader }{bytes.NewReader(content)}, "Authorization", "")
		c.wantsFile(r, content)
	})
	t.Run("nothing", func(t *testing.T) {
		c.wantsFile(c.chunk(c.begin(meta), nil, ""), nil)
		c.wantsFile(c.chunk(c.begin(meta), nil, "bytes */0"), nil)
		c.wantsFile(c.chunk(c.begin(meta, "X-Upload-Content-Length", "0"), nil, "bytes 0--1/0"), nil)
	})
	t.Run("overlap is ignored", func(t *testing.T) {
		u := c.begin(`{}`)
		c.wants308(c.chunk(u, content[:kib256], fmt.Sprintf("bytes 0-%d/%d", kib256-1, n)), kib256)
		wrong := bytes.Repeat([]byte{1}, kib256)
		c.wants308(c.chunk(u, wrong, fmt.Sprintf("bytes 0-%d/%d", kib256-1, n)), kib256)
		both := append(bytes.Repeat([]byte{1}, kib256), content[kib256:]...)
		c.wantsFile(c.chunk(u, both, fmt.Sprintf("bytes 0-%d/%d", n-1, n)), content)
	})
	t.Run("new content of a file", func(t *testing.T) {
		id := c.put("b.sif", []byte("old"), "properties", map[string]string{"a": "b"})
		before := c.get(id)
		r := c.send("PATCH", "/upload/drive/v3/files/"+id+"?uploadType=resumable&fields=*", strings.NewReader(`{"properties":{"c":"d"}}`), "Content-Type", "application/json")
		require.Equal(t, 200, r.status, "%s", r.body)
		u := r.header.Get("Location")
		require.Contains(t, u, "/upload/drive/v3/files/"+id+"?")
		require.Equal(t, before, c.get(id), "nothing changes before the end")
		got := c.wantsFile(c.chunk(u, content, ""), content)
		require.Equal(t, id, got["id"])
		require.Equal(t, "b.sif", got["name"])
		require.Equal(t, map[string]any{"a": "b", "c": "d"}, got["properties"])
		require.NotEqual(t, before["headRevisionId"], got["headRevisionId"])
		require.Equal(t, "2", got["version"])
	})
}

func TestResumableRefusals(t *testing.T) {
	var clock virtualClock
	s := NewServer(t, Options{Now: clock.now})
	c := newClient(t, s, "")
	content := noise(3 * kib256)
	n := len(content)

	t.Run("chunks", func(t *testing.T) {
		u := c.begin(`{}`, "X-Upload-Content-Length", fmt.Sprint(n))
		for _, test := range []struct {
			name, contentRange string
			body               []byte
		}{
			{"gap", fmt.Sprintf("bytes %d-%d/%d", kib256, 2*kib256-1, n), content[kib256 : 2*kib256]},
			{"unaligned", fmt.Sprintf("bytes 0-999/%d", n), content[:1000]},
			{"unaligned and large", fmt.Sprintf("bytes 0-%d/%d", kib256, n), content[:kib256+1]},
			{"shorter than it says", fmt.Sprintf("bytes 0-%d/%d", kib256-1, n), content[:kib256-1]},
			{"longer than it says", fmt.Sprintf("bytes 0-%d/%d", kib256-1, n), content[:kib256+1]},
			{"another total", fmt.Sprintf("bytes 0-%d/%d", kib256-1, n+1), content[:kib256]},
			{"another total in a question", fmt.Sprintf("bytes */%d", n-1), nil},
			{"beyond the total", fmt.Sprintf("bytes 0-%d/%d", n, n), content},
			{"another length of the whole", "", content[:100]},
			{"no range", "bytes", nil},
			{"other unit", "octets 0-1/2", content[:2]},
			{"backwards", "bytes 5-1/*", content[:2]},
			{"signs", "bytes +0-+1/2", content[:2]},
			{"negative", "bytes -1-1/2", content[:2]},
			{"no total", "bytes 0-1", content[:2]},
			{"empty range of something", "bytes 0--1/5", nil},
		} {
			t.Run(test.name, func(t *testing.T) {
				c.isError(c.chunk(u, test.body, test.contentRange), 400, "badRequest")
				c.wants308(c.chunk(u, nil, "bytes */*"), 0) // nothing was kept, and the session lives
			})
		}
		c.wantsFile(c.chunk(u, content, ""), content)
	})
	t.Run("a chunked body longer than its range", func(t *testing.T) {
		u := c.begin(`{}`)
		r := c.send("PUT", u, struct{ io.Reader }{bytes.NewReader(content[:kib256+1])}, "Content-Range", fmt.Sprintf("bytes 0-%d/*", kib256-1))
		c.isError(r, 400, "badRequest")
	})
	t.Run("unknown, expired and cancelled sessions", func(t *testing.T) {
		u := c.begin(`{}`)
		c.isError(c.chunk(u+"x", nil, "bytes */*"), 404, "notFound")
		require.Equal(t, 499, c.send("DELETE", u, nil).status)
		require.Equal(t, 499, c.chunk(u, nil, "bytes */*").status)
		require.Equal(t, 499, c.send("DELETE", u, nil).status)

		u = c.begin(`{}`)
		clock.pass(7*24*time.Hour - time.Second)
		c.wants308(c.chunk(u, nil, "bytes */*"), 0)
		clock.pass(2 * time.Second)
		c.token = s.User("").AccessToken()
		c.isError(c.chunk(u, nil, "bytes */*"), 404, "notFound")
	})
	t.Run("PUT without a session", func(t *testing.T) {
		id := c.put("x", nil)
		c.isError(c.send("PUT", "/upload/drive/v3/files/"+id+"?uploadType=resumable", nil), 404, "notFound")
		c.isError(c.send("POST", "/upload/drive/v3/files", nil), 400, "invalid")
		c.isError(c.send("POST", "/upload/drive/v3/files?uploadType=simple", nil), 400, "invalid")
	})
	t.Run("at the opening", func(t *testing.T) {
		long := strings.Repeat("x", 121)
		for _, test := range []struct {
			name, meta, reason string
			status             int
		}{
			{"no parent", `{"parents":["nothing"]}`, "notFound", 404},
			{"long property", `{"properties":{"name":"` + long + `"}}`, "propertyLengthLimitExceeded", 403},
			{"no JSON", `{`, "parseError", 400},
			{"foreign id", `{"id":"1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}`, "invalid", 400},
			{"folder", `{"mimeType":"application/vnd.google-apps.folder"}`, "badRequest", 400},
			{"read-only", `{"md5Checksum":"x"}`, "fieldNotWritable", 403},
		} {
			t.Run(test.name, func(t *testing.T) {
				r := c.send("POST", "/upload/drive/v3/files?uploadType=resumable", strings.NewReader(test.meta), "Content-Type", "application/json")
				c.isError(r, test.status, test.reason)
				require.Empty(t, r.header.Get("Location"))
			})
		}
		c.isError(c.send("POST", "/upload/drive/v3/files?uploadType=resumable&fields=nothing", nil), 400, "invalidParameter")
		c.isError(c.send("POST", "/upload/drive/v3/files?uploadType=resumable", nil, "X-Upload-Content-Length", "-5"), 400, "badRequest")
		c.isError(c.send("POST", "/upload/drive/v3/files?uploadType=resumable", nil, "X-Upload-Content-Length", "5497558138881"), 413, "uploadTooLarge")
		c.isError(c.send("PATCH", "/upload/drive/v3/files/nothing?uploadType=resumable", nil), 404, "notFound")
		c.isError(c.send("PATCH", "/upload/drive/v3/files/"+c.folder("f", "")+"?uploadType=resumable", nil), 400, "badRequest")
	})
	t.Run("the file is gone at the end", func(t *testing.T) {
		id := c.put("x", nil)
		r := c.send("PATCH", "/upload/drive/v3/files/"+id+"?uploadType=resumable", nil)
		require.NoError(t, s.User("").Delete(id))
		u := r.header.Get("Location")
		c.isError(c.chunk(u, []byte("x"), ""), 404, "notFound")
		c.isError(c.chunk(u, nil, "bytes */*"), 410, "backendError")
	})
}

func TestReservedIDs(t *testing.T) {
	s := NewServer(t, Options{})
	c, bob := newClient(t, s, ""), newClient(t, s, "bob@uni.edu")
	got := c.do("GET", "/drive/v3/files/generateIds", "")
	require.Len(t, got["ids"], 10)
	require.Equal(t, "drive#generatedIds", got["kind"])
	require.Equal(t, "drive", got["space"])
	got = c.do("GET", "/drive/v3/files/generateIds?count=1000&space=drive&type=files", "")
	require.Len(t, got["ids"], 1000)
	for _, count := range []string{"0", "1001", "x"} {
		c.fails(400, "invalid", "GET", "/drive/v3/files/generateIds?count="+count, "")
	}
	ids := got["ids"].([]any)
	id := func(i int) string { return ids[i].(string) }
	require.Regexp(t, `^1[0-9A-Za-z_-]{32}$`, id(0))

	bob.fails(400, "invalid", "POST", "/drive/v3/files", `{"id":"`+id(0)+`"}`)
	c.do("POST", "/drive/v3/files", `{"id":"`+id(0)+`","name":"x"}`)
	require.Equal(t, "x", c.get(id(0))["name"])
	e := c.fails(409, "fileIdInUse", "POST", "/drive/v3/files", `{"id":"`+id(0)+`","name":"x"}`)
	require.Equal(t, "A file already exists with the provided ID.", e.Error.Message)
	c.fails(409, "fileIdInUse", "POST", "/drive/v3/files/"+id(0)+"/copy", `{"id":"`+id(0)+`"}`)
	c.do("POST", "/drive/v3/files/"+id(0)+"/copy", `{"id":"`+id(1)+`"}`)
	c.do("DELETE", "/drive/v3/files/"+id(0), "")
	c.fails(409, "fileIdInUse", "POST", "/drive/v3/files", `{"id":"`+id(0)+`","name":"x"}`)
	c.do("POST", "/drive/v3/files", `{"id":"`+id(2)+`","mimeType":"application/vnd.google-apps.folder"}`)

	// Two sessions for one id: the first to end gets it, and the other learns that.
	meta := `{"id":"` + id(3) + `"}`
	u1, u2 := c.begin(meta), c.begin(meta)
	require.Equal(t, id(3), c.wantsFile(c.chunk(u1, []byte("one"), ""), []byte("one"))["id"])
	c.isError(c.chunk(u2, []byte("two"), ""), 409, "fileIdInUse")
	require.Equal(t, 410, c.chunk(u2, nil, "bytes */*").status)
	r := c.send("POST", "/upload/drive/v3/files?uploadType=resumable", strings.NewReader(meta), "Content-Type", "application/json")
	c.isError(r, 409, "fileIdInUse")
}

func TestSimpleUploads(t *testing.T) {
	s := NewServer(t, Options{})
	c := newClient(t, s, "")
	content := noise(100_000)

	r := c.send("POST", "/upload/drive/v3/files?uploadType=media&fields=*", bytes.NewReader(content), "Content-Type", "image/png")
	got := c.wantsFile(r, content)
	require.Equal(t, "Untitled", got["name"])
	require.Equal(t, "image/png", got["mimeType"])
	require.Equal(t, true, got["hasThumbnail"], "the service makes its own of pictures")
	got = c.wantsFile(c.send("PATCH", "/upload/drive/v3/files/"+got["id"].(string)+"?uploadType=media&fields=*", bytes.NewReader(content[:5])), content[:5])
	require.Equal(t, "image/png", got["mimeType"])

	body := func(sep, tail string) string {
		return strings.Join([]string{
			"--b=b", "Content-Type: application/json; charset=UTF-8", "", `{"name":"m","mimeType":"text/x-mine"}`,
			"--b=b", "Content-Type: text/plain", "", "content\r\nof two lines", tail,
		}, sep)
	}
	for _, contentType := range []string{`multipart/related; boundary="b=b"`, `multipart/related; boundary="b=b"; charset=x`} {
		r = c.send("POST", "/upload/drive/v3/files?uploadType=multipart&fields=*", strings.NewReader(body("\r\n", "--b=b--")), "Content-Type", contentType)
		got = c.wantsFile(r, []byte("content\r\nof two lines"))
		require.Equal(t, "text/x-mine", got["mimeType"], "the metadata's type wins")
		require.Equal(t, "m", got["name"])
	}
	base64Body := "--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--b--"
	r = c.send("POST", "/upload/drive/v3/files?uploadType=multipart&fields=*", strings.NewReader(base64Body), "Content-Type", "multipart/related; boundary=b")
	c.wantsFile(r, []byte("hello"))

	before := len(s.User("").Files())
	for name, test := range map[string]struct{ body, contentType string }{
		"no boundary":     {body("\r\n", "--b=b--"), "multipart/related"},
		"not multipart":   {"{}", "application/json"},
		"cut":             {body("\r\n", ""), `multipart/related; boundary="b=b"`},
		"metadata only":   {"--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b--", "multipart/related; boundary=b"},
		"nothing":         {"", "multipart/related; boundary=b"},
		"metadata broken": {"--b\r\n\r\n{\r\n--b\r\n\r\nx\r\n--b--", "multipart/related; boundary=b"},
	} {
		r := c.send("POST", "/upload/drive/v3/files?uploadType=multipart", strings.NewReader(test.body), "Content-Type", test.contentType)
		require.Equal(t, 400, r.status, "%s: %s", name, r.body)
	}
	require.Len(t, s.User("").Files(), before, "nothing is made of half a request")
}

func FuzzParseContentRange(f *testing.F) {
	for _, header := range []string{"bytes 0-1/2", "bytes 0-1/*", "bytes */2", "bytes */*", "bytes 0--1/0", "bytes 9-8/10", "bytes 0-9/5", ""} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r, err := parseContentRange(header)
		if err != nil {
			return
		}
		require.GreaterOrEqual(t, r.length(), int64(0))
		require.False(t, r.total >= 0 && r.last >= r.total)
		require.True(t, !r.query || r.length() == 0)
	})
}

func TestSessionIsNotLeaked(t *testing.T) {
	s := NewServer(t, Options{})
	c := newClient(t, s, "")
	u := c.begin(`{}`)
	c.wantsFile(c.chunk(u, []byte("x"), ""), []byte("x"))
	c.send("DELETE", c.begin(`{}`), nil)
	contents := s.store.contents.(*memContents)
	contents.mu.Lock()
	defer contents.mu.Unlock()
	require.Len(t, contents.all, 1)
	raw, err := json.Marshal(s.store.refs)
	require.NoError(t, err)
	require.Len(t, s.store.refs, 1, "%s", raw)
}
