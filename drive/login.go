package drive

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/oauth2"
)

// Login is the human part of a sign-in.
type Login struct {
	// Prompt brings the person to the consent page at url: opens a browser there, or prints it. It does not
	// wait for the person.
	Prompt func(url string) error
	// Paste, if not nil, asks the person for the address the browser was sent to in the end. It is for
	// browsers on another machine, which cannot reach our listener. Whichever comes first counts. It is asked
	// again, with the problem, when what it gave was not that address; an error of its own ends the sign-in.
	Paste func(ctx context.Context, problem error) (string, error)
	// Page is what the browser says when all went well; "" = a plain sentence.
	Page string
}

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
	listen, redirect, err := a.redirect(ctx, l.Paste != nil)
	if err != nil {
		return err
	}
	conf := *a.conf
	s := &signIn{
		auth: a, conf: &conf, page: l.Page, state: rand.Text(), verifier: oauth2.GenerateVerifier(),
		answers: make(chan answer, 1), over: make(chan struct{}),
	}
	stop := func() {}
	if listen != nil {
		stop = s.serve(listen, redirect) //nolint:contextcheck // stop shows the last page also after a cancel
	}
	conf.RedirectURL = redirect.String()
	if s.err = s.run(ctx, l); s.err != nil {
		s.err = fmt.Errorf("sign in: %w", s.err)
	}
	close(s.over)
	stop()
	return s.err
}

// redirect decides where the browser is sent after consent, and listens for it there; nil where nobody can.
func (a *Auth) redirect(ctx context.Context, paste bool) (net.Listener, *url.URL, error) {
	listen := func(address string) (net.Listener, error) { return (&net.ListenConfig{}).Listen(ctx, "tcp", address) }
	if a.kind == KindInstalled { // Google takes any port for these
		l, err := listen("127.0.0.1:0")
		if err != nil {
			return nil, nil, fmt.Errorf("sign in: %w", err)
		}
		return l, &url.URL{Scheme: "http", Host: l.Addr().String(), Path: "/"}, nil
	}
	var (
		other *url.URL
		taken error
	)
	for _, text := range a.uris {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			continue
		}
		other = or(other, u)
		if u.Scheme != "http" || !onThisMachine(u) {
			continue
		}
		u.Path = or(u.Path, "/")
		host := u.Hostname()
		if host == "localhost" {
			host = "127.0.0.1"
		}
		l, err := listen(net.JoinHostPort(host, or(u.Port(), "80")))
		if err == nil {
			return l, u, nil
		}
		other, taken = u, err
	}
	switch {
	case other != nil && paste:
		return nil, other, nil
	case taken != nil:
		return nil, nil, fmt.Errorf("sign in: the client of type Web sends the browser to %s, and nobody can listen there: %w", other, taken)
	}
	return nil, nil, fmt.Errorf("%w: a client of type Web needs the redirect URI http://localhost:PORT/ in the Google Cloud console; a client of type Desktop app needs none", ErrCredentials)
}

// signIn is one sign-in under way.
type signIn struct {
	auth            *Auth
	conf            *oauth2.Config
	page            string
	state, verifier string      // secrets
	answers         chan answer // the browser's first answer
	over            chan struct{}
	err             error // how it went, once over is closed
}

// answer is what consent led to.
type answer struct {
	code string
	err  error
}

var errForeign = errors.New("not the answer to this sign-in")

// read takes the code out of the query of the address the browser was sent to.
func (s *signIn) read(q url.Values) (code string, err error) {
	if subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(s.state)) != 1 {
		return "", errForeign
	}
	if reason := q.Get("error"); reason != "" {
		err := fmt.Errorf("consent was not given: %s", plain(reason))
		if reason == "access_denied" { // also of who unticked all there was
			err = fmt.Errorf("consent was not given: access_denied; on the consent page tick %q, and allow it", scopeText)
		}
		return "", &Error{Op: "oauth", Reason: plain(reason), Kind: ErrSignIn, Err: err}
	}
	if code = q.Get("code"); code == "" {
		return "", errForeign
	}
	return code, nil
}

// run brings the person to the consent page, and makes a token of the first answer, from the browser or the person.
func (s *signIn) run(ctx context.Context, l Login) error {
	consent := s.conf.AuthCodeURL(s.state, oauth2.AccessTypeOffline, oauth2.SetAuthURLParam("prompt", "consent"), oauth2.S256ChallengeOption(s.verifier))
	if err := l.Prompt(consent); err != nil {
		return err
	}
	pasted := make(chan error, 1)
	if l.Paste != nil {
		pasteCtx, cancel := context.WithCancel(ctx)
		var asking sync.WaitGroup
		asking.Go(func() { pasted <- s.byPaste(pasteCtx, l.Paste) })
		defer asking.Wait()
		defer cancel()
	}
	select {
	case got := <-s.answers:
		if got.err != nil {
			return got.err
		}
		return s.exchange(ctx, got.code)
	case err := <-pasted:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// byPaste makes a token of what the person pastes, and asks until it is one.
func (s *signIn) byPaste(ctx context.Context, paste func(context.Context, error) (string, error)) error {
	var (
		before  string // earlier lines, of which this may be the rest
		problem error
	)
	for {
		text, err := paste(ctx, problem)
		switch {
		case errors.Is(err, io.EOF) && problem != nil:
			return &Error{Op: "oauth", Kind: ErrSignIn, Err: problem}
		case errors.Is(err, io.EOF):
			return &Error{Op: "oauth", Kind: ErrSignIn, Err: errors.New("no address was pasted")}
		case err != nil:
			return err
		}
		if text = unwrap(text); text == "" {
			continue
		}
		if strings.HasPrefix(text, "http") {
			before = ""
		}
		code, err := s.readPasted(text)
		if errors.Is(err, errForeign) && before != "" {
			code, err = s.readPasted(before + text)
		}
		before += text
		var e *Error
		switch {
		case errors.Is(err, errForeign):
			problem = fmt.Errorf("that is %w; paste the whole address from the browser's address bar", errForeign)
			continue
		case err != nil:
			return err
		}
		err = s.exchange(ctx, code)
		if errors.As(err, &e) && e.Reason == "invalid_grant" { // a part of a code, or an old one
			problem = errors.New("that address does not hold the whole code, or is an old one; paste the whole address from the browser's address bar")
			continue
		}
		return err
	}
}

// unwrap takes out what gets into an address on its way through a terminal, a mail or a chat.
func unwrap(text string) string {
	text = strings.NewReplacer("\x1b[200~", "", "\x1b[201~", "").Replace(text) // bracketed paste
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("\"'`<>\u200b\u2018\u2019\u201c\u201d", r) {
			return -1
		}
		return r
	}, text)
}

// readPasted takes the code out of what the person pasted: the whole address, or its query.
func (s *signIn) readPasted(text string) (string, error) {
	if _, query, ok := strings.Cut(text, "?"); ok {
		text = query
	}
	query, _, _ := strings.Cut(text, "#")
	q, err := url.ParseQuery(query)
	if err != nil {
		return "", errForeign // and nothing of the text: it holds the code
	}
	return s.read(q)
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
		return &Error{Op: "oauth", Kind: ErrSignIn, Err: fmt.Errorf("%q was not ticked on the consent page, and nothing works without it", scopeText)}
	}
	s.auth.mu.Lock()
	defer s.auth.mu.Unlock()
	s.auth.keepFile = false // this grant is ours, whoever wrote the file before
	s.auth.consent = Consent{Given: time.Now().UTC().Truncate(time.Second)}
	s.auth.keepLocked(token)
	return nil
}
