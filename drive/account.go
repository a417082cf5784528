package drive

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

// Account is whose Drive it is. The zero value is nobody's in particular.
type Account struct {
	ID    string // Drive's permissionId of the user, which outlasts a change of address; "" if it is not known
	Email string
}

// Is says whether both are the same account.
func (a Account) Is(b Account) bool {
	if a.ID != "" && b.ID != "" {
		return a.ID == b.ID
	}
	return a.Email != "" && strings.EqualFold(a.Email, b.Email)
}

// Keep makes c ask Drive as a only, from now on. A token file may be replaced at any time, by that of another person too:
// when another grant is found in it, Drive is asked once whose that is, before anything else is; calls under the grant of
// another account then fail with ErrSignIn, until the file holds one of a's again. signIn is a SignIn that is known to be
// a's, "" if none is.
func (c *Client) Keep(a Account, signIn string) {
	c.owner.mu.Lock()
	defer c.owner.mu.Unlock()
	c.owner.want = a
	if grant, ok := strings.CutPrefix(signIn, c.root+" "); ok {
		c.owner.noteLocked(grant, a)
	}
}

// owner is whose Drive a Client keeps to.
type owner struct {
	turn chan struct{} // held while Drive is asked whose a grant is

	mu   sync.Mutex         // guards the rest; a leaf
	want Account            // zero: anybody's
	of   map[string]Account // whose the grants are, as Drive said
}

// grantsMost bounds the memory; beyond it everything is forgotten, which costs a question.
const grantsMost = 64

// note keeps that grant is a's.
func (o *owner) note(grant string, a Account) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.noteLocked(grant, a)
}

// noteLocked is note for callers who hold mu.
func (o *owner) noteLocked(grant string, a Account) {
	if o.of == nil || len(o.of) >= grantsMost {
		o.of = map[string]Account{}
	}
	o.of[grant] = a
}

// admits says whether grant may be used. known is false if Drive has to be asked first.
func (o *owner) admits(grant string) (known bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.want == (Account{}) {
		return true, nil
	}
	who, known := o.of[grant]
	if known && !who.Is(o.want) {
		return true, &Error{Op: "oauth", Kind: ErrSignIn, Err: &otherAccount{have: who.Email, want: o.want.Email}}
	}
	return known, nil
}

// askedAs is the key under which the context of an about.get has a *string for the grant it was asked with.
type askedAs struct{}

// pass gives a token for one request that may be made with it.
func (c *Client) pass(ctx context.Context) (string, error) {
	for {
		token, grant, err := c.auth.accessToken(ctx)
		if err != nil {
			return "", err
		}
		known, err := c.owner.admits(grant)
		if err != nil {
			return "", err
		}
		if asked, ok := ctx.Value(askedAs{}).(*string); ok {
			*asked = grant
			return token, nil
		}
		if known {
			return token, nil
		}
		if err := c.whose(ctx, grant); err != nil {
			return "", err
		}
	}
}

// whose asks Drive whose grant is, unless somebody else just did.
func (c *Client) whose(ctx context.Context, grant string) error {
	select {
	case c.owner.turn <- struct{}{}:
		defer func() { <-c.owner.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if known, err := c.owner.admits(grant); known || err != nil {
		return err
	}
	_, err := c.about(ctx, c.once) // the call it is for is repeated, and this with it
	return err
}

// otherAccount is why a grant is not used.
type otherAccount struct{ have, want string }

// Error says whose it is.
func (e *otherAccount) Error() string {
	return fmt.Sprintf("signed in as %s, and what is here is of %s", plain(or(e.have, "nobody known")), plain(or(e.want, "another account")))
}
