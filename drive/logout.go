package drive

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
)

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
	a.token, a.stamp, a.consent = nil, nil, Consent{}
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
