package drivetest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	tokenLife   = 3599 * time.Second // of an access token, as the service states it
	codeLife    = 10 * time.Minute   // of an authorization code and of a consent page
	maxGrants   = 100                // live refresh tokens of one account and client; the oldest goes silently
	driveScope  = "https://www.googleapis.com/auth/drive"
	grantsFile  = "oauth.json"
	projectName = "sregfs-emulator"
)

// oauthClient is a registered program: what is in a client_secrets.json.
type oauthClient struct {
	ID, Secret, Name string
}

// access is what an access token stands for.
type access struct {
	User, Client string
	Scopes       []string
	Expires      time.Time
	Grant        string `json:",omitempty"` // the refresh token it came with; revoking one revokes the other
}

// refreshGrant is what a refresh token stands for.
type refreshGrant struct {
	User, Client string
	Scopes       []string
	Issued       time.Time
	Own          bool `json:",omitempty"` // the one WriteCredentials hands out, not one of a consent
}

// code is what an authorization code stands for. Codes live in memory only: a restart ends sign-ins under way.
type code struct {
	user, client, redirect    string
	scopes                    []string
	challenge, method         string
	offline                   bool
	expires                   time.Time
	spent                     bool
	issuedAccess, issuedGrant string // what it was exchanged for: revoked if the code comes a second time
}

// consent is a consent page that has been shown.
type consent struct {
	ask     ask
	browser string // cookie of the browser that was shown it
	expires time.Time
	answer  string // where its answer sent the browser, "" without one yet; guarded by the authority's mu
}

// grantState is what survives a restart, as the file has it.
type grantState struct {
	V       int
	Client  oauthClient
	Access  map[string]access
	Grants  map[string]refreshGrant
	Service map[string]map[string][]byte // service account -> key id -> public key, PKIX
}

// authority issues and knows codes and tokens.
type authority struct {
	now  func() time.Time
	path string // "" = in memory

	mu       sync.Mutex // guards what follows, and writing path
	state    grantState
	codes    map[string]*code
	consents map[string]*consent
}

// openAuthority reads the state in dir, or begins a new one.
func openAuthority(dir string, now func() time.Time) (*authority, error) {
	a := &authority{now: now, codes: map[string]*code{}, consents: map[string]*consent{}}
	a.state = grantState{
		V: 1, Access: map[string]access{}, Grants: map[string]refreshGrant{}, Service: map[string]map[string][]byte{},
		Client: oauthClient{ID: "640411111" + digits(3) + "-" + random(16) + ".apps.googleusercontent.com", Secret: "GOCSPX-" + random(21), Name: "sregfs"},
	}
	if dir == "" {
		return a, nil
	}
	a.path = filepath.Join(dir, grantsFile)
	b, err := os.ReadFile(a.path)
	if errors.Is(err, iofs.ErrNotExist) {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a, a.save()
	}
	if err != nil {
		return nil, err
	}
	var state grantState
	if err := json.Unmarshal(b, &state); err != nil {
		return nil, fmt.Errorf("%s: %w", a.path, err)
	}
	if state.V != 1 || state.Client.ID == "" {
		return nil, fmt.Errorf("%s: version %d is not one this emulator knows", a.path, state.V)
	}
	maps.Copy(a.state.Access, state.Access)
	maps.Copy(a.state.Grants, state.Grants)
	maps.Copy(a.state.Service, state.Service)
	a.state.Client = state.Client
	return a, nil
}

// Close writes the state a last time.
func (a *authority) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.save()
}

// save writes the state by rename, readable by its owner alone. Callers hold mu.
func (a *authority) save() error {
	now := a.now()
	maps.DeleteFunc(a.state.Access, func(_ string, t access) bool { return now.After(t.Expires.Add(24 * time.Hour)) })
	maps.DeleteFunc(a.codes, func(_ string, c *code) bool { return now.After(c.expires) })
	maps.DeleteFunc(a.consents, func(_ string, c *consent) bool { return now.After(c.expires) })
	if a.path == "" {
		return nil
	}
	b, err := json.MarshalIndent(a.state, "", " ")
	if err != nil {
		return err
	}
	return writeFileSync(a.path, b)
}

// writeFileSync replaces path whole or not at all, mode 0600.
func writeFileSync(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it has been renamed
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// issueAccess makes an access token. Callers hold mu and save.
func (a *authority) issueAccess(user, client, grant string, scopes []string) string {
	token := "ya29." + random(48)
	a.state.Access[token] = access{User: user, Client: client, Scopes: scopes, Expires: a.now().Add(tokenLife), Grant: grant}
	return token
}

// issueGrant makes a refresh token and drops the oldest beyond maxGrants. Callers hold mu and save.
func (a *authority) issueGrant(g refreshGrant) string {
	var live []string
	for token, other := range a.state.Grants {
		if other.User == g.User && other.Client == g.Client && !other.Own {
			live = append(live, token)
		}
	}
	slices.SortFunc(live, func(x, y string) int { return a.state.Grants[x].Issued.Compare(a.state.Grants[y].Issued) })
	for len(live) >= maxGrants {
		a.revoke(live[0])
		live = live[1:]
	}
	token := "1//" + random(60)
	g.Issued = a.now()
	a.state.Grants[token] = g
	return token
}

// revoke ends a token of either kind and those bound to it, and tells whether it was live. Callers hold mu and save.
func (a *authority) revoke(token string) bool {
	if t, ok := a.state.Access[token]; ok {
		delete(a.state.Access, token)
		if t.Grant != "" {
			a.revoke(t.Grant)
		}
		return true
	}
	if _, ok := a.state.Grants[token]; !ok {
		return false
	}
	delete(a.state.Grants, token)
	maps.DeleteFunc(a.state.Access, func(_ string, t access) bool { return t.Grant == token })
	return true
}

// granted finds a live access token.
func (a *authority) granted(token string) (access, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.state.Access[token]
	return t, ok && a.now().Before(t.Expires)
}

// random is n characters, url-safe, that nobody can guess.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b)[:n]
}

// digits is n random decimal digits.
func digits(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	for i := range b {
		b[i] = '0' + b[i]%10
	}
	return string(b)
}
