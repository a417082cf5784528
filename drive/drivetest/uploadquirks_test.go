package drivetest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestUploadQuirks(t *testing.T) {
	content := noise(4 * kib256)
	n := len(content)
	all := func(first, last int) string { return fmt.Sprintf("bytes %d-%d/%d", first, last-1, n) }

	t.Run("partial persistence", func(t *testing.T) {
		c := newClient(t, NewServer(t, Options{Quirks: Quirks{PersistAtMost: kib256 + 5}}), "")
		u := c.begin(`{}`)
		c.wants308(c.chunk(u, content[:3*kib256], all(0, 3*kib256)), kib256)
		c.wants308(c.chunk(u, content[kib256:3*kib256], all(kib256, 3*kib256)), 2*kib256)
		c.wantsFile(c.chunk(u, content[2*kib256:], all(2*kib256, n)), content)
	})
	t.Run("a session that moves", func(t *testing.T) {
		c := newClient(t, NewServer(t, Options{Quirks: Quirks{MoveSession: true}}), "")
		u := c.begin(`{}`)
		r := c.chunk(u, content[:kib256], all(0, kib256))
		c.wants308(r, kib256)
		moved := r.header.Get("Location")
		require.NotEqual(t, u, moved)
		c.isError(c.chunk(u, nil, "bytes */*"), 404, "notFound")
		c.wantsFile(c.chunk(moved, content[kib256:], all(kib256, n)), content)
	})
	t.Run("questions without the total only", func(t *testing.T) {
		c := newClient(t, NewServer(t, Options{Quirks: Quirks{StatusStarOnly: true}}), "")
		u := c.begin(`{}`)
		require.Equal(t, 500, c.chunk(u, nil, "bytes */5").status)
		c.wants308(c.chunk(u, nil, "bytes */*"), 0)
	})
	t.Run("unaligned chunks", func(t *testing.T) {
		c := newClient(t, NewServer(t, Options{Quirks: Quirks{Unaligned: UnalignedFloor}}), "")
		u := c.begin(`{}`)
		c.wants308(c.chunk(u, content[:1000], all(0, 1000)), 0)
		c.wants308(c.chunk(u, content[:kib256+1000], all(0, kib256+1000)), kib256)
		c.wantsFile(c.chunk(u, content[kib256:], all(kib256, n)), content)

		c = newClient(t, NewServer(t, Options{Quirks: Quirks{Unaligned: UnalignedKeep}}), "")
		u = c.begin(`{}`)
		c.wants308(c.chunk(u, content[:1000], all(0, 1000)), 1000)
		c.wantsFile(c.chunk(u, content[1000:], all(1000, n)), content)
	})
	t.Run("a gap", func(t *testing.T) {
		c := newClient(t, NewServer(t, Options{Quirks: Quirks{GapStatus: 503}}), "")
		u := c.begin(`{}`)
		require.Equal(t, 503, c.chunk(u, content[kib256:], all(kib256, n)).status)
		c.wants308(c.chunk(u, nil, "bytes */*"), 0)
	})
	t.Run("an orphan of a create that failed", func(t *testing.T) {
		s := NewServer(t, Options{Quirks: Quirks{OrphanOnProperty: true}})
		c := newClient(t, s, "")
		c.fails(403, "propertyLengthLimitExceeded", "POST", "/drive/v3/files", `{"name":"x","properties":{"k":"`+strings.Repeat("x", 124)+`"}}`)
		require.Len(t, s.User("").Files(), 1)
		require.Equal(t, "x", s.User("").Files()[0].Name)
	})
}

// TestCutChunk sends half a chunk and leaves: what came stays, in steps of 256 KiB, and the rest follows.
func TestCutChunk(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		s := NewServer(t, Options{Dir: dir})
		c := newClient(t, s, "")
		content := noise(5*kib256 + 123)
		n := len(content)
		u := c.begin(`{}`)
		body, writer := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, u, body)
		require.NoError(t, err)
		req.ContentLength = int64(n)
		req.Header.Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", n-1, n))
		go func() {
			_, _ = writer.Write(content[:2*kib256+999])
			_ = writer.CloseWithError(io.ErrUnexpectedEOF)
		}()
		resp, err := c.http.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			require.NotEqual(t, 200, resp.StatusCode)
		}
		require.Eventually(t, func() bool {
			r := c.chunk(u, nil, "bytes */*")
			return r.header.Get("Range") == fmt.Sprintf("bytes=0-%d", 2*kib256-1)
		}, 10*time.Second, 5*time.Millisecond)
		c.wantsFile(c.chunk(u, content[2*kib256:], fmt.Sprintf("bytes %d-%d/%d", 2*kib256, n-1, n)), content)
	}
}

// TestTakeOver leaves a request hanging and goes on with another: the late bytes of the first do no harm.
func TestTakeOver(t *testing.T) {
	s := NewServer(t, Options{})
	c := newClient(t, s, "")
	content := noise(3 * kib256)
	u := c.begin(`{}`)
	body, writer := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, u, body)
	require.NoError(t, err)
	req.ContentLength = int64(len(content))
	status := make(chan int)
	go func() {
		resp, err := c.http.Do(req)
		if err != nil {
			status <- 0
			return
		}
		_ = resp.Body.Close()
		status <- resp.StatusCode
	}()
	_, err = writer.Write(content[:kib256])
	require.NoError(t, err)
	require.Eventually(t, func() bool { return c.chunk(u, nil, "bytes */*").header.Get("Range") != "" }, 10*time.Second, 5*time.Millisecond)
	got := c.wantsFile(c.chunk(u, content[kib256:], fmt.Sprintf("bytes %d-%d/%d", kib256, len(content)-1, len(content))), content)
	_, _ = writer.Write(bytes.Repeat([]byte{7}, 2*kib256)) // fails if the server left already
	_ = writer.Close()
	require.NotEqual(t, 200, <-status)
	c.wantsFile(c.send("GET", "/drive/v3/files/"+got["id"].(string)+"?fields=*", nil), content)
}
