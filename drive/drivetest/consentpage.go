package drivetest

import (
	"html/template"
	"net/http"
)

// browserCookie tells browsers apart.
const browserCookie = "drivetest_browser"

// consentPage is plain enough to be answered without scripts, and by curl.
var consentPage = template.Must(template.New("consent").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>Sign in – emulated Google Drive</title>
<link rel="icon" href="data:,">
<style>
:root { --text: #1f1f1f; --faint: #5f6368; --page: #f0f4f9; --card: #fff; --line: #747775; --blue: #0b57d0; --on-blue: #fff }
@media (prefers-color-scheme: dark) { :root { --text: #e3e3e3; --faint: #b0b3b8; --page: #1b1b1b; --card: #262626; --line: #8e918f; --blue: #a8c7fa; --on-blue: #062e6f } }
body { font: 16px/1.5 system-ui, sans-serif; background: var(--page); color: var(--text); margin: 0 }
main { max-width: 30em; margin: 4em auto; padding: 2em 2.5em; background: var(--card); border-radius: 1.5em }
h1 { font-size: 1.4em; font-weight: 500 } fieldset { border: 0; padding: 0; margin: 1em 0 } label { display: block; margin: .5em 0 }
button { font: inherit; padding: .5em 1.6em; border-radius: 2em; border: 1px solid var(--line); background: none; color: inherit; margin-right: .5em }
button.allow { background: var(--blue); border-color: var(--blue); color: var(--on-blue) } small, p.note { color: var(--faint); font-size: .85em; overflow-wrap: anywhere }
</style></head><body><main>
{{with .Fault}}<h1>Access blocked: Error {{$.Status}}: {{$.Name}}</h1><p>{{.}}</p>
{{else}}<h1><b>{{.App}}</b> wants access to your Google Account</h1>
<form method="post" action="{{.Action}}">
<input type="hidden" name="consent" value="{{.Number}}">
<fieldset><legend>Account</legend>
{{range .Users}}<label><input type="radio" name="account" value="{{.Email}}"{{if .Checked}} checked{{end}}> {{.Email}}</label>
{{end}}</fieldset>
<fieldset><legend>Select what <b>{{.App}}</b> can access</legend>
{{range .Scopes}}<label><input type="checkbox" name="scope" value="{{.Name}}" checked> {{.Text}}<br><small>{{.Name}}</small></label>
{{end}}</fieldset>
<button class="allow" name="decision" value="allow">Allow</button><button name="decision" value="deny">Deny</button>
</form>
<p class="note">You will be sent to {{.Redirect}}.</p>{{end}}
<p class="note">This is an emulated Drive: nothing leaves this machine.</p>
</main></body></html>
`))

// pageUser and pageScope are the lines of the page's two lists.
type (
	pageUser struct {
		Email   string
		Checked bool
	}
	pageScope struct{ Name, Text string }
)

// pageData fills consentPage: with Fault it is an error page.
type pageData struct {
	Fault, Name                   string
	Status                        int
	App, Action, Number, Redirect string
	Users                         []pageUser
	Scopes                        []pageScope
}

// showConsent shows the page for in and remembers that it has.
func (s *Server) showConsent(w http.ResponseWriter, r *http.Request, in ask) {
	browser := random(24)
	if cookie, err := r.Cookie(browserCookie); err == nil && len(cookie.Value) == len(browser) {
		browser = cookie.Value // other pages of this browser may still be open
	}
	number := random(32)
	s.auth.mu.Lock()
	s.auth.consents[number] = &consent{ask: in, browser: browser, expires: s.auth.now().Add(codeLife)}
	s.auth.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: browserCookie, Value: browser, Path: "/o/oauth2/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	page := pageData{App: s.auth.client().Name, Action: r.URL.Path, Number: number, Redirect: in.redirect}
	chosen := s.users[0]
	for _, email := range s.users {
		if email == in.hint {
			chosen = email
		}
	}
	for _, email := range s.users {
		page.Users = append(page.Users, pageUser{email, email == chosen})
	}
	for _, scope := range in.scopes {
		page.Scopes = append(page.Scopes, pageScope{scope, scopeTexts[scope]})
	}
	writePage(w, http.StatusOK, page)
}

// show is the page of an error that must not be sent to the client.
func (e *pageError) show(w http.ResponseWriter) {
	writePage(w, e.status, pageData{Fault: e.text, Name: e.name, Status: e.status})
}

func writePage(w http.ResponseWriter, status int, data pageData) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = consentPage.Execute(w, data) // the browser has gone
}
