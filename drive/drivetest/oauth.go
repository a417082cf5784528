package drivetest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// oauthPaths are the addresses the sign-in endpoints have had over the years.
var oauthPaths = map[string]string{
	"/o/oauth2/auth": "consent", "/o/oauth2/v2/auth": "consent",
	"/token": "token", "/oauth2/v4/token": "token", "/o/oauth2/token": "token",
	"/revoke": "revoke", "/o/oauth2/revoke": "revoke",
}

func (s *Server) isOAuth(path string) bool { return oauthPaths[path] != "" }

func (s *Server) serveOAuth(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	switch oauthPaths[r.URL.Path] {
	case "consent":
		s.serveConsent(w, r)
	case "token":
		s.serveToken(w, r)
	case "revoke":
		s.serveRevoke(w, r)
	}
}

// oauthError is an error of the token endpoint.
type oauthError struct {
	status            int
	name, description string
}

func (e *oauthError) write(w http.ResponseWriter) {
	writeOAuth(w, e.status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{e.name, e.description})
}

func invalidGrant(description string) *oauthError {
	return &oauthError{400, "invalid_grant", description}
}

func writeOAuth(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // the client has gone
}

// tokenReply is a successful reply of the token endpoint.
type tokenReply struct {
	Access    string `json:"access_token"`
	ExpiresIn int    `json:"expires_in"`
	Refresh   string `json:"refresh_token,omitempty"`
	Scope     string `json:"scope,omitempty"`
	Type      string `json:"token_type"`
	// GrantEnds is in how many seconds the refresh token ends; the service gives it for those that do.
	GrantEnds int `json:"refresh_token_expires_in,omitempty"`
}

func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "the token endpoint takes POST", http.StatusMethodNotAllowed)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil {
		(&oauthError{400, "invalid_request", "Bad Request"}).write(w)
		return
	}
	var reply tokenReply
	var fault *oauthError
	life := s.meter.get().GrantLife
	switch kind := r.PostForm.Get("grant_type"); kind {
	case "authorization_code":
		reply, fault = s.auth.exchange(r, life)
	case "refresh_token":
		reply, fault = s.auth.refresh(r, life)
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		reply, fault = s.auth.assert(r)
	case "":
		fault = &oauthError{400, "invalid_request", "Required parameter is missing: grant_type"}
	default:
		fault = &oauthError{400, "unsupported_grant_type", "Invalid grant_type: " + kind}
	}
	if fault != nil {
		fault.write(w)
		return
	}
	reply.ExpiresIn, reply.Type = int(tokenLife.Seconds()), "Bearer"
	writeOAuth(w, http.StatusOK, reply)
}

// identify checks the client's id and secret, from the form or from basic authentication.
func (a *authority) identify(r *http.Request) (string, *oauthError) {
	id, secret := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	if user, password, ok := r.BasicAuth(); ok {
		id, _ = url.QueryUnescape(user) // form-encoded before it is base64: RFC 6749 §2.3.1
		secret, _ = url.QueryUnescape(password)
	}
	client := a.client()
	switch {
	case id == "":
		return "", &oauthError{400, "invalid_request", "Could not determine client ID from request."}
	case id != client.ID:
		return "", &oauthError{401, "invalid_client", "The OAuth client was not found."}
	case secret == "":
		return "", &oauthError{400, "invalid_request", "client_secret is missing."}
	case subtle.ConstantTimeCompare([]byte(secret), []byte(client.Secret)) != 1:
		return "", &oauthError{401, "invalid_client", "Unauthorized"}
	}
	return id, nil
}

// exchange turns an authorization code into tokens, once. A code that comes again ends the tokens it gave.
func (a *authority) exchange(r *http.Request, life time.Duration) (tokenReply, *oauthError) {
	client, fault := a.identify(r)
	if fault != nil {
		return tokenReply{}, fault
	}
	form := r.PostForm
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.codes[form.Get("code")]
	switch {
	case form.Get("code") == "":
		return tokenReply{}, &oauthError{400, "invalid_request", "Missing required parameter: code"}
	case c == nil, a.now().After(c.expires), c.client != client:
		return tokenReply{}, invalidGrant("Malformed auth code.")
	case c.spent:
		a.revoke(c.issuedAccess)
		a.revoke(c.issuedGrant)
		_ = a.save() // worst case they live on until the next save
		return tokenReply{}, invalidGrant("Bad Request")
	case form.Get("redirect_uri") != c.redirect:
		return tokenReply{}, &oauthError{400, "redirect_uri_mismatch", "Bad Request"}
	}
	if fault := c.verify(form.Get("code_verifier")); fault != nil {
		return tokenReply{}, fault
	}
	c.spent = true
	if c.offline {
		c.issuedGrant = a.issueGrant(refreshGrant{User: c.user, Client: client, Scopes: c.scopes})
	}
	c.issuedAccess = a.issueAccess(c.user, client, c.issuedGrant, c.scopes)
	if err := a.save(); err != nil {
		return tokenReply{}, &oauthError{500, "internal_failure", err.Error()}
	}
	reply := tokenReply{Access: c.issuedAccess, Refresh: c.issuedGrant, Scope: strings.Join(c.scopes, " ")}
	if c.offline {
		reply.GrantEnds = int(life.Seconds())
	}
	return reply, nil
}

// verify checks the proof that whoever has the code also asked for it (PKCE, RFC 7636).
func (c *code) verify(verifier string) *oauthError {
	switch {
	case c.challenge == "" && verifier == "":
		return nil
	case c.challenge == "":
		return invalidGrant("code_verifier or verifier is not needed.")
	case verifier == "":
		return invalidGrant("Missing code verifier.")
	}
	proof := verifier
	if c.method == "S256" {
		sum := sha256.Sum256([]byte(verifier))
		proof = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	if subtle.ConstantTimeCompare([]byte(proof), []byte(c.challenge)) != 1 {
		return invalidGrant("Invalid code verifier.")
	}
	return nil
}

// refresh turns a refresh token into an access token, for the same scopes or fewer.
func (a *authority) refresh(r *http.Request, life time.Duration) (tokenReply, *oauthError) {
	client, fault := a.identify(r)
	if fault != nil {
		return tokenReply{}, fault
	}
	token := r.PostForm.Get("refresh_token")
	a.mu.Lock()
	defer a.mu.Unlock()
	g, ok := a.state.Grants[token]
	switch {
	case token == "":
		return tokenReply{}, &oauthError{400, "invalid_request", "Missing required parameter: refresh_token"}
	case !ok, life > 0 && a.now().Sub(g.Issued) > life:
		return tokenReply{}, invalidGrant("Token has been expired or revoked.")
	case g.Client != client:
		return tokenReply{}, &oauthError{401, "unauthorized_client", "Unauthorized"}
	}
	scopes := g.Scopes
	if asked := strings.Fields(r.PostForm.Get("scope")); len(asked) > 0 {
		for _, scope := range asked {
			if !slices.Contains(scopes, scope) {
				return tokenReply{}, &oauthError{400, "invalid_scope", "Bad Request"}
			}
		}
		scopes = asked
	}
	access := a.issueAccess(g.User, client, token, scopes)
	if err := a.save(); err != nil {
		return tokenReply{}, &oauthError{500, "internal_failure", err.Error()}
	}
	reply := tokenReply{Access: access, Scope: strings.Join(scopes, " ")}
	if life > 0 {
		reply.GrantEnds = int((life - a.now().Sub(g.Issued)).Seconds())
	}
	return reply, nil
}

func (s *Server) serveRevoke(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	token := r.FormValue("token")
	a := s.auth
	a.mu.Lock()
	live := a.revoke(token)
	err := a.save()
	a.mu.Unlock()
	switch {
	case err != nil:
		(&oauthError{500, "internal_failure", err.Error()}).write(w)
	case !live:
		(&oauthError{400, "invalid_token", "Token expired or revoked"}).write(w)
	default:
		writeOAuth(w, http.StatusOK, struct{}{})
	}
}
