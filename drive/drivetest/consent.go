package drivetest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// scopeTexts are the scopes a client may ask for, in the words of the consent page.
var scopeTexts = map[string]string{
	driveScope:                              "See, edit, create, and delete all of your Google Drive files",
	scopePrefix + "drive.readonly":          "See and download all your Google Drive files",
	scopePrefix + "drive.file":              "See, edit, create, and delete only the specific Google Drive files you use with this app",
	scopePrefix + "drive.metadata":          "View and manage metadata of files in your Google Drive",
	scopePrefix + "drive.appdata":           "See, create, and delete its own configuration data in your Google Drive",
	scopePrefix + "userinfo.email":          "See your primary Google Account email address",
	scopePrefix + "userinfo.profile":        "See your personal info, including any personal info you've made publicly available",
	"openid":                                "Associate you with your personal info on Google",
	"email":                                 "See your primary Google Account email address",
	"profile":                               "See your personal info, including any personal info you've made publicly available",
	scopePrefix + "drive.metadata.readonly": "See information about your Google Drive files",
}

// oobRedirect is how clients asked for a code to be shown instead of sent, until 2023.
const oobRedirect = "urn:ietf:wg:oauth:2.0:oob"

// ask is what a client asks a person for.
type ask struct {
	redirect, state, client string
	scopes                  []string
	challenge, method       string
	offline, prompt         bool
	hint                    string // the account the client thinks it is
}

// pageError is an error that is shown to the person: the client cannot be trusted with it.
type pageError struct {
	status     int
	name, text string
}

// readAsk checks the parameters of a consent page.
func (a *authority) readAsk(q url.Values) (ask, *pageError) {
	in := ask{
		redirect: q.Get("redirect_uri"), state: q.Get("state"), client: q.Get("client_id"), hint: q.Get("login_hint"),
		scopes: strings.Fields(q.Get("scope")), challenge: q.Get("code_challenge"), method: q.Get("code_challenge_method"),
		offline: q.Get("access_type") == "offline", prompt: slices.Contains(strings.Fields(q.Get("prompt")), "consent") || q.Get("approval_prompt") == "force",
	}
	switch {
	case in.client == "":
		return in, &pageError{400, "invalid_request", "Missing required parameter: client_id"}
	case in.client != a.client().ID:
		return in, &pageError{401, "invalid_client", "The OAuth client was not found."}
	case in.redirect == "":
		return in, &pageError{400, "invalid_request", "Missing required parameter: redirect_uri"}
	case strings.HasPrefix(in.redirect, oobRedirect):
		return in, &pageError{400, "invalid_request", "The out-of-band (OOB) flow has been blocked in order to keep users secure. " +
			"Follow the Out-of-Band (OOB) flow migration guide to migrate your app to an alternative method."}
	case !isLoopback(in.redirect):
		return in, &pageError{400, "redirect_uri_mismatch", "The redirect URI in the request, " + in.redirect + ", does not match the ones authorized for the OAuth client."}
	case q.Get("response_type") == "":
		return in, &pageError{400, "invalid_request", "Required parameter is missing: response_type"}
	case q.Get("response_type") != "code":
		return in, &pageError{400, "unsupported_response_type", "Invalid response_type: " + q.Get("response_type")}
	case len(in.scopes) == 0:
		return in, &pageError{400, "invalid_request", "Missing required parameter: scope"}
	}
	for _, scope := range in.scopes {
		if scopeTexts[scope] == "" {
			return in, &pageError{400, "invalid_scope", "Some requested scopes were invalid. {invalid=[" + scope + "]}"}
		}
	}
	switch {
	case in.method == "" && in.challenge != "":
		in.method = "plain"
	case in.method != "" && in.method != "S256" && in.method != "plain":
		return in, &pageError{400, "invalid_request", "Invalid parameter value for code_challenge_method: " + in.method}
	}
	if in.challenge == "" && in.method != "" || in.challenge != "" && (len(in.challenge) < 43 || len(in.challenge) > 128) {
		return in, &pageError{400, "invalid_request", "Invalid parameter value for code_challenge: it must have 43 to 128 characters."}
	}
	return in, nil
}

// isLoopback says whether a desktop client may be answered at this address: any port and path of this machine.
func isLoopback(redirect string) bool {
	u, err := url.Parse(redirect)
	return err == nil && u.Scheme == "http" && u.User == nil && u.Fragment == "" &&
		slices.Contains([]string{"127.0.0.1", "localhost", "::1"}, u.Hostname())
}

// back is the address that hands the answer to the client.
func (in *ask) back(answer url.Values) string {
	u, err := url.Parse(in.redirect)
	if err != nil {
		return in.redirect // readAsk has parsed it before
	}
	q := u.Query()
	for key, values := range answer {
		q[key] = values
	}
	if in.state != "" {
		q.Set("state", in.state)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// denied is the answer of a person who did not agree.
func (in *ask) denied() string { return in.back(url.Values{"error": {"access_denied"}}) }

// allow issues a code for the scopes user agreed to, and returns the address that hands it over.
func (a *authority) allow(in ask, user string, scopes []string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.allowLocked(in, user, scopes)
}

// allowLocked is allow for callers who hold mu.
func (a *authority) allowLocked(in ask, user string, scopes []string) string {
	if len(scopes) == 0 {
		return in.denied()
	}
	again := false
	for _, g := range a.state.Grants {
		again = again || g.User == user && g.Client == in.client && !g.Own
	}
	c := &code{
		user: user, client: in.client, redirect: in.redirect, scopes: scopes, challenge: in.challenge, method: in.method,
		offline: in.offline && (in.prompt || !again), // a repeated consent yields a refresh token only if it was asked for
		expires: a.now().Add(codeLife),
	}
	key := "4/0A" + random(60)
	a.codes[key] = c
	return in.back(url.Values{"code": {key}, "scope": {strings.Join(scopes, " ")}})
}

// Authorize does what the account's owner does with a consent page: it agrees to authURL, the address a
// client opens in the browser, and returns where the browser is sent. Given scopes are ticked, all others
// are not; without any all stay ticked.
func (u *User) Authorize(authURL string, scopes ...string) (redirect string, err error) {
	parsed, err := url.Parse(authURL)
	if err != nil {
		return "", err
	}
	in, fault := u.server.auth.readAsk(parsed.Query())
	if fault != nil {
		return "", fmt.Errorf("consent page: %d %s: %s", fault.status, fault.name, fault.text)
	}
	if len(scopes) == 0 {
		scopes = in.scopes
	}
	return u.server.auth.allow(in, u.email, intersection(in.scopes, scopes)), nil
}

// intersection is the asked scopes that were ticked, in the order asked.
func intersection(asked, ticked []string) []string {
	var both []string
	for _, scope := range asked {
		if slices.Contains(ticked, scope) {
			both = append(both, scope)
		}
	}
	return both
}

// serveConsent shows the consent page, and takes its answer.
func (s *Server) serveConsent(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		in, fault := s.auth.readAsk(r.URL.Query())
		if fault != nil {
			fault.show(w)
			return
		}
		if slices.Contains(strings.Fields(r.URL.Query().Get("prompt")), "none") {
			http.Redirect(w, r, in.back(url.Values{"error": {"interaction_required"}}), http.StatusFound)
			return
		}
		s.showConsent(w, r, in)
	case http.MethodPost:
		r.Body = http.MaxBytesReader(w, r.Body, 1<<16)
		to, fault := s.answered(r)
		if fault != nil {
			fault.show(w)
			return
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
	default:
		h.Set("Allow", "GET, HEAD, POST")
		http.Error(w, "the consent page takes GET and POST", http.StatusMethodNotAllowed)
	}
}

// answered reads the form of a consent page. The page's number is known only to who was shown the page,
// and counts only with the cookie that came with it: another site can neither guess nor replay it. Its first answer
// counts; a second click on the page leads where the first one did.
func (s *Server) answered(r *http.Request) (string, *pageError) {
	if err := r.ParseForm(); err != nil {
		return "", &pageError{400, "invalid_request", "The form is malformed."}
	}
	a := s.auth
	a.mu.Lock()
	defer a.mu.Unlock()
	shown := a.consents[r.PostForm.Get("consent")]
	cookie, err := r.Cookie(browserCookie)
	switch {
	case shown == nil, err != nil, cookie.Value != shown.browser, !a.now().Before(shown.expires):
		return "", &pageError{400, "invalid_request", "This page has expired, or was not shown to this browser (its cookie is missing). Start the sign-in again."}
	case shown.answer != "":
		return shown.answer, nil
	}
	switch r.PostForm.Get("decision") {
	case "allow":
	case "deny":
		shown.answer = shown.ask.denied()
		return shown.answer, nil
	default:
		return "", &pageError{400, "invalid_request", "The form has no decision."}
	}
	user := r.PostForm.Get("account")
	if user == "" {
		user = s.first
	}
	if !slices.Contains(s.users, strings.ToLower(user)) {
		return "", &pageError{400, "invalid_request", "There is no account " + user + "."}
	}
	shown.answer = a.allowLocked(shown.ask, strings.ToLower(user), intersection(shown.ask.scopes, r.PostForm["scope"]))
	return shown.answer, nil
}
