package drivetest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// AccessToken returns a bearer token of the account for the whole Drive scope, valid for ten minutes at least.
func (u *User) AccessToken() string { return u.AccessTokenFor(driveScope) }

// AccessTokenFor returns a bearer token for these scopes only, given by their full names, valid for ten
// minutes at least. It is the same one as long as that holds.
func (u *User) AccessTokenFor(scopes ...string) string {
	a := u.server.auth
	a.mu.Lock()
	defer a.mu.Unlock()
	for token, t := range a.state.Access {
		if t.User == u.email && t.Grant == "" && slices.Equal(t.Scopes, scopes) && t.Expires.Sub(a.now()) > 10*time.Minute {
			return token
		}
	}
	token := a.issueAccess(u.email, a.state.Client.ID, "", scopes)
	_ = a.save() // lost by a crash, it is refused, and refreshed like any other
	return token
}

// RevokeTokens ends every token of the account, as its owner does on his security page: a refresh then
// answers 400 invalid_grant and the API 401 authError.
func (u *User) RevokeTokens() {
	a := u.server.auth
	a.mu.Lock()
	defer a.mu.Unlock()
	for token, g := range a.state.Grants {
		if g.User == u.email {
			a.revoke(token)
		}
	}
	for token, t := range a.state.Access {
		if t.User == u.email {
			a.revoke(token)
		}
	}
	_ = a.save() // in memory it holds; Close writes it again
}

// ClientSecrets is the file a person downloads from the service's console for a desktop program, with
// this server's addresses in it.
func (s *Server) ClientSecrets() ([]byte, error) {
	url := s.URL()
	if url == "" {
		return nil, errors.New("client secrets: the emulated Drive is not listening")
	}
	client := s.auth.client()
	type installed struct {
		ID       string   `json:"client_id"`
		Project  string   `json:"project_id"`
		Auth     string   `json:"auth_uri"`
		Token    string   `json:"token_uri"`
		Certs    string   `json:"auth_provider_x509_cert_url"`
		Secret   string   `json:"client_secret"`
		Redirect []string `json:"redirect_uris"`
	}
	return json.MarshalIndent(map[string]installed{"installed": {
		ID: client.ID, Project: projectName, Auth: url + "/o/oauth2/auth", Token: url + "/token",
		Certs: url + "/oauth2/v1/certs", Secret: client.Secret, Redirect: []string{"http://localhost"},
	}}, "", " ")
}

// WriteCredentials writes what a signed-in program needs into dir, which it makes if it is missing:
// client_secrets.json, token.json (a golang.org/x/oauth2 Token with a refresh token), and env, the
// lines that set a shell up to use both and a state directory of its own. The server must be listening.
// Files written for an earlier address of the server are replaced; refresh tokens handed out earlier stay
// valid.
func (u *User) WriteCredentials(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	secrets, err := u.server.ClientSecrets()
	if err != nil {
		return err
	}
	token, err := u.token()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	env := ""
	for _, v := range [][2]string{
		{"SREGFS_DRIVE_URL", u.server.URL()},
		{"SREGISTRY_GOOGLE_DRIVE_CREDENTIALS", filepath.Join(dir, "client_secrets.json")},
		{"SREGFS_TOKEN", filepath.Join(dir, "token.json")},
		{"SREGFS_STATE_DIR", filepath.Join(dir, "state")}, // two users of one machine must not share their state
	} {
		env += "export " + v[0] + "='" + strings.ReplaceAll(v[1], "'", `'\''`) + "'\n"
	}
	return errors.Join(
		writeFileSync(filepath.Join(dir, "client_secrets.json"), append(secrets, '\n')),
		writeFileSync(filepath.Join(dir, "token.json"), append(token, '\n')),
		writeFileSync(filepath.Join(dir, "env"), []byte(env)))
}

// token makes the account's own sign-in, as token.json holds it. The refresh token is the same each time,
// until it is revoked.
func (u *User) token() ([]byte, error) {
	a := u.server.auth
	a.mu.Lock()
	defer a.mu.Unlock()
	var refresh string
	for token, g := range a.state.Grants {
		if g.Own && g.User == u.email {
			refresh = token
		}
	}
	scopes := []string{driveScope}
	if refresh == "" {
		refresh = a.issueGrant(refreshGrant{User: u.email, Client: a.state.Client.ID, Scopes: scopes, Own: true})
	}
	access := a.issueAccess(u.email, a.state.Client.ID, refresh, scopes)
	if err := a.save(); err != nil {
		return nil, err
	}
	return json.MarshalIndent(struct {
		Access  string    `json:"access_token"`
		Type    string    `json:"token_type"`
		Refresh string    `json:"refresh_token"`
		Expiry  time.Time `json:"expiry"`
	}{access, "Bearer", refresh, a.now().Add(tokenLife).UTC()}, "", " ")
}

// WriteServiceAccount makes the account a service account, which owns no storage, and writes a new key of
// it as a JSON key file, mode 0600. The server must be listening; keys stay valid when it is opened again
// on another port, but their token_uri does not.
func (u *User) WriteServiceAccount(path string) error {
	url := u.server.URL()
	if url == "" {
		return errors.New("service account key: the emulated Drive is not listening")
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	account := u.server.store.serviceAccount(u.email)
	id := fmt.Sprintf("%x", random(15))
	if err := u.server.auth.addKey(u.email, id, public); err != nil {
		return err
	}
	b, err := json.MarshalIndent(map[string]string{
		"type": "service_account", "project_id": projectName, "private_key_id": id,
		"private_key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		"client_email": u.email, "client_id": account.permissionID,
		"auth_uri": url + "/o/oauth2/auth", "token_uri": url + "/token",
		"auth_provider_x509_cert_url": url + "/oauth2/v1/certs", "universe_domain": "googleapis.com",
	}, "", "  ")
	if err != nil {
		return err
	}
	return writeFileSync(path, append(b, '\n'))
}

// client is the program all credentials of this server belong to.
func (a *authority) client() oauthClient {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state.Client
}

// addKey registers a service account's public key.
func (a *authority) addKey(email, id string, public []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state.Service[email] == nil {
		a.state.Service[email] = map[string][]byte{}
	}
	a.state.Service[email][id] = public
	return a.save()
}
