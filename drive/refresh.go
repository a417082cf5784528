package drive

import (
	"context"
	"errors"
	"time"

	"golang.org/x/oauth2"
)

// accessToken gives a token for one request, and its grant, fetching a new token if need be. A nil Auth has none.
func (a *Auth) accessToken(ctx context.Context) (token, grant string, err error) {
	if a == nil {
		return "", "", &Error{Op: "oauth", Kind: ErrSignIn}
	}
	if t, ok := a.current(); ok {
		return t.AccessToken, a.grant(t), nil
	}
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return "", "", ctx.Err()
	}
	if t, ok := a.current(); ok { // the one before us fetched it
		return t.AccessToken, a.grant(t), nil
	}
	for {
		t, from, err := a.fetch(ctx)
		if err != nil {
			return "", "", err
		}
		if a.keep(t, from) {
			return t.AccessToken, a.grant(t), nil
		}
		if t, ok := a.current(); ok {
			return t.AccessToken, a.grant(t), nil
		}
	}
}

// current is the token at hand, if it is good for a request.
func (a *Auth) current() (*oauth2.Token, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reload()
	return a.token, a.token.Valid()
}

// reject notes that Drive refused an access token, though its time was not over.
func (a *Auth) reject(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token != nil && a.token.AccessToken == token {
		spent := *a.token
		spent.AccessToken = ""
		a.token = &spent
	}
}

// fetch asks the token endpoint, with the key or the refresh token from. Callers hold turn.
func (a *Auth) fetch(ctx context.Context) (token *oauth2.Token, from string, err error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, a.http)
	if a.key != nil {
		token, err = a.key.TokenSource(ctx).Token()
		return token, "", tokenError(ctx, err)
	}
	a.mu.Lock()
	worth, old := a.refreshable(), a.token
	a.mu.Unlock()
	if !worth {
		return nil, "", &Error{Op: "oauth", Kind: ErrSignIn}
	}
	from = old.RefreshToken
	token, err = a.conf.TokenSource(ctx, &oauth2.Token{RefreshToken: from}).Token()
	if err = tokenError(ctx, err); errors.Is(err, ErrSignIn) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.dead = from
		if a.reload(); a.token.Valid() { // somebody signed in meanwhile
			return a.token, a.token.RefreshToken, nil
		}
	}
	return token, from, err
}

// keep makes token, which the refresh token from gave, the one to use, and saves it. It does not, and says so, if somebody
// signed in or out while it was fetched: theirs counts.
func (a *Auth) keep(token *oauth2.Token, from string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reload(); a.key == nil && (a.token == nil || a.token.RefreshToken != from) {
		return false
	}
	a.keepLocked(token)
	return true
}

// keepLocked is keep for callers who hold mu.
func (a *Auth) keepLocked(token *oauth2.Token) {
	a.token, a.dead = token, ""
	a.consent.note(token)
	if !a.opts.Save || a.opts.Token == "" || a.key != nil || a.keepFile {
		return
	}
	stamp, err := saveToken(a.opts.Token, token, a.consent)
	if err != nil {
		a.opts.Log.WithError(err).Warn("the refreshed token could not be saved; it is good until this process ends")
		return
	}
	a.stamp = stamp
}

// tokenError is what the token endpoint's refusal means. What it answered is not quoted beyond its code
// and description.
func tokenError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		return &Error{Op: "oauth", Kind: kindOfFault(err), Err: bare(err)}
	}
	e := &Error{Op: "oauth", Reason: refused.ErrorCode, Message: plain(refused.ErrorDescription)}
	if refused.Response != nil {
		e.Status = refused.Response.StatusCode
		e.RetryAfter = retryAfter(refused.Response.Header.Get("Retry-After"), time.Now())
	}
	switch e.Reason {
	case "invalid_client", "unauthorized_client", "deleted_client":
		e.Kind = ErrCredentials
	case "invalid_grant", "access_denied", "invalid_rapt":
		e.Kind = ErrSignIn
	case "temporarily_unavailable", "server_error", "internal_failure":
		e.Kind = ErrTimeout
	default:
		switch e.Kind = kindOf(e.Status, e.Reason); {
		case Retryable(e):
		case e.Reason == "": // not a word of what a token endpoint says
			e.Kind = ErrProtocol
		default:
			e.Kind = ErrCredentials
		}
	}
	return e
}
