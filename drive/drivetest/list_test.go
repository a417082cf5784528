package drivetest

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestListPages(t *testing.T) {
	var clock virtualClock
	s := NewServer(t, Options{Now: clock.now})
	c := newClient(t, s, "")
	for i := range 7 {
		_, err := s.User("").Put(File{Name: fmt.Sprintf("f%d", i)}, nil)
		require.NoError(t, err)
	}
	pages := func(query string) string {
		var names []string
		for token := ""; ; {
			got := c.do("GET", "/drive/v3/files?pageSize=3&"+query+"&pageToken="+url.QueryEscape(token), "")
			require.Equal(t, false, got["incompleteSearch"])
			require.LessOrEqual(t, len(got["files"].([]any)), 3)
			for _, f := range got["files"].([]any) {
				names = append(names, f.(map[string]any)["name"].(string))
			}
			next, more := got["nextPageToken"]
			if !more {
				return strings.Join(names, " ")
			}
			token = next.(string)
		}
	}
	require.Equal(t, "f6 f5 f4 f3 f2 f1 f0", pages(""), "newest first")
	require.Equal(t, "f0 f1 f2 f3 f4 f5 f6", pages("orderBy=name"))
	require.Equal(t, "f6 f5 f4 f3 f2 f1 f0", pages("orderBy=folder,name%20desc"))

	first := c.do("GET", "/drive/v3/files?pageSize=3&orderBy=name", "")["nextPageToken"].(string)
	next := func(query string) string { return "/drive/v3/files?" + query + "&pageToken=" + url.QueryEscape(first) }
	// A token goes on after the last file seen, whatever happens to that file.
	for _, f := range s.User("").Files() {
		if f.Name == "f2" || f.Name == "f3" {
			require.NoError(t, s.User("").Delete(f.ID))
		}
	}
	got := c.do("GET", next("orderBy=name&pageSize=2"), "")["files"].([]any)
	require.Len(t, got, 2)
	require.Equal(t, "f4", got[0].(map[string]any)["name"])

	e := c.fails(400, "invalid", "GET", next("orderBy=name%20desc"), "")
	require.Equal(t, "pageToken", e.Error.Errors[0].Location)
	c.fails(400, "invalid", "GET", next("orderBy=name&q=trashed=false"), "")
	c.fails(400, "invalid", "GET", "/drive/v3/files?pageToken=garbage", "")
	clock.pass(7 * time.Hour)
	c.token = s.User("").AccessToken()
	c.fails(400, "invalid", "GET", next("orderBy=name"), "")
	newClient(t, s, "bob@uni.edu").fails(400, "invalid", "GET", next("orderBy=name"), "")

	for _, size := range []string{"0", "-1", "x"} {
		c.fails(400, "invalid", "GET", "/drive/v3/files?pageSize="+size, "")
	}
	require.Len(t, c.do("GET", "/drive/v3/files?pageSize=5000", "")["files"], 5, "coerced, not refused")
}

func TestOrder(t *testing.T) {
	var clock virtualClock
	s := NewServer(t, Options{Now: clock.now})
	c := newClient(t, s, "")
	c.put("B10", noise(3))
	clock.pass(time.Second)
	c.folder("c", "")
	clock.pass(time.Second)
	c.put("b9", noise(1), "starred", true, "modifiedTime", "2030-01-01T00:00:00Z", "createdTime", "2001-01-01T00:00:00Z")
	clock.pass(time.Second)
	c.put("a", noise(2))
	for by, want := range map[string]string{
		"name": "a B10 b9 c", "name desc": "c b9 B10 a", "name_natural": "a b9 B10 c", "folder,name": "c a B10 b9",
		"createdTime": "b9 B10 c a", "modifiedTime desc": "b9 a c B10", "quotaBytesUsed desc": "B10 a b9 c",
		"starred,name": "b9 a B10 c", "recency": "B10 c a b9", "modifiedByMeTime": "B10 c a b9", "viewedByMeTime desc": "a c B10 b9",
		"sharedWithMeTime": "B10 c b9 a", "folder desc, name desc": "b9 B10 a c", "": "a b9 c B10",
	} {
		t.Run(by, func(t *testing.T) { require.Equal(t, want, c.names("", "orderBy", by)) })
	}
}

// TestTenThousandFiles walks a registry of 10,000 images in pages of 1000.
func TestTenThousandFiles(t *testing.T) {
	s, reg := manyFiles(t, 10_000)
	c := newClient(t, s, "")
	seen := map[string]bool{}
	for token, pages := "", 0; ; pages++ {
		got := c.do("GET", listPage(reg)+"&pageToken="+url.QueryEscape(token), "")
		for _, f := range got["files"].([]any) {
			seen[f.(map[string]any)["id"].(string)] = true
		}
		next, more := got["nextPageToken"]
		if !more {
			require.Equal(t, 9, pages)
			break
		}
		token = next.(string)
	}
	require.Len(t, seen, 10_000)
}

func listPage(reg string) string {
	v := url.Values{
		"q":        {"mimeType='application/octet-stream' and properties has {key='type' and value='container'} and '" + reg + "' in parents and trashed=false"},
		"pageSize": {"1000"}, "prettyPrint": {"false"},
		"fields": {"nextPageToken,files(id,name,mimeType,description,properties,size,md5Checksum,sha256Checksum,headRevisionId,version,createdTime,modifiedTime,trashed,parents,ownedByMe,owners(emailAddress),permissions(id,role,emailAddress),capabilities)"},
	}
	return "/drive/v3/files?" + v.Encode()
}

// manyFiles is a server with n images in a registry folder, and the folder's id.
func manyFiles(t testing.TB, n int) (*Server, string) {
	t.Helper()
	s := NewServer(t, Options{})
	u := s.User("")
	reg, err := u.Put(File{Name: "sregistry", MimeType: folderType}, nil)
	require.NoError(t, err)
	for i := range n {
		name := fmt.Sprintf("lab%d/image%d:v1", i%50, i)
		props := map[string]string{"type": "container", "uri": name, "collection": fmt.Sprintf("lab%d", i%50), "image": fmt.Sprintf("image%d", i), "tag": "v1"}
		for j := range 10 {
			props[fmt.Sprintf("org.label-schema.label%d", j)] = "some value of a label"
		}
		_, err := u.Put(File{Name: name + ".sif", Parents: []string{reg.ID}, Properties: props}, strings.NewReader(name))
		require.NoError(t, err)
	}
	return s, reg.ID
}

// BenchmarkListPage is one page of 1000 files, all that a client of a registry wants to know, out of 10,000.
func BenchmarkListPage(b *testing.B) {
	s, reg := manyFiles(b, 10_000)
	benchmarkGet(b, s, listPage(reg))
}

// BenchmarkChangesPoll asks what is new where nothing is, with 10,000 changes in the feed.
func BenchmarkChangesPoll(b *testing.B) {
	s, _ := manyFiles(b, 10_000)
	benchmarkGet(b, s, "/drive/v3/changes?fields=*&pageToken="+follow(newClient(b, s, "")).token)
}

func benchmarkGet(b *testing.B, s *Server, path string) {
	b.Helper()
	c := newClient(b, s, "")
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, c.root+path, nil)
	require.NoError(b, err)
	req.Header.Set("Authorization", "Bearer "+c.token)
	for b.Loop() {
		resp, err := c.http.Do(req)
		require.NoError(b, err)
		n, err := io.Copy(io.Discard, resp.Body)
		require.NoError(b, err)
		require.NoError(b, resp.Body.Close())
		require.Equal(b, 200, resp.StatusCode)
		b.SetBytes(n)
	}
}
