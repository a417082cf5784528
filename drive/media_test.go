package drive_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"sregfs/drive"
	"sregfs/drive/drivetest"
)

func contentOf(f drivetest.File) drive.Content {
	return drive.Content{ID: f.ID, Size: f.Size, Revision: f.HeadRevisionID}
}

func TestReadRange(t *testing.T) {
	w := start(t, drivetest.Options{})
	content := noise(3 << 20)
	f := w.put("image", content)
	for _, at := range [][2]int{{0, len(content)}, {0, 1}, {len(content) - 1, 1}, {1000, 4096}, {1 << 20, 1<<20 + 17}, {5, 0}} {
		p := make([]byte, at[1])
		require.NoError(t, w.ReadRange(t.Context(), contentOf(f), p, int64(at[0]), nil))
		require.True(t, bytes.Equal(content[at[0]:at[0]+at[1]], p), "%v", at)
	}
	require.ErrorIs(t, w.ReadRange(t.Context(), contentOf(f), make([]byte, 2), f.Size-1, nil), drive.ErrInvalid, "nothing is beyond the end")
	require.ErrorIs(t, w.ReadRange(t.Context(), contentOf(f), make([]byte, 1), -1, nil), drive.ErrInvalid)

	empty := w.put("empty", nil)
	w.srv.ResetRequests()
	require.NoError(t, w.ReadRange(t.Context(), contentOf(empty), nil, 0, nil))
	require.Empty(t, w.srv.Requests(), "Drive refuses ranges of empty files")
}

func TestReadRangeFromManyAtOnce(t *testing.T) {
	w := start(t, drivetest.Options{})
	content := noise(4 << 20)
	f := w.put("image", content)
	var g errgroup.Group
	for i := range 32 {
		g.Go(func() error {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for range 8 {
				off := rng.IntN(len(content))
				p := make([]byte, 1+rng.IntN(len(content)-off))
				if err := w.ReadRange(t.Context(), contentOf(f), p, int64(off), nil); err != nil {
					return err
				}
				if !bytes.Equal(content[off:off+len(p)], p) {
					t.Errorf("other bytes at %d", off)
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	connections := map[string]bool{}
	for _, r := range w.srv.Requests() {
		if r.Op == "media" {
			connections[r.Connection] = true
		}
	}
	require.LessOrEqual(t, len(connections), 24, "no more than a client makes, and they are kept")
}

// A faulty answer costs a request, never a wrong byte.
func TestReadRangeThroughFaults(t *testing.T) {
	w := start(t, drivetest.Options{})
	content := noise(1 << 20)
	f := w.put("image", content)
	media := func() *drivetest.Rule { return drivetest.On("GET", "/drive/v3/files/*").Query("alt", "media") }
	for name, fault := range map[string]*drivetest.Rule{
		"cut":                media().Cut(300_000).Times(3),
		"cut at once":        media().Cut(0).Times(3),
		"half a body":        media().ShortBody().Times(1),
		"the range ignored":  media().IgnoreRange().Times(2),
		"a page of a proxy":  media().Status(502, "").HTML().Times(2),
		"an array":           media().Status(503, "backendError").Array().Times(2),
		"the reply dropped":  media().DropReply().Times(2),
		"rate limit":         media().Status(403, "userRateLimitExceeded").Times(2),
		"429":                media().Status(429, "rateLimitExceeded").Times(1),
		"the token refused":  media().Status(401, "authError").Times(1),
		"first byte is late": media().Delay(50 * time.Millisecond).Times(1),
	} {
		t.Run(name, func(t *testing.T) {
			w.srv.ClearFaults()
			w.srv.Fault(fault)
			p := make([]byte, 900_000)
			require.NoError(t, w.ReadRange(t.Context(), contentOf(f), p, 50_000, nil))
			require.True(t, bytes.Equal(content[50_000:950_000], p))
			require.Positive(t, fault.Hits())
		})
	}
}

// After an outage a reader must not sit out a pause that has grown with it.
func TestReadRangeLooksOftenForTheNetwork(t *testing.T) {
	t.Parallel()
	w := start(t, drivetest.Options{})
	f := w.put("image", noise(1000))
	c, err := drive.New(drive.Options{URL: w.srv.URL(), Auth: w.auth, Timeout: 5 * time.Second})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	c.HurryAway()
	gone := drivetest.On("GET", "/drive/v3/files/*").Cut(0)
	w.srv.Fault(gone)
	require.Error(t, c.ReadRange(t.Context(), contentOf(f), make([]byte, 10), 0, nil))
	require.Greater(t, gone.Hits(), 20, "with pauses that doubled for ever it would be a dozen")
}

func TestReadRangeAsksOnlyForWhatACutLeft(t *testing.T) {
	w := start(t, drivetest.Options{})
	f := w.put("image", noise(1<<20))
	w.srv.Fault(drivetest.On("GET", "/drive/v3/files/*").Query("alt", "media").Cut(500_000).Times(1))
	require.NoError(t, w.ReadRange(t.Context(), contentOf(f), make([]byte, 1<<20), 0, nil))
	all := w.srv.Requests()
	require.Len(t, all, 2)
	require.Equal(t, "bytes=0-1048575", all[0].Range)
	require.Regexp(t, `^bytes=[1-9]\d+-1048575$`, all[1].Range)
}

// Who waits for the first block of a long range must not wait for the last.
func TestReadRangeTellsWhatCame(t *testing.T) {
	const block = 128 << 10
	w := start(t, drivetest.Options{})
	content := noise(4*block + 1000)
	f := w.put("image", content)

	t.Run("while the rest is to come", func(t *testing.T) {
		seen := make(chan struct{})
		slow := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(content)-1, len(content)))
			rw.Header().Set("Content-Length", strconv.Itoa(len(content)))
			rw.WriteHeader(http.StatusPartialContent)
			_, _ = rw.Write(content[:block+10])
			_ = http.NewResponseController(rw).Flush()
			select {
			case <-seen:
				_, _ = rw.Write(content[block+10:])
			case <-r.Context().Done():
			}
		}))
		t.Cleanup(slow.Close)
		c, err := drive.New(drive.Options{URL: slow.URL, Auth: w.auth})
		require.NoError(t, err)
		t.Cleanup(c.Close)
		p, once := make([]byte, len(content)), sync.OnceFunc(func() { close(seen) })
		last := 0
		require.NoError(t, c.ReadRange(t.Context(), contentOf(f), p, 0, func(n int) {
			if n >= block {
				once()
			}
			last = n
		}))
		require.Equal(t, len(content), last)
	})
	t.Run("behind a cut it goes on", func(t *testing.T) {
		fault := drivetest.On("GET", "/drive/v3/files/*").Query("alt", "media").Cut(block + 5000).Times(2)
		w.srv.Fault(fault)
		const off = 500
		p, last := make([]byte, len(content)-off), 0
		require.NoError(t, w.ReadRange(t.Context(), contentOf(f), p, off, func(n int) {
			if n <= last {
				t.Errorf("%d after %d", n, last)
			}
			if !bytes.Equal(content[off+last:off+n], p[last:n]) {
				t.Errorf("other bytes in %d to %d", last, n)
			}
			last = n
		}))
		require.Equal(t, len(p), last)
		require.Equal(t, 2, fault.Hits())
	})
	t.Run("nothing of an answer of which nothing is believed", func(t *testing.T) {
		for name, length := range map[string]string{"announced": strconv.Itoa(len(content)), "in chunks": ""} {
			long := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", 2*block-1, len(content)))
				if length != "" {
					rw.Header().Set("Content-Length", length)
				}
				rw.WriteHeader(http.StatusPartialContent)
				_, _ = rw.Write(content)
			}))
			c, err := drive.New(drive.Options{URL: long.URL, Auth: w.auth})
			require.NoError(t, err)
			c.Hurry()
			err = c.ReadRange(t.Context(), contentOf(f), make([]byte, 2*block), 0, func(n int) { t.Errorf("%s: told of %d bytes", name, n) })
			require.ErrorIs(t, err, drive.ErrProtocol, name)
			c.Close()
			long.Close()
		}
	})
}

func TestReadRangeRefusesWhatItDidNotAskFor(t *testing.T) {
	w := start(t, drivetest.Options{})
	media := func() *drivetest.Rule { return drivetest.On("GET", "/drive/v3/files/*").Query("alt", "media") }
	for name, c := range map[string]struct {
		fault *drivetest.Rule
		want  error
		tries int
	}{
		"the range always ignored": {media().IgnoreRange(), drive.ErrProtocol, 3},
		"downloaded too often":     {media().Status(403, "downloadQuotaExceeded"), drive.ErrQuota, 1},
		"malware":                  {media().Status(403, "cannotDownloadAbusiveFile"), drive.ErrAbusive, 1},
		"another range":            {media().WrongRange(), drive.ErrProtocol, 3},
		"past the end":             {media().Status(416, "requestedRangeNotSatisfiable"), drive.ErrChanged, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := w.put("image", noise(1000))
			w.srv.ClearFaults()
			w.srv.Fault(c.fault)
			require.ErrorIs(t, w.ReadRange(t.Context(), contentOf(f), make([]byte, 10), 5, nil), c.want)
			require.Equal(t, c.tries, c.fault.Hits())
		})
	}
}

func TestReadRangeOfAReplacedFile(t *testing.T) {
	w := start(t, drivetest.Options{})
	f := w.put("image", noise(1000))
	p := make([]byte, 10)
	require.NoError(t, w.ReadRange(t.Context(), contentOf(f), p, 0, nil))

	other := noise(1000)
	other[500]++
	require.NoError(t, w.user.Replace(f.ID, bytes.NewReader(other)))
	require.ErrorIs(t, w.ReadRange(t.Context(), contentOf(f), p, 0, nil), drive.ErrChanged, "same size: the hash tells")
	now, ok := w.user.File(f.ID)
	require.True(t, ok)
	require.NoError(t, w.ReadRange(t.Context(), contentOf(now), p, 0, nil))

	require.NoError(t, w.user.Replace(f.ID, bytes.NewReader(noise(1001))))
	require.ErrorIs(t, w.ReadRange(t.Context(), contentOf(now), p, 0, nil), drive.ErrChanged, "the size tells")

	w.ForgetHashes()
	require.NoError(t, w.user.Replace(f.ID, bytes.NewReader(noise(10))))
	require.ErrorIs(t, w.ReadRange(t.Context(), contentOf(now), p, 900, nil), drive.ErrChanged, "our range is past its end")
}

// A server may send anything: a body longer than its range must not be taken for the next answer.
func TestReadRangeFromAStrangeServer(t *testing.T) {
	w := start(t, drivetest.Options{})
	for name, headers := range map[string]map[string]string{
		"no content range":  {},
		"another range":     {"Content-Range": "bytes 5-14/100"},
		"a longer one":      {"Content-Range": "bytes 0-99/100"},
		"an open one":       {"Content-Range": "bytes 0-9/*"},
		"more than it says": {"Content-Range": "bytes 0-9/100"},
	} {
		t.Run(name, func(t *testing.T) {
			strange := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				for k, v := range headers {
					rw.Header().Set(k, v)
				}
				rw.WriteHeader(http.StatusPartialContent)
				_, _ = rw.Write(make([]byte, 100))
			}))
			t.Cleanup(strange.Close)
			c, err := drive.New(drive.Options{URL: strange.URL, Auth: w.auth})
			require.NoError(t, err)
			c.Hurry()
			t.Cleanup(c.Close)
			err = c.ReadRange(t.Context(), drive.Content{ID: "x", Size: 100}, make([]byte, 10), 0, nil)
			require.ErrorIs(t, err, drive.ErrProtocol)
		})
	}
}

// A proxy that compresses what passes by sends other bytes than the file has, as many as it likes.
func TestReadRangeRefusesWhatWasCompressed(t *testing.T) {
	w := start(t, drivetest.Options{})
	asked := make(chan string, 10)
	for name, length := range map[string]int{"shorter": 60, "as long": 100} {
		t.Run(name, func(t *testing.T) {
			proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				asked <- r.Header.Get("Accept-Encoding")
				rw.Header().Set("Content-Range", "bytes 0-99/100")
				rw.Header().Set("Content-Encoding", "gzip")
				rw.WriteHeader(http.StatusPartialContent)
				_, _ = rw.Write(make([]byte, length))
			}))
			t.Cleanup(proxy.Close)
			c, err := drive.New(drive.Options{URL: proxy.URL, Auth: w.auth})
			require.NoError(t, err)
			c.Hurry()
			t.Cleanup(c.Close)
			err = c.ReadRange(t.Context(), drive.Content{ID: "x", Size: 100}, make([]byte, 100), 0, func(n int) { t.Errorf("told of %d bytes", n) })
			require.ErrorIs(t, err, drive.ErrProtocol)
			require.Equal(t, "identity", <-asked)
		})
	}
}

func TestReadRangeFollowsARedirectWithoutTheToken(t *testing.T) {
	w := start(t, drivetest.Options{})
	there := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the token went to another host")
		}
		http.ServeContent(rw, r, "", time.Time{}, strings.NewReader("0123456789"))
	}))
	t.Cleanup(there.Close)
	here := httptest.NewServer(http.RedirectHandler(there.URL+"/content", http.StatusFound))
	t.Cleanup(here.Close)
	c, err := drive.New(drive.Options{URL: here.URL, Auth: w.auth})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	p := make([]byte, 4)
	require.NoError(t, c.ReadRange(t.Context(), drive.Content{ID: "x", Size: 10}, p, 3, nil))
	require.Equal(t, "3456", string(p))
}

func TestReadRangeGivesUpOnSilence(t *testing.T) {
	t.Parallel()
	w := start(t, drivetest.Options{})
	f := w.put("image", noise(1<<20))
	media := func() *drivetest.Rule { return drivetest.On("GET", "/drive/v3/files/*").Query("alt", "media") }

	t.Run("once", func(t *testing.T) {
		c := w.client(drive.Options{Auth: w.auth, Timeout: 4 * time.Second})
		w.srv.ClearFaults()
		w.srv.Fault(media().Stall().Times(1))
		require.NoError(t, c.ReadRange(t.Context(), contentOf(f), make([]byte, 10), 0, nil))
	})
	t.Run("for good", func(t *testing.T) {
		c := w.client(drive.Options{Auth: w.auth, Timeout: 400 * time.Millisecond})
		w.srv.ClearFaults()
		w.srv.Fault(media().Stall())
		require.ErrorIs(t, c.ReadRange(t.Context(), contentOf(f), make([]byte, 10), 0, nil), drive.ErrTimeout)
	})
	t.Run("in the middle of a body", func(t *testing.T) {
		c := w.client(drive.Options{Auth: w.auth, Timeout: 300 * time.Millisecond})
		w.srv.ClearFaults()
		w.srv.SetShape(drivetest.Shape{PerConnection: 1}) // one byte a second
		defer w.srv.SetShape(drivetest.Shape{})
		require.ErrorIs(t, c.ReadRange(t.Context(), contentOf(f), make([]byte, 1000), 0, nil), drive.ErrTimeout)
	})
	t.Run("the caller leaves", func(t *testing.T) {
		w.srv.ClearFaults()
		stall := media().Stall()
		w.srv.Fault(stall)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.ReadRange(ctx, contentOf(f), make([]byte, 10), 0, nil) }()
		require.Eventually(t, func() bool { return stall.Hits() == 1 }, 20*time.Second, time.Millisecond)
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
	})
}
