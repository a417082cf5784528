package drive

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	gdrive "google.golang.org/api/drive/v3"
	"google.golang.org/api/option"
)

// DefaultURL is the root of Google's API.
const DefaultURL = "https://www.googleapis.com"

// Defaults of Options.
const (
	defaultConnections = 24
	defaultTimeout     = time.Minute
	defaultAgent       = "sregfs"
)

// Options of a Client.
type Options struct {
	URL         string             // root of the API, default DefaultURL; an emulator's address in tests
	Auth        *Auth              // who asks; nil: every call fails with ErrSignIn
	Connections int                // connections for content each way, default 24; other calls have their own
	Timeout     time.Duration      // how long passing faults are retried without progress, default 60 s
	Bandwidth   Bandwidth          // default no limits
	Chunk       int64              // what one request of an upload sends at most, a multiple of 256 KiB, default 8 GiB
	UserAgent   string             // default "sregfs"
	Log         logrus.FieldLogger // nil: silent
}

// Client speaks to one Drive as one account. It is safe for concurrent use, and has no goroutine of its own.
type Client struct {
	root    string // URL without a slash at its end
	auth    *Auth  // nil: nobody
	svc     *gdrive.Service
	calls   *http.Client // for metadata
	down    *http.Client // for bytes of images; each way has its own connections, so that none waits for the other
	up      *http.Client
	reads   chan struct{}
	writes  chan struct{}
	sharing chan struct{} // held while a permission is changed: of concurrent changes Drive keeps one
	bases   []*http.Transport
	pace    *pace
	times   times
	timeout time.Duration
	chunk   int64 // bytes of one request of an upload, at most
	log     logrus.FieldLogger
	count   counters
	hashes  hashes
	parked  parks
	begun   sessions
	owner   owner
}

// counters of a Client; what its fields mean is said at Stats.
type counters struct {
	requests, retries, in, out atomic.Int64
	moved                      atomic.Int64 // when the last byte of a body moved, Unix nanoseconds
}

// New makes a Client; nothing is sent yet.
func New(o Options) (*Client, error) {
	o.URL = strings.TrimRight(or(o.URL, DefaultURL), "/")
	o.Connections = or(o.Connections, defaultConnections)
	o.Timeout = or(o.Timeout, defaultTimeout)
	if o.Chunk = or(o.Chunk, chunkMost); o.Chunk < chunkStep || o.Chunk%chunkStep != 0 {
		return nil, fmt.Errorf("chunks of %d bytes: they are multiples of %d", o.Chunk, chunkStep)
	}
	root, err := url.Parse(o.URL)
	if err != nil || root.Host == "" || (root.Scheme != "https" && root.Scheme != "http") {
		return nil, fmt.Errorf("drive address %q is not http(s)://HOST", o.URL)
	}
	if o.Log == nil {
		o.Log = silentLog()
	}
	warnPlain(o.Log, "the Drive service", root)
	c := &Client{
		root: o.URL, auth: o.Auth, timeout: o.Timeout, chunk: o.Chunk, log: o.Log, pace: newPace(),
		reads: make(chan struct{}, o.Connections), writes: make(chan struct{}, o.Connections), sharing: make(chan struct{}, 1), owner: owner{turn: make(chan struct{}, 1)},
		times: times{
			reply: o.Timeout, lost: max(o.Timeout/2, time.Millisecond), least: o.Timeout / 8, idle: min(30*time.Second, max(o.Timeout/2, time.Millisecond)),
			answered: time.Second, cut: 100 * time.Millisecond, longest: 32 * time.Second, away: 3 * time.Second,
		},
	}
	bandwidth := newLines(o.Bandwidth)
	spare := newTransport(0, 0)
	spare.DisableKeepAlives = true
	connect := func(idle, most int) *http.Client {
		base := newTransport(idle, most)
		c.bases = append(c.bases, base)
		return &http.Client{
			Transport:     &wire{base: base, spare: spare, auth: o.Auth, pass: c.pass, home: root, agent: or(o.UserAgent, defaultAgent), times: &c.times, count: &c.count, lines: bandwidth},
			CheckRedirect: redirect,
		}
	}
	// A slot is free a moment before its connection is: the transport must not make another one meanwhile.
	c.calls, c.down, c.up = connect(4, 0), connect(o.Connections, o.Connections), connect(o.Connections, o.Connections)
	// The context is of no use to NewService when it is given its http.Client.
	c.svc, err = gdrive.NewService(context.Background(), option.WithHTTPClient(c.calls), option.WithEndpoint(c.root+"/drive/v3/")) //nolint:forbidigo // see above
	if err != nil {
		return nil, fmt.Errorf("drive client: %w", err)
	}
	return c, nil
}

// SignIn is a name for the service and the grant that calls are made with: Auth.SignIn of this address.
func (c *Client) SignIn() string {
	grant := c.auth.SignIn()
	if grant == "" {
		return ""
	}
	return c.root + " " + grant
}

// warnPlain says what goes over an address that is neither encrypted nor on this machine.
func warnPlain(log logrus.FieldLogger, what string, u *url.URL) {
	if u.Scheme != "https" && !onThisMachine(u) {
		log.Warnf("%s at %s://%s is asked without encryption: whoever is on the way can read and use your sign-in", what, u.Scheme, u.Host)
	}
}

// onThisMachine says whether u leads back here.
func onThisMachine(u *url.URL) bool {
	return u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
}

// redirect follows redirects of reads only: to an upload session 308 means "go on".
func redirect(req *http.Request, via []*http.Request) error {
	if via[0].Method != http.MethodGet || len(via) > 5 {
		return http.ErrUseLastResponse
	}
	return nil
}

// Close drops idle connections. Calls under way end by their contexts.
func (c *Client) Close() {
	for _, base := range c.bases {
		base.CloseIdleConnections()
	}
}

// Stats are counters since New.
type Stats struct {
	Requests  int64     `json:"requests"`           // HTTP requests, retries included
	Retries   int64     `json:"retries"`            // requests repeated after a passing fault
	BytesIn   int64     `json:"bytesIn"`            // of response bodies
	BytesOut  int64     `json:"bytesOut"`           // of request bodies
	Throttled time.Time `json:"throttled,omitzero"` // requests are held back at least until then; zero if they are not
	Parked    []Parked  `json:"parked,omitempty"`   // files whose download quota is used up
}

// Stats reads the counters.
func (c *Client) Stats() Stats {
	return Stats{
		Requests: c.count.requests.Load(), Retries: c.count.retries.Load(),
		BytesIn: c.count.in.Load(), BytesOut: c.count.out.Load(), Throttled: c.pace.throttled(), Parked: c.parked.list(),
	}
}

// hashes remembers the x-goog-hash of contents read, the only thing in a ranged answer that tells one
// revision from another of the same size.
type hashes struct {
	mu   sync.Mutex // guards seen
	seen map[Content]string
}

// hashesMost bounds the memory; beyond it everything is forgotten, which costs a check, not a byte.
const hashesMost = 4096

// differs notes hash for f and says whether another one was seen before.
func (h *hashes) differs(f Content, hash string) bool {
	if hash == "" || f.Revision == "" {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if old, ok := h.seen[f]; ok {
		return old != hash
	}
	if h.seen == nil || len(h.seen) >= hashesMost {
		h.seen = map[Content]string{}
	}
	h.seen[f] = hash
	return false
}

// or is v, or other if v is the zero value.
func or[T comparable](v, other T) T {
	var zero T
	if v == zero {
		return other
	}
	return v
}
