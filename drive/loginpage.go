package drive

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// closeWait is how long the browser may take to fetch the last page.
const closeWait = 2 * time.Second

// serve answers the browser until the returned function is called, which waits for everything to end. Call it
// after over is closed.
func (s *signIn) serve(l net.Listener, at *url.URL) (stop func()) {
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, at) }),
		ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10,
	}
	// Browsers open connections that they may never use. Shutdown waits for these too.
	var (
		mu     sync.Mutex // guards unused
		unused = map[net.Conn]bool{}
	)
	server.ConnState = func(c net.Conn, state http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		delete(unused, c)
		if state == http.StateNew {
			unused[c] = true
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l) // always ErrServerClosed
	}()
	return func() {
		mu.Lock()
		for c := range unused {
			_ = c.Close()
		}
		mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), closeWait) //nolint:forbidigo // the last page is shown also after a cancel
		defer cancel()
		_ = server.Shutdown(ctx) // lets the last page reach the browser
		_ = server.Close()
		<-ended
	}
}

// answer takes what the browser brings to the address at. The first answer counts; a browser that comes with it again,
// after a double click, a reload or a look ahead, is told the same.
func (s *signIn) answer(w http.ResponseWriter, r *http.Request, at *url.URL) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer") // our own address holds the code
	w.Header().Set("X-Content-Type-Options", "nosniff")
	// Under another name only a page of a stranger comes here, whose server gave out our address as its own.
	if r.URL.Path != at.Path || r.Host != at.Host || r.Method != http.MethodGet {
		http.NotFound(w, r)
		return
	}
	code, err := s.read(r.URL.Query())
	if errors.Is(err, errForeign) {
		if r.URL.RawQuery == "" && s.known() { // the page was loaded again
			s.show(w)
			return
		}
		http.Error(w, "This is not the answer to the sign-in under way.", http.StatusBadRequest)
		return
	}
	select {
	case s.answers <- answer{code, err}:
	default: // there was one before
	}
	select {
	case <-s.over:
		s.show(w)
	case <-r.Context().Done(): // the browser left
	}
}

// known says whether it is known how the sign-in went.
func (s *signIn) known() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

//go:embed login.html
var loginPage string

var pages = template.Must(template.New("login").Parse(loginPage))

// loginPolicy lets the page have its own script and style, and nothing from anywhere.
var loginPolicy = "default-src 'none'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'" +
	"; script-src " + hashOf("script") + "; style-src " + hashOf("style")

// hashOf names the content of the page's one element of that name to a Content-Security-Policy.
func hashOf(element string) string {
	_, text, _ := strings.Cut(loginPage, "<"+element+">")
	text, _, _ = strings.Cut(text, "</"+element+">")
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// show tells the browser how it went. Callers have seen over closed.
func (s *signIn) show(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", loginPolicy)
	text := or(s.page, "You are signed in. You can close this page and go back to the terminal.")
	if s.err != nil {
		w.WriteHeader(http.StatusBadRequest)
		text = Sentence(s.err)
	}
	if errors.Is(s.err, context.Canceled) {
		text = "The sign-in was given up in the terminal."
	}
	_ = pages.Execute(w, map[string]any{"OK": s.err == nil, "Text": text}) // a browser that left needs no page
}
