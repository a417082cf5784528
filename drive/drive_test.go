package drive_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
)

// chunk is what one request of an upload sends here, so that small contents take several.
const chunk = 1 << 20

// world is an emulated Drive with a client of its default user, whose pauses are short.
type world struct {
	t    *testing.T
	srv  *drivetest.Server
	user *drivetest.User
	dir  string // credentials
	auth *drive.Auth
	*drive.Client
}

func start(t *testing.T, o drivetest.Options) *world {
	t.Helper()
	w := &world{t: t, srv: drivetest.NewServer(t, o), dir: t.TempDir()}
	w.user = w.srv.User("")
	require.NoError(t, w.user.WriteCredentials(w.dir))
	w.auth = w.openAuth(w.dir)
	w.Client = w.client(drive.Options{Auth: w.auth})
	return w
}

func (w *world) openAuth(dir string) *drive.Auth {
	w.t.Helper()
	auth, err := drive.OpenAuth(drive.AuthOptions{
		Credentials: filepath.Join(dir, "client_secrets.json"), Token: filepath.Join(dir, "token.json"), Save: true,
	})
	require.NoError(w.t, err)
	return auth
}

func (w *world) client(o drive.Options) *drive.Client {
	w.t.Helper()
	o.URL = w.srv.URL()
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second // far more than any test takes
	}
	if o.Chunk == 0 {
		o.Chunk = chunk
	}
	c, err := drive.New(o)
	require.NoError(w.t, err)
	c.Hurry()
	w.t.Cleanup(c.Close)
	return c
}

// as is a client of another account.
func (w *world) as(email string) *drive.Client {
	w.t.Helper()
	dir := w.t.TempDir()
	require.NoError(w.t, w.srv.User(email).WriteCredentials(dir))
	return w.client(drive.Options{Auth: w.openAuth(dir)})
}

// folder makes a folder on the Drive, behind the client's back.
func (w *world) folder(name string) string {
	w.t.Helper()
	f, err := w.user.Put(drivetest.File{Name: name, MimeType: drive.FolderType}, nil)
	require.NoError(w.t, err)
	return f.ID
}

// put makes an image on the Drive, behind the client's back.
func (w *world) put(name string, content []byte, parents ...string) drivetest.File {
	w.t.Helper()
	f, err := w.user.Put(drivetest.File{
		Name: name, MimeType: drive.ImageType, Parents: parents, Properties: map[string]string{"type": "container"},
	}, bytes.NewReader(content))
	require.NoError(w.t, err)
	return f
}

// stored reads the content of a file on the Drive.
func (w *world) stored(id string) []byte {
	w.t.Helper()
	r, err := w.user.Content(id)
	require.NoError(w.t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	require.NoError(w.t, err)
	return b
}

func (w *world) id() string {
	w.t.Helper()
	ids, err := w.GenerateIDs(w.t.Context(), 1)
	require.NoError(w.t, err)
	return ids[0]
}

// requests counts what the server was asked, by the start of the emulator's name for the operation.
func (w *world) requests(op string) (n int) {
	for _, r := range w.srv.Requests() {
		if strings.HasPrefix(r.Op, op) {
			n++
		}
	}
	return n
}

func noise(n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = rng.Read(b)
	return b
}

func md5Hex(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

func TestClientLeavesNothingRunning(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	require.NoError(t, srv.User("").WriteCredentials(dir))
	before := runtime.NumGoroutine()
	auth, err := drive.OpenAuth(drive.AuthOptions{Credentials: filepath.Join(dir, "client_secrets.json"), Token: filepath.Join(dir, "token.json")})
	require.NoError(t, err)
	c, err := drive.New(drive.Options{URL: srv.URL(), Auth: auth})
	require.NoError(t, err)
	_, err = c.About(t.Context())
	require.NoError(t, err)
	c.Close()
	for deadline := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before; <-time.After(time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "goroutines are left")
	}
	require.Positive(t, c.Stats().Requests)
	require.Positive(t, c.Stats().BytesIn)
}

func TestNewRefusesAnAddressThatIsNone(t *testing.T) {
	for _, address := range []string{"localhost:80", "ftp://x", "http://", "://"} {
		_, err := drive.New(drive.Options{URL: address})
		require.Error(t, err, address)
	}
}
