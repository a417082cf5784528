package drive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	gdrive "google.golang.org/api/drive/v3"
)

// The resumable protocol (https://developers.google.com/drive/api/guides/manage-uploads), by hand: Google's
// library keeps the session to itself, and believes that every chunk it sent arrived whole.

const (
	chunkStep  = 256 << 10 // bytes; all chunks but the last are multiples of it, as Drive demands
	chunkMost  = 8 << 30   // what one request sends, if nothing speaks against it: the wait between two is lost to the line
	chunkLeast = 8 << 20   // or a fraction, down to this, where nothing remains of longer ones
	tellEvery  = 200 * time.Millisecond
)

// ChunkOf is the size nearest to n that chunks can have, for Options.Chunk; 0 is the default.
func ChunkOf(n int64) int64 {
	if n <= 0 {
		return 0
	}
	return max(n/chunkStep, 1) * chunkStep
}

// BeginUpload opens a session for the content of a new file, and returns its address. Whoever has that can
// upload for a week, in this process or another: it is a secret. Nothing exists on the Drive until the last
// byte has arrived. It returns io/fs.ErrExist if f.ID is in use: then Get says whether by this very file.
func (c *Client) BeginUpload(ctx context.Context, f NewFile) (session string, err error) {
	metadata, err := json.Marshal(f.metadata())
	if err != nil {
		return "", fmt.Errorf("begin upload of %s: %w", f.Name, err)
	}
	address := c.root + "/upload/drive/v3/files?" + url.Values{
		"uploadType": {"resumable"}, "supportsAllDrives": {"true"}, "fields": {fileFields},
	}.Encode()
	err = c.call(ctx, op{name: "files.create upload", file: f.ID, units: unitsEdit, sends: true}, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(metadata))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json; charset=UTF-8")
		req.Header.Set("X-Upload-Content-Type", or(f.MimeType, ImageType))
		req.Header.Set("X-Upload-Content-Length", strconv.FormatInt(f.Size, 10))
		resp, err := c.calls.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // empty: read to keep the connection
		location, err := resp.Location()
		if resp.StatusCode != http.StatusOK || err != nil {
			return fmt.Errorf("status %d without an address for the session: %w", resp.StatusCode, ErrProtocol)
		}
		session = location.String()
		return nil
	})
	if err == nil {
		c.begun.add(session)
	}
	return session, err
}

// sessions remembers those begun here to which nothing was sent: that they are empty need not be asked.
type sessions struct {
	mu    sync.Mutex // guards empty
	empty map[string]bool
}

func (s *sessions) add(session string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.empty == nil || len(s.empty) >= sessionsMost {
		s.empty = map[string]bool{}
	}
	s.empty[session] = true
}

// take says whether session is known to be empty, for the last time.
func (s *sessions) take(session string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	empty := s.empty[session]
	delete(s.empty, session)
	return empty
}

// sessionsMost bounds the memory; beyond it all are forgotten, which costs each a question.
const sessionsMost = 1024

// Upload sends what the session does not have yet of content, size bytes, and returns the file Drive made
// of it, with checksums: whether they agree with the content is the caller's question. Where to go on only
// Drive knows, so it is asked first, unless this Client just began the session, and after each interruption.
// progress, if not nil, is called with the number of bytes that went, a few times a second, and after each reply with
// the number that is safe there, which can be less; never by two goroutines at once, nor after Upload has returned.
//
// Drive keeps what arrives of a request that is cut, so each is as long as it may be: Options.Chunk, and less after one
// of which nothing was kept, as behind a proxy that takes no long ones.
//
// It returns ErrSession when the session is over: begin another, with the same id; and io/fs.ErrExist when
// that id came into use meanwhile. After any other error Upload can be called again.
func (c *Client) Upload(ctx context.Context, session string, content io.ReaderAt, size int64, progress func(offset int64)) (File, error) {
	o := op{name: "files.create content", units: unitsEdit, slots: c.writes, sends: true}
	address, err := url.Parse(session)
	if err != nil || address.Host == "" || size < 0 {
		return File{}, &Error{Op: o.name, Kind: ErrSession} // and not a word of what it is
	}
	u := &upload{c: c, session: address, content: content, size: size, chunk: c.chunk, known: c.begun.take(session), progress: progress}
	r := c.retrier(o)
	for most := int64(0); ; {
		asked, began := !u.known, time.Now()
		r.sends = u.known
		err := r.attempt(ctx, u.step)
		if !asked {
			r.excuse(time.Since(began), err) // whether a chunk that failed brought something, only the next query tells
		}
		switch {
		case u.failed() != nil:
			return File{}, fmt.Errorf("%s: read what to send: %w", o.name, u.failed())
		case err == nil && u.made != nil:
			return u.finish(ctx)
		case err == nil:
			u.tell()
			if u.offset > most {
				most = u.offset
				r.progress()
				continue
			}
			if asked {
				continue // it has what we thought: now send
			}
			err = r.explain(ctx, fmt.Errorf("nothing was kept of a chunk: %w", ErrTruncated))
		}
		u.known = false
		if err = r.again(ctx, err); err != nil {
			u.tell()
			return File{}, err
		}
	}
}

// upload is one run of Upload.
type upload struct {
	c       *Client
	session *url.URL // a secret
	content io.ReaderAt
	size    int64
	chunk   int64 // bytes of the next one
	offset  int64 // bytes the server holds
	known   bool  // offset is the server's latest word
	star    bool  // status queries must not name the total
	made    *gdrive.File
	tried   int64                 // bytes of the last chunk, until it is known what was kept of it
	local   atomic.Pointer[error] // content could not be read; set by the connection's goroutine

	mu       sync.Mutex         // held while progress runs
	progress func(offset int64) // may be nil
	live     bool               // guarded by mu: a chunk is being sent
	next     time.Time          // guarded by mu: when progress is due again
}

// tell reports the offset, which is safe.
func (u *upload) tell() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.progress != nil {
		u.progress(u.offset)
	}
}

// pass reports, now and then, how far the chunk under way has gone. It is called by the connection, which may not have
// noticed yet that the request is over.
func (u *upload) pass(offset int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if now := time.Now(); u.live && u.progress != nil && now.After(u.next) {
		u.next = now.Add(tellEvery)
		u.progress(offset)
	}
}

// sending says whether a chunk is being sent.
func (u *upload) sending(is bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.live, u.next = is, time.Now().Add(tellEvery)
}

func (u *upload) failed() error {
	if err := u.local.Load(); err != nil {
		return *err
	}
	return nil
}

// step asks for the offset if it is not known, else sends the next chunk. It leaves what came of it in u.
func (u *upload) step(ctx context.Context) error {
	if u.known {
		return u.send(ctx)
	}
	if u.star {
		return u.put(ctx, "bytes */*", nil, 0)
	}
	err := u.put(ctx, fmt.Sprintf("bytes */%d", u.size), nil, 0)
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusInternalServerError && u.size > 0 {
		// Some deployments fail on a query that names the total
		// (https://github.com/googleapis/google-api-java-client/issues/566).
		if again := u.put(ctx, "bytes */*", nil, 0); again == nil {
			u.star, err = true, nil
		}
	}
	return err
}

// send sends one chunk. With everything sent already it is empty, and asks Drive to make the file.
func (u *upload) send(ctx context.Context) error {
	n := min(u.chunk, u.size-u.offset)
	if n == 0 {
		return u.put(ctx, fmt.Sprintf("bytes */%d", u.size), nil, 0)
	}
	end := u.offset + n
	body := func() (io.ReadCloser, error) {
		return &piece{section: io.NewSectionReader(u.content, end-n, n), left: n, u: u, end: end}, nil
	}
	u.tried = n
	u.sending(true)
	defer u.sending(false)
	return u.put(ctx, fmt.Sprintf("bytes %d-%d/%d", u.offset, end-1, u.size), body, n)
}

// kept notes that Drive has offset bytes: of what was sent last, all, some or nothing.
func (u *upload) kept(offset int64) {
	switch {
	case u.tried == 0:
	case offset <= u.offset:
		u.chunk = max(u.tried/4/chunkStep*chunkStep, min(chunkLeast, u.c.chunk))
	case offset == u.offset+u.tried:
		u.chunk = min(2*u.chunk, u.c.chunk)
	}
	u.offset, u.known, u.tried = offset, true, 0
}

// put is one request to the session.
func (u *upload) put(ctx context.Context, contentRange string, body func() (io.ReadCloser, error), n int64) error {
	req := (&http.Request{Method: http.MethodPut, URL: u.session, Header: http.Header{}, ContentLength: n}).WithContext(ctx)
	if body != nil {
		req.GetBody = body
		req.Body, _ = body()
	}
	req.Header.Set("Content-Range", contentRange)
	resp, err := u.c.up.Do(req)
	if err != nil {
		var e *Error
		if errors.As(err, &e) && (e.Status == http.StatusNotFound || e.Status == http.StatusGone || e.Status == statusCancelled) {
			e.Kind = ErrSession
		}
		if errors.As(err, &e) && e.Status == http.StatusRequestEntityTooLarge && n > chunkLeast {
			e.Kind = ErrTruncated // somebody on the way takes less at once
		}
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK, http.StatusCreated:
		made := &gdrive.File{}
		if err := json.NewDecoder(resp.Body).Decode(made); err != nil {
			return err // what it says, a status query says again
		}
		u.made = made
		return nil
	case http.StatusPermanentRedirect: // means "go on" here
		offset, err := parsePersisted(resp.Header.Get("Range"))
		if err == nil && offset > u.size {
			err = fmt.Errorf("it has %d bytes of %d: %w", offset, u.size, ErrProtocol)
		}
		if err != nil {
			return err
		}
		u.kept(offset)
		if moved, err := resp.Location(); err == nil {
			u.session = moved
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // empty: read to keep the connection
		return nil
	}
	return fmt.Errorf("status %d to a chunk: %w", resp.StatusCode, ErrProtocol)
}

// statusCancelled is what upload servers answer for a session that was cancelled.
const statusCancelled = 499

// CancelUpload ends an upload session: Drive forgets what was sent, unless it has made the file of it already. A session
// that is over is no error, nor is a refusal, because Drive's guides do not promise that a session can be cancelled. What
// is no session at all is ErrSession.
func (c *Client) CancelUpload(ctx context.Context, session string) error {
	o := op{name: "files.create cancel", units: unitsEdit, sends: true}
	address, err := url.Parse(session)
	if err != nil || address.Host == "" {
		return &Error{Op: o.name, Kind: ErrSession} // and not a word of what it is
	}
	return c.call(ctx, o, func(ctx context.Context) error {
		req := (&http.Request{Method: http.MethodDelete, URL: address, Header: http.Header{}}).WithContext(ctx)
		resp, err := c.calls.Do(req)
		var e *Error
		switch {
		case err == nil:
			return resp.Body.Close()
		case errors.As(err, &e) && e.Status/100 == 4 && !Retryable(err):
			return nil
		}
		return err
	})
}

// finish makes sure of the file the server says it made.
func (u *upload) finish(ctx context.Context) (File, error) {
	f := fileOf(u.made)
	if f.MD5 == "" || f.HeadRevision == "" { // a session somebody began without asking for them
		var err error
		if f, err = u.c.Get(ctx, f.ID); err != nil {
			return File{}, err
		}
	}
	if f.MD5 == "" {
		return f, &Error{Op: "files.create content", File: f.ID, Kind: ErrProtocol, Err: errors.New("Drive has no checksum of it")} //nolint:staticcheck // Drive is a name
	}
	return f, nil
}

// piece is the body of one chunk. It tells failures of content from those of the network.
type piece struct {
	section *io.SectionReader
	left    int64
	end     int64 // where it ends in the content
	u       *upload
}

// Read implements io.Reader.
func (p *piece) Read(b []byte) (int, error) {
	n, err := p.section.Read(b)
	p.left -= int64(n)
	p.u.pass(p.end - p.left)
	if err == io.EOF && p.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF {
		p.u.local.CompareAndSwap(nil, &err)
	}
	return n, err
}

// Close implements io.Closer.
func (p *piece) Close() error { return nil }
