package index_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// BenchmarkPush holds pushes against the least an upload can be: a request that opens a session, and one that sends the
// file. They take turns; the ratios are of medians. close-of-bare is what close(2) of a written file is waited for, file-of-bare
// what `sregfs push` of another file takes, which reads, copies and hashes it first; write-of-bare both of the copy and its close.
func BenchmarkPush(b *testing.B) {
	const size = 256 << 20
	for _, shape := range []struct {
		name string
		drivetest.Shape
	}{
		{"loopback", drivetest.Shape{}},
		{"125MBs-50ms", drivetest.Shape{Latency: 50 * time.Millisecond, Total: 125e6}},
		{"125MBs-300ms", drivetest.Shape{Latency: 300 * time.Millisecond, Total: 125e6}},
	} {
		b.Run(shape.name, func(b *testing.B) {
			srv := drivetest.NewServer(b, drivetest.Options{Dir: b.TempDir()})
			ix := indextest.Open(b, srv, index.Options{})
			token := bearer(b, srv)
			path := filepath.Join(b.TempDir(), "image")
			content := imagetest.Bytes(1, size)
			srv.SetShape(shape.Shape)
			var bare, closed, written, file []time.Duration
			n := 0
			fresh := func() { // other content, or Drive copies what it has
				n++
				copy(content, fmt.Sprint(n))
				require.NoError(b, os.WriteFile(path, content, 0o600))
			}
			for b.Loop() {
				fresh()
				began := time.Now()
				upload(b, srv.URL(), token, path, size)
				bare = append(bare, time.Since(began))

				fresh()
				began = time.Now()
				d, err := ix.CreateDraft(at("c", fmt.Sprintf("i:%d.sif", n)))
				require.NoError(b, err)
				d.Acquire()
				for off := 0; off < size; off += 128 << 10 {
					_, err := d.WriteAt(b.Context(), content[off:off+128<<10], int64(off))
					require.NoError(b, err)
				}
				ended := time.Now()
				_, err = d.Push(b.Context())
				require.NoError(b, err)
				closed = append(closed, time.Since(ended))
				written = append(written, time.Since(began))
				d.Release()

				fresh()
				began = time.Now()
				_, err = ix.PushFile(b.Context(), path, image.Ref{Collection: "c", Image: "i", Tag: strconv.Itoa(n)}, ".sif", nil)
				require.NoError(b, err)
				file = append(file, time.Since(began))
			}
			median := func(d []time.Duration) float64 {
				slices.Sort(d)
				return d[len(d)/2].Seconds()
			}
			b.ReportMetric(median(bare), "bare-s")
			b.ReportMetric(median(bare)/median(closed), "close-of-bare")
			b.ReportMetric(median(bare)/median(written), "write-of-bare")
			b.ReportMetric(median(bare)/median(file), "file-of-bare")
		})
	}
}

// bearer signs the default user in by hand.
func bearer(b *testing.B, srv *drivetest.Server) string {
	b.Helper()
	dir := b.TempDir()
	require.NoError(b, srv.User("").WriteCredentials(dir))
	text, err := os.ReadFile(filepath.Join(dir, "token.json"))
	require.NoError(b, err)
	var token struct {
		Access string `json:"access_token"`
	}
	require.NoError(b, json.Unmarshal(text, &token))
	return token.Access
}

// upload sends a file as curl would.
func upload(b *testing.B, root, token, path string, size int64) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, root+"/upload/drive/v3/files?uploadType=resumable", bytes.NewReader([]byte(`{"name":"bare"}`)))
	require.NoError(b, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(b, err)
	require.NoError(b, resp.Body.Close())
	require.Equal(b, http.StatusOK, resp.StatusCode)
	f, err := os.Open(path)
	require.NoError(b, err)
	defer f.Close()
	req, err = http.NewRequestWithContext(b.Context(), http.MethodPut, resp.Header.Get("Location"), f)
	require.NoError(b, err)
	req.ContentLength = size
	resp, err = http.DefaultClient.Do(req)
	require.NoError(b, err)
	require.NoError(b, resp.Body.Close())
	require.Equal(b, http.StatusOK, resp.StatusCode)
}
