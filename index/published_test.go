package index_test

import (
	iofs "io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// A draft that became an image is no draft any more: who meant to remove or rename it has to take the image.
func TestAPublishedDraftIsNotThere(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir})
	d := write(t, ix, at("c", "i:t.sif"), imagetest.SIF(t, block))
	push(t, d)
	require.ErrorIs(t, ix.RemoveDraft(d), iofs.ErrNotExist)
	require.ErrorIs(t, ix.MoveDraft(t.Context(), d, at("c", "j:t.sif")), iofs.ErrNotExist)
	require.Empty(t, ix.AllDrafts())
	require.Empty(t, draftFiles(t, dir))
	require.Len(t, onDrive(srv), 1)
}

// A push that waits for a sign-in goes on when there is one, and not only when its pause is over.
func TestASignInEndsThePauseOfAPush(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	c, renew := signedOut(t, srv)
	ix := indextest.Open(t, srv, index.Options{Drive: c})
	srv.User("").RevokeTokens()
	d := write(t, ix, at("c", "i:t.sif"), imagetest.SIF(t, block))
	_, err := d.Push(t.Context())
	require.ErrorIs(t, err, index.ErrSignIn)
	for range 7 { // each makes the next pause twice as long, up to a minute
		require.ErrorIs(t, d.Wait(t.Context()), index.ErrSignIn)
	}
	renew()
	indextest.Eventually(t, func() bool { return len(onDrive(srv)) == 1 }, "it is pushed")
}

// Who writes to a draft whose push waits for the network is told so, and is not left hanging.
func TestAWriterDoesNotHangBehindAPushThatWaits(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ix := indextest.Open(t, srv, index.Options{Drive: shortClient(t, srv), Poll: -1, Background: true})
	d := write(t, ix, at("c", "i:t.sif"), imagetest.SIF(t, block))
	require.NoError(t, ix.Refresh(t.Context()))
	srv.Fault(drivetest.On("*", "*").Status(503, "backendError"))
	push(t, d)
	_, err := d.WriteAt(t.Context(), []byte("x"), 0)
	require.ErrorIs(t, err, index.ErrTimeout)
	srv.ClearFaults()
	_, err = d.WriteAt(t.Context(), []byte("x"), 0)
	require.NoError(t, err, "Drive is back, and has it: this makes a draft of it again")
	require.Len(t, onDrive(srv), 1)
}
