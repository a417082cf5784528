package drive_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
)

// browser fetches an address as a person's browser does at the end of a sign-in.
func browser(t *testing.T, address string) <-chan string {
	t.Helper()
	page := make(chan string, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			page <- err.Error()
			return
		}
		resp, err := client.Do(req)
		if err != nil {
			page <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		page <- string(b)
	}()
	return page
}

func (w *world) signOut() {
	w.t.Helper()
	require.NoError(w.t, os.Remove(filepath.Join(w.dir, "token.json")))
}

func TestLogin(t *testing.T) {
	w := start(t, drivetest.Options{})
	w.signOut()
	var page <-chan string
	var asked *url.URL
	err := w.auth.Login(t.Context(), drive.Login{Page: "Now mount it.", Prompt: func(address string) error {
		var err error
		asked, err = url.Parse(address)
		require.NoError(t, err)
		to, err := w.user.Authorize(address)
		require.NoError(t, err)
		page = browser(t, to)
		return nil
	}})
	require.NoError(t, err)
	require.Contains(t, <-page, "Now mount it.")
	q := asked.Query()
	require.Equal(t, "offline", q.Get("access_type"))
	require.Equal(t, "consent", q.Get("prompt"))
	require.Equal(t, "S256", q.Get("code_challenge_method"))
	require.Equal(t, drive.Scope, q.Get("scope"))
	require.Regexp(t, `^http://127\.0\.0\.1:\d+/$`, q.Get("redirect_uri"))
	require.True(t, w.auth.SignedIn())
	require.NotEmpty(t, w.readToken().RefreshToken)
	_, err = w.About(t.Context())
	require.NoError(t, err)
	require.False(t, listens(t, q.Get("redirect_uri")), "the listener is closed")
}

func listens(t *testing.T, address string) bool {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", u.Host)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

func TestLoginByPaste(t *testing.T) {
	w := start(t, drivetest.Options{})
	for name, shape := range map[string]func(string) string{
		"the address":   func(to string) string { return "  " + to + "\n" },
		"with fragment": func(to string) string { return to + "#" },
		"its query":     func(to string) string { _, q, _ := strings.Cut(to, "?"); return q },
		"quoted":        func(to string) string { return "\"" + to + "\"\r\n" },
		"by a mail":     func(to string) string { return "<" + to[:40] + "\n " + to[40:] + ">" },
		"bracketed":     func(to string) string { return "\x1b[200~" + to + "\x1b[201~" },
	} {
		t.Run(name, func(t *testing.T) {
			to := ""
			err := w.auth.Login(t.Context(), drive.Login{
				Prompt: func(address string) (err error) { to, err = w.user.Authorize(address); return err },
				Paste:  func(context.Context, error) (string, error) { return shape(to), nil },
			})
			require.NoError(t, err)
			_, err = w.About(t.Context())
			require.NoError(t, err)
		})
	}
	for name, text := range map[string]string{
		"nothing": "", "rubbish": "xyz", "another sign-in": "http://127.0.0.1/?state=other&code=4/secretcode",
		"not even a query": "http://127.0.0.1/?state=%zz&code=4/secretcode",
	} {
		t.Run(name, func(t *testing.T) {
			given := false
			err := w.auth.Login(t.Context(), drive.Login{
				Prompt: func(string) error { return nil },
				Paste: func(_ context.Context, problem error) (string, error) {
					if given {
						require.Equal(t, text == "", problem == nil)
						return "", io.EOF
					}
					given = true
					return text, nil
				},
			})
			require.ErrorIs(t, err, drive.ErrSignIn)
			require.ErrorContains(t, err, map[bool]string{true: "no address was pasted", false: "paste the whole address"}[text == ""])
			require.NotContains(t, err.Error(), "secretcode")
		})
	}
	// Cut by a terminal's width: at the code, so that the first line looks whole; before it; and into many lines.
	for name, cut := range map[string]func(to string) []string{
		"in the code": func(to string) []string { i := strings.Index(to, "code=") + 12; return []string{to[:i], to[i:]} },
		"before it":   func(to string) []string { return []string{to[:30], to[30:]} },
		"many lines":  func(to string) []string { return []string{to[:50], to[50:90], to[90:130], to[130:]} },
		"after a slip": func(to string) []string {
			return []string{"ls -l", "http://127.0.0.1/?state=x&code=y", to[:60], to[60:]}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var lines []string
			err := w.auth.Login(t.Context(), drive.Login{
				Prompt: func(address string) error {
					to, err := w.user.Authorize(address)
					u, parseErr := url.Parse(to)
					require.NoError(t, parseErr)
					q := u.Query() // in Google's order, which has the code in the middle
					to = u.Scheme + "://" + u.Host + "/?state=" + q.Get("state") + "&code=" + url.QueryEscape(q.Get("code")) + "&scope=" + q.Get("scope")
					lines = cut(to)
					return err
				},
				Paste: func(context.Context, error) (line string, err error) {
					if len(lines) == 0 {
						return "", io.EOF
					}
					line, lines = lines[0]+"\n", lines[1:]
					return line, nil
				},
			})
			require.NoError(t, err)
		})
	}
	t.Run("the browser comes first", func(t *testing.T) {
		err := w.auth.Login(t.Context(), drive.Login{
			Prompt: func(address string) error {
				to, err := w.user.Authorize(address)
				browser(t, to)
				return err
			},
			Paste: func(ctx context.Context, _ error) (string, error) { <-ctx.Done(); return "", ctx.Err() },
		})
		require.NoError(t, err)
	})
}

func TestLoginThatFails(t *testing.T) {
	w := start(t, drivetest.Options{})
	w.signOut()
	redirectOf := func(address string) (redirect, state string) {
		u, err := url.Parse(address)
		require.NoError(t, err)
		return u.Query().Get("redirect_uri"), u.Query().Get("state")
	}
	var page <-chan string
	t.Run("consent denied", func(t *testing.T) {
		err := w.auth.Login(t.Context(), drive.Login{Prompt: func(address string) error {
			to, state := redirectOf(address)
			page = browser(t, to+"?error=access_denied&state="+state)
			return nil
		}})
		require.ErrorIs(t, err, drive.ErrSignIn)
		require.Contains(t, drive.Sentence(err), "access_denied")
		require.Contains(t, <-page, "That did not work")
	})
	t.Run("the Drive not ticked", func(t *testing.T) {
		// One consent for two scopes, of which the person leaves the second only.
		err := w.auth.Login(t.Context(), drive.Login{Prompt: func(address string) error {
			more := strings.Replace(address, url.QueryEscape(drive.Scope), url.QueryEscape(drive.Scope+" "+drive.Scope+".file"), 1)
			to, err := w.user.Authorize(more, drive.Scope+".file")
			require.NoError(t, err)
			page = browser(t, to)
			return nil
		}})
		require.ErrorIs(t, err, drive.ErrSignIn)
		require.Contains(t, drive.Sentence(err), "not ticked")
		require.Contains(t, <-page, "not ticked")
		require.NoFileExists(t, filepath.Join(w.dir, "token.json"))
	})
	t.Run("strangers at the door", func(t *testing.T) {
		err := w.auth.Login(t.Context(), drive.Login{Prompt: func(address string) error {
			to, state := redirectOf(address)
			require.Contains(t, <-browser(t, to+"?code=4/stolen&state=guess"), "not the answer")
			require.Contains(t, <-browser(t, to+"?code=4/stolen"), "not the answer")
			require.Contains(t, <-browser(t, to+"?state="+state), "not the answer")
			require.Contains(t, <-browser(t, to+"favicon.ico"), "404")
			answer, err := w.user.Authorize(address)
			require.NoError(t, err)
			page = browser(t, answer)
			return nil
		}})
		require.NoError(t, err)
		<-page
		w.signOut()
	})
	t.Run("it comes twice", func(t *testing.T) {
		// A double click, a look ahead, a scanner of addresses: each is told how the first one went.
		var pages [3]<-chan string
		err := w.auth.Login(t.Context(), drive.Login{Prompt: func(address string) error {
			to, err := w.user.Authorize(address)
			for i := range pages {
				pages[i] = browser(t, to)
			}
			return err
		}})
		require.NoError(t, err)
		for _, page := range pages {
			if text := <-page; !strings.Contains(text, "refused") { // it may come when all is over
				require.Contains(t, text, "Signed in")
			}
		}
		w.signOut()
	})
	t.Run("a code that is none", func(t *testing.T) {
		err := w.auth.Login(t.Context(), drive.Login{Prompt: func(address string) error {
			to, state := redirectOf(address)
			page = browser(t, to+"?code=4/nocode&state="+state)
			return nil
		}})
		require.ErrorIs(t, err, drive.ErrSignIn)
		require.NotContains(t, err.Error(), "nocode")
		<-page
	})
	t.Run("no browser", func(t *testing.T) {
		none := errors.New("no browser")
		require.ErrorIs(t, w.auth.Login(t.Context(), drive.Login{Prompt: func(string) error { return none }}), none)
	})
	t.Run("given up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		err := w.auth.Login(ctx, drive.Login{Prompt: func(string) error { cancel(); return nil }})
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestLoginOfAWebClient(t *testing.T) {
	w := start(t, drivetest.Options{})
	web := func(redirects ...string) *drive.Auth {
		path := write(t, filepath.Join(t.TempDir(), "client.json"), map[string]any{"web": map[string]any{
			"client_id": "x", "client_secret": "y", "auth_uri": w.srv.URL() + "/o/oauth2/auth", "token_uri": w.srv.URL() + "/token", "redirect_uris": redirects,
		}})
		auth, err := drive.OpenAuth(drive.AuthOptions{Credentials: path})
		require.NoError(t, err)
		return auth
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	registered := ""
	err = web("https://uni.edu/done", "http://"+address+"/done").Login(ctx, drive.Login{Prompt: func(asked string) error {
		u, err := url.Parse(asked)
		require.NoError(t, err)
		registered = u.Query().Get("redirect_uri")
		require.True(t, listens(t, registered))
		cancel()
		return nil
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, "http://"+address+"/done", registered)

	err = web("https://uni.edu/done").Login(t.Context(), drive.Login{Prompt: func(string) error { return nil }})
	require.ErrorIs(t, err, drive.ErrCredentials)
	err = web("https://uni.edu/done").Login(t.Context(), drive.Login{
		Prompt: func(asked string) error {
			require.Contains(t, asked, url.QueryEscape("https://uni.edu/done"))
			return nil
		},
		Paste: func(context.Context, error) (string, error) { return "", errors.New("nobody there") },
	})
	require.ErrorContains(t, err, "nobody there")
}

func TestLogout(t *testing.T) {
	w := start(t, drivetest.Options{})
	kept := w.readToken()
	require.NoError(t, w.auth.Logout(t.Context()))
	require.False(t, w.auth.SignedIn())
	require.NoFileExists(t, filepath.Join(w.dir, "token.json"))
	_, err := w.About(t.Context())
	require.ErrorIs(t, err, drive.ErrSignIn)
	require.NoError(t, w.auth.Logout(t.Context()), "twice is no harm")

	write(t, filepath.Join(w.dir, "token.json"), kept)
	_, err = w.About(t.Context())
	require.ErrorIs(t, err, drive.ErrSignIn, "the grant itself is withdrawn")

	t.Run("offline", func(t *testing.T) {
		w := start(t, drivetest.Options{})
		w.srv.Fault(drivetest.On("POST", "/revoke").DropReply())
		require.ErrorIs(t, w.auth.Logout(t.Context()), drive.ErrOffline)
		require.NoFileExists(t, filepath.Join(w.dir, "token.json"), "but here it is gone")
	})
	for token, want := range map[string]string{
		"https://oauth2.googleapis.com/token":          "https://oauth2.googleapis.com/revoke",
		"https://accounts.google.com/o/oauth2/token":   "https://oauth2.googleapis.com/revoke",
		"https://www.googleapis.com/oauth2/v4/token":   "https://oauth2.googleapis.com/revoke",
		"http://127.0.0.1:3988/oauth2/token":           "http://127.0.0.1:3988/oauth2/revoke",
		"http://127.0.0.1:3988":                        "http://127.0.0.1:3988/revoke",
		"https://oauth2.googleapis.com.evil.org/token": "https://oauth2.googleapis.com.evil.org/revoke",
	} {
		require.Equal(t, want, drive.RevokeURL(token))
	}
}
