package drivetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// faultTable is the rules in force, first match first.
type faultTable struct {
	mu    sync.Mutex // guards rules
	rules []*Rule
}

// Fault puts rules in force, after those that are. The first rule that acts on a request is the only one
// to see it.
func (s *Server) Fault(rules ...*Rule) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.rules = append(s.faults.rules, rules...)
}

// ClearFaults ends all rules; requests they hold go on being held.
func (s *Server) ClearFaults() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.rules = nil
}

// list is the rules in force.
func (t *faultTable) list() []*Rule {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]*Rule(nil), t.rules...)
}

// pick finds the rule that acts on r.
func (t *faultTable) pick(r *http.Request) *Rule {
	rules := t.list()
	if len(rules) == 0 {
		return nil
	}
	values := r.URL.Query()
	for _, rule := range rules {
		if rule.applies(r, values) {
			return rule
		}
	}
	return nil
}

// faulted does to each request what the rule that matches it says.
func (s *Server) faulted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rule := s.faults.pick(r)
		if rule == nil {
			next.ServeHTTP(w, r)
			return
		}
		note(r.Context(), func(q *Request) { q.Fault = rule.String() })
		if !s.shaper.until(r.Context(), time.Now().Add(rule.delay)) {
			panic(http.ErrAbortHandler)
		}
		if rule.hold != nil {
			select {
			case <-rule.hold:
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			case <-s.done:
				panic(http.ErrAbortHandler)
			}
		}
		if rule.stall {
			_, _ = io.Copy(io.Discard, r.Body) // only then does net/http notice that the client leaves
			select {
			case <-r.Context().Done():
			case <-s.done:
			}
			panic(http.ErrAbortHandler)
		}
		if rule.status != 0 && !rule.after {
			rule.answer(w, r)
			return
		}
		if rule.ignoreRange {
			r.Header.Del("Range")
		}
		if rule.cutRequest >= 0 {
			r.Body = &cutBody{ReadCloser: r.Body, left: rule.cutRequest}
			r.Header.Del("Expect")
		}
		if rule.after || rule.dropReply || rule.cutRequest >= 0 {
			next.ServeHTTP(&unsent{header: http.Header{}}, r)
			if rule.after && !rule.dropReply {
				rule.answer(w, r)
				return
			}
			wireFrom(r.Context()).reset()
			panic(http.ErrAbortHandler)
		}
		if rule.trickle > 0 {
			w = &tricklingWriter{ResponseWriter: w, s: s, ctx: r.Context, step: max(rule.trickle/10, 1), rate: rule.trickle}
		}
		if rule.cut >= 0 || rule.corrupt || rule.shortBody || rule.wrongRange {
			w = &brokenWriter{ResponseWriter: w, rule: rule, cut: rule.cut, short: -1, reset: wireFrom(r.Context()).reset}
		}
		next.ServeHTTP(w, r)
		if bw, ok := w.(*brokenWriter); ok && rule.cut >= 0 {
			bw.end() // the body ended before the cut: the reply is lost all the same
		}
	})
}

// answer writes the rule's error in place of the reply to q.
func (r *Rule) answer(w http.ResponseWriter, q *http.Request) {
	e := &apiError{Status: r.status, Reason: r.reason, Message: r.message}
	if r.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((r.retryAfter+time.Second-1)/time.Second)))
	}
	switch {
	case r.html:
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
		w.WriteHeader(r.status)
		_, _ = fmt.Fprintf(w, "<!DOCTYPE html>\n<html lang=en><title>Error %d (Server Error)!!1</title>\n<p><b>%d.</b> <ins>That’s an error.</ins>\n"+
			"<p>The server encountered a temporary error and could not complete your request.<p>Please try again in 30 seconds.\n", r.status, r.status)
	case r.array:
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		w.WriteHeader(r.status)
		_, _ = fmt.Fprintf(w, "[%s]\n", bytes.TrimSpace(e.body()))
	case oauthPaths[q.URL.Path] != "":
		(&oauthError{r.status, r.reason, r.message}).write(w)
	default:
		writeError(w, e)
	}
}

// cutBody is a request's body whose connection breaks after left bytes.
type cutBody struct {
	io.ReadCloser
	left int64
}

func (b *cutBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// unsent is the reply of a request that is carried out for nobody.
type unsent struct{ header http.Header }

func (u *unsent) Header() http.Header         { return u.header }
func (u *unsent) WriteHeader(int)             {}
func (u *unsent) Write(p []byte) (int, error) { return len(p), nil }

// corruptStep is the distance of the bytes Corrupt flips.
const corruptStep = 4096

// brokenWriter spoils a reply's body as its rule says.
type brokenWriter struct {
	http.ResponseWriter
	rule  *Rule
	reset func()
	begun bool
	sent  int64
	cut   int64 // bytes left before the cut
	short int64 // bytes left of a short body, -1 = no limit
}

// Unwrap serves http.ResponseController.
func (w *brokenWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader shortens the announced length of a short body, and shifts a wrong range.
func (w *brokenWriter) WriteHeader(status int) {
	var first, last, total int64
	if n, _ := fmt.Sscanf(w.Header().Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total); w.rule.wrongRange && n == 3 {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first+1, last+1, total))
	}
	if w.rule.shortBody && status == http.StatusOK && w.Header().Get("Content-Length") == "" {
		return // the first piece of the body will tell its length
	}
	if w.begun = true; w.rule.shortBody {
		if n, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64); err == nil {
			w.short = n / 2
			w.Header().Set("Content-Length", strconv.FormatInt(w.short, 10))
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *brokenWriter) Write(p []byte) (int, error) {
	if !w.begun {
		if w.rule.shortBody && w.Header().Get("Content-Length") == "" {
			w.Header().Set("Content-Length", strconv.Itoa(len(p))) // a reply written in one piece, like all JSON
		}
		w.WriteHeader(http.StatusOK)
	}
	out := p
	if w.rule.corrupt {
		out = bytes.Clone(p)
		for i := (corruptStep - w.sent%corruptStep) % corruptStep; i < int64(len(out)); i += corruptStep {
			out[i] ^= 0x55
		}
	}
	w.sent += int64(len(p))
	if w.short >= 0 {
		out = out[:min(int64(len(out)), w.short)]
		w.short -= int64(len(out))
	}
	if w.rule.cut >= 0 && int64(len(out)) >= w.cut {
		_, _ = w.ResponseWriter.Write(out[:w.cut]) // the connection ends either way
		w.end()
	}
	w.cut -= int64(len(out))
	if len(out) > 0 {
		if _, err := w.ResponseWriter.Write(out); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// end resets the connection, after what was written has gone out.
func (w *brokenWriter) end() {
	_ = http.NewResponseController(w.ResponseWriter).Flush() // a batch's part cannot, and needs not
	w.reset()
	panic(http.ErrAbortHandler)
}

// tricklingWriter is a reply whose body comes in steps, ten a second.
type tricklingWriter struct {
	http.ResponseWriter
	s          *Server
	ctx        func() context.Context
	step, rate int64 // bytes, bytes a second
}

// Unwrap serves http.ResponseController.
func (w *tricklingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *tricklingWriter) Write(p []byte) (written int, err error) {
	for written < len(p) {
		piece := p[written:min(len(p), written+int(w.step))]
		wait := time.Duration(float64(len(piece)) / float64(w.rate) * float64(time.Second))
		if !w.s.shaper.until(w.ctx(), time.Now().Add(wait)) {
			return written, http.ErrAbortHandler
		}
		n, err := w.ResponseWriter.Write(piece)
		written += n
		if err != nil {
			return written, err
		}
		_ = http.NewResponseController(w.ResponseWriter).Flush() // a batch's part cannot, and needs not
	}
	return written, nil
}
