package drivetest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// DefaultUser is the account of a Server whose Options name none.
const DefaultUser = "ann@uni.edu"

// ErrAddress is returned by Open for a user whose name is no e-mail address.
var ErrAddress = errors.New("no e-mail address")

// closeGrace is how long Close lets requests under way finish by themselves. Stalls, delays and paced
// transfers do not count on it: they end as soon as Close is called.
const closeGrace = 3 * time.Second

// Options of a Server. The zero value is a Drive in memory with one user, DefaultUser, as fast as the
// machine, listening nowhere yet.
type Options struct {
	Dir    string           // "" = in memory; else content, metadata and grants live there and survive a kill
	Users  []string         // e-mail addresses; the first is the default user
	Shape  Shape            // delays and bandwidth
	Limits Limits           // quotas
	Log    io.Writer        // one JSON line per request, written before the request's last byte; nil = none
	Now    func() time.Time // the clock of tokens and files; nil = time.Now
	Quirks Quirks           // what differs between deployments or is not established
}

// Server is an emulated Drive: the API, its OAuth endpoints and its consent page. It is safe for
// concurrent use. Close it to release its goroutines and files.
type Server struct {
	now    func() time.Time
	store  *store
	api    *api
	auth   *authority
	shaper *shaper
	faults faultTable
	log    *requestLog
	meter  *meter
	first  string        // e-mail address of the default user
	users  []string      // the addresses of Options.Users, for the account chooser
	done   chan struct{} // closed by Close: whoever waits inside a request gives up

	handlers sync.WaitGroup // requests being served
	conns    sync.WaitGroup // connections net/http has not reported closed
	serving  sync.WaitGroup // the goroutine in http.Server.Serve

	mu     sync.Mutex // guards what follows
	http   *http.Server
	addr   net.Addr
	closed bool
}

// Open makes a Server that does not listen yet, reading the state of an earlier one from o.Dir if there
// is any. Only one Server may use a directory at a time.
func Open(o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if len(o.Users) == 0 {
		o.Users = []string{DefaultUser}
	}
	for _, user := range o.Users {
		if !isAddress(user) {
			return nil, fmt.Errorf("open emulated Drive: %w: %q", ErrAddress, user)
		}
	}
	st, err := openStore(o)
	if err != nil {
		return nil, fmt.Errorf("open emulated Drive: %w", err)
	}
	auth, err := openAuthority(o.Dir, o.Now)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open emulated Drive: %w", err), st.Close())
	}
	s := &Server{
		now: o.Now, store: st, api: newAPI(st), auth: auth, meter: newMeter(o.Limits, o.Now),
		log: &requestLog{out: o.Log}, first: o.Users[0], done: make(chan struct{}),
	}
	s.shaper = newShaper(o.Shape, s.done)
	for _, email := range o.Users {
		s.users = append(s.users, s.User(email).Email())
	}
	return s, nil
}

// Listen starts answering HTTP on addr, "host:port". Without a host it is 127.0.0.1, and port 0 takes a
// free one; URL tells. A Server listens once.
func (s *Server) Listen(addr string) error {
	if strings.HasPrefix(addr, ":") {
		addr = "127.0.0.1" + addr
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.http != nil {
		return errors.New("listen: the emulated Drive is closed or listens already")
	}
	l, err := net.Listen("tcp", addr) //nolint:noctx // answers at once: nothing to resolve but a local address
	if err != nil {
		return err
	}
	s.addr = l.Addr()
	s.http = &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: time.Minute,
		ConnContext:       withWire,
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				s.conns.Done()
			case http.StateActive, http.StateIdle:
			}
		},
	}
	server := s.http
	s.serving.Go(func() { _ = server.Serve(l) }) // ends with ErrServerClosed, from Close
	return nil
}

// URL is the root address of the server, without a slash at its end; "" before Listen.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.addr == nil {
		return ""
	}
	return "http://" + s.addr.String()
}

// Close stops listening, lets requests under way finish for a moment, cuts what remains, and returns
// when no goroutine of the server is left and all state is on disk. Calling it again does nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	server := s.http
	s.mu.Unlock()

	close(s.done)
	finished := make(chan struct{})
	var err error
	if server != nil {
		server.SetKeepAlivesEnabled(false)
	}
	go func() { s.handlers.Wait(); close(finished) }()
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-finished:
	case <-grace.C:
	}
	if server != nil {
		err = server.Close()
		s.serving.Wait()
	}
	<-finished
	s.conns.Wait()
	return errors.Join(err, s.auth.Close(), s.store.Close())
}

// SetShape changes delays and bandwidth, also of transfers under way.
func (s *Server) SetShape(shape Shape) { s.shaper.set(shape) }

// SetLimits changes the quotas; what was counted before still counts.
func (s *Server) SetLimits(l Limits) { s.meter.set(l) }

// Handler is the whole server as an http.Handler, for a test that brings its own listener. Bandwidth
// per connection then counts per request.
func (s *Server) Handler() http.Handler {
	outer := s.logged(false, s.shaper.wrap(s.faulted(http.HandlerFunc(s.route))))
	debug := s.debugHandler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.enter() {
			panic(http.ErrAbortHandler)
		}
		defer s.handlers.Done()
		if strings.HasPrefix(r.URL.Path, "/debug/") {
			debug.ServeHTTP(w, r)
			return
		}
		r, err := overridden(r)
		if err != nil {
			writeError(w, err)
			return
		}
		outer.ServeHTTP(w, r)
	})
}

// enter counts a request in, unless the server is closing.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.handlers.Add(1)
	return true
}

// inner is the server as a call of a batch meets it: logged and faulted by itself, neither delayed nor paced.
func (s *Server) inner() http.Handler {
	return s.logged(true, s.faulted(http.HandlerFunc(s.route)))
}

// route sends a request to the sign-in pages, the batch splitter or, with an account, the API.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		w = headWriter{w}
	}
	switch path := r.URL.Path; {
	case s.isOAuth(path):
		s.serveOAuth(w, r)
	case isBatch(path):
		s.serveBatch(w, r)
	case strings.HasPrefix(path, "/discovery/"), isSession(r):
		s.metered(w, r) // the document is public, and a session's address is its own credential
	default:
		r, err := s.authenticate(w, r)
		if err != nil {
			writeError(w, err)
			return
		}
		s.metered(w, r)
	}
}

// headWriter leaves out the body of a reply to HEAD before it is paced and counted.
type headWriter struct{ http.ResponseWriter }

func (headWriter) Write(p []byte) (int, error) { return len(p), nil }
