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
	chunkFirst = 16 << 20         // bytes; like all chunks but the last a multiple of 256 KiB, as Drive demands
	chunkMost  = 512 << 20        // what one chunk costs at most when its reply is lost: nothing, the offset is asked for
	chunkTime  = 10 * time.Second // chunks grow until they take about as long: one reply's latency then hardly counts
)

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
// progress, if not nil, is called with the number of bytes that are safe there: after each reply, from this
// goroutine; it can go down.
//
// It returns ErrSession when the session is over: begin another, with the same id; and io/fs.ErrExist when
// that id came into use meanwhile. After any other error Upload can be called again.
func (c *Client) Upload(ctx context.Context, session string, content io.ReaderAt, size int64, progress func(offset int64)) (File, error) {
	o := op{name: "files.create content", units: unitsEdit, slots: c.writes, sends: true}
	address, err := url.Parse(session)
	if err != nil || address.Host == "" || size < 0 {
		return File{}, &Error{Op: o.name, Kind: ErrSession} // and not a word of what it is
	}
	u := &upload{c: c, session: address, content: content, size: size, chunk: chunkFirst, known: c.begun.take(session)}
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
			if progress != nil {
				progress(u.offset)
			}
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
	local   atomic.Pointer[error] // content could not be read; set by the connection's goroutine
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
	start, end := time.Now(), u.offset+n
	body := func() (io.ReadCloser, error) {
		return &piece{section: io.NewSectionReader(u.content, end-n, n), left: n, failed: &u.local}, nil
	}
	err := u.put(ctx, fmt.Sprintf("bytes %d-%d/%d", u.offset, end-1, u.size), body, n)
	if err == nil && u.offset == end && u.chunk < chunkMost && time.Since(start) < chunkTime/2 {
		u.chunk *= 2
	}
	return err
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
		u.offset, u.known = offset, true
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
	failed  *atomic.Pointer[error]
}

// Read implements io.Reader.
func (p *piece) Read(b []byte) (int, error) {
	n, err := p.section.Read(b)
	p.left -= int64(n)
	if err == io.EOF && p.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF {
		p.failed.CompareAndSwap(nil, &err)
	}
	return n, err
}

// Close implements io.Closer.
func (p *piece) Close() error { return nil }
