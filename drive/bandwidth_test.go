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
	t.Parallel()
	w := start(t, drivetest.Options{})
	content := noise(128 << 10)
	f := w.put("image", content)
	read := func(idle bool) func(*testing.T, *drive.Client) {
		return func(t *testing.T, c *drive.Client) {
			t.Helper()
			p := make([]byte, len(content))
			require.NoError(t, c.ReadRange(drive.Background(t.Context(), func() bool { return idle }), contentOf(f), p, 0, nil))
			require.True(t, bytes.Equal(content, p))
		}
	}
	for name, move := range map[string]struct {
		least time.Duration
		do    func(*testing.T, *drive.Client)
	}{
		"up": {1600 * time.Millisecond, func(t *testing.T, c *drive.Client) {
			t.Helper()
			ids, err := c.GenerateIDs(t.Context(), 1)
			require.NoError(t, err)
			session, err := c.BeginUpload(t.Context(), drive.NewFile{ID: ids[0], Name: "pushed", Size: int64(len(content))})
			require.NoError(t, err)
			f, err := c.Upload(t.Context(), session, bytes.NewReader(content), int64(len(content)), nil)
			require.NoError(t, err)
			require.EqualValues(t, len(content), f.Size)
		}},
		"down":              {1600 * time.Millisecond, read(false)},
		"in the background": {3200 * time.Millisecond, read(true)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := w.client(drive.Options{
				Auth: w.auth, Timeout: time.Second, // in half of which 64 KiB must move, were the line the slow one
				Bandwidth: drive.Bandwidth{Up: 64 << 10, Down: 64 << 10, Background: 32 << 10},
			})
			began := time.Now()
			move.do(t, c)
			require.Greater(t, time.Since(began), move.least)
			require.Zero(t, c.Stats().Retries)
		})
	}
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
