package drive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
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

// ReadRange fills p with the bytes of f from off on. It returns nil when all of p is filled, and an error
// otherwise; p may be written to even then. After a cut only what is missing is asked for again. An answer
// that is not 206 with our range is ErrProtocol; one for a file of another size, or of another hash than
// this Client saw before for f, is ErrChanged. One request of Drive's download quota, which counts what
// was asked for, not what came; when that is used up, the file is parked, and Drive not asked for it until
// Stats.Parked says: ErrQuota at once. Safe for concurrent use.
func (c *Client) ReadRange(ctx context.Context, f Content, p []byte, off int64) error {
	if off < 0 || off > f.Size || int64(len(p)) > f.Size-off {
		return fmt.Errorf("read %d bytes at %d of %s, which has %d: %w", len(p), off, f.ID, f.Size, ErrInvalid)
	}
	if len(p) == 0 {
		return nil // Drive refuses any range of an empty file
	}
	if err := c.parked.check(f.ID); err != nil {
		return err
	}
	err := c.readRange(ctx, f, p, off)
	c.parked.note(ctx, f.ID, err)
	return err
}

func (c *Client) readRange(ctx context.Context, f Content, p []byte, off int64) error {
	r := c.retrier(op{name: "files.get alt=media", file: f.ID, units: unitsDownload, slots: c.reads})
	for got := 0; ; {
		n := 0
		err := r.attempt(ctx, func(ctx context.Context) (err error) {
			n, err = c.readOnce(ctx, f, p[got:], off+int64(got))
			return err
		})
		if err == nil {
			return nil
		}
		got += n
		if n >= progressLeast {
			r.progress()
		}
		if err = r.again(ctx, err); err != nil {
			return err
		}
	}
}

// readOnce is one request for p. It returns how many bytes of p are right, also with an error.
func (c *Client) readOnce(ctx context.Context, f Content, p []byte, off int64) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.ContentURL(f.ID)+"&supportsAllDrives=true", nil)
	if err != nil {
		return 0, err
	}
	last := off + int64(len(p)) - 1
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, last))
	resp, err := c.down.Do(req)
	if err != nil {
		var e *Error
		if errors.As(err, &e) && e.Status == http.StatusRequestedRangeNotSatisfiable {
			e.Kind = ErrChanged // we asked within the size we know
		}
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusPartialContent {
		return 0, fmt.Errorf("status %d where 206 was due: %w", resp.StatusCode, ErrProtocol)
	}
	gotFirst, gotLast, total, err := parseContentRange(resp.Header.Get("Content-Range"))
	switch {
	case err != nil:
		return 0, err
	case total != f.Size:
		return 0, fmt.Errorf("it has %d bytes now, not %d: %w", total, f.Size, ErrChanged)
	case gotFirst != off || gotLast != last:
		return 0, fmt.Errorf("bytes %d-%d where %d-%d were asked for: %w", gotFirst, gotLast, off, last, ErrProtocol)
	case c.hashes.differs(f, crc32c(resp.Header)):
		return 0, fmt.Errorf("it has another hash now: %w", ErrChanged)
	}
	n, err := io.ReadFull(resp.Body, p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return n, fmt.Errorf("%d of %d bytes: %w", n, len(p), ErrTruncated)
	}
	if err != nil {
		return n, err
	}
	if extra, _ := resp.Body.Read(make([]byte, 1)); extra > 0 { // meeting the end also frees the connection
		return 0, fmt.Errorf("more bytes than its range has: %w", ErrProtocol)
	}
	return n, nil
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
