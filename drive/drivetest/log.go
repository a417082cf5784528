package drivetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// keptRequests bounds the log held in memory; the oldest half goes when it is reached.
const keptRequests = 100_000

// Request is one line of the request log.
type Request struct {
	Time         time.Time     // when its header had been read
	User         string        // e-mail address of the account, "" if there was none
	Method       string        // after X-HTTP-Method-Override
	Path         string        // without the query
	Query        string        // raw, but for tokens
	Range        string        // the request's Range header
	ContentRange string        // the request's Content-Range header
	Status       int           // 0: the connection was cut before there was one
	Reason       string        // of the error, as clients see it
	In, Out      int64         // bytes of the two bodies that were really transferred
	Connection   string        // the client's address and port: one value is one TCP connection
	Latency      time.Duration // until the last byte of the reply was ready to be written
	Units        int           // quota units it cost
	Op           string        // files.list, files.get, media, upload.begin, upload.chunk, oauth.token, batch, …
	Batch        bool          // it came as a part of a batch, which is logged too
	Fault        string        // the fault rule that acted on it, as text
}

// String is r as one line for people.
func (r Request) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-3s %s %s", r.Time.Format("15:04:05.000"), statusText(r.Status), r.Method, r.Path)
	if query, err := url.QueryUnescape(r.Query); err == nil && query != "" {
		fmt.Fprintf(&b, "?%s", query)
	}
	for _, header := range []string{r.Range, r.ContentRange} {
		if header != "" {
			fmt.Fprintf(&b, " [%s]", header)
		}
	}
	if r.In > 0 {
		fmt.Fprintf(&b, " in %d", r.In)
	}
	fmt.Fprintf(&b, " out %d in %s", r.Out, r.Latency.Round(time.Microsecond*100))
	for _, word := range []string{r.User, r.Reason, r.Fault} {
		if word != "" {
			fmt.Fprintf(&b, " (%s)", word)
		}
	}
	return strings.Map(func(c rune) rune { // a hostile name must not reach the terminal
		if c < ' ' || c == 0x7f {
			return '?'
		}
		return c
	}, b.String())
}

func statusText(status int) string {
	if status == 0 {
		return "cut"
	}
	return strconv.Itoa(status)
}

// Requests returns what was answered so far, in the order of completion. A request is in it before its
// client can see the end of the reply. Reading the log (/debug) is not a request.
func (s *Server) Requests() []Request { return s.log.all() }

// ResetRequests empties the log.
func (s *Server) ResetRequests() { s.log.reset() }

// requestLog holds the log and copies it to out.
type requestLog struct {
	mu   sync.Mutex // guards kept and writing to out
	kept []Request
	out  io.Writer
}

func (l *requestLog) add(r Request) {
	line, _ := json.Marshal(r) // cannot fail: plain fields
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) >= keptRequests {
		l.kept = append([]Request(nil), l.kept[keptRequests/2:]...)
	}
	l.kept = append(l.kept, r)
	if l.out != nil {
		_, _ = l.out.Write(append(line, '\n')) // a full disk must not change what the client gets
	}
}

func (l *requestLog) all() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Request{}, l.kept...)
}

func (l *requestLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = nil
}

// exchange is a request being served: what the layers below the log learn about it.
type exchange struct {
	log   *requestLog
	start time.Time // real time, unlike Request.Time, which is the server's
	head  []byte    // first bytes of an error reply

	mu   sync.Mutex // guards what follows; the transport reads bodies on its own goroutine
	req  Request
	done bool
}

type exchangeKey struct{}

// note lets f change the log entry of the request being served, if it is being logged.
func note(ctx context.Context, f func(*Request)) {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		x.mu.Lock()
		defer x.mu.Unlock()
		f(&x.req)
	}
}

// finish puts the exchange in the log, once.
func (x *exchange) finish() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done {
		return
	}
	x.done = true
	x.req.Latency = time.Since(x.start)
	if x.req.Status >= 400 {
		x.req.Reason = reasonIn(x.head)
	}
	x.log.add(x.req)
}

// reasonIn finds the reason in the body of an error reply of either API or of the token endpoint.
func reasonIn(body []byte) string {
	var reply struct{ Error json.RawMessage }
	if json.Unmarshal(bytes.Trim(body, "[] \n"), &reply) != nil {
		return ""
	}
	var drive struct{ Errors []struct{ Reason string } }
	if json.Unmarshal(reply.Error, &drive) == nil && len(drive.Errors) > 0 {
		return drive.Errors[0].Reason
	}
	var oauth string
	_ = json.Unmarshal(reply.Error, &oauth) // stays "" if it is neither
	return oauth
}

// logged puts each request into the log.
func (s *Server) logged(batch bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{log: s.log, start: time.Now(), req: Request{
			Time: s.now(), Method: r.Method, Path: r.URL.Path, Query: loggedQuery(r.URL), Range: r.Header.Get("Range"),
			ContentRange: r.Header.Get("Content-Range"), Connection: r.RemoteAddr, Op: loggedOp(r), Batch: batch,
		}}
		defer x.finish() // also when a fault aborts the request by panic
		r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = &countedBody{ReadCloser: r.Body, x: x}
		}
		lw := &loggedWriter{ResponseWriter: w, x: x, left: -1}
		next.ServeHTTP(lw, r)
		lw.begin(http.StatusOK)
	})
}

// loggedOp is opName for the API's calls and a name of its own for what goes around them.
func loggedOp(r *http.Request) string {
	switch kind := oauthPaths[r.URL.Path]; {
	case kind != "":
		return "oauth." + kind
	case isBatch(r.URL.Path):
		return "batch"
	}
	return opName(r)
}

// loggedQuery is the query without the tokens in it.
func loggedQuery(u *url.URL) string {
	query := u.Query()
	if !slices.ContainsFunc(tokenParameters, query.Has) {
		return u.RawQuery
	}
	for _, name := range tokenParameters {
		if query.Has(name) {
			query.Set(name, "-")
		}
	}
	return query.Encode()
}

// countedBody counts what is read of a request's body.
type countedBody struct {
	io.ReadCloser
	x *exchange
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.x.mu.Lock()
	b.x.req.In += int64(n)
	b.x.mu.Unlock()
	return n, err
}

// loggedWriter counts the reply and completes the log entry before the last byte is written, so that a
// client that has read the reply finds its request in the log.
type loggedWriter struct {
	http.ResponseWriter
	x    *exchange
	left int64 // bytes of the reply still to come, -1 if its length is not known
}

// Unwrap serves http.ResponseController.
func (w *loggedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// begin records the status of a reply that has none yet.
func (w *loggedWriter) begin(status int) {
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	if w.x.req.Status != 0 {
		return
	}
	w.x.req.Status = status
	if n, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64); err == nil {
		w.left = n
	}
}

func (w *loggedWriter) WriteHeader(status int) {
	w.begin(status)
	w.ResponseWriter.WriteHeader(status)
}

func (w *loggedWriter) Write(p []byte) (int, error) {
	w.begin(http.StatusOK)
	w.x.mu.Lock()
	w.x.req.Out += int64(len(p))
	if w.x.req.Status >= 400 && len(w.x.head) < 4096 {
		w.x.head = append(w.x.head, p...)
	}
	w.x.mu.Unlock()
	if w.left >= 0 {
		if w.left -= int64(len(p)); w.left <= 0 {
			w.x.finish()
		}
	}
	n, err := w.ResponseWriter.Write(p)
	if n < len(p) { // the client has left: it did not get all of this
		w.x.mu.Lock()
		w.x.req.Out -= int64(len(p) - n)
		w.x.mu.Unlock()
	}
	return n, err
}
