package drivetest

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits are the service's quotas. Zero values are no limit.
type Limits struct {
	UnitsPerMinute int           // of one user; beyond it 403 and 429 in turn. The service: 325,000
	FileDownload   int64         // bytes of one file that may be asked for in 24 h, by the ranges requested, read or not
	UploadPerDay   int64         // bytes one user may upload or copy in 24 h; the one that crosses it completes. The service: 750 GB
	GrantLife      time.Duration // of refresh tokens. The service: 7 days while the consent screen is in testing
}

// units is the price of a call in quota units.
func units(op string) int {
	switch {
	case op == "media":
		return 200
	case strings.HasSuffix(op, ".list"):
		return 100
	case strings.HasSuffix(op, ".create"), strings.HasSuffix(op, ".update"), strings.HasSuffix(op, ".delete"),
		strings.HasSuffix(op, ".copy"), strings.HasSuffix(op, ".emptyTrash"), op == "upload.begin", op == "upload.multipart", op == "upload.media":
		return 50
	case op == "upload.chunk", op == "upload.query", op == "upload.cancel", op == "discovery":
		return 0
	}
	return 5
}

// window counts something since a moment.
type window struct {
	since time.Time
	count int64
}

// add counts n into the window of length span that holds now, and returns the count before.
func (w *window) add(now time.Time, span time.Duration, n int64) int64 {
	if now.Sub(w.since) >= span {
		*w = window{since: now}
	}
	before := w.count
	w.count += n
	return before
}

// meter counts what users and files have cost.
type meter struct {
	now func() time.Time

	mu        sync.Mutex // guards what follows
	limits    Limits
	units     map[string]*window // by user, a minute
	uploads   map[string]*window // by user, a day
	downloads map[string]*window // by file, a day
	refused   int                // rate refusals so far; the service mixes their shapes
}

func newMeter(l Limits, now func() time.Time) *meter {
	return &meter{now: now, limits: l, units: map[string]*window{}, uploads: map[string]*window{}, downloads: map[string]*window{}}
}

func (m *meter) set(l Limits) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limits = l
}

func (m *meter) get() Limits {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.limits
}

func in(windows map[string]*window, key string) *window {
	if windows[key] == nil {
		windows[key] = &window{}
	}
	return windows[key]
}

// spend charges the user with a call.
func (m *meter) spend(user string, n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := in(m.units, user).add(m.now(), time.Minute, int64(n))
	if m.limits.UnitsPerMinute == 0 || before+int64(n) <= int64(m.limits.UnitsPerMinute) {
		return nil
	}
	m.refused++
	return []error{
		errForbidden("userRateLimitExceeded"), errForbidden("rateLimitExceeded"), &apiError{Status: 429, Reason: "rateLimitExceeded"},
	}[m.refused%3]
}

// download charges file with n bytes asked for.
func (m *meter) download(file string, n int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := in(m.downloads, file).add(m.now(), 24*time.Hour, n)
	if m.limits.FileDownload == 0 || before < m.limits.FileDownload {
		return nil
	}
	return errForbidden("downloadQuotaExceeded")
}

// mayUpload asks whether the user may begin an upload or copy.
func (m *meter) mayUpload(user string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if before := in(m.uploads, user).add(m.now(), 24*time.Hour, 0); m.limits.UploadPerDay > 0 && before >= m.limits.UploadPerDay {
		return &apiError{Status: 403, Reason: "userRateLimitExceeded", Message: "User rate limit exceeded."}
	}
	return nil
}

// uploaded charges the user with n bytes received or copied.
func (m *meter) uploaded(user string, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in(m.uploads, user).add(m.now(), 24*time.Hour, n)
}

// metered charges the call to its account and its file, and hands it to the API.
func (s *Server) metered(w http.ResponseWriter, r *http.Request) {
	if err := s.charge(r); err != nil {
		retryAfter(w, err, s.store.quirks.RetryAfter)
		writeError(w, err)
		return
	}
	s.api.ServeHTTP(w, r)
}

// charge counts what a call costs and says whether it may go on.
func (s *Server) charge(r *http.Request) error {
	op := opName(r)
	cost := units(op)
	note(r.Context(), func(q *Request) { q.Units = cost })
	if isSession(r) { // free of units, and the bytes count for whoever opened it
		if user := s.store.sessionUser(r.URL.Query().Get("upload_id")); user != "" {
			note(r.Context(), func(q *Request) { q.User = user })
			r.Body = s.meter.uploading(user, r.Body)
		}
		return nil
	}
	acc := accountFrom(r.Context())
	if acc == nil {
		return nil // the discovery document
	}
	if err := s.meter.spend(acc.email, cost); err != nil {
		return err
	}
	if op == "media" {
		id, size := s.fileOf(r)
		return s.meter.download(id, requested(r.Header.Get("Range"), size))
	}
	if op != "files.copy" && !strings.HasPrefix(op, "upload.") {
		return nil
	}
	if err := s.meter.mayUpload(acc.email); err != nil {
		return err
	}
	switch op {
	case "upload.begin": // its body is metadata
	case "files.copy":
		_, size := s.fileOf(r)
		s.meter.uploaded(acc.email, size)
	default:
		r.Body = s.meter.uploading(acc.email, r.Body)
	}
	return nil
}

// sessionUser is the e-mail address of whoever opened an upload session; "" if there is no such session.
func (s *store) sessionUser(id string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if ses := s.sessions[id]; ses != nil {
		return ses.Email
	}
	return ""
}

// uploadBody counts what is read of it against its user's day.
type uploadBody struct {
	io.ReadCloser
	m    *meter
	user string
}

func (m *meter) uploading(user string, body io.ReadCloser) io.ReadCloser {
	return &uploadBody{body, m, user}
}

func (b *uploadBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.m.uploaded(b.user, int64(n))
	}
	return n, err
}

// fileOf is the id of the file a call is about, and the size of its content.
func (s *Server) fileOf(r *http.Request) (id string, size int64) {
	_, vars := match(r)
	if len(vars) == 0 {
		return "", 0
	}
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	if f := s.store.files[vars[0]]; f != nil && f.head() != nil {
		size = f.head().Size
	}
	return vars[0], size
}

// requested is how many of size bytes a Range header asks for: an open range counts to the end, however
// little of it is read, and what is no range is all.
func requested(header string, size int64) int64 {
	from, to, ok := strings.Cut(strings.TrimPrefix(header, "bytes="), "-")
	if !ok {
		return size
	}
	first, _ := strconv.ParseInt(from, 10, 64) // a malformed range is not ours to judge: it counts from 0
	last, err := strconv.ParseInt(to, 10, 64)
	switch {
	case from == "" && err == nil: // the last bytes of the file
		return min(last, size)
	case err != nil || last >= size:
		last = size - 1
	}
	return max(last-first+1, 0)
}
