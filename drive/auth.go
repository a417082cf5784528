package drive

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/jwt"
)

// Scope is the permission we ask for: all of the Drive. With the narrower drive.file neither images pushed
// by the registry's own tool nor those shared by others would be visible.
const Scope = "https://www.googleapis.com/auth/drive"

// scopeText is what Google's consent page calls Scope.
const scopeText = "See, edit, create, and delete all of your Google Drive files"

// Kinds of client files.
const (
	KindInstalled      = "installed"
	KindWeb            = "web"
	KindServiceAccount = "service_account"
)

// AuthOptions name the files of the sign-in.
type AuthOptions struct {
	Credentials string // OAuth client file ("installed" or "web"), or a service account's key
	// Read gives the content of Credentials, which is a name for messages then; nil: Credentials is a path.
	Read   func() ([]byte, error)
	Token  string // token file; "" with Save unset: the token lives in memory only
	Import string // token of the Python registry tool, used while Token does not exist; never written
	Save   bool   // write new tokens to Token
	Log    logrus.FieldLogger
}

// Auth is who we are to Drive: a client, and the grant of a person. It is safe for concurrent use. A token
// file that another process replaced is read again before the next request.
type Auth struct {
	opts AuthOptions
	kind string
	conf *oauth2.Config // of a person's sign-in
	uris []string       // redirect addresses registered for a "web" client
	key  *jwt.Config    // of a service account
	http *http.Client
	turn chan struct{} // held while a token is fetched: one process, one refresh

	mu       sync.Mutex // guards what follows, and writing the token file
	token    *oauth2.Token
	consent  Consent     // that token comes from
	dead     string      // the refresh token that was refused: not to be tried again
	stamp    os.FileInfo // of the token file when it was read
	keepFile bool        // the token file belongs to the Python tool: new tokens stay in memory
}

// OpenAuth reads the files. No file named, or none there, is ErrNoCredentials; one that cannot be used is
// ErrCredentials. A missing token is no error: SignedIn says, and calls fail with ErrSignIn.
func OpenAuth(o AuthOptions) (*Auth, error) {
	if o.Log == nil {
		o.Log = silentLog()
	}
	if o.Credentials == "" {
		return nil, ErrNoCredentials
	}
	read := func() ([]byte, error) { return readSmall(o.Credentials) }
	if o.Read != nil {
		read = o.Read
	}
	text, err := read()
	if o.Read == nil && errors.Is(err, iofs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", o.Credentials, ErrNoCredentials)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCredentials, err)
	}
	transport := newTransport(0, 0)
	transport.DisableKeepAlives = true // a request an hour
	a := &Auth{opts: o, turn: make(chan struct{}, 1), http: &http.Client{
		Transport: transport, Timeout: 30 * time.Second,
		// What is sent to a token endpoint is for it alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if err := a.parse(text); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", o.Credentials, ErrCredentials, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reload()
	a.importToken()
	return a, nil
}

// clientFile is every kind of file Google's console hands out.
type clientFile struct {
	Installed *clientSection `json:"installed"`
	Web       *clientSection `json:"web"`

	Type       string `json:"type"`
	Email      string `json:"client_email"`
	PrivateKey string `json:"private_key"`
	KeyID      string `json:"private_key_id"`
	TokenURI   string `json:"token_uri"`
}

type clientSection struct {
	ID        string   `json:"client_id"`
	Secret    string   `json:"client_secret"`
	AuthURI   string   `json:"auth_uri"`
	TokenURI  string   `json:"token_uri"`
	Redirects []string `json:"redirect_uris"`
}

// parse finds out what kind of client text describes. Its errors do not quote text: it holds secrets.
func (a *Auth) parse(text []byte) error {
	var f clientFile
	if json.Unmarshal(text, &f) != nil {
		return errors.New("it is not JSON; download it again from the Google Cloud console, APIs & Services, Credentials")
	}
	section := f.Installed
	a.kind = KindInstalled
	if section == nil {
		section, a.kind = f.Web, KindWeb
	}
	switch {
	case section != nil:
		return a.parseClient(section)
	case f.Type == KindServiceAccount:
		return a.parseKey(f)
	case f.Type != "":
		return fmt.Errorf("it is of type %.40q; needed is an OAuth client of type Desktop app, or a service account key", f.Type)
	}
	return errors.New(`it has neither "installed" nor "web", and is no service account key; needed is an OAuth client of type Desktop app`)
}

func (a *Auth) parseClient(s *clientSection) error {
	if s.ID == "" {
		return errors.New("its client_id is missing")
	}
	a.uris = s.Redirects
	a.conf = &oauth2.Config{ClientID: s.ID, ClientSecret: s.Secret, Scopes: []string{Scope}, Endpoint: oauth2.Endpoint{
		AuthURL:   or(s.AuthURI, "https://accounts.google.com/o/oauth2/auth"),
		TokenURL:  or(s.TokenURI, googleTokenURL),
		AuthStyle: oauth2.AuthStyleInParams,
	}}
	return errors.Join(a.checkURL("auth_uri", a.conf.Endpoint.AuthURL), a.checkURL("token_uri", a.conf.Endpoint.TokenURL))
}

func (a *Auth) parseKey(f clientFile) error {
	a.kind = KindServiceAccount
	if f.Email == "" {
		return errors.New("its client_email is missing")
	}
	block, _ := pem.Decode([]byte(f.PrivateKey))
	if block == nil {
		return errors.New("its private_key is not PEM")
	}
	if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		if _, err := x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			return errors.New("its private_key is not an RSA key")
		}
	}
	a.key = &jwt.Config{
		Email: f.Email, PrivateKey: []byte(f.PrivateKey), PrivateKeyID: f.KeyID,
		Scopes: []string{Scope}, TokenURL: or(f.TokenURI, googleTokenURL),
	}
	return a.checkURL("token_uri", a.key.TokenURL)
}

const googleTokenURL = "https://oauth2.googleapis.com/token"

// checkURL refuses what is no address in a client file.
func (a *Auth) checkURL(field, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return fmt.Errorf("its %s is no address", field)
	}
	warnPlain(a.opts.Log, "the "+field+" of the OAuth client", u)
	return nil
}

// Kind is KindInstalled, KindWeb or KindServiceAccount.
func (a *Auth) Kind() string { return a.kind }

// SignedIn says whether there is a grant that was not refused yet. It asks nobody.
func (a *Auth) SignedIn() bool {
	if a.key != nil {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reload()
	return a.token.Valid() || a.refreshable()
}

// Consent is when the grant at hand was given, and ends.
func (a *Auth) Consent() Consent {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reload()
	return a.consent
}

// Project is the number of the Google Cloud project that the client belongs to, "" if its id does not tell.
func (a *Auth) Project() string {
	if a.conf == nil {
		return ""
	}
	number, _, _ := strings.Cut(a.conf.ClientID, "-")
	if strings.Trim(number, "0123456789") != "" {
		return ""
	}
	return number
}

// SignIn is a name for the grant at hand: equal for the same client and the same consent, "" if there is no lasting one.
// It tells nothing of them.
func (a *Auth) SignIn() string {
	if a == nil {
		return ""
	}
	if a.key != nil {
		return a.grant(nil)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reload()
	if !a.refreshable() {
		return ""
	}
	return a.grant(a.token)
}

// grant is a name for what token was given for: equal as long as the consent is the same. It tells nothing of it.
func (a *Auth) grant(token *oauth2.Token) string {
	var parts []string
	switch {
	case a.key != nil:
		parts = []string{a.key.Email, a.key.PrivateKeyID}
	case token.RefreshToken != "":
		parts = []string{a.conf.ClientID, token.RefreshToken}
	default: // it will not last
		parts = []string{a.conf.ClientID, "", token.AccessToken}
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// refreshable says whether there is a refresh token worth sending. Callers hold mu.
func (a *Auth) refreshable() bool {
	return a.token != nil && a.token.RefreshToken != "" && a.token.RefreshToken != a.dead
}

// silentLog is for Options without one.
func silentLog() logrus.FieldLogger {
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	return silent
}
