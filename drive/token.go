package drive

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// tokenFile is a token on disk: ours, which is how golang.org/x/oauth2 writes one, or the one of Python's
// oauth2client, which the registry tool leaves. They share names; what only the latter has tells it.
type tokenFile struct {
	oauth2.Token
	Consent
	ClientID string    `json:"client_id"`    // oauth2client: of the client the grant was given to
	Expires  time.Time `json:"token_expiry"` // oauth2client
	Class    string    `json:"_class"`       // oauth2client
}

// Consent is what is known of when a person let us in, to the second. Zero times are unknown: the token was written by
// another program.
type Consent struct {
	Given time.Time `json:"granted,omitzero"`
	// Ends is when the grant ends by itself; zero if Google did not say that it does. It does for projects in testing,
	// whose grants last 7 days.
	Ends time.Time `json:"grant_ends,omitzero"`
}

// note reads when the grant ends from a reply of the token endpoint. Google gives refresh_token_expires_in, in seconds,
// for grants that have an end: https://developers.google.com/identity/protocols/oauth2/native-app.
func (c *Consent) note(token *oauth2.Token) {
	var seconds float64
	switch v := token.Extra("refresh_token_expires_in").(type) {
	case float64:
		seconds = v
	case string:
		seconds, _ = strconv.ParseFloat(v, 64)
	}
	if seconds > 0 && seconds < 1e10 {
		c.Ends = time.Now().Add(time.Duration(seconds) * time.Second).UTC().Truncate(time.Second)
	}
}

// foreign says that the Python tool wrote f: it is read, and left as it is for that tool.
func (f *tokenFile) foreign() bool { return f.Class != "" || f.ClientID != "" }

// parseToken reads either form. Its errors do not quote text.
func parseToken(text []byte) (*tokenFile, error) {
	var f tokenFile
	if json.Unmarshal(text, &f) != nil {
		return nil, errors.New("it is not a token")
	}
	if f.AccessToken == "" && f.RefreshToken == "" {
		return nil, errors.New("it holds no token")
	}
	if f.foreign() {
		f.Expiry = f.Expires
	}
	return &f, nil
}

// readToken reads the token at path if it was given to this client. A grant is of no use to another one.
func (a *Auth) readToken(path string) (*tokenFile, error) {
	text, err := readSmall(path)
	if err != nil {
		return nil, err
	}
	f, err := parseToken(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if f.ClientID != "" && a.conf != nil && f.ClientID != a.conf.ClientID {
		return nil, fmt.Errorf("%s: it was given to another OAuth client", path)
	}
	return f, nil
}

// reload reads the token file if it is not the one read before: `sregfs login` in another process, or that
// of the Python tool, may have replaced it. Callers hold mu.
func (a *Auth) reload() {
	if a.opts.Token == "" || a.key != nil {
		return
	}
	stamp, err := os.Stat(a.opts.Token)
	switch {
	case errors.Is(err, iofs.ErrNotExist):
		if a.stamp != nil { // somebody signed out
			a.token, a.stamp, a.consent = nil, nil, Consent{}
		}
		return
	case err != nil || same(stamp, a.stamp):
		return
	}
	a.stamp = stamp
	if stamp.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(a.opts.Token, 0o600); err != nil {
			a.opts.Log.WithError(err).Warnf("others on this machine can read the token in %s", a.opts.Token)
		} else {
			a.opts.Log.Warnf("others on this machine could read the token in %s (mode %04o): now only you can", a.opts.Token, stamp.Mode().Perm())
		}
	}
	f, err := a.readToken(a.opts.Token)
	if err != nil {
		a.opts.Log.WithError(err).Warn("the token file is of no use")
		return
	}
	a.token, a.consent, a.dead, a.keepFile = &f.Token, f.Consent, "", f.foreign()
}

// importToken takes over the grant of the Python tool, if we have none of our own. Callers hold mu.
func (a *Auth) importToken() {
	if a.token != nil || a.opts.Import == "" || a.key != nil {
		return
	}
	f, err := a.readToken(a.opts.Import)
	if errors.Is(err, iofs.ErrNotExist) {
		return
	}
	if err != nil {
		a.opts.Log.WithError(err).Warn("the registry tool's token is of no use")
		return
	}
	a.keepLocked(&f.Token)
}

// smallFile is more than any client file or token has, in bytes.
const smallFile = 1 << 20

// readSmall is os.ReadFile for a file of at most smallFile bytes.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, smallFile+1))
	if err == nil && len(text) > smallFile {
		err = fmt.Errorf("%s: it has more than %d bytes", path, smallFile)
	}
	return text, err
}

// same says whether two looks at a file saw the same one, unchanged.
func same(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// saveToken writes a token so that path holds the old one or the new one whole, readable by its owner only.
func saveToken(path string, token *oauth2.Token, consent Consent) (os.FileInfo, error) {
	text, err := json.MarshalIndent(struct {
		*oauth2.Token
		Consent
	}{token, consent}, "", "  ")
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	sweepTokens(dir)
	f, err := os.CreateTemp(dir, unsaved+"*") // made with mode 0600
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(f.Name()) }() // after the rename there is nothing left to remove
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return nil, err
	}
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync() // a lost rename costs a sign-in, no more
		_ = d.Close()
	}
	return os.Stat(path)
}

// unsaved begins the names of tokens that are being written.
const unsaved = ".token-"

// sweepTokens removes what programs left that were killed while they wrote a token: it is a secret, and of no use. Those
// of the last minute may be in the hands of one that lives.
func sweepTokens(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // whoever writes there next hears of it
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), unsaved) && info.Mode().IsRegular() && time.Since(info.ModTime()) > time.Minute {
			_ = os.Remove(filepath.Join(dir, e.Name())) // or the next time
		}
	}
}
