package drive_test

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"sregfs/drive"
	"sregfs/drive/drivetest"
)

// Each kind of error Drive is known to give, and what becomes of it.
// https://developers.google.com/drive/api/guides/handle-errors
func TestErrorsOfDrive(t *testing.T) {
	for _, c := range []struct {
		status int
		reason string
		want   error // nil: retried, and over after the second time
	}{
		{400, "badRequest", drive.ErrInvalid},
		{400, "invalid", drive.ErrInvalid},
		{400, "invalidParameter", drive.ErrInvalid},
		{400, "required", drive.ErrInvalid},
		{400, "invalidSharingRequest", drive.ErrInvalid},
		{403, "rateLimitExceeded", nil},
		{403, "userRateLimitExceeded", nil},
		{403, "dailyLimitExceeded", drive.ErrQuota},
		{403, "sharingRateLimitExceeded", drive.ErrQuota},
		{403, "downloadQuotaExceeded", drive.ErrQuota},
		{403, "cannotDownloadAbusiveFile", drive.ErrAbusive},
		{403, "fileNotDownloadable", iofs.ErrPermission},
		{403, "download_restricted_for_revision", iofs.ErrPermission},
		{403, "storageQuotaExceeded", drive.ErrFull},
		{403, "quotaExceeded", drive.ErrFull},
		{403, "teamDriveFileLimitExceeded", drive.ErrFull},
		{403, "numChildrenInNonRootLimitExceeded", drive.ErrFull},
		{403, "activeItemCreationLimitExceeded", drive.ErrFull},
		{403, "myDriveHierarchyDepthLimitExceeded", drive.ErrFull},
		{403, "teamDriveHierarchyTooDeep", drive.ErrFull},
		{403, "insufficientFilePermissions", iofs.ErrPermission},
		{403, "insufficientPermissions", iofs.ErrPermission},
		{403, "appNotAuthorizedToFile", iofs.ErrPermission},
		{403, "domainPolicy", iofs.ErrPermission},
		{403, "teamDriveMembershipRequired", iofs.ErrPermission},
		{403, "accessNotConfigured", iofs.ErrPermission},
		{403, "aReasonOfTomorrow", iofs.ErrPermission},
		{403, "propertyLengthLimitExceeded", drive.ErrInvalid},
		{403, "propertyCountLimitExceeded", drive.ErrInvalid},
		{403, "fieldNotWritable", drive.ErrInvalid},
		{404, "notFound", iofs.ErrNotExist},
		{408, "", nil},
		{409, "fileIdInUse", iofs.ErrExist},
		{416, "requestedRangeNotSatisfiable", drive.ErrInvalid},
		{429, "rateLimitExceeded", nil},
		{429, "", nil},
		{500, "backendError", nil},
		{500, "internalError", nil},
		{502, "", nil},
		{503, "transientError", nil},
		{504, "", nil},
	} {
		for shape, dress := range map[string]func(*drivetest.Rule) *drivetest.Rule{
			"object": func(r *drivetest.Rule) *drivetest.Rule { return r },
			"array":  (*drivetest.Rule).Array,
		} {
			t.Run(fmt.Sprint(c.status, " ", c.reason, " ", shape), func(t *testing.T) {
				w := start(t, drivetest.Options{})
				f := w.put("x", nil)
				rule := dress(drivetest.On("GET", "/drive/v3/files/*").Status(c.status, c.reason).Times(2))
				w.srv.Fault(rule)
				_, err := w.Get(t.Context(), f.ID)
				if c.want == nil {
					require.NoError(t, err)
					require.Equal(t, 2, rule.Hits())
					return
				}
				require.ErrorIs(t, err, c.want)
				require.Equal(t, 1, rule.Hits(), "not asked again")
				require.False(t, drive.Retryable(err))
				var e *drive.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, c.status, e.Status)
				require.Equal(t, c.reason, e.Reason)
				require.Equal(t, "files.get", e.Op)
				require.Equal(t, f.ID, e.File)
				for _, other := range drive.Errors() {
					require.Equal(t, errors.Is(c.want, other), errors.Is(err, other), other)
				}
			})
		}
	}
}

// Whatever lasts longer than the time allowed comes back as what it is.
func TestFaultsThatLast(t *testing.T) {
	t.Parallel()
	w := start(t, drivetest.Options{})
	f := w.put("x", nil)
	get := func() *drivetest.Rule { return drivetest.On("GET", "/drive/v3/files/*") }
	for name, c := range map[string]struct {
		rule *drivetest.Rule
		want error
	}{
		"server errors": {get().Status(503, "backendError"), drive.ErrTimeout},
		"HTML":          {get().Status(502, "").HTML(), drive.ErrTimeout},
		"rate limit":    {get().Status(403, "userRateLimitExceeded"), drive.ErrRateLimit},
		"cuts":          {get().DropReply(), drive.ErrOffline},
		"half answers":  {get().Cut(10), drive.ErrOffline},
		"silence":       {get().Stall(), drive.ErrTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, drivetest.Options{})
			f := w.put("x", nil)
			c2 := w.client(drive.Options{Auth: w.auth, Timeout: 3 * time.Second}) // two tries at least, on a busy machine too
			w.srv.Fault(c.rule)
			_, err := c2.Get(t.Context(), f.ID)
			require.ErrorIs(t, err, c.want)
			require.True(t, drive.Retryable(err))
			require.GreaterOrEqual(t, c.rule.Hits(), 2)
			require.Positive(t, c2.Stats().Retries)
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		address := l.Addr().String()
		require.NoError(t, l.Close())
		c, err := drive.New(drive.Options{URL: "http://" + address, Auth: w.auth, Timeout: time.Second})
		require.NoError(t, err)
		t.Cleanup(c.Close)
		_, err = c.Get(t.Context(), "x")
		require.ErrorIs(t, err, drive.ErrOffline)
		require.Contains(t, drive.Sentence(err), "check the network")
	})
	t.Run("until the last try has no time left", func(t *testing.T) {
		c2, err := drive.New(drive.Options{URL: w.srv.URL(), Auth: w.auth, Timeout: 6 * time.Second}) // with its own clocks
		require.NoError(t, err)
		t.Cleanup(c2.Close)
		w.srv.ClearFaults()
		w.srv.Fault(get().Delay(2*time.Second).DropReply().Times(2), get().Stall())
		_, err = c2.Get(t.Context(), f.ID)
		require.ErrorIs(t, err, drive.ErrOffline, "what was met before says more than our own end of the last try")
		w.srv.ClearFaults()
	})
	t.Run("the caller leaves during a pause", func(t *testing.T) {
		w.srv.ClearFaults()
		limit := get().Status(403, "userRateLimitExceeded").RetryAfter(10 * time.Second)
		w.srv.Fault(limit)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { _, err := w.Get(ctx, f.ID); ended <- err }()
		require.Eventually(t, func() bool { return limit.Hits() == 1 }, 20*time.Second, time.Millisecond)
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
	})
}

// Retry-After is kept to: for the call, and for the whole client.
func TestRetryAfter(t *testing.T) {
	w := start(t, drivetest.Options{})
	f := w.put("x", nil)
	limit := drivetest.On("GET", "/drive/v3/files/*").Status(429, "rateLimitExceeded").RetryAfter(time.Second).Times(1)
	w.srv.Fault(limit)
	_, err := w.Get(t.Context(), f.ID)
	require.NoError(t, err)
	all := w.srv.Requests()
	require.Len(t, all, 2)
	require.GreaterOrEqual(t, all[1].Time.Sub(all[0].Time), 900*time.Millisecond)
	require.False(t, w.Stats().Throttled.IsZero(), "the client is slower for a while")

	w.srv.ClearFaults()
	w.srv.Fault(drivetest.On("GET", "/drive/v3/files/*").Status(503, "backendError").RetryAfter(time.Hour))
	_, err = w.Get(t.Context(), f.ID)
	require.ErrorIs(t, err, drive.ErrTimeout, "longer than we have: given up at once")
}

func TestATokenThatEndsEarlyIsRefreshed(t *testing.T) {
	w := start(t, drivetest.Options{})
	f := w.put("x", nil)
	w.srv.Fault(drivetest.On("GET", "/drive/v3/files/*").Status(401, "authError").Times(1))
	_, err := w.Get(t.Context(), f.ID)
	require.NoError(t, err)

	w.srv.ClearFaults()
	always := drivetest.On("GET", "/drive/v3/files/*").Status(401, "authError")
	w.srv.Fault(always)
	_, err = w.Get(t.Context(), f.ID)
	require.ErrorIs(t, err, drive.ErrSignIn)
	require.Equal(t, 2, always.Hits(), "once with a new token, and no more")
}

func TestEveryErrorHasASentence(t *testing.T) {
	for _, kind := range drive.Errors() {
		err := fmt.Errorf("push: %w", &drive.Error{Op: "x", Kind: kind})
		require.NotEqual(t, err.Error(), drive.Sentence(err), "%v", kind)
	}
	require.Equal(t, "something else", drive.Sentence(errors.New("something else")))
}

// A server that keeps to its quota, and many readers who want more: all get what they want, in time. (The
// server's clock runs fast, so that its minute is a second.)
func TestReadersBeyondTheQuota(t *testing.T) {
	begin := time.Now()
	w := start(t, drivetest.Options{
		Limits: drivetest.Limits{UnitsPerMinute: 2000}, // ten reads
		Now:    func() time.Time { return begin.Add(60 * time.Since(begin)) },
	})
	f := w.put("x", noise(1000))
	var g errgroup.Group
	for range 40 {
		g.Go(func() error { return w.ReadRange(t.Context(), contentOf(f), make([]byte, 1000), 0, nil) })
	}
	require.NoError(t, g.Wait())
	require.Positive(t, w.Stats().Retries)
}
