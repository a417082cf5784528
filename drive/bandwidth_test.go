package drive_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
)

// A limit makes every byte late, and nothing else: what is slow because we are is no fault.
func TestBandwidthLimit(t *testing.T) {
	w := start(t, drivetest.Options{})
	c := w.client(drive.Options{
		Auth: w.auth, Timeout: 200 * time.Millisecond, // in half of which 64 KiB must move, were the line the slow one
		Bandwidth: drive.Bandwidth{Up: 256 << 10, Down: 256 << 10, Background: 128 << 10},
	})
	content := noise(128 << 10)

	t.Run("up", func(t *testing.T) {
		began := time.Now()
		ids, err := c.GenerateIDs(t.Context(), 1)
		require.NoError(t, err)
		session, err := c.BeginUpload(t.Context(), drive.NewFile{ID: ids[0], Name: "pushed", Size: int64(len(content))})
		require.NoError(t, err)
		f, err := c.Upload(t.Context(), session, bytes.NewReader(content), int64(len(content)), nil)
		require.NoError(t, err)
		require.EqualValues(t, len(content), f.Size)
		require.Greater(t, time.Since(began), 400*time.Millisecond)
	})
	f := w.put("image", content)
	for name, ctx := range map[string]struct {
		idle  bool
		least time.Duration
	}{"down": {false, 400 * time.Millisecond}, "in the background": {true, 800 * time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			began, p := time.Now(), make([]byte, len(content))
			require.NoError(t, c.ReadRange(drive.Background(t.Context(), func() bool { return ctx.idle }), contentOf(f), p, 0, nil))
			require.True(t, bytes.Equal(content, p))
			require.Greater(t, time.Since(began), ctx.least)
		})
	}
	require.Zero(t, c.Stats().Retries)
}

// While Drive holds the client back, its patience is for those who wait.
func TestBackgroundYieldsToAThrottle(t *testing.T) {
	w := start(t, drivetest.Options{})
	f := w.put("image", noise(1000))
	w.srv.Fault(drivetest.On("GET", "/drive/v3/files/*").Query("alt", "media").Status(403, "userRateLimitExceeded").Times(1))
	require.NoError(t, w.ReadRange(t.Context(), contentOf(f), make([]byte, 10), 0, nil))
	require.False(t, w.Stats().Throttled.IsZero())

	requests := w.Stats().Requests
	idle := true
	ctx := drive.Background(t.Context(), func() bool { return idle })
	require.ErrorIs(t, w.ReadRange(ctx, contentOf(f), make([]byte, 10), 0, nil), drive.ErrRateLimit)
	require.Equal(t, requests, w.Stats().Requests)
	idle = false
	require.NoError(t, w.ReadRange(ctx, contentOf(f), make([]byte, 10), 0, nil))
}
