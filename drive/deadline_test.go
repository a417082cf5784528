package drive_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"sregfs/drive"
	"sregfs/drive/drivetest"
)

// late is a bound on how long a call with so much time may take on a busy machine.
func late(timeout time.Duration) time.Duration { return 2*timeout + 5*time.Second }

func media() *drivetest.Rule { return drivetest.On("GET", "/drive/v3/files/*").Query("alt", "media") }

// The first byte may take nearly all of the time allowed, each time: Drive was seen to need a minute for a large file.
func TestAFirstByteMayBeLate(t *testing.T) {
	w := start(t, drivetest.Options{})
	f := w.put("image", noise(1000))
	c := w.client(drive.Options{Auth: w.auth, Timeout: 4 * time.Second})
	w.srv.Fault(media().Delay(2800 * time.Millisecond))
	p := make([]byte, 1000)
	require.NoError(t, c.ReadRange(t.Context(), contentOf(f), p, 0, nil))
	require.Equal(t, noise(1000), p)
	require.EqualValues(t, 1, c.Stats().Retries, "asked once more, in case the first was lost")
}

// A server that gives a byte now and then is as good as none.
func TestATrickleIsGivenUp(t *testing.T) {
	w := start(t, drivetest.Options{})
	f := w.put("image", noise(1<<20))
	c := w.client(drive.Options{Auth: w.auth, Timeout: time.Second})
	for name, rule := range map[string]*drivetest.Rule{
		"of content":  media().Trickle(2000),
		"of metadata": drivetest.On("GET", "/drive/v3/files/*").Trickle(100),
	} {
		t.Run(name, func(t *testing.T) {
			w.srv.ClearFaults()
			w.srv.Fault(rule)
			began := time.Now()
			require.ErrorIs(t, c.ReadRange(t.Context(), contentOf(f), make([]byte, 1<<20), 0, nil), drive.ErrTimeout)
			require.Less(t, time.Since(began), late(time.Second))
		})
	}
	t.Run("a slow line is not", func(t *testing.T) {
		c := w.client(drive.Options{Auth: w.auth, Timeout: 2 * time.Second}) // it takes longer than that in all
		w.srv.ClearFaults()
		w.srv.Fault(media().Trickle(300_000))
		p := make([]byte, 1<<20)
		require.NoError(t, c.ReadRange(t.Context(), contentOf(f), p, 0, nil))
		require.Equal(t, noise(1<<20), p)
	})
}

// However many wait for a network that is gone, none waits longer than the time allowed.
func TestManyReadersOfADeadNetwork(t *testing.T) {
	w := start(t, drivetest.Options{})
	f := w.put("image", noise(1000))
	c := w.client(drive.Options{Auth: w.auth, Timeout: 2 * time.Second, Connections: 2})
	w.srv.Fault(media().Stall())
	began := time.Now()
	var g errgroup.Group
	for range 32 {
		g.Go(func() error {
			err := c.ReadRange(t.Context(), contentOf(f), make([]byte, 10), 0, nil)
			if took := time.Since(began); took > late(2*time.Second) {
				t.Errorf("one took %s", took)
			}
			return err
		})
	}
	require.ErrorIs(t, g.Wait(), drive.ErrTimeout)
	w.srv.ClearFaults()
	require.NoError(t, c.ReadRange(t.Context(), contentOf(f), make([]byte, 10), 0, nil), "and all goes on")
}

// Connections that are taken and never served, because the server's queue of them is full.
func TestAFullBacklog(t *testing.T) {
	w := start(t, drivetest.Options{})
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	c, err := drive.New(drive.Options{URL: "http://" + l.Addr().String(), Auth: w.auth, Timeout: time.Second})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	began := time.Now()
	_, err = c.Get(t.Context(), "x")
	require.ErrorIs(t, err, drive.ErrTimeout)
	require.Less(t, time.Since(began), late(time.Second))
}

// A token endpoint that never answers does not hold a call longer than Drive itself may.
func TestASilentTokenEndpoint(t *testing.T) {
	w := start(t, drivetest.Options{})
	f := w.put("image", noise(1000))
	c := w.client(drive.Options{Auth: w.auth, Timeout: time.Second})
	w.srv.Fault(drivetest.On("POST", "/token").Stall(), drivetest.On("GET", "/drive/v3/files/*").Status(401, "authError").Times(1))
	began := time.Now()
	_, err := c.Get(t.Context(), f.ID)
	require.ErrorIs(t, err, drive.ErrTimeout)
	require.Less(t, time.Since(began), late(time.Second))
	w.srv.ClearFaults()
	_, err = c.Get(t.Context(), f.ID)
	require.NoError(t, err)
}

// What a token endpoint can say, and what becomes of it.
func TestFaultsOfTheTokenEndpoint(t *testing.T) {
	token := func() *drivetest.Rule { return drivetest.On("POST", "/token") }
	for name, c := range map[string]struct {
		rule *drivetest.Rule
		want error // nil: repeated, and over after the second time
	}{
		"503":                {token().Status(503, "temporarily_unavailable").Times(2), nil},
		"a page":             {token().Status(502, "").HTML().Times(2), nil},
		"a cut":              {token().DropReply().Times(2), nil},
		"busy, as a 400":     {token().Status(400, "temporarily_unavailable").Times(2), nil},
		"a page for good":    {token().Status(403, "").HTML(), drive.ErrProtocol},
		"the grant ended":    {token().Status(400, "invalid_grant"), drive.ErrSignIn},
		"the client ended":   {token().Status(401, "invalid_client"), drive.ErrCredentials},
		"something unheard":  {token().Status(400, "a_word_of_tomorrow"), drive.ErrCredentials},
		"consent taken back": {token().Status(400, "access_denied"), drive.ErrSignIn},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, drivetest.Options{})
			f := w.put("x", nil)
			w.srv.Fault(c.rule, drivetest.On("GET", "/drive/v3/files/*").Status(401, "authError").Times(1))
			_, err := w.Get(t.Context(), f.ID)
			if c.want == nil {
				require.NoError(t, err)
				require.Equal(t, 2, c.rule.Hits())
				return
			}
			require.ErrorIs(t, err, c.want)
			require.LessOrEqual(t, c.rule.Hits(), 3)
		})
	}
}

// A rate limit that is to last longer than a call may take holds nobody up: calls are refused here until it is over.
func TestALongRetryAfter(t *testing.T) {
	w := start(t, drivetest.Options{})
	f := w.put("x", noise(10))
	w.srv.Fault(drivetest.On("GET", "/drive/v3/files/*").Status(429, "rateLimitExceeded").RetryAfter(time.Hour).Times(1))
	_, err := w.Get(t.Context(), f.ID)
	require.ErrorIs(t, err, drive.ErrRateLimit)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	w.srv.ResetRequests()
	require.ErrorIs(t, w.ReadRange(ctx, contentOf(f), make([]byte, 10), 0, nil), drive.ErrRateLimit)
	_, err = w.Get(ctx, f.ID)
	require.ErrorIs(t, err, drive.ErrRateLimit)
	require.Empty(t, w.srv.Requests(), "as Drive asked")
}

// A file downloaded too often is left alone for a while; others are not.
func TestAParkedFile(t *testing.T) {
	w := start(t, drivetest.Options{Limits: drivetest.Limits{FileDownload: 1500}})
	f, other := w.put("x", noise(1000)), w.put("y", noise(1000))
	p := make([]byte, 1000)
	read := func(f drivetest.File) error { return w.ReadRange(t.Context(), contentOf(f), p, 0, nil) }
	require.NoError(t, read(f))
	require.NoError(t, read(f), "the one that crosses the limit")
	require.ErrorIs(t, read(f), drive.ErrQuota)
	w.srv.ResetRequests()
	for range 5 {
		err := read(f)
		require.ErrorIs(t, err, drive.ErrQuota)
		require.Contains(t, drive.Sentence(err), "within 24 hours")
	}
	require.Empty(t, w.srv.Requests())
	require.NoError(t, read(other))
	parked := w.Stats().Parked
	require.Len(t, parked, 1)
	require.Equal(t, f.ID, parked[0].File)
	require.WithinDuration(t, time.Now().Add(time.Minute), parked[0].Until, 30*time.Second)

	w.Unpark(f.ID)
	require.ErrorIs(t, read(f), drive.ErrQuota)
	require.Greater(t, time.Until(w.Stats().Parked[0].Until), 90*time.Second, "longer each time")
	w.srv.SetLimits(drivetest.Limits{})
	w.Unpark(f.ID)
	require.NoError(t, read(f))
	require.Empty(t, w.Stats().Parked)
}
