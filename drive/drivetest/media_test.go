package drivetest

import (
	"bytes"
	"crypto/md5" //nolint:gosec // the service's checksum
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// noise is n bytes that do not repeat.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func TestMedia(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		t.Run("dir="+dir, func(t *testing.T) { everyRange(t, dir) })
	}
}

func everyRange(t *testing.T, dir string) {
	t.Helper()
	s := NewServer(t, Options{Dir: dir})
	c := newClient(t, s, "")
	content := noise(3<<20 + 17)
	id := c.put("a.sif", content)
	path := "/drive/v3/files/" + id + "?alt=media"
	size := len(content)

	for _, test := range []struct {
		ask         string
		status      int
		first, last int
	}{
		{"", 200, 0, size - 1},
		{"bytes=0-0", 206, 0, 0},
		{"bytes=5-9", 206, 5, 9},
		{"bytes=1048570-1048580", 206, 1048570, 1048580},
		{"bytes=1000-", 206, 1000, size - 1},
		{"bytes=-10", 206, size - 10, size - 1},
		{"bytes=-99999999", 206, 0, size - 1},
		{fmt.Sprintf("bytes=%d-%d", size-5, size+100), 206, size - 5, size - 1}, // clamped
		{"bytes=9-5", 200, 0, size - 1},                                         // no range at all: ignored
		{"bytes=a-b", 200, 0, size - 1},
		{"lines=1-2", 200, 0, size - 1},
		{"bytes=0-1,5-6", 200, 0, size - 1}, // several: the whole file
	} {
		t.Run(test.ask, func(t *testing.T) {
			r := c.send("GET", path, nil, "Range", test.ask)
			require.Equal(t, test.status, r.status, "%s", r.header)
			require.True(t, bytes.Equal(content[test.first:test.last+1], r.body))
			if test.status == 206 {
				require.Equal(t, fmt.Sprintf("bytes %d-%d/%d", test.first, test.last, size), r.header.Get("Content-Range"))
			} else {
				require.Empty(t, r.header.Get("Content-Range"))
			}
			require.Equal(t, fmt.Sprint(len(r.body)), r.header.Get("Content-Length"))
		})
	}
	for _, ask := range []string{fmt.Sprintf("bytes=%d-", size), fmt.Sprintf("bytes=%d-%d", size+1, size+2), "bytes=-0"} {
		r := c.send("GET", path, nil, "Range", ask)
		c.isError(r, 416, "requestedRangeNotSatisfiable")
		require.Equal(t, fmt.Sprintf("bytes */%d", size), r.header.Get("Content-Range"))
	}

	r := c.send("GET", path, nil)
	sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli)))
	require.Equal(t, "crc32c="+base64.StdEncoding.EncodeToString(sum), r.header.Get("X-Goog-Hash"))
	for name, want := range map[string]string{
		"Cache-Control": "private, max-age=0, must-revalidate", "Content-Disposition": "attachment", "Server": "UploadServer",
		"Content-Type": "application/octet-stream", "Vary": "Origin, X-Origin", "Etag": "", "Last-Modified": "", "Accept-Ranges": "",
	} {
		require.Equal(t, want, r.header.Get(name), name)
	}
	require.NotEmpty(t, r.header.Get("X-Guploader-Uploadid"))

	t.Run("empty file", func(t *testing.T) {
		id := c.put("empty", nil)
		got := c.get(id)
		require.Equal(t, "0", got["size"])
		require.Equal(t, "d41d8cd98f00b204e9800998ecf8427e", got["md5Checksum"])
		path := "/drive/v3/files/" + id + "?alt=media"
		r := c.send("GET", path, nil)
		require.Equal(t, 200, r.status)
		require.Empty(t, r.body)
		for _, ask := range []string{"bytes=0-", "bytes=0-0", "bytes=-5"} {
			c.isError(c.send("GET", path, nil, "Range", ask), 416, "requestedRangeNotSatisfiable")
		}
	})
	t.Run("no content", func(t *testing.T) {
		c.fails(403, "fileNotDownloadable", "GET", "/drive/v3/files/"+c.folder("f", "")+"?alt=media", "")
		c.fails(403, "fileNotDownloadable", "GET", "/drive/v3/files/root?alt=media", "")
		c.fails(404, "notFound", "GET", "/drive/v3/files/nothing?alt=media", "")
	})
	t.Run("trashed", func(t *testing.T) {
		c.do("PATCH", "/drive/v3/files/"+id, `{"trashed":true}`)
		require.Len(t, c.send("GET", path, nil).body, size)
		require.Equal(t, true, c.get(id)["trashed"])
	})
	t.Run("a reader keeps what it opened", func(t *testing.T) {
		open, err := s.User("").Content(id)
		require.NoError(t, err)
		require.NoError(t, s.User("").Delete(id))
		_, err = s.User("").Content(id)
		require.Error(t, err)
		got, err := io.ReadAll(open)
		require.NoError(t, err)
		require.True(t, bytes.Equal(content, got))
		require.NoError(t, open.Close())
	})
}

func TestMediaFirstRangeQuirk(t *testing.T) {
	s := NewServer(t, Options{Quirks: Quirks{MultiRange: MultiRangeFirst}})
	c := newClient(t, s, "")
	id := c.put("a", []byte("0123456789"))
	r := c.send("GET", "/drive/v3/files/"+id+"?alt=media", nil, "Range", "bytes=2-3,7-8")
	require.Equal(t, 206, r.status)
	require.Equal(t, "23", string(r.body))
	require.Equal(t, "bytes 2-3/10", r.header.Get("Content-Range"))
}

func TestAbusiveFile(t *testing.T) {
	s := NewServer(t, Options{})
	ann, bob := newClient(t, s, "ann@uni.edu"), newClient(t, s, "bob@uni.edu")
	id := ann.put("a", []byte("virus"))
	ann.share(id, "bob@uni.edu", "reader")
	require.NoError(t, s.User("").SetAbusive(id, true))
	path := "/drive/v3/files/" + id + "?alt=media"
	e := ann.fails(403, "cannotDownloadAbusiveFile", "GET", path, "")
	require.Equal(t, "This file has been identified as malware or spam and cannot be downloaded.", e.Error.Message)
	require.Equal(t, "virus", string(ann.send("GET", path+"&acknowledgeAbuse=true", nil).body))
	bob.fails(403, "cannotDownloadAbusiveFile", "GET", path+"&acknowledgeAbuse=true", "")
	require.Equal(t, "a", bob.get(id)["name"])
	require.Error(t, s.User("bob@uni.edu").SetAbusive(id, false))
}

func TestRevisions(t *testing.T) {
	s := NewServer(t, Options{})
	c := newClient(t, s, "")
	id := c.put("a", []byte("one"))
	first := c.get(id)
	r := c.send("PATCH", "/upload/drive/v3/files/"+id+"?uploadType=media&keepRevisionForever=true&fields=*", bytes.NewReader([]byte("two")), "Content-Type", "text/plain")
	require.Equal(t, 200, r.status, "%s", r.body)
	second := c.object(r)
	require.NoError(t, s.User("").Replace(id, bytes.NewReader([]byte("three"))))
	third := c.get(id)
	require.NotEqual(t, first["headRevisionId"], second["headRevisionId"])
	require.Equal(t, "text/plain", second["mimeType"])
	md5sum := md5.Sum([]byte("two")) //nolint:gosec // the service's checksum
	require.Equal(t, hex.EncodeToString(md5sum[:]), second["md5Checksum"])
	require.Equal(t, "8", third["quotaBytesUsed"], "head and what is kept")

	list := c.do("GET", "/drive/v3/files/"+id+"/revisions?fields=revisions(id,size,keepForever)", "")["revisions"].([]any)
	require.Equal(t, []any{
		map[string]any{"id": first["headRevisionId"], "keepForever": false, "size": "3"},
		map[string]any{"id": second["headRevisionId"], "keepForever": true, "size": "3"},
		map[string]any{"id": third["headRevisionId"], "keepForever": false, "size": "5"},
	}, list)
	page := c.do("GET", "/drive/v3/files/"+id+"/revisions?pageSize=2", "")
	require.Len(t, page["revisions"], 2)
	page = c.do("GET", "/drive/v3/files/"+id+"/revisions?pageSize=2&pageToken="+page["nextPageToken"].(string), "")
	require.Len(t, page["revisions"], 1)
	require.NotContains(t, page, "nextPageToken")

	rev := func(id2 any) string { return fmt.Sprintf("/drive/v3/files/%s/revisions/%s", id, id2) }
	require.Equal(t, "text/plain", c.do("GET", rev(second["headRevisionId"]), "")["mimeType"])
	require.Equal(t, "two", string(c.send("GET", rev(second["headRevisionId"])+"?alt=media", nil).body))
	require.Equal(t, "three", string(c.send("GET", rev("head")+"?alt=media", nil).body))
	c.fails(403, "download_restricted_for_revision", "GET", rev(first["headRevisionId"])+"?alt=media", "")
	c.fails(404, "notFound", "GET", rev("nothing"), "")
}

func FuzzParseRange(f *testing.F) {
	for _, header := range []string{"bytes=0-1", "bytes=-5", "bytes=5-", "bytes=0-1,2-3", "bytes=", "bytes=-", "bytes=9-1", "x"} {
		f.Add(header, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		for _, r := range parseRange(header, size) {
			require.GreaterOrEqual(t, r.first, int64(0))
			require.Less(t, r.last, size+1)
			if r.first < size {
				require.LessOrEqual(t, r.first, r.last)
				require.Less(t, r.last, size)
			}
		}
	})
}
