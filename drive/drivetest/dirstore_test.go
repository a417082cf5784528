package drivetest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// reopened is a server that can be closed, or abandoned as a kill would leave it, and opened again.
type reopened struct {
	t   *testing.T
	o   Options
	srv *Server
}

func (r *reopened) open() *Server {
	r.t.Helper()
	var err error
	r.srv, err = Open(r.o)
	require.NoError(r.t, err)
	require.NoError(r.t, r.srv.Listen("127.0.0.1:0"))
	return r.srv
}

func (r *reopened) again() *Server {
	r.t.Helper()
	require.NoError(r.t, r.srv.Close())
	return r.open()
}

// crash opens a copy of the directory as it is at this moment, the server still running on the original.
func (r *reopened) crash() *Server {
	r.t.Helper()
	dir := r.t.TempDir()
	require.NoError(r.t, os.CopyFS(dir, os.DirFS(r.o.Dir)))
	require.NoError(r.t, r.srv.Close())
	r.o.Dir = dir
	return r.open()
}

func reopenable(t *testing.T) *reopened {
	t.Helper()
	r := &reopened{t: t, o: Options{Dir: t.TempDir()}}
	r.open()
	t.Cleanup(func() { require.NoError(t, r.srv.Close()) })
	return r
}

func TestDirectorySurvives(t *testing.T) {
	r := reopenable(t)
	ann := newClient(t, r.srv, "ann@uni.edu")
	bob := follow(newClient(t, r.srv, "bob@uni.edu"))
	feed := follow(ann)
	reg := ann.folder("reg", "")
	content := noise(300_000)
	id := ann.put("a.sif", content, "parents", []string{reg}, "properties", map[string]string{"type": "container"}, "appProperties", map[string]string{"k": "v"})
	ann.share(id, "bob@uni.edu", "reader")
	gone := ann.put("gone", []byte("x"))
	ann.do("DELETE", "/drive/v3/files/"+gone, "")
	reserved := ann.do("GET", "/drive/v3/files/generateIds?count=1", "")["ids"].([]any)[0].(string)
	before := ann.get(id)
	page := ann.do("GET", "/drive/v3/files?pageSize=1", "")["nextPageToken"].(string)
	r.srv.User("ann@uni.edu").SetQuota(1 << 20)

	for name, open := range map[string]func() *Server{"closed": r.again, "killed": r.crash} {
		t.Run(name, func(t *testing.T) {
			s := open()
			ann := newClient(t, s, "ann@uni.edu")
			ann.token, feed.client = s.User("ann@uni.edu").AccessToken(), ann
			bob.client = newClient(t, s, "bob@uni.edu")
			require.Equal(t, before, ann.get(id))
			require.True(t, bytes.Equal(content, ann.send("GET", "/drive/v3/files/"+id+"?alt=media", nil).body))
			require.Equal(t, "a.sif", bob.names("sharedWithMe"))
			ann.fails(404, "notFound", "GET", "/drive/v3/files/"+gone, "")
			ann.fails(409, "fileIdInUse", "POST", "/drive/v3/files", `{"id":"`+gone+`"}`)
			first := feed.token
			require.Equal(t, "reg a.sif -"+gone, feed.read(), "tokens are good for ever")
			feed.token = first
			bobFirst := bob.token
			require.Equal(t, "a.sif", bob.read())
			bob.token = bobFirst
			require.Equal(t, "1048576", ann.do("GET", "/drive/v3/about?fields=storageQuota", "")["storageQuota"].(map[string]any)["limit"])
			require.Len(t, ann.do("GET", "/drive/v3/files?pageSize=1&pageToken="+page, "")["files"], 1)
		})
	}
	ann = newClient(t, r.srv, "ann@uni.edu")
	ann.do("POST", "/drive/v3/files", `{"id":"`+reserved+`"}`)
	require.Equal(t, "0", ann.get(reserved)["size"])
	entries, err := os.ReadDir(filepath.Join(r.o.Dir, "content"))
	require.NoError(t, err)
	require.Len(t, entries, 2, "the content of what was deleted is deleted")
}

func TestUploadSurvivesAKill(t *testing.T) {
	r := reopenable(t)
	c := newClient(t, r.srv, "")
	content := noise(5*kib256 + 77)
	n := len(content)
	u := c.begin(`{"name":"a.sif"}`, "X-Upload-Content-Length", fmt.Sprint(n))
	c.wants308(c.chunk(u, content[:2*kib256], fmt.Sprintf("bytes 0-%d/%d", 2*kib256-1, n)), 2*kib256)
	cancelled := c.begin(`{}`)
	c.send("DELETE", cancelled, nil)

	move := func(u string) string { _, query, _ := strings.Cut(u, "?"); return "/upload/drive/v3/files?" + query }
	// What was written after the last reply is there or not; whole steps of 256 KiB count.
	keys, err := os.ReadDir(filepath.Join(r.o.Dir, "content"))
	require.NoError(t, err)
	require.Len(t, keys, 1)
	f, err := os.OpenFile(filepath.Join(r.o.Dir, "content", keys[0].Name()), os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = f.Write(content[2*kib256 : 3*kib256+5])
	require.NoError(t, err)
	require.NoError(t, f.Close())

	c = newClient(t, r.crash(), "")
	c.wants308(c.chunk(move(u), nil, "bytes */*"), 3*kib256)
	c.wants308(c.chunk(move(u), content[3*kib256:4*kib256], fmt.Sprintf("bytes %d-%d/%d", 3*kib256, 4*kib256-1, n)), 4*kib256)
	require.Equal(t, 499, c.chunk(move(cancelled), nil, "bytes */*").status)

	c = newClient(t, r.again(), "")
	got := c.wantsFile(c.chunk(move(u), content[4*kib256:], fmt.Sprintf("bytes %d-%d/%d", 4*kib256, n-1, n)), content)
	sum := sha256.Sum256(content)
	require.Equal(t, hex.EncodeToString(sum[:]), c.get(got["id"].(string))["sha256Checksum"])

	c = newClient(t, r.crash(), "")
	r2 := c.chunk(move(u), nil, "bytes */*")
	require.Equal(t, 200, r2.status, "the last reply can be asked for again, also after a restart")
	require.Equal(t, got["id"], c.object(r2)["id"])
	require.Len(t, r.srv.User("").Files(), 1)
}

func TestTornJournal(t *testing.T) {
	r := reopenable(t)
	u := r.srv.User("")
	_, err := u.Put(File{Name: "a"}, strings.NewReader("a"))
	require.NoError(t, err)
	require.NoError(t, r.srv.Close())
	path := filepath.Join(r.o.Dir, "journal")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, tail := range []string{`[{"k":"file/1x","v":{"Na`, "[{\"k\":\"file\x00\x00\n"} {
		require.NoError(t, os.WriteFile(path, append(bytes.Clone(whole), tail...), 0o600))
		s := r.open()
		require.Len(t, s.User("").Files(), 1, "what was not acknowledged is not there")
		require.NoError(t, s.Close())
	}
	damaged := append([]byte("[{\"k\":\"file/1x\",\n"), whole...)
	require.NoError(t, os.WriteFile(path, damaged, 0o600))
	_, err = Open(r.o)
	require.ErrorContains(t, err, "journal line 1 is damaged")
	require.NoError(t, os.WriteFile(path, append(bytes.Clone(whole), "[{\"k\":\"future/1x\",\"v\":1}]\n"...), 0o600))
	_, err = Open(r.o)
	require.ErrorContains(t, err, "newer emulator")
	require.NoError(t, os.WriteFile(path, whole, 0o600))
	r.open()
}

func TestOneEmulatorPerDirectory(t *testing.T) {
	r := reopenable(t)
	_, err := Open(r.o)
	require.ErrorContains(t, err, "in use")
}

// zeros is n bytes of nothing.
type zeros struct{ n int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.n == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.n)
	clear(p[:n])
	z.n -= n
	return int(n), nil
}

// TestLargeFileInConstantMemory streams a file through a directory store and back.
func TestLargeFileInConstantMemory(t *testing.T) {
	const size = 200 << 20
	s := NewServer(t, Options{Dir: t.TempDir()})
	c := newClient(t, s, "")
	peak := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.TotalAlloc
	}
	before := peak()
	r := c.send("PUT", c.begin(`{"name":"big"}`), &zeros{size}, "Authorization", "")
	require.Equal(t, 200, r.status, "%s", r.body)
	content, err := s.User("").Content(c.object(r)["id"].(string))
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, content)
	require.NoError(t, err)
	require.NoError(t, content.Close())
	require.EqualValues(t, size, n)
	require.Less(t, peak()-before, uint64(16<<20), "bytes allocated in all, let alone at once")
}

// TestRestartDoesNotReadAnUploadAgain cuts an upload, restarts the server, and asks how much it has: what it
// reads for the answer does not grow with the upload.
func TestRestartDoesNotReadAnUploadAgain(t *testing.T) {
	const size, total = 160 << 20, 160<<20 + 5
	r := reopenable(t)
	c := newClient(t, r.srv, "")
	_, query, _ := strings.Cut(c.begin(`{"name":"big"}`, "X-Upload-Content-Length", fmt.Sprint(total)), "?")
	for first := 0; first < size; first += 40 << 20 { // some checkpoints fall between two requests, some inside one
		sent := c.send("PUT", "/upload/drive/v3/files?"+query, &zeros{40 << 20}, "Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, first+40<<20-1, total))
		require.Equal(t, 308, sent.status, "%s", sent.body)
	}
	c = newClient(t, r.crash(), "")
	before := bytesRead(t)
	status := c.send("PUT", "/upload/drive/v3/files?"+query, nil, "Content-Range", "bytes */*")
	require.Equal(t, 308, status.status, "%s", status.body)
	require.Equal(t, fmt.Sprintf("bytes=0-%d", size-1), status.header.Get("Range"))
	require.Less(t, bytesRead(t)-before, 40<<20)

	sent := c.send("PUT", "/upload/drive/v3/files?"+query, &zeros{5}, "Content-Range", fmt.Sprintf("bytes %d-%d/%d", size, total-1, total))
	require.Equal(t, 200, sent.status, "%s", sent.body)
	sum := sha256.New()
	_, err := io.Copy(sum, &zeros{total})
	require.NoError(t, err)
	require.Equal(t, hex.EncodeToString(sum.Sum(nil)), c.get(c.object(sent)["id"].(string))["sha256Checksum"])
}

// bytesRead is how much this process has read so far.
func bytesRead(t *testing.T) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	require.NoError(t, err)
	_, err = fmt.Sscanf(string(text), "rchar: %d", &n)
	require.NoError(t, err)
	return n
}

// TestMain runs the tests, or, in the child that TestKilledInTheMiddle kills, a server.
func TestMain(m *testing.M) {
	dir := os.Getenv("DRIVETEST_SERVE")
	if dir == "" {
		os.Exit(m.Run())
	}
	s, err := Open(Options{Dir: dir})
	if err == nil {
		err = s.Listen("127.0.0.1:0")
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Printf("serving %s %s\n", s.URL(), s.User("").AccessToken())
	_, _ = io.Copy(io.Discard, os.Stdin) // until killed, or the parent is gone
}

// killable starts this program again, serving dir, and returns a client of it and the way to kill -9 it.
func killable(t *testing.T, dir string) (*client, func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "DRIVETEST_SERVE="+dir)
	_, err := cmd.StdinPipe() // closed when we are gone
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	kill := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(kill)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var root, token string
		if n, _ := fmt.Sscanf(lines.Text(), "serving %s %s", &root, &token); n == 2 {
			transport := &http.Transport{}
			t.Cleanup(transport.CloseIdleConnections)
			return &client{t, &http.Client{Transport: transport}, root, token}, kill
		}
	}
	t.Fatal("the child does not serve")
	return nil, nil
}

// TestKilledInTheMiddle kills the server while it takes a chunk, and goes on with another.
func TestKilledInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	content := noise(20*kib256 + 5)
	n := len(content)
	c, kill := killable(t, dir)
	ids := c.do("GET", "/drive/v3/files/generateIds?count=1", "")["ids"].([]any)
	u := c.begin(fmt.Sprintf(`{"name":"a.sif","id":%q}`, ids[0]), "X-Upload-Content-Length", fmt.Sprint(n))
	_, query, _ := strings.Cut(u, "?")

	have := 0
	for round := range 4 { // each is killed a quarter further
		until := (round + 1) * n / 4
		body, writer := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, c.root+"/upload/drive/v3/files?"+query, body)
		require.NoError(t, err)
		req.ContentLength = int64(n - have)
		req.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", have, n-1, n))
		done := make(chan struct{})
		go func() {
			defer close(done)
			if resp, err := c.http.Do(req); err == nil {
				_ = resp.Body.Close()
			}
		}()
		_, err = writer.Write(content[have:until])
		require.NoError(t, err)
		if until == n { // the last one may end, and its reply be lost
			require.NoError(t, writer.Close())
		}
		kill()
		_ = writer.CloseWithError(io.ErrClosedPipe)
		<-done

		c, kill = killable(t, dir)
		r := c.send("PUT", "/upload/drive/v3/files?"+query, nil, "Content-Range", "bytes */*")
		if r.status == 200 {
			have = n
			break
		}
		require.Equal(t, 308, r.status, "%s", r.body)
		before := have
		if r.header.Get("Range") != "" {
			_, err = fmt.Sscanf(r.header.Get("Range"), "bytes=0-%d", &have)
			require.NoError(t, err)
			have++
		}
		require.GreaterOrEqual(t, have, before, "nothing acknowledged is lost")
		require.LessOrEqual(t, have, until)
		require.Zero(t, have%kib256)
	}
	if have < n {
		r := c.send("PUT", "/upload/drive/v3/files?"+query, bytes.NewReader(content[have:]), "Content-Range", fmt.Sprintf("bytes %d-%d/%d", have, n-1, n))
		require.Equal(t, 200, r.status, "%s", r.body)
	}
	kill()
	c, _ = killable(t, dir)
	sum := sha256.Sum256(content)
	require.Equal(t, hex.EncodeToString(sum[:]), c.get(ids[0].(string))["sha256Checksum"])
	require.True(t, bytes.Equal(content, c.send("GET", "/drive/v3/files/"+ids[0].(string)+"?alt=media", nil).body))
	require.Equal(t, "a.sif", c.names(""))
}
