package index_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"sregfs/drive"
	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

func TestFaultsOnTheWay(t *testing.T) {
	cases := []struct {
		name  string
		rules []*drivetest.Rule
	}{
		{"the final reply is lost", []*drivetest.Rule{drivetest.On("PUT", "/upload/*").Nth(1).DropReply()}},
		{"the chunk is cut", []*drivetest.Rule{drivetest.On("PUT", "/upload/*").Times(2).CutRequest(700_000)}},
		{"the session dies", []*drivetest.Rule{drivetest.On("PUT", "/upload/*").Nth(1).Status(410, "backendError")}},
		{"the session is lost", []*drivetest.Rule{drivetest.On("PUT", "/upload/*").Nth(1).Status(404, "notFound")}},
		{"rate limits", []*drivetest.Rule{drivetest.On("PUT", "/upload/*").Times(2).Status(403, "userRateLimitExceeded")}},
		{"5xx after the commit", []*drivetest.Rule{drivetest.On("PUT", "/upload/*").Nth(1).Status(503, "backendError").After()}},
		{"the session's reply is lost", []*drivetest.Rule{drivetest.On("POST", "/upload/*").Nth(1).DropReply()}},
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			srv := drivetest.NewServer(t, drivetest.Options{})
			ix := indextest.Open(t, srv, index.Options{})
			d := write(t, ix, at("c", "i:t.sif"), imagetest.SIF(t, 2*block, imagetest.Seed(uint64(i))))
			for _, rule := range c.rules {
				srv.Fault(rule)
			}
			img := push(t, d)
			require.Len(t, onDrive(srv), 1)
			require.Equal(t, onDrive(srv)[0].ID, img.File)
			require.Positive(t, c.rules[0].Hits())
		})
	}
}

func TestAFinalErrorParksThePush(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir})
	content := imagetest.SIF(t, block)
	d := write(t, ix, at("c", "i:t.sif"), content)
	full := drivetest.On("POST", "/upload/*").Status(403, "storageQuotaExceeded")
	srv.Fault(full)
	_, err := d.Push(t.Context())
	require.ErrorIs(t, err, index.ErrFull)
	require.Equal(t, index.StateFailed, d.State())
	require.ErrorIs(t, d.Err(), index.ErrFull)
	require.Empty(t, onDrive(srv))
	pushes := ix.Pushes()
	require.Len(t, pushes, 1)
	require.True(t, pushes[0].Final)
	require.NotEmpty(t, pushes[0].Error)
	p := make([]byte, 100)
	_, err = d.ReadAt(t.Context(), p, 0)
	require.NoError(t, err)
	require.Equal(t, content[:100], p)

	outer := t
	t.Run("over a restart", func(t *testing.T) {
		require.NoError(t, ix.Close())
		srv.ClearFaults()
		ix = indextest.Open(outer, srv, index.Options{Dir: dir})
		pushes := ix.Pushes()
		require.Len(t, pushes, 1)
		require.True(t, pushes[0].Final)
		require.NotEmpty(t, pushes[0].Error)
		require.Empty(t, onDrive(srv), "it waits for its user")
	})
	t.Run("until it is retried", func(t *testing.T) {
		require.NoError(t, ix.RetryPush(pushes[0].ID))
		require.NoError(t, ix.WaitPushes(t.Context()))
		require.Len(t, onDrive(srv), 1)
		require.Empty(t, ix.AllDrafts())
		require.ErrorIs(t, ix.RetryPush(pushes[0].ID), iofs.ErrNotExist)
	})
}

func TestWrongChecksumsKeepTheDraft(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ix := indextest.Open(t, srv, index.Options{})
	content := imagetest.SIF(t, block)
	d := write(t, ix, at("c", "i:t.sif"), content)
	// The bytes are changed beneath us, behind the draft's back: what Drive gets is not what was written.
	all := ix.AllDrafts()
	require.Len(t, all, 1)
	f, err := os.OpenFile(index.DraftFile(ix, d), os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{1, 2, 3}, block/2)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_, err = d.Push(t.Context())
	require.ErrorIs(t, err, index.ErrDigest)
	require.Empty(t, onDrive(srv), "the wrong file is trashed")
	require.Equal(t, index.StateFailed, d.State())
}

func TestAPassingErrorIsReturnedAndThePushGoesOn(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	client := shortClient(t, srv)
	ix := indextest.Open(t, srv, index.Options{Dir: dir, Drive: client})
	content := imagetest.SIF(t, block)
	d := write(t, ix, at("c", "i:t.sif"), content)
	srv.Fault(drivetest.On("*", "/upload/*").Status(503, "backendError"))
	_, err := d.Push(t.Context())
	require.ErrorIs(t, err, index.ErrTimeout)
	require.Len(t, ix.Pushes(), 1)
	require.False(t, ix.Pushes()[0].Final)
	later := write(t, ix, at("c", "i:t.sif"), imagetest.SIF(t, block, imagetest.Seed(2)))
	_, err = later.Push(t.Context())
	require.ErrorIs(t, err, index.ErrTimeout, "behind the one that waits")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, ix.WaitPushes(ctx), context.DeadlineExceeded)

	srv.ClearFaults()
	require.NoError(t, ix.WaitPushes(t.Context()))
	require.Len(t, onDrive(srv), 2)
	newest, err := ix.Lookup("", image.Ref{Collection: "c", Image: "i", Tag: "t"})
	require.NoError(t, err)
	img, err := later.Push(t.Context())
	require.NoError(t, err, "it is there: nothing to push")
	require.Equal(t, img.File, newest.File, "in the order they were written")
}

// TestADeadNetworkIsFoundOutOnce: more pushes than work at once do not wait one after another for a network that is gone.
func TestADeadNetworkIsFoundOutOnce(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir, Drive: shortClient(t, srv)})
	const pushes = 40
	drafts := make([]*index.Draft, pushes)
	for i := range drafts {
		drafts[i] = write(t, ix, at("c", fmt.Sprintf("i%d:t.sif", i)), imagetest.SIF(t, block, imagetest.Seed(uint64(i))))
	}
	dead := drivetest.On("POST", "/upload/*").Stall() // ids were asked for while the drafts were written
	srv.Fault(dead)
	var all errgroup.Group
	for _, d := range drafts {
		all.Go(func() error {
			_, err := d.Push(t.Context())
			if !errors.Is(err, index.ErrTimeout) {
				return fmt.Errorf("push %s: %w", d.Place(), err)
			}
			return nil
		})
	}
	require.NoError(t, all.Wait())
	require.Less(t, dead.Hits(), pushes, "few have found it out for all")
	srv.ClearFaults()
	require.NoError(t, ix.WaitPushes(t.Context()))
	require.Len(t, onDrive(srv), pushes)
}

func TestTheJournalGoesOnAfterARestart(t *testing.T) {
	cases := []struct {
		state index.State
		block *drivetest.Rule // keeps the push in that state
	}{
		{index.StateSealed, drivetest.On("GET", "/drive/v3/files/generateIds").Stall()},
		{index.StateSealed, drivetest.On("POST", "/upload/*").Stall()},
		{index.StateSealed, drivetest.On("POST", "/upload/*").DropReply()},
		{index.StateSending, drivetest.On("PUT", "/upload/*").Stall()},
		{index.StateSending, drivetest.On("PUT", "/upload/*").CutRequest(900_000)},
		{index.StateSending, drivetest.On("PUT", "/upload/*").DropReply()},
	}
	for _, background := range []bool{true, false} {
		for i, c := range cases {
			t.Run(string(c.state), func(t *testing.T) {
				srv := drivetest.NewServer(t, drivetest.Options{})
				dir := t.TempDir()
				ix := indextest.Open(t, srv, index.Options{Dir: dir, Background: background})
				content := imagetest.SIF(t, 2*block, imagetest.Seed(uint64(i)))
				srv.Fault(c.block) // ids are asked for when writing begins
				d := write(t, ix, at("c", "i:t.sif"), content)
				leave := func() {}
				if background {
					img := push(t, d)
					require.Empty(t, img.File)
					require.Equal(t, "c/i:t", img.Short())
				} else {
					ctx, cancel := context.WithCancel(t.Context())
					left := make(chan error, 1)
					go func() { _, err := d.Push(ctx); left <- err }()
					leave = func() { cancel(); require.ErrorIs(t, <-left, context.Canceled) }
				}
				indextest.Eventually(t, func() bool { return c.block.Hits() > 0 && d.State() == c.state }, "it hangs there")
				leave()
				p := make([]byte, 1000)
				_, err := d.ReadAt(t.Context(), p, 7777)
				require.NoError(t, err, "it can be read meanwhile")
				require.Equal(t, content[7777:8777], p)
				require.NoError(t, ix.Close())
				srv.ClearFaults()

				again := indextest.Open(t, srv, index.Options{Dir: dir})
				require.NoError(t, again.WaitPushes(t.Context()))
				files := onDrive(srv)
				require.Len(t, files, 1)
				sum := md5.Sum(content)
				require.Equal(t, hex.EncodeToString(sum[:]), files[0].MD5)
				img, err := again.Lookup("", image.Ref{Collection: "c", Image: "i", Tag: "t"})
				require.NoError(t, err)
				require.Equal(t, img.Size, again.Cached(img))
				require.Empty(t, again.AllDrafts())
				require.Empty(t, draftFiles(t, dir))
			})
		}
	}
}

func TestRemovingAPush(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir, Background: true})
	d := write(t, ix, at("c", "i:t.sif"), imagetest.SIF(t, block))
	stall := drivetest.On("PUT", "/upload/*").Stall()
	srv.Fault(stall)
	push(t, d)
	indextest.Eventually(t, func() bool { return stall.Hits() > 0 }, "it is being sent")
	require.NoError(t, ix.RemoveDraft(d))
	srv.ClearFaults()
	require.Empty(t, ix.Pushes())
	require.Empty(t, draftFiles(t, dir))
	_, err := d.WriteAt(t.Context(), []byte("x"), 0)
	require.NoError(t, err, "who has it open goes on")
	require.False(t, d.Dirty())
	require.NoError(t, ix.WaitPushes(t.Context()))
	require.Empty(t, onDrive(srv))
}

// shortClient is a client that gives up soon.
func shortClient(t *testing.T, srv *drivetest.Server) *drive.Client {
	t.Helper()
	c, _ := signedOut(t, srv)
	return c
}

// signedOut is a client that gives up soon, and what signs its user in again.
func signedOut(t *testing.T, srv *drivetest.Server) (c *drive.Client, renew func()) {
	t.Helper()
	dir := t.TempDir()
	renew = func() { require.NoError(t, srv.User("").WriteCredentials(dir)) }
	renew()
	auth, err := drive.OpenAuth(drive.AuthOptions{
		Credentials: filepath.Join(dir, "client_secrets.json"), Token: filepath.Join(dir, "token.json"),
	})
	require.NoError(t, err)
	c, err = drive.New(drive.Options{URL: srv.URL(), Auth: auth, Timeout: 2 * time.Second})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c, renew
}

func TestACrashInEachStateIsContinued(t *testing.T) {
	content := imagetest.SIF(t, 2*block)
	for _, state := range []index.State{index.StateSealed, index.StateSending, index.StateUploaded, index.StateCommitted} {
		t.Run(string(state), func(t *testing.T) {
			srv := drivetest.NewServer(t, drivetest.Options{})
			dir := t.TempDir()
			ix := indextest.Open(t, srv, index.Options{Dir: dir})
			d := write(t, ix, at("c", "i:t.sif"), content)
			require.NoError(t, index.StepTo(t.Context(), d, state))
			require.NoError(t, ix.Close())

			again := indextest.Open(t, srv, index.Options{Dir: dir})
			require.NoError(t, again.WaitPushes(t.Context()))
			require.Len(t, onDrive(srv), 1)
			img, err := again.Lookup("", image.Ref{Collection: "c", Image: "i", Tag: "t"})
			require.NoError(t, err)
			srv.ResetRequests()
			require.True(t, bytes.Equal(content, readAll(t, open(t, again, img), block)))
			ranges, _ := fetched(srv, img.File)
			require.Empty(t, ranges, "the draft became the cache's copy")
			require.Empty(t, again.AllDrafts())
			require.Empty(t, draftFiles(t, dir))
		})
	}
}

func TestPushesWaitForSignInAndTheNetwork(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir, Drive: shortClient(t, srv), Poll: -1})
	content := imagetest.SIF(t, block)
	d := write(t, ix, at("c", "i:t.sif"), content)
	srv.User("").RevokeTokens()
	_, err := d.Push(t.Context())
	require.ErrorIs(t, err, index.ErrSignIn)
	require.False(t, ix.Pushes()[0].Final)
	require.ErrorIs(t, d.Wait(t.Context()), index.ErrSignIn, "it is tried again at once, and fails again")
	require.NoError(t, ix.Close())

	gone := drivetest.NewServer(t, drivetest.Options{})
	nowhere := shortClient(t, gone)
	require.NoError(t, gone.Close())
	ix = indextest.Open(t, srv, index.Options{Dir: dir, Drive: nowhere, Poll: -1})
	found, ok := ix.Draft(at("c", "i:t.sif"))
	require.True(t, ok)
	_, err = found.Push(t.Context())
	require.ErrorIs(t, err, index.ErrOffline)
	require.NoError(t, ix.Close())

	ix = indextest.Open(t, srv, index.Options{Dir: dir})
	require.NoError(t, ix.WaitPushes(t.Context()))
	require.Len(t, onDrive(srv), 1)
}
