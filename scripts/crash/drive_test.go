//go:build crash

package crash

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/index"
)

// remote is the Drive: a process to be killed, kept in a directory. What it holds is asked as any client asks.
type remote struct {
	t       *testing.T
	dir     string
	address string // host:port, the same in each life
	log     string // request log of all lives

	mu  sync.Mutex // held while it is killed and started again
	cmd *exec.Cmd  // guarded by mu
}

const user = "ann@uni.edu"

// newDrive starts a Drive in which a push takes some tenths of a second.
func newDrive(t *testing.T) *remote {
	t.Helper()
	base := t.TempDir()
	r := &remote{t: t, dir: filepath.Join(base, "drive"), address: "127.0.0.1:0", log: filepath.Join(base, "requests")}
	require.NoError(t, r.start())
	t.Cleanup(func() { r.stop() })
	return r
}

// start runs the process and returns when it listens. The caller holds mu, or is alone.
func (r *remote) start() error {
	cmd := exec.Command(program, "emulator", "--dir", r.dir, "--listen", r.address, "--user", user, //nolint:noctx // it is killed
		"--latency", "10ms", "--bandwidth", "8MB", "--log", r.log)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on http://")
	if err != nil || !ok {
		return errors.Join(fmt.Errorf("the Drive said %q: %w", line, err), cmd.Process.Kill(), cmd.Wait())
	}
	r.cmd, r.address = cmd, address
	return nil
}

func (r *remote) stop() {
	if r.cmd != nil {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
		r.cmd = nil
	}
}

// kill kills the process, and starts it again after a while.
func (r *remote) kill(away time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stop()
	<-time.After(away)
	return r.start()
}

func (r *remote) url() string { return "http://" + r.address }

// credentials is where its user's are.
func (r *remote) credentials(name string) string { return filepath.Join(r.dir, "users", user, name) }

// fault sets a fault rule, in the text form of the emulator.
func (r *remote) fault(rule string) error { return r.faults(http.MethodPost, rule) }

// clearFaults takes all fault rules away.
func (r *remote) clearFaults() error { return r.faults(http.MethodDelete, "") }

func (r *remote) faults(method, text string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url()+"/debug/faults", strings.NewReader(text))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusNoContent {
		err = fmt.Errorf("%s faults %q: %s", method, text, resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

// call makes one request in the name of the user and decodes the answer.
func (r *remote) call(method, path, contentType string, body io.Reader, answer any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, err := os.ReadFile(r.credentials("token.json"))
	if err != nil {
		return err
	}
	var token struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal(b, &token); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url()+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token.Access)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s %s: %w", method, path, resp.Status, text, err)
	}
	return json.Unmarshal(text, answer)
}

// file is what is asked of one.
type file struct {
	ID, Name, MimeType string
	Properties         map[string]string
	Size               int64 `json:",string"`
	MD5Checksum        string
	ModifiedTime       time.Time
}

// files are all that are not in the bin.
func (r *remote) files() (all []file, err error) {
	for page := ""; ; {
		query := url.Values{
			"pageSize": {"1000"}, "q": {"trashed = false"},
			"fields": {"nextPageToken,files(id,name,mimeType,properties,size,md5Checksum,modifiedTime)"},
		}
		if page != "" {
			query.Set("pageToken", page)
		}
		var answer struct {
			NextPageToken string
			Files         []file
		}
		if err := r.call(http.MethodGet, "/drive/v3/files?"+query.Encode(), "", nil, &answer); err != nil {
			return nil, err
		}
		all = append(all, answer.Files...)
		if page = answer.NextPageToken; page == "" {
			return all, nil
		}
	}
}

// has says whether it has the image under this name and tag.
func (r *remote) has(n *name, tag, sum string) (bool, error) {
	all, err := r.files()
	for _, f := range all {
		p := f.Properties
		if f.MD5Checksum == sum && p["collection"] == n.collection && p["image"] == n.image && p["tag"] == tag {
			return true, nil
		}
	}
	return false, err
}

// put uploads an image as another client does, which knows nothing of sregfs.
func (r *remote) put(collection, image string, content []byte) error {
	all, err := r.files()
	if err != nil {
		return err
	}
	root := ""
	for _, f := range all {
		if f.Name == index.DefaultRoot {
			root = f.ID
		}
	}
	sum := sumOf(content)
	uri := fmt.Sprintf("%s/%s:latest@%s", collection, image, sum)
	meta, err := json.Marshal(map[string]any{
		"name": uri, "parents": []string{root}, "mimeType": "application/octet-stream",
		"properties": map[string]string{
			"type": "container", "uri": uri, "collection": collection, "image": image, "tag": "latest", "version": sum, "storage": uri,
		},
	})
	if err != nil {
		return err
	}
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, part := range []struct {
		kind string
		text []byte
	}{{"application/json", meta}, {"application/octet-stream", content}} {
		p, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {part.kind}})
		if err == nil {
			_, err = p.Write(part.text)
		}
		if err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	var made file
	return r.call(http.MethodPost, "/upload/drive/v3/files?uploadType=multipart", "multipart/related; boundary="+w.Boundary(), &body, &made)
}
