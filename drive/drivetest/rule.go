package drivetest

import (
	"fmt"
	"math/rand"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Rule is a fault: which requests it is for, and what happens to them. Make one with On, give it its
// conditions and effects, then hand it to Server.Fault; it must not be changed after that.
//
// Effects combine where that makes sense (Delay with anything; After and DropReply with each other do not).
type Rule struct {
	method, path string
	query        []condition

	nth, times int     // 0 = any, always
	chance     float64 // 0 = certain

	status           int
	reason, message  string
	html, array      bool
	retryAfter       time.Duration
	delay            time.Duration
	hold             <-chan struct{}
	cut, cutRequest  int64 // -1 = not
	stall, dropReply bool
	after, corrupt   bool
	shortBody        bool
	ignoreRange      bool
	wrongRange       bool
	trickle          int64 // bytes a second, 0 = as fast as it goes

	mu         sync.Mutex // guards what follows
	seen, hits int
	dice       *rand.Rand
}

// condition is a query parameter that must have a value; "*" in the value matches anything.
type condition struct{ key, value string }

// On begins a rule for requests of this method to this path. In pathGlob "*" stands for any text,
// slashes too; method "" or "*" is any. Without further ado the rule does nothing to them but count.
func On(method, pathGlob string) *Rule {
	if method == "" {
		method = "*"
	}
	return &Rule{method: strings.ToUpper(method), path: pathGlob, cut: -1, cutRequest: -1, dice: rand.New(rand.NewSource(1))}
}

// Query restricts the rule to requests whose query has key with a value matching the glob.
func (r *Rule) Query(key, value string) *Rule {
	r.query = append(r.query, condition{key, value})
	return r
}

// Nth restricts the rule to the n-th matching request, counted from 1.
func (r *Rule) Nth(n int) *Rule { r.nth = n; return r }

// Times lets the rule act n times only.
func (r *Rule) Times(n int) *Rule { r.times = n; return r }

// Chance lets the rule act with probability p, by dice that fall the same way in each run.
func (r *Rule) Chance(p float64) *Rule { r.chance = p; return r }

// Status answers an error instead of carrying the request out, in Drive's shape or, at the sign-in
// endpoints, in theirs with reason as its name. The message is the usual one of the reason.
func (r *Rule) Status(code int, reason string) *Rule { r.status, r.reason = code, reason; return r }

// Message replaces the error's message.
func (r *Rule) Message(text string) *Rule { r.message = text; return r }

// HTML makes the error a page, as front ends send it with a 502.
func (r *Rule) HTML() *Rule { r.html = true; return r }

// Array wraps the error in a JSON array, as a few endpoints do.
func (r *Rule) Array() *Rule { r.array = true; return r }

// RetryAfter puts a Retry-After header, in whole seconds, on the error.
func (r *Rule) RetryAfter(d time.Duration) *Rule { r.retryAfter = d; return r }

// Delay waits before anything else is done for the request.
func (r *Rule) Delay(d time.Duration) *Rule { r.delay = d; return r }

// Hold waits until release is closed before anything else is done for the request. The text form leaves it out.
func (r *Rule) Hold(release <-chan struct{}) *Rule { r.hold = release; return r }

// Stall takes the request in and never answers; it ends when the client leaves.
func (r *Rule) Stall() *Rule { r.stall = true; return r }

// Cut resets the connection after at most n bytes of the reply's body.
func (r *Rule) Cut(afterBytes int64) *Rule { r.cut = afterBytes; return r }

// CutRequest resets the connection after n bytes of the request's body. What arrived is dealt with as
// Drive does: an upload session keeps whole steps of 256 KiB.
func (r *Rule) CutRequest(afterBytes int64) *Rule { r.cutRequest = afterBytes; return r }

// DropReply carries the request out and resets the connection instead of answering.
func (r *Rule) DropReply() *Rule { r.dropReply = true; return r }

// After answers the error of Status after the request has been carried out.
func (r *Rule) After() *Rule { r.after = true; return r }

// Corrupt flips bits in the reply's body: its first byte and every 4096th after it.
func (r *Rule) Corrupt() *Rule { r.corrupt = true; return r }

// ShortBody sends only the first half of the reply's body, with a Content-Length to match: nothing but
// its content or Content-Range tells.
func (r *Rule) ShortBody() *Rule { r.shortBody = true; return r }

// IgnoreRange answers 200 and the whole file to a Range request.
func (r *Rule) IgnoreRange() *Rule { r.ignoreRange = true; return r }

// WrongRange answers a Range request with a Content-Range one byte further than what was asked for.
func (r *Rule) WrongRange() *Rule { r.wrongRange = true; return r }

// Trickle sends the reply's body at n bytes a second: the connection is never silent, and never done.
func (r *Rule) Trickle(n int64) *Rule { r.trickle = n; return r }

// Hits is how often the rule has acted.
func (r *Rule) Hits() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hits
}

// applies tells whether the rule acts on q, and counts.
func (r *Rule) applies(q *http.Request, values url.Values) bool {
	if r.method != "*" && r.method != q.Method || !glob(r.path, q.URL.Path) {
		return false
	}
	for _, c := range r.query {
		if !values.Has(c.key) || !glob(c.value, values.Get(c.key)) {
			return false
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen++
	if r.nth > 0 && r.seen != r.nth || r.times > 0 && r.hits >= r.times || r.chance > 0 && r.dice.Float64() >= r.chance {
		return false
	}
	r.hits++
	return true
}

// glob matches text with a pattern in which "*" stands for any text.
func glob(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	rest, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return false
	}
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, parts[last])
}

// flags are the words of the text form that stand alone.
func (r *Rule) flags() map[string]*bool {
	return map[string]*bool{
		"html": &r.html, "array": &r.array, "stall": &r.stall, "drop-reply": &r.dropReply, "after": &r.after,
		"corrupt": &r.corrupt, "short-body": &r.shortBody, "ignore-range": &r.ignoreRange, "wrong-range": &r.wrongRange,
	}
}

// String is the text form of r, which ParseRule reads.
func (r *Rule) String() string {
	words := []string{quoted(r.method), quoted(r.path)}
	add := func(key, value string) { words = append(words, quoted(key+"="+value)) }
	for _, c := range r.query {
		if _, isFlag := r.flags()[c.key]; isFlag || settings[c.key] != nil || strings.HasPrefix(c.key, "?") {
			c.key = "?" + c.key // a parameter that is named like an effect
		}
		add(c.key, c.value)
	}
	for _, n := range []struct {
		key          string
		value, unset int64
	}{
		{"nth", int64(r.nth), 0}, {"times", int64(r.times), 0}, {"status", int64(r.status), 0},
		{"cut", r.cut, -1}, {"cut-request", r.cutRequest, -1}, {"trickle", r.trickle, 0},
	} {
		if n.value != n.unset {
			add(n.key, strconv.FormatInt(n.value, 10))
		}
	}
	if r.chance > 0 {
		add("chance", strconv.FormatFloat(r.chance, 'g', -1, 64))
	}
	for _, t := range [][2]string{{"reason", r.reason}, {"message", r.message}} {
		if t[1] != "" {
			add(t[0], t[1])
		}
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{{"delay", r.delay}, {"retry-after", r.retryAfter}} {
		if d.value > 0 {
			add(d.key, d.value.String())
		}
	}
	for _, word := range []string{"html", "array", "stall", "drop-reply", "after", "corrupt", "short-body", "ignore-range", "wrong-range"} {
		if *r.flags()[word] {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

// settings are the words of the text form that take a value.
var settings = map[string]func(*Rule, string) error{
	"nth":         func(r *Rule, v string) error { return positive(&r.nth, v) },
	"times":       func(r *Rule, v string) error { return positive(&r.times, v) },
	"chance":      func(r *Rule, v string) error { return fraction(&r.chance, v) },
	"status":      func(r *Rule, v string) error { return status(&r.status, v) },
	"reason":      func(r *Rule, v string) error { r.reason = v; return nil },
	"message":     func(r *Rule, v string) error { r.message = v; return nil },
	"delay":       func(r *Rule, v string) error { return duration(&r.delay, v) },
	"retry-after": func(r *Rule, v string) error { return duration(&r.retryAfter, v) },
	"cut":         func(r *Rule, v string) error { return bytesOf(&r.cut, v) },
	"cut-request": func(r *Rule, v string) error { return bytesOf(&r.cutRequest, v) },
	"trickle":     func(r *Rule, v string) error { return bytesOf(&r.trickle, v) },
}

// ParseRule reads the text form of a rule, METHOD PATH and then conditions and effects in any order:
//
//	GET /drive/v3/files/* alt=media status=403 reason=downloadQuotaExceeded times=3
//	PUT /upload/* nth=2 cut-request=300000
//	* * chance=0.05 status=503 message="try again"
//
// Words that are no effect are query parameters the request must have; ?name=value is always one. Values
// with blanks are quoted as in Go, the whole word or the value. Durations are like 1.5s, byte counts plain numbers.
func ParseRule(text string) (*Rule, error) {
	words, err := splitWords(text)
	if err != nil {
		return nil, fmt.Errorf("fault rule %q: %w", text, err)
	}
	if len(words) < 2 {
		return nil, fmt.Errorf("fault rule %q: want METHOD PATH [condition or effect]…", text)
	}
	r := On(words[0], words[1])
	for _, word := range words[2:] {
		if err := r.parse(word); err != nil {
			return nil, fmt.Errorf("fault rule %q: %q: %w", text, word, err)
		}
	}
	if r.status == 0 && (r.after || r.html || r.array || r.reason != "" || r.message != "" || r.retryAfter != 0) {
		return nil, fmt.Errorf("fault rule %q: an error needs its status=", text)
	}
	return r, nil
}
