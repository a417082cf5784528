package index_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/indextest"
)

// extent is a range that Drive was asked for: its first and last byte.
type extent struct{ first, last int64 }

// gate stands between a client and an emulated Drive, and lets requests for content wait until they may pass.
type gate struct {
	url string

	mu    sync.Mutex
	asked []extent          // guarded by mu: in order
	pass  func(extent) bool // guarded by mu: those that need not wait; nil: all
	moved chan struct{}     // guarded by mu: closed when asked or pass change
	stop  int64             // guarded by mu: of each body so many bytes come for now; 0: all
	most  int               // guarded by mu: that were there at once
	now   int               // guarded by mu
}

func newGate(t *testing.T, srv *drivetest.Server) *gate {
	t.Helper()
	to, err := url.Parse(srv.URL())
	require.NoError(t, err)
	g := &gate{moved: make(chan struct{})}
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
	}}
	proxy.ModifyResponse = func(r *http.Response) error {
		r.Body = &slowBody{ReadCloser: r.Body, g: g}
		return nil
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e extent
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &e.first, &e.last); err == nil {
			if !g.enter(r.Context(), e) {
				panic(http.ErrAbortHandler)
			}
			defer g.leave()
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	t.Cleanup(func() { g.change(func() { g.pass, g.stop = nil, 0 }) })
	g.url = front.URL
	return g
}

// slowBody is a body that stops where the gate says.
type slowBody struct {
	io.ReadCloser
	g *gate
	n int64
}

func (b *slowBody) Read(p []byte) (int, error) {
	for {
		b.g.mu.Lock()
		stop, moved := b.g.stop, b.g.moved
		b.g.mu.Unlock()
		if stop == 0 || b.n < stop {
			n, err := b.ReadCloser.Read(p)
			b.n += int64(n)
			return n, err
		}
		<-moved
	}
}

// change changes g by f, and wakes who waits.
func (g *gate) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	close(g.moved)
	g.moved = make(chan struct{})
}

// let lets pass what pass says, now and later.
func (g *gate) let(pass func(extent) bool) { g.change(func() { g.pass = pass }) }

func (g *gate) enter(ctx context.Context, e extent) bool {
	g.change(func() {
		g.asked = append(g.asked, e)
		g.now++
		g.most = max(g.most, g.now)
	})
	for {
		g.mu.Lock()
		open, moved := g.pass == nil || g.pass(e), g.moved
		g.mu.Unlock()
		if open {
			return true
		}
		select {
		case <-moved:
		case <-ctx.Done():
			g.leave()
			return false
		}
	}
}

func (g *gate) leave() { g.change(func() { g.now-- }) }

// until waits until what was asked for so far is as cond says, and returns it.
func (g *gate) until(t *testing.T, what string, cond func([]extent) bool) []extent {
	t.Helper()
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	for {
		g.mu.Lock()
		asked, moved := slices.Clone(g.asked), g.moved
		g.mu.Unlock()
		if cond(asked) {
			return asked
		}
		select {
		case <-moved:
		case <-timer.C:
			require.Fail(t, what, asked)
		}
	}
}

// client is a client that asks Drive through the gate.
func (g *gate) client(t *testing.T, srv *drivetest.Server) *drive.Client {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, srv.User("").WriteCredentials(dir))
	auth, err := drive.OpenAuth(drive.AuthOptions{Credentials: dir + "/client_secrets.json", Token: dir + "/token.json"})
	require.NoError(t, err)
	c, err := drive.New(drive.Options{URL: g.url, Auth: auth})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// open opens an index that asks Drive through the gate, and for no profiles.
func (g *gate) open(t *testing.T, srv *drivetest.Server, o index.Options) *index.Index {
	t.Helper()
	o.Drive, o.NoProfiles = g.client(t, srv), true
	o.RootID = indextest.Root(t, srv.User(""))
	return indextest.Open(t, srv, o)
}

// within says that e begins in the bytes from first on up to last.
func (e extent) within(first, last int64) bool { return first <= e.first && e.first <= last }

// reads starts a read of n bytes at off, and returns what tells its end.
func reads(t *testing.T, r *index.Reader, want []byte, off, n int64) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		p := make([]byte, n)
		_, err := r.ReadAt(t.Context(), p, off)
		if err == nil && !bytes.Equal(p, want[off:off+n]) {
			err = fmt.Errorf("wrong bytes at %d", off)
		}
		done <- err
	}()
	return done
}

func ends(t *testing.T, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(time.Minute):
		require.Fail(t, "the read waits")
	}
}
