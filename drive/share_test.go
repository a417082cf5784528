package drive_test

import (
	iofs "io/fs"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
)

func roles(t *testing.T, c *drive.Client, id string) map[string]string {
	t.Helper()
	all, err := c.Permissions(t.Context(), id)
	require.NoError(t, err)
	out := map[string]string{}
	for _, p := range all {
		require.NotEmpty(t, p.ID)
		out[p.Email] = p.Role
	}
	return out
}

func TestShare(t *testing.T) {
	w := start(t, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
	bob := w.as("bob@uni.edu")
	content := noise(1000)
	f := w.put("an image", content)
	_, err := bob.Get(t.Context(), f.ID)
	require.ErrorIs(t, err, iofs.ErrNotExist)

	p, err := w.Share(t.Context(), f.ID, drive.Invite{Email: " Bob@uni.edu "})
	require.NoError(t, err)
	require.Equal(t, "reader", p.Role)
	require.Equal(t, map[string]string{"ann@uni.edu": "owner", "bob@uni.edu": "reader"}, roles(t, w.Client, f.ID))
	got, err := bob.Get(t.Context(), f.ID)
	require.NoError(t, err)
	require.False(t, got.OwnedByMe)
	require.True(t, got.Shared)
	require.Equal(t, "ann@uni.edu", got.Owner)
	require.False(t, got.CanEdit)
	require.True(t, got.CanDownload)
	require.Equal(t, []string{"an image"}, images(t, bob.SharedImages(t.Context())))
	require.Empty(t, images(t, w.SharedImages(t.Context())))
	bytes := make([]byte, len(content))
	require.NoError(t, bob.ReadRange(t.Context(), contentOf(f), bytes, 0, nil))
	require.Equal(t, content, bytes)
	require.ErrorIs(t, bob.Trash(t.Context(), f.ID), iofs.ErrPermission)
	require.ErrorIs(t, bob.Delete(t.Context(), f.ID), iofs.ErrPermission)

	t.Run("again changes nothing", func(t *testing.T) {
		w.srv.ResetRequests()
		again, err := w.Share(t.Context(), f.ID, drive.Invite{Email: "bob@uni.edu", Role: "reader", Notify: true})
		require.NoError(t, err)
		require.Equal(t, p, again)
		require.False(t, slices.ContainsFunc(w.srv.Requests(), func(r drivetest.Request) bool { return r.Method != "GET" }), "and mails nobody")
	})
	t.Run("in another role", func(t *testing.T) {
		again, err := w.Share(t.Context(), f.ID, drive.Invite{Email: "bob@uni.edu", Role: "writer"})
		require.NoError(t, err)
		require.Equal(t, "writer", again.Role)
		require.Equal(t, "writer", roles(t, w.Client, f.ID)["bob@uni.edu"])
	})
	t.Run("with its owner", func(t *testing.T) {
		own, err := w.Share(t.Context(), f.ID, drive.Invite{Email: "ann@uni.edu"})
		require.NoError(t, err)
		require.Equal(t, "owner", own.Role)
	})
	t.Run("no more", func(t *testing.T) {
		drop := drivetest.On("DELETE", "/drive/v3/files/*/permissions/*").DropReply().Times(1)
		w.srv.Fault(drop)
		require.NoError(t, w.Unshare(t.Context(), f.ID, p.ID), "the lost try did it")
		require.Equal(t, 1, drop.Hits())
		_, err := bob.Get(t.Context(), f.ID)
		require.ErrorIs(t, err, iofs.ErrNotExist)
		require.ErrorIs(t, w.Unshare(t.Context(), f.ID, p.ID), iofs.ErrNotExist)
	})
}

func TestShareMailsOnce(t *testing.T) {
	w := start(t, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
	f := w.put("an image", nil)
	create := drivetest.On("POST", "/drive/v3/files/*/permissions").DropReply().Times(1)
	w.srv.Fault(create)
	p, err := w.Share(t.Context(), f.ID, drive.Invite{Email: "bob@uni.edu", Role: "commenter", Notify: true, Message: "for you"})
	require.NoError(t, err)
	require.Equal(t, "commenter", p.Role)
	sent := 0
	for _, r := range w.srv.Requests() {
		if r.Method == "POST" {
			sent++
		}
	}
	require.Equal(t, 1, sent, "a second try looks before it sends another mail")
}

func TestShareErrors(t *testing.T) {
	create := func() *drivetest.Rule { return drivetest.On("POST", "/drive/v3/files/*/permissions") }
	invite := drive.Invite{Email: "bob@uni.edu", Notify: true}
	t.Run("shared, but the mail was not sent", func(t *testing.T) {
		w := start(t, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
		f := w.put("x", nil)
		w.srv.Fault(create().Status(400, "invalidSharingRequest").After())
		p, err := w.Share(t.Context(), f.ID, invite)
		require.NoError(t, err)
		require.Equal(t, "bob@uni.edu", p.Email)
	})
	t.Run("not shared", func(t *testing.T) {
		w := start(t, drivetest.Options{})
		f := w.put("x", nil)
		w.srv.Fault(create().Status(400, "invalidSharingRequest").Message("ACL change not allowed"))
		_, err := w.Share(t.Context(), f.ID, invite)
		require.ErrorIs(t, err, drive.ErrInvalid)
		require.Contains(t, drive.Sentence(err), "ACL change not allowed")
	})
	t.Run("too many", func(t *testing.T) {
		w := start(t, drivetest.Options{})
		f := w.put("x", nil)
		limit := create().Status(403, "sharingRateLimitExceeded")
		w.srv.Fault(limit)
		_, err := w.Share(t.Context(), f.ID, invite)
		require.ErrorIs(t, err, drive.ErrQuota)
		require.Equal(t, 1, limit.Hits())
	})
	t.Run("a file that is not there", func(t *testing.T) {
		w := start(t, drivetest.Options{})
		_, err := w.Share(t.Context(), "nowhere", invite)
		require.ErrorIs(t, err, iofs.ErrNotExist)
	})
}
