//go:build crash

package crash

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// line is the network between a mount and its Drive: it can be cut, and it can go dead.
type line struct {
	listener net.Listener
	to       string // address of the Drive

	mu    sync.Mutex
	dead  bool                  // guarded by mu: what is sent is swallowed
	spoil map[net.Conn]struct{} // guarded by mu: connections to the mount; what one lost bytes of cannot go on
	wg    sync.WaitGroup
}

func newLine(t *testing.T, to string) *line {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &line{listener: listener, to: to, spoil: map[net.Conn]struct{}{}}
	l.wg.Go(l.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		l.cut()
		l.wg.Wait()
	})
	return l
}

func (l *line) url() string { return "http://" + l.listener.Addr().String() }

func (l *line) accept() {
	for {
		c, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.mu.Lock()
		l.spoil[c] = struct{}{}
		l.mu.Unlock()
		l.wg.Go(func() { l.carry(c) })
	}
}

// carry moves bytes both ways until either end or the line closes the connection.
func (l *line) carry(c net.Conn) {
	defer func() {
		_ = c.Close()
		l.mu.Lock()
		delete(l.spoil, c)
		l.mu.Unlock()
	}()
	far, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(context.Background(), "tcp", l.to)
	if err != nil {
		reset(c)
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(faulty{l, far}, c); reset(far) })
	wg.Go(func() { _, _ = io.Copy(faulty{l, c}, far); reset(c) })
	wg.Wait()
}

// faulty is a connection written to through the line.
type faulty struct {
	l *line
	io.Writer
}

func (f faulty) Write(p []byte) (int, error) {
	f.l.mu.Lock()
	dead := f.l.dead
	f.l.mu.Unlock()
	if dead {
		return len(p), nil
	}
	return f.Writer.Write(p)
}

func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// cut resets every connection.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.spoil {
		reset(c)
	}
}

// silence swallows everything for a while, and then resets the connections that lost something.
func (l *line) silence(d time.Duration) {
	l.set(true)
	<-time.After(d)
	l.set(false)
	l.cut()
}

func (l *line) set(dead bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = dead
}
