package drive_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/png"
	"io"
	iofs "io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
)

// begin opens a session for an image of this size.
func (w *world) begin(size int64) (id, session string) {
	w.t.Helper()
	id = w.id()
	session, err := w.BeginUpload(w.t.Context(), drive.NewFile{
		ID: id, Name: "vsoch/hello:latest@1.sif", Properties: map[string]string{"type": "container", "tag": "latest"}, Size: size,
	})
	require.NoError(w.t, err)
	return id, session
}

// holds checks that the Drive has exactly one image, made of content.
func (w *world) holds(f drive.File, content []byte) {
	w.t.Helper()
	require.EqualValues(w.t, len(content), f.Size)
	require.Equal(w.t, md5Hex(content), f.MD5)
	require.NotEmpty(w.t, f.SHA256)
	require.NotEmpty(w.t, f.HeadRevision)
	require.True(w.t, bytes.Equal(content, w.stored(f.ID)))
	count := 0
	for _, other := range w.user.Files() {
		if other.Properties["type"] == "container" {
			count++
		}
	}
	require.Equal(w.t, 1, count)
}

func TestUpload(t *testing.T) {
	for name, size := range map[string]int{
		"nothing": 0, "a byte": 1, "a step": 256 << 10, "a chunk": chunk, "a chunk and a byte": chunk + 1, "chunks": 3*chunk + 12345,
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, drivetest.Options{})
			content := noise(size)
			folder := w.folder("sregistry")
			var thumbnail bytes.Buffer
			require.NoError(t, png.Encode(&thumbnail, image.NewGray(image.Rect(0, 0, 300, 300))))
			id := w.id()
			session, err := w.BeginUpload(t.Context(), drive.NewFile{
				ID: id, Name: "an image", Parent: folder, Description: "of a test", Size: int64(size),
				Properties: map[string]string{"type": "container"}, Thumbnail: thumbnail.Bytes(), ThumbnailType: "image/png",
			})
			require.NoError(t, err)
			var seen []int64
			f, err := w.Upload(t.Context(), session, bytes.NewReader(content), int64(size), func(n int64) { seen = append(seen, n) })
			require.NoError(t, err)
			w.holds(f, content)
			require.Equal(t, id, f.ID)
			require.Equal(t, "an image", f.Name)
			require.Equal(t, "of a test", f.Description)
			require.Equal(t, []string{folder}, f.Parents)
			require.Equal(t, drive.ImageType, f.MimeType)
			require.True(t, f.HasThumbnail)
			require.IsNonDecreasing(t, append([]int64{0}, seen...))

			again, err := w.Upload(t.Context(), session, bytes.NewReader(content), int64(size), nil)
			require.NoError(t, err, "a session that is complete says so")
			require.Equal(t, f.ID, again.ID)
		})
	}
}

func TestUploadThroughFaults(t *testing.T) {
	put := func() *drivetest.Rule { return drivetest.On("PUT", "/upload/*") }
	for name, fault := range map[string]*drivetest.Rule{
		"a chunk cut":                  put().CutRequest(600 << 10).Nth(2),
		"the last chunk cut":           put().CutRequest(300 << 10).Nth(3),
		"the final reply lost":         put().DropReply().Nth(3),
		"a reply lost on the way":      put().DropReply().Nth(2),
		"error before":                 put().Status(503, "backendError").Nth(2),
		"error after":                  put().Status(503, "backendError").After().Nth(2),
		"error after the last":         put().Status(500, "internalError").After().Nth(3),
		"a page of a proxy":            put().Status(502, "").HTML().Nth(3),
		"rate limit":                   put().Status(403, "userRateLimitExceeded").Nth(2),
		"429":                          put().Status(429, "rateLimitExceeded").Nth(3),
		"408":                          put().Status(408, "").Nth(2),
		"the token refused":            put().Status(401, "authError").Nth(3),
		"the first query cut":          put().DropReply().Nth(1),
		"the answer's body cut":        put().Cut(20).Nth(3),
		"every other request is worse": put().Status(500, "backendError").Chance(0.7),
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, drivetest.Options{})
			content := noise(chunk + chunk/2) // a query, a chunk, and the rest
			_, session := w.begin(int64(len(content)))
			w.srv.Fault(fault)
			other := w.client(drive.Options{Auth: w.auth}) // which has to ask
			f, err := other.Upload(t.Context(), session, bytes.NewReader(content), int64(len(content)), nil)
			require.NoError(t, err)
			w.holds(f, content)
			require.Positive(t, fault.Hits())
		})
	}
}

func TestUploadBelievesOnlyTheServer(t *testing.T) {
	content := noise(3 * chunk)
	for name, quirks := range map[string]drivetest.Quirks{
		"keeps a little of each chunk": {PersistAtMost: 512 << 10},
		"moves the session":            {MoveSession: true},
		"fails on a total":             {StatusStarOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, drivetest.Options{Quirks: quirks})
			_, session := w.begin(int64(len(content)))
			other := w.client(drive.Options{Auth: w.auth}) // which has to ask
			f, err := other.Upload(t.Context(), session, bytes.NewReader(content), int64(len(content)), nil)
			require.NoError(t, err)
			w.holds(f, content)
		})
	}
}

func TestUploadAsksOnlyWhatItCannotKnow(t *testing.T) {
	put := func() *drivetest.Rule { return drivetest.On("PUT", "/upload/*") }
	content := noise(1 << 20)
	t.Run("nothing of a session just begun", func(t *testing.T) {
		w := start(t, drivetest.Options{})
		_, session := w.begin(int64(len(content)))
		w.srv.ResetRequests()
		f, err := w.Upload(t.Context(), session, bytes.NewReader(content), int64(len(content)), nil)
		require.NoError(t, err)
		w.holds(f, content)
		require.Len(t, w.srv.Requests(), 1)
	})
	for name, fault := range map[string]*drivetest.Rule{
		"cut": put().CutRequest(300 << 10), "reply lost": put().DropReply(),
		"error before": put().Status(503, "backendError"), "error after": put().Status(500, "internalError").After(),
	} {
		t.Run("where its first chunk was left, "+name, func(t *testing.T) {
			w := start(t, drivetest.Options{})
			_, session := w.begin(int64(len(content)))
			w.srv.Fault(fault.Nth(1))
			f, err := w.Upload(t.Context(), session, bytes.NewReader(content), int64(len(content)), nil)
			require.NoError(t, err)
			w.holds(f, content)
			require.Equal(t, 1, fault.Hits())
		})
	}
}

func TestUploadGoesOnInAnotherProcess(t *testing.T) {
	w := start(t, drivetest.Options{})
	content := noise(3 * chunk)
	_, session := w.begin(int64(len(content)))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := w.Upload(ctx, session, bytes.NewReader(content), int64(len(content)), func(n int64) {
		if n > 0 {
			cancel()
		}
	})
	require.ErrorIs(t, err, context.Canceled)

	w.srv.ResetRequests()
	other := w.client(drive.Options{Auth: w.openAuth(w.dir)})
	first := int64(-1)
	f, err := other.Upload(t.Context(), session, bytes.NewReader(content), int64(len(content)), func(n int64) {
		if first < 0 {
			first = n
		}
	})
	require.NoError(t, err)
	require.Positive(t, first, "what had arrived counts")
	w.holds(f, content)
	var sent int64
	for _, r := range w.srv.Requests() {
		sent += r.In
	}
	require.EqualValues(t, 3*chunk-first, sent, "and is not sent again")
}

func TestUploadShowsWhatWent(t *testing.T) {
	const size = 24 << 20 // more than the sockets between take at once
	w := start(t, drivetest.Options{Shape: drivetest.Shape{PerConnection: size}})
	content := noise(size)
	_, session := w.begin(size)
	other := w.client(drive.Options{Auth: w.auth, Chunk: 1 << 30})
	var last, between int64
	f, err := other.Upload(t.Context(), session, bytes.NewReader(content), size, func(n int64) {
		if n > 0 && n < size {
			between++
		}
		if n < last || n > size {
			t.Errorf("%d after %d", n, last)
		}
		last = n
	})
	require.NoError(t, err)
	w.holds(f, content)
	require.Positive(t, between, "of a request that takes a second")
}

// A proxy may take no long requests: it says so, or hangs up when it has had enough, and Drive sees nothing of it.
func TestUploadBehindANarrowProxy(t *testing.T) {
	const narrow = 9 << 20
	content := noise(20 << 20)
	for name, refuse := range map[string]func(rw http.ResponseWriter){
		"says so":  func(rw http.ResponseWriter) { http.Error(rw, "too large", http.StatusRequestEntityTooLarge) },
		"hangs up": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, drivetest.Options{})
			_, session := w.begin(int64(len(content)))
			at, err := url.Parse(session)
			require.NoError(t, err)
			pass := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: at.Scheme, Host: at.Host})
			proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.ContentLength > narrow {
					refuse(rw)
					return
				}
				pass.ServeHTTP(rw, r)
			}))
			t.Cleanup(proxy.Close)
			at.Host = proxy.Listener.Addr().String()
			c := w.client(drive.Options{Auth: w.auth, Chunk: 1 << 30})
			f, err := c.Upload(t.Context(), at.String(), bytes.NewReader(content), int64(len(content)), nil)
			require.NoError(t, err)
			w.holds(f, content)
		})
	}
}

func TestUploadGivesUpOnSilence(t *testing.T) {
	t.Parallel()
	w := start(t, drivetest.Options{})
	content := noise(1 << 20)
	t.Run("of a reply, and goes on", func(t *testing.T) {
		_, session := w.begin(int64(len(content)))
		c := w.client(drive.Options{Auth: w.auth, Timeout: 4 * time.Second})
		w.srv.Fault(drivetest.On("PUT", "/upload/*").Stall().Nth(2))
		f, err := c.Upload(t.Context(), session, bytes.NewReader(content), int64(len(content)), nil)
		require.NoError(t, err)
		w.holds(f, content)
		require.NoError(t, w.user.Delete(f.ID))
	})
	t.Run("in the middle of a body, and can go on later", func(t *testing.T) {
		_, session := w.begin(int64(len(content)))
		c := w.client(drive.Options{Auth: w.auth, Timeout: 300 * time.Millisecond})
		w.srv.ClearFaults()
		w.srv.SetShape(drivetest.Shape{PerConnection: 1}) // a byte a second
		_, err := c.Upload(t.Context(), session, bytes.NewReader(content), int64(len(content)), nil)
		require.ErrorIs(t, err, drive.ErrTimeout)
		w.srv.SetShape(drivetest.Shape{})
		f, err := w.Upload(t.Context(), session, bytes.NewReader(content), int64(len(content)), nil)
		require.NoError(t, err)
		w.holds(f, content)
	})
}

func TestUploadErrors(t *testing.T) {
	put := func() *drivetest.Rule { return drivetest.On("PUT", "/upload/*") }
	content := noise(1 << 20)
	for name, c := range map[string]struct {
		fault *drivetest.Rule
		want  error
	}{
		"404":                  {put().Status(404, "notFound"), drive.ErrSession},
		"410 saying 503":       {put().Status(410, "backendError"), drive.ErrSession},
		"499":                  {put().Status(499, ""), drive.ErrSession},
		"full":                 {put().Status(403, "storageQuotaExceeded"), drive.ErrFull},
		"750 GB in a day":      {put().Status(403, "userRateLimitExceeded").Message("User rate limit exceeded."), drive.ErrQuota},
		"not allowed":          {put().Status(403, "insufficientFilePermissions"), iofs.ErrPermission},
		"a bad request":        {put().Status(400, "badRequest"), drive.ErrInvalid},
		"the id came into use": {put().Status(409, "fileIdInUse"), iofs.ErrExist},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, drivetest.Options{})
			_, session := w.begin(int64(len(content)))
			w.srv.Fault(c.fault)
			_, err := w.Upload(t.Context(), session, bytes.NewReader(content), int64(len(content)), nil)
			require.ErrorIs(t, err, c.want)
			require.Equal(t, 1, c.fault.Hits(), "final")
		})
	}
	t.Run("no session at all", func(t *testing.T) {
		w := start(t, drivetest.Options{})
		for _, session := range []string{"", "rubbish", "://", w.srv.URL() + "/upload/drive/v3/files?uploadType=resumable&upload_id=gone"} {
			_, err := w.Upload(t.Context(), session, bytes.NewReader(content), 10, nil)
			require.ErrorIs(t, err, drive.ErrSession, session)
		}
	})
	t.Run("nothing ever kept", func(t *testing.T) {
		w := start(t, drivetest.Options{})
		_, session := w.begin(int64(len(content)))
		c := w.client(drive.Options{Auth: w.auth, Timeout: 300 * time.Millisecond})
		w.srv.Fault(put().Query("upload_id", "*").CutRequest(0))
		_, err := c.Upload(t.Context(), session, bytes.NewReader(content), int64(len(content)), nil)
		require.Error(t, err)
		require.True(t, drive.Retryable(err), "%v", err)
	})
	t.Run("content that cannot be read", func(t *testing.T) {
		w := start(t, drivetest.Options{})
		_, session := w.begin(int64(len(content)))
		_, err := w.Upload(t.Context(), session, brokenDisk{}, int64(len(content)), nil)
		require.ErrorIs(t, err, errDisk)
		_, err = w.Upload(t.Context(), session, bytes.NewReader(content[:10]), int64(len(content)), nil)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	})
}

var errDisk = errors.New("the disk is broken")

type brokenDisk struct{}

func (brokenDisk) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

func TestBeginUpload(t *testing.T) {
	w := start(t, drivetest.Options{})
	id := w.id()
	file := drive.NewFile{ID: id, Name: "x", Size: 3}
	t.Run("its reply lost", func(t *testing.T) {
		drop := drivetest.On("POST", "/upload/*").DropReply().Times(1)
		w.srv.Fault(drop)
		session, err := w.BeginUpload(t.Context(), file)
		require.NoError(t, err)
		_, err = w.Upload(t.Context(), session, bytes.NewReader([]byte("abc")), 3, nil)
		require.NoError(t, err)
		require.Equal(t, 1, drop.Hits())
		require.Len(t, w.user.Files(), 1)
	})
	t.Run("an id in use", func(t *testing.T) {
		session, err := w.BeginUpload(t.Context(), file)
		if err == nil { // Drive may say so only at the end
			_, err = w.Upload(t.Context(), session, bytes.NewReader([]byte("abc")), 3, nil)
		}
		require.ErrorIs(t, err, iofs.ErrExist)
	})
	t.Run("properties beyond the limit", func(t *testing.T) {
		_, err := w.BeginUpload(t.Context(), drive.NewFile{ID: w.id(), Name: "x", Size: 3, Properties: map[string]string{"key": string(make([]byte, 200))}})
		require.ErrorIs(t, err, drive.ErrInvalid)
		require.Contains(t, drive.Sentence(err), "124 bytes")
	})
	t.Run("a folder that is not there", func(t *testing.T) {
		_, err := w.BeginUpload(t.Context(), drive.NewFile{ID: w.id(), Name: "x", Size: 3, Parent: "nowhere"})
		require.ErrorIs(t, err, iofs.ErrNotExist)
	})
}

func TestCancelUpload(t *testing.T) {
	w := start(t, drivetest.Options{})
	content := noise(1 << 20)
	session, err := w.BeginUpload(t.Context(), drive.NewFile{Name: "image", Size: int64(len(content))})
	require.NoError(t, err)
	w.srv.Fault(drivetest.On("DELETE", "/upload/*").Nth(1).Status(503, "backendError"))
	require.NoError(t, w.CancelUpload(t.Context(), session))
	require.NoError(t, w.CancelUpload(t.Context(), session), "it is over already")
	require.ErrorIs(t, w.CancelUpload(t.Context(), "no address"), drive.ErrSession)
	_, err = w.Upload(t.Context(), session, bytes.NewReader(content), int64(len(content)), nil)
	require.ErrorIs(t, err, drive.ErrSession)
}
