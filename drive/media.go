package drive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Content names what ReadRange reads.
type Content struct {
	ID       string
	Size     int64  // bytes
	Revision string // File.HeadRevision
}

// ContentURL is the address of the content of file id at the API whose root is root.
func ContentURL(root, id string) string {
	return strings.TrimRight(root, "/") + "/drive/v3/files/" + url.PathEscape(id) + "?alt=media"
}

// ContentURL is the address of the content of file id. Who follows it needs a token.
func (c *Client) ContentURL(id string) string { return ContentURL(c.root, id) }

// gotStep is how much of a range arrives between two reports of ReadRange, in bytes of the file: when its offset passes
// a multiple of this.
const gotStep = 128 << 10

// ReadRange fills p with the bytes of f from off on. It returns nil when all of p is filled, and an error
// otherwise; p may be written to even then. got, if not nil, is told how much of p's beginning is right while
// the rest is still to come: at least once for each gotStep bytes, with growing n, from this goroutine, while
// the connection waits. What it was told stays right, whatever happens afterwards.
//
// After a cut only what is missing is asked for again. An answer that is not 206 with our range is ErrProtocol;
// one for a file of another size, or of another hash than this Client saw before for f, is ErrChanged. One
// request of Drive's download quota, which counts what was asked for, not what came; when that is used up, the
// file is parked, and Drive not asked for it until Stats.Parked says: ErrQuota at once. Safe for concurrent use.
func (c *Client) ReadRange(ctx context.Context, f Content, p []byte, off int64, got func(n int)) error {
	if off < 0 || off > f.Size || int64(len(p)) > f.Size-off {
		return fmt.Errorf("read %d bytes at %d of %s, which has %d: %w", len(p), off, f.ID, f.Size, ErrInvalid)
	}
	if len(p) == 0 {
		return nil // Drive refuses any range of an empty file
	}
	if err := c.parked.check(f.ID); err != nil {
		return err
	}
	if got == nil {
		got = func(int) {}
	}
	d := &download{c: c, f: f, p: p, off: off, got: got}
	err := d.run(ctx)
	c.parked.note(ctx, f.ID, err)
	return err
}

// download is one run of ReadRange.
type download struct {
	c    *Client
	f    Content
	p    []byte
	off  int64
	n    int // bytes of p that are right
	told int // bytes of p that got knows of
	got  func(n int)
}

func (d *download) run(ctx context.Context) error {
	r := d.c.retrier(op{name: "files.get alt=media", file: d.f.ID, units: unitsDownload, slots: d.c.reads})
	for {
		before := d.n
		if err := d.c.yield(ctx); err != nil {
			return r.explain(ctx, err)
		}
		err := r.attempt(ctx, d.once)
		if err == nil {
			return nil
		}
		if d.n-before >= progressLeast {
			r.progress()
		}
		if err = r.again(ctx, err); err != nil {
			return err
		}
	}
}

// once is one request for what is missing of p.
func (d *download) once(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.c.ContentURL(d.f.ID)+"&supportsAllDrives=true", nil)
	if err != nil {
		return err
	}
	first, last := d.off+int64(d.n), d.off+int64(len(d.p))-1
	req.Header.Set("Range", "bytes="+strconv.FormatInt(first, 10)+"-"+strconv.FormatInt(last, 10))
	req.Header.Set("Accept-Encoding", "identity") // without a word of it, a proxy may choose (RFC 9110, 12.5.3)
	resp, err := d.c.down.Do(req)
	if err != nil {
		var e *Error
		if errors.As(err, &e) && e.Status == http.StatusRequestedRangeNotSatisfiable {
			e.Kind = ErrChanged // we asked within the size we know
		}
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusPartialContent {
		return fmt.Errorf("status %d where 206 was due: %w", resp.StatusCode, ErrProtocol)
	}
	gotFirst, gotLast, total, err := parseContentRange(resp.Header.Get("Content-Range"))
	switch {
	case err != nil:
		return err
	case total != d.f.Size:
		return fmt.Errorf("it has %d bytes now, not %d: %w", total, d.f.Size, ErrChanged)
	case gotFirst != first || gotLast != last:
		return fmt.Errorf("bytes %d-%d where %d-%d were asked for: %w", gotFirst, gotLast, first, last, ErrProtocol)
	case resp.ContentLength > last-first+1:
		return errLonger
	case !plainBytes(resp.Header):
		return fmt.Errorf("bytes in the encoding %.40q: %w", resp.Header.Get("Content-Encoding"), ErrProtocol)
	case d.c.hashes.differs(d.f, crc32c(resp.Header)):
		return fmt.Errorf("it has another hash now: %w", ErrChanged)
	}
	return d.fill(resp.Body, resp.ContentLength >= 0)
}

// plainBytes says whether a body is as it is stored, and not compressed on the way.
func plainBytes(h http.Header) bool {
	return !slices.ContainsFunc(h.Values("Content-Encoding"), func(v string) bool {
		return v != "" && !strings.EqualFold(v, "identity")
	})
}

// errLonger refuses an answer as a whole: who sends more than he says may have sent anything.
var errLonger = fmt.Errorf("more bytes than its range has: %w", ErrProtocol)

// fill reads body into p, behind what is right of it. announced says that body is known to be no longer than that; else
// only its end tells, and what came of it is not right before.
func (d *download) fill(body io.Reader, announced bool) error {
	for n := d.n; ; {
		m, err := body.Read(d.p[n:])
		n += m
		if announced {
			d.n = n
			if d.passed() {
				d.tell()
			}
		}
		switch {
		case err == nil && n < len(d.p):
			continue
		case err == nil:
			var more [1]byte
			if extra, _ := body.Read(more[:]); extra > 0 { // meeting the end also frees the connection
				return errLonger
			}
		}
		d.n = n
		d.tell()
		switch {
		case n == len(d.p):
			return nil
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("%d of %d bytes: %w", n, len(d.p), ErrTruncated)
		}
		return err
	}
}

// passed says whether n is behind a multiple of gotStep in the file that got does not know of.
func (d *download) passed() bool {
	return (d.off+int64(d.n))/gotStep > (d.off+int64(d.told))/gotStep
}

// tell reports n, if it grew.
func (d *download) tell() {
	if d.n > d.told {
		d.told = d.n
		d.got(d.n)
	}
}

// crc32c finds the hash of the whole file that upload servers send with each part: "crc32c=…,md5=…", in
// one header or several. "" if there is none.
func crc32c(h http.Header) string {
	for _, v := range h.Values("X-Goog-Hash") {
		for hash := range strings.SplitSeq(v, ",") {
			if hash, ok := strings.CutPrefix(strings.TrimSpace(hash), "crc32c="); ok {
				return hash
			}
		}
	}
	return ""
}
