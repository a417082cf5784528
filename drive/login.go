package drive

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	iofs "io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// Login is the human part of a sign-in.
type Login struct {
	// Prompt brings the person to the consent page at url: opens a browser there, or prints it. It does not
	// wait for the person.
	Prompt func(url string) error
	// Paste, if not nil, asks the person for the address the browser was sent to in the end. It is for
	// browsers on another machine, which cannot reach our listener. Whichever comes first counts.
	Paste func(ctx context.Context) (string, error)
	// Page is what the browser says when all went well; "" = a plain sentence.
	Page string
}

// closeWait is how long the browser may take to fetch the last page.
const closeWait = 2 * time.Second

// Login signs a person in: it listens on a loopback port, lets them give consent in their browser, exchanges
// the code that comes back, and saves the token. PKCE and state bind the answer to this very sign-in
// (RFC 8252, RFC 7636). A service account is only tried out. It returns ErrSignIn when consent was denied,
// or given without access to the Drive.
func (a *Auth) Login(ctx context.Context, l Login) error {
	if a.key != nil {
		_, _, err := a.accessToken(ctx)
		return err
	}
	select { // no request refreshes the old token meanwhile
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	listen, redirect, err := a.redirect(l.Paste != nil)
	if err != nil {
		return err
	}
	conf := *a.conf
	s := &signIn{auth: a, conf: &conf, page: l.Page, state: rand.Text(), verifier: oauth2.GenerateVerifier()}
	if listen != "" {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
		if err != nil {
			return fmt.Errorf("sign in: %w", err)
		}
		if redirect.Port() == "0" {
			redirect.Host = listener.Addr().String()
		}
		stop := s.serve(listener, redirect) //nolint:contextcheck // stop shows the last page also after a cancel
		defer stop()
	}
	conf.RedirectURL = redirect.String()
	consent := conf.AuthCodeURL(s.state, oauth2.AccessTypeOffline, oauth2.SetAuthURLParam("prompt", "consent"), oauth2.S256ChallengeOption(s.verifier))
	if err := l.Prompt(consent); err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	return s.wait(ctx, l.Paste)
}

// redirect decides where the browser is sent after consent, and where to listen for it; "" for nowhere.
func (a *Auth) redirect(paste bool) (listen string, to *url.URL, err error) {
	if a.kind == KindInstalled { // Google takes any port for these
		return "127.0.0.1:0", &url.URL{Scheme: "http", Host: "127.0.0.1:0", Path: "/"}, nil
	}
	var other *url.URL
	for _, text := range a.uris {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			continue
		}
		if u.Scheme == "http" && onThisMachine(u) {
			u.Path = or(u.Path, "/")
			return net.JoinHostPort("127.0.0.1", or(u.Port(), "80")), u, nil
		}
		other = or(other, u)
	}
	if other == nil || !paste {
		return "", nil, fmt.Errorf("%w: a client of type Web needs the redirect URI http://localhost:PORT/ in the Google Cloud console; a client of type Desktop app needs none", ErrCredentials)
	}
	return "", other, nil
}

// signIn is one sign-in under way.
type signIn struct {
	auth            *Auth
	conf            *oauth2.Config
	page            string
	state, verifier string // secrets
	answers         chan answer
}

// answer is what consent led to, and where to say how it went.
type answer struct {
	code   string
	err    error
	result chan<- error
}

// serve answers the browser until the returned function is called, which waits for everything to end.
func (s *signIn) serve(l net.Listener, at *url.URL) (stop func()) {
	s.answers = make(chan answer)
	over := make(chan struct{}) // closed by stop: answers nobody waits for any more
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		// Under another name only a page of a stranger comes here, whose server gave out our address as its own.
		if r.URL.Path != at.Path || r.Host != at.Host || r.Method != http.MethodGet {
			http.NotFound(w, r)
			return
		}
		code, err := s.read(r.URL.Query())
		if errors.Is(err, errForeign) {
			http.Error(w, "This is not the answer to the sign-in under way.", http.StatusBadRequest)
			return
		}
		result := make(chan error, 1)
		select {
		case s.answers <- answer{code, err, result}:
			err = <-result
		case <-over:
			err = errors.New("the sign-in is over")
		}
		s.show(w, err)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l) // always ErrServerClosed
	}()
	return func() {
		close(over)
		ctx, cancel := context.WithTimeout(context.Background(), closeWait) //nolint:forbidigo // the last page is shown also after a cancel
		defer cancel()
		_ = server.Shutdown(ctx) // lets the last page reach the browser
		_ = server.Close()
		<-ended
	}
}

var errForeign = errors.New("not the answer to this sign-in")

// read takes the code out of the query of the address the browser was sent to.
func (s *signIn) read(q url.Values) (code string, err error) {
	if subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(s.state)) != 1 {
		return "", errForeign
	}
	if reason := q.Get("error"); reason != "" {
		return "", &Error{Op: "oauth", Reason: plain(reason), Kind: ErrSignIn, Err: fmt.Errorf("consent was not given: %s", plain(reason))}
	}
	if code = q.Get("code"); code == "" {
		return "", errForeign
	}
	return code, nil
}

// wait takes the first answer, from the browser or the person, and makes a token of it.
func (s *signIn) wait(ctx context.Context, paste func(context.Context) (string, error)) error {
	pasted := make(chan answer, 1)
	if paste != nil {
		pasteCtx, cancel := context.WithCancel(ctx)
		ended := make(chan struct{})
		defer func() { cancel(); <-ended }()
		go func() {
			defer close(ended)
			text, err := paste(pasteCtx)
			var code string
			if err == nil {
				code, err = s.readPasted(text)
			}
			pasted <- answer{code: code, err: err}
		}()
	}
	var got answer
	select {
	case got = <-s.answers:
	case got = <-pasted:
	case <-ctx.Done():
		return fmt.Errorf("sign in: %w", ctx.Err())
	}
	err := got.err
	if err == nil {
		err = s.exchange(ctx, got.code)
	}
	if got.result != nil {
		got.result <- err
	}
	if err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	return nil
}

// readPasted takes the code out of what the person pasted: the whole address, or its query.
func (s *signIn) readPasted(text string) (string, error) {
	text = strings.TrimSpace(text)
	if _, query, ok := strings.Cut(text, "?"); ok {
		text = query
	}
	query, _, _ := strings.Cut(text, "#")
	q, err := url.ParseQuery(query)
	if err != nil {
		err = errForeign // and nothing of the text: it holds the code
	}
	code := ""
	if err == nil {
		code, err = s.read(q)
	}
	if errors.Is(err, errForeign) {
		err = fmt.Errorf("that is %w; paste the whole address from the browser's address bar", err)
	}
	return code, err
}

// exchange makes a token of the code, and keeps it.
func (s *signIn) exchange(ctx context.Context, code string) error {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, s.auth.http)
	token, err := s.conf.Exchange(ctx, code, oauth2.VerifierOption(s.verifier))
	if err = tokenError(ctx, err); err != nil {
		return err
	}
	granted, _ := token.Extra("scope").(string)
	if granted != "" && !slices.Contains(strings.Fields(granted), Scope) {
		return &Error{Op: "oauth", Kind: ErrSignIn, Err: errors.New("access to the Drive was not ticked on the consent page")}
	}
	s.auth.mu.Lock()
	defer s.auth.mu.Unlock()
	s.auth.keepFile = false // this grant is ours, whoever wrote the file before
	s.auth.keepLocked(token)
	return nil
}

//go:embed login.html
var loginPage string

var pages = template.Must(template.New("login").Parse(loginPage))

// show tells the browser how it went.
func (s *signIn) show(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer") // our own address holds the code
	text := or(s.page, "You are signed in. You can close this page and go back to the terminal.")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		text = Sentence(err)
	}
	_ = pages.Execute(w, map[string]any{"OK": err == nil, "Text": text}) // a browser that left needs no page
}

// Logout withdraws the grant at Google and removes the token file. The file goes even if Google could not
// be told; then the error says so.
func (a *Auth) Logout(ctx context.Context) error {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	a.mu.Lock()
	a.reload()
	token := a.token
	a.token, a.stamp = nil, nil
	var err error
	if a.opts.Token != "" && a.key == nil {
		if err = os.Remove(a.opts.Token); errors.Is(err, iofs.ErrNotExist) {
			err = nil
		}
	}
	a.mu.Unlock()
	if token == nil || a.key != nil {
		return err
	}
	return errors.Join(err, a.revoke(ctx, or(token.RefreshToken, token.AccessToken)))
}

// revoke withdraws a grant (RFC 7009).
func (a *Auth) revoke(ctx context.Context, token string) error {
	body := strings.NewReader(url.Values{"token": {token}}.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, revokeURL(a.conf.Endpoint.TokenURL), body)
	if err != nil {
		return errors.New("the address to withdraw the grant at is not valid")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := a.http.Do(req)
	if err != nil {
		return fmt.Errorf("signed out here, but the grant was not withdrawn: %w", &Error{Op: "oauth", Kind: kindOfFault(err), Err: bare(err)})
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("signed out here, but the grant was not withdrawn: %w", &Error{Op: "oauth", Status: resp.StatusCode, Kind: ErrTimeout})
	}
	return nil // a refusal means that the grant had ended already
}

// revokeURL is where the grants of a token endpoint are withdrawn: at Google one address for all of its
// token endpoints, elsewhere beside it.
func revokeURL(token string) string {
	u, err := url.Parse(token)
	if err != nil {
		return ""
	}
	if u.Hostname() == "accounts.google.com" || strings.HasSuffix(u.Hostname(), ".googleapis.com") {
		return "https://oauth2.googleapis.com/revoke"
	}
	u.Path, u.RawQuery = path.Join(path.Dir(or(u.Path, "/")), "revoke"), ""
	return u.String()
}
