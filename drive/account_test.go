package drive_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"sregfs/drive"
	"sregfs/drive/drivetest"
)

// ops are the calls of the API that were answered since the log was emptied.
func (w *world) ops() (ops []string) {
	for _, r := range w.srv.Requests() {
		if r.Op != "oauth.token" {
			ops = append(ops, r.Op)
		}
	}
	return ops
}

// A client that keeps to an account asks once whose a new grant is, and nothing with that of another.
func TestKeepsToAnAccount(t *testing.T) {
	w := start(t, drivetest.Options{Users: []string{"ann@uni.edu", "ben@uni.edu"}})
	w.user = w.srv.User("ann@uni.edu")
	require.NoError(t, w.user.WriteCredentials(w.dir))
	c := w.client(drive.Options{Auth: w.openAuth(w.dir)})
	f := w.put("x.sif", []byte("x"))
	me, err := c.About(t.Context())
	require.NoError(t, err)
	require.Equal(t, "ann@uni.edu", me.Email)
	require.NotEmpty(t, me.ID)
	c.Keep(me.Account, "")
	w.srv.ResetRequests()
	_, err = c.Get(t.Context(), f.ID)
	require.NoError(t, err)
	require.Equal(t, []string{"files.get"}, w.ops(), "the grant is known")

	own, err := os.ReadFile(filepath.Join(w.dir, "token.json"))
	require.NoError(t, err)
	w.srv.ResetRequests()
	require.NoError(t, w.srv.User("ben@uni.edu").WriteCredentials(w.dir))
	var g errgroup.Group
	for range 8 {
		g.Go(func() error { _, err := c.Get(t.Context(), f.ID); return err })
	}
	err = g.Wait()
	require.ErrorIs(t, err, drive.ErrSignIn)
	require.Contains(t, drive.Sentence(err), "You are signed in as ben@uni.edu, and what is here is of ann@uni.edu")
	_, err = c.About(t.Context())
	require.ErrorIs(t, err, drive.ErrSignIn)
	require.Equal(t, []string{"about.get"}, w.ops())

	write(t, filepath.Join(w.dir, "token.json"), string(own))
	w.srv.ResetRequests()
	_, err = c.Get(t.Context(), f.ID)
	require.NoError(t, err)
	require.Equal(t, []string{"files.get"}, w.ops())

	// Another client, which knows from elsewhere whose the grant is, or does not.
	for signIn, want := range map[string][]string{c.SignIn(): {"files.get"}, "": {"about.get", "files.get"}} {
		other := w.client(drive.Options{Auth: w.openAuth(w.dir)})
		other.Keep(me.Account, signIn)
		w.srv.ResetRequests()
		_, err = other.Get(t.Context(), f.ID)
		require.NoError(t, err)
		require.Equal(t, want, w.ops())
	}
}

func TestAccountsAreTold(t *testing.T) {
	for _, c := range []struct {
		a, b drive.Account
		same bool
	}{
		{drive.Account{ID: "1", Email: "ann@uni.edu"}, drive.Account{ID: "1", Email: "ann.new@uni.edu"}, true},
		{drive.Account{ID: "1", Email: "ann@uni.edu"}, drive.Account{ID: "2", Email: "ann@uni.edu"}, false},
		{drive.Account{Email: "Ann@uni.edu"}, drive.Account{ID: "1", Email: "ann@uni.edu"}, true},
		{drive.Account{Email: "ann@uni.edu"}, drive.Account{Email: "ben@uni.edu"}, false},
		{drive.Account{}, drive.Account{}, false},
	} {
		require.Equal(t, c.same, c.a.Is(c.b), "%v %v", c.a, c.b)
		require.Equal(t, c.same, c.b.Is(c.a), "%v %v", c.b, c.a)
	}
}
