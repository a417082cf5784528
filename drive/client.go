package drive

import (
	"errors"
	"time"

	"github.com/sirupsen/logrus"
)

// DefaultURL is the root of Google's API.
const DefaultURL = "https://www.googleapis.com"

// Options of a Client.
type Options struct {
	URL         string             // root of the API, default DefaultURL; an emulator's address in tests
	Auth        *Auth              // who asks; nil: every call fails with ErrSignIn
	Connections int                // connections for content each way, default 8; other calls have their own
	Timeout     time.Duration      // how long passing faults are retried without progress, default 60 s
	UserAgent   string             // default "sregfs"
	Log         logrus.FieldLogger // nil: silent
}

// Client speaks to one Drive as one account. It is safe for concurrent use.
type Client struct {
	opts Options
}

// New makes a Client; nothing is sent yet.
func New(o Options) (*Client, error) { return &Client{opts: o}, nil }

// Close drops idle connections. Calls under way end by their contexts.
func (c *Client) Close() {}

// Stats are counters since New.
type Stats struct {
	Requests  int64     `json:"requests"`  // HTTP requests, retries included
	Retries   int64     `json:"retries"`   // calls repeated after a passing fault
	BytesIn   int64     `json:"bytesIn"`   // of response bodies
	BytesOut  int64     `json:"bytesOut"`  // of request bodies
	Throttled time.Time `json:"throttled"` // until when requests are held back, zero if they are not
}

// Stats reads the counters.
func (c *Client) Stats() Stats { return Stats{} }

var errUnfinished = errors.New("drive: not written yet")
