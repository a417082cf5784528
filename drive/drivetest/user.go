package drivetest

import (
	"context"
	"slices"
)

// account says on whose behalf a request acts, and through which client. It is a value made for one
// request: what it describes lives in the store.
type account struct {
	email        string
	name         string   // display name
	permissionID string   // the opaque id of this grantee, the same on all files
	rootID       string   // folder "My Drive"
	service      bool     // a service account: it owns no storage
	client       string   // OAuth client id, which owns appProperties; "" for direct access
	scopes       []string // of the token; nil = everything
}

// has tells whether the token was granted scope, by its full name.
func (a *account) has(scope string) bool {
	return a.scopes == nil || slices.Contains(a.scopes, scope)
}

type accountKey struct{}

// withAccount returns ctx for a request made by acc.
func withAccount(ctx context.Context, acc *account) context.Context {
	return context.WithValue(ctx, accountKey{}, acc)
}

// accountFrom returns the account a request acts for, nil if it did not sign in.
func accountFrom(ctx context.Context) *account {
	acc, _ := ctx.Value(accountKey{}).(*account)
	return acc
}

// User is one account of a Server, with its own My Drive. Its methods look into the store and change it
// directly: no HTTP, no latency, no limits of rate, but the same rules for properties, roles, storage,
// versions and the changes feed.
type User struct {
	server *Server
	email  string
}

// User returns the account with this e-mail address, creating it on first use; "" is the default user.
func (s *Server) User(email string) *User {
	if email == "" {
		email = s.first
	}
	return &User{server: s, email: s.store.account(email).email}
}

// Email is the address of the account, in lower case.
func (u *User) Email() string { return u.email }
