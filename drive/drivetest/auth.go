package drivetest

import (
	"net/http"
	"slices"
	"strings"
)

const scopePrefix = "https://www.googleapis.com/auth/"

// Which scopes allow what, by the discovery document. drive.file allows each call, on the files of its
// own client only.
var (
	readScopes    = []string{"drive", "drive.file", "drive.readonly"}
	lookScopes    = append([]string{"drive.metadata", "drive.metadata.readonly"}, readScopes...)
	editScopes    = []string{"drive", "drive.file", "drive.metadata"}
	contentScopes = []string{"drive", "drive.file"}
)

// scopesFor lists the scopes of which one is needed for op.
func scopesFor(op string, r *http.Request) []string {
	switch {
	case op == "media":
		return readScopes
	case op == "files.generateIds":
		return contentScopes
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return lookScopes
	case op == "files.update" && !strings.HasPrefix(r.URL.Path, "/upload/"):
		return editScopes
	}
	return contentScopes
}

// narrow says that the token is for drive.file and nothing wider.
func (a *account) narrow() bool {
	return a.scopes != nil && a.has(scopePrefix+"drive.file") &&
		!slices.ContainsFunc(lookScopes, func(short string) bool { return short != "drive.file" && a.has(scopePrefix+short) })
}

// sees is false for what a narrow token hides: other people's files, shared or not. All of an account's
// own files count as made by its client, because this server knows only one.
func (a *account) sees(f *file) bool { return f.Owner == a.email || !a.narrow() }

// tokenParameters are the query parameters that may hold a token, by the discovery document.
var tokenParameters = []string{"access_token", "oauth_token"}

// bearer is the access token of r, "" if it brings none.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") { // a scheme has no case: RFC 9110 §11.1
		return strings.TrimSpace(token)
	}
	query := r.URL.Query()
	for _, name := range tokenParameters {
		if query.Has(name) {
			return query.Get(name)
		}
	}
	return ""
}

// authenticate finds the account of the bearer token of r and checks that its scopes allow the call.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	token := bearer(r)
	if token == "" {
		return nil, &apiError{Status: 401, Reason: "required", Message: "Login Required.", LocationType: "header", Location: "Authorization"}
	}
	granted, ok := s.auth.granted(token)
	if !ok {
		return nil, &apiError{Status: 401, Reason: "authError", LocationType: "header", Location: "Authorization"}
	}
	acc := *s.store.account(granted.User)
	acc.client, acc.scopes = granted.Client, granted.Scopes
	note(r.Context(), func(q *Request) { q.User = acc.email })
	needed := scopesFor(opName(r), r)
	if !slices.ContainsFunc(needed, func(short string) bool { return acc.has(scopePrefix + short) }) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://accounts.google.com/", error="insufficient_scope", scope="`+
			scopePrefix+strings.Join(needed, " "+scopePrefix)+`"`)
		return nil, errForbidden("insufficientPermissions")
	}
	return r.WithContext(withAccount(r.Context(), &acc)), nil
}
