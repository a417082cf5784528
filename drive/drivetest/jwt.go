package drivetest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

const (
	jwtLife = time.Hour       // longest life of a service account's assertion
	jwtSkew = 5 * time.Minute // by which its clock may be wrong
)

// assert turns the signed assertion of a service account (RFC 7523) into an access token.
func (a *authority) assert(r *http.Request) (tokenReply, *oauthError) {
	parts := strings.Split(r.PostForm.Get("assertion"), ".")
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss, Scope, Aud, Sub string
		Iat, Exp             float64
	}
	if len(parts) != 3 || !decodePart(parts[0], &header) || !decodePart(parts[1], &claims) {
		return tokenReply{}, &oauthError{400, "invalid_request", "Bad Request"}
	}
	if fault := a.checkSignature(parts, header.Alg, header.Kid, claims.Iss); fault != nil {
		return tokenReply{}, fault
	}
	now, issued, expires := a.now(), seconds(claims.Iat), seconds(claims.Exp)
	scopes := strings.Fields(claims.Scope)
	switch {
	case !isTokenAddress(claims.Aud, r.Host):
		return tokenReply{}, invalidGrant("Invalid JWT: Failed audience check. The right audience is http://" + r.Host + "/token")
	case issued.After(now.Add(jwtSkew)), !expires.After(now.Add(-jwtSkew)), expires.Sub(issued) > jwtLife, !expires.After(issued):
		return tokenReply{}, invalidGrant("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.")
	case claims.Sub != "" && claims.Sub != claims.Iss:
		return tokenReply{}, &oauthError{401, "unauthorized_client", "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested."}
	case len(scopes) == 0:
		return tokenReply{}, &oauthError{400, "invalid_scope", "Invalid OAuth scope or ID token audience provided."}
	}
	for _, scope := range scopes {
		if scopeTexts[scope] == "" {
			return tokenReply{}, &oauthError{400, "invalid_scope", "Invalid OAuth scope or ID token audience provided."}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	token := a.issueAccess(claims.Iss, claims.Iss, "", scopes)
	if err := a.save(); err != nil {
		return tokenReply{}, &oauthError{500, "internal_failure", err.Error()}
	}
	return tokenReply{Access: token}, nil
}

// checkSignature checks that the account named by the assertion has signed it. A key may go unnamed if
// the account has one that fits.
func (a *authority) checkSignature(parts []string, alg, kid, account string) *oauthError {
	a.mu.Lock()
	keys := map[string][]byte{}
	for id, key := range a.state.Service[account] {
		if kid == "" || kid == id {
			keys[id] = key
		}
	}
	known := len(a.state.Service[account]) > 0
	a.mu.Unlock()
	if !known {
		return invalidGrant("Invalid grant: account not found")
	}
	signature, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[2], "="))
	if err != nil || alg != "RS256" {
		return invalidGrant("Invalid JWT Signature.")
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	for _, der := range keys {
		parsed, err := x509.ParsePKIXPublicKey(der)
		key, ok := parsed.(*rsa.PublicKey)
		if err == nil && ok && rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil {
			return nil
		}
	}
	return invalidGrant("Invalid JWT Signature.")
}

// isTokenAddress says whether aud is the token endpoint as host, or the service's own.
func isTokenAddress(aud, host string) bool {
	for path, kind := range oauthPaths {
		if kind == "token" && aud == "http://"+host+path {
			return true
		}
	}
	return aud == "https://oauth2.googleapis.com/token" || aud == "https://accounts.google.com/o/oauth2/token" ||
		aud == "https://www.googleapis.com/oauth2/v4/token"
}

// decodePart reads one part of a JWT; padding, which some libraries leave on, is forgiven.
func decodePart(part string, v any) bool {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(part, "="))
	return err == nil && json.Unmarshal(b, v) == nil
}

// seconds is a JWT's time.
func seconds(s float64) time.Time { return time.Unix(int64(min(max(s, 0), 1<<40)), 0) }
