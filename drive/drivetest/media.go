package drivetest

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// byteRange is first to last, both included; one that was not satisfiable has first > last.
type byteRange struct{ first, last int64 }

// parseRange reads a Range header for a content of size bytes. No ranges means the header is to be
// ignored: it is absent or not in the form of bytes=…
func parseRange(header string, size int64) []byteRange {
	specs, ok := strings.CutPrefix(header, "bytes=")
	if !ok {
		return nil
	}
	var ranges []byteRange
	for spec := range strings.SplitSeq(specs, ",") {
		first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
		if !ok {
			return nil
		}
		r := byteRange{0, size - 1}
		a, errA := parseOffset(first)
		b, errB := parseOffset(last)
		switch {
		case first == "" && errB == nil: // the last b bytes
			r.first = max(size-b, 0)
			if b == 0 {
				r.first = size
			}
		case errA == nil && last == "":
			r.first = a
		case errA == nil && errB == nil && a <= b:
			r = byteRange{a, min(b, size-1)}
		default:
			return nil
		}
		ranges = append(ranges, r)
	}
	return ranges
}

// parseOffset is a number of digits only.
func parseOffset(text string) (int64, error) {
	n, err := strconv.ParseUint(text, 10, 63)
	return int64(n), err
}

// mediaGet answers alt=media of a file.
func (a *api) mediaGet(c *call) error {
	var (
		f       *file
		content io.ReadSeekCloser
	)
	err := a.store.view(func() (err error) {
		if f, err = a.store.find(c.acc, c.vars[0]); err != nil {
			return err
		}
		switch {
		case !f.isBlob():
			return &apiError{Status: 403, Reason: "fileNotDownloadable", LocationType: "parameter", Location: "alt"}
		case f.WritersCopy && a.store.roleOf(c.acc.email, f) < roleWriter:
			return &apiError{Status: 403, Reason: "cannotDownloadFile", Message: "This file cannot be downloaded by the user."}
		case f.Abusive && (c.query.Get("acknowledgeAbuse") != "true" || f.Owner != c.acc.email):
			return errForbidden("cannotDownloadAbusiveFile")
		}
		content, err = a.store.open(f.head())
		return err
	})
	if err != nil {
		return err
	}
	defer content.Close()
	return a.sendContent(c, f.head(), f.MimeType, content)
}

// sendContent answers with the bytes of r that the Range header asks for, and with the headers the
// service sends: no ETag, no Last-Modified.
func (a *api) sendContent(c *call, r *revision, mimeType string, content io.ReadSeeker) error {
	part := byteRange{0, r.Size - 1}
	status := http.StatusOK
	ranges := parseRange(c.r.Header.Get("Range"), r.Size)
	if len(ranges) > 1 && a.store.quirks.MultiRange == MultiRangeWhole {
		ranges = nil
	}
	if len(ranges) > 0 {
		part, status = ranges[0], http.StatusPartialContent
		if part.first >= r.Size { // so for any range of an empty file
			c.w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", r.Size))
			return &apiError{Status: http.StatusRequestedRangeNotSatisfiable, Reason: "requestedRangeNotSatisfiable", LocationType: "header", Location: "Range"}
		}
		c.w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", part.first, part.last, r.Size))
	}
	if _, err := content.Seek(part.first, io.SeekStart); err != nil {
		return errStore(err)
	}
	var crc [4]byte
	binary.BigEndian.PutUint32(crc[:], r.CRC32C)
	h := c.w.Header()
	h.Set("Cache-Control", "private, max-age=0, must-revalidate")
	h.Set("Content-Disposition", "attachment")
	h.Set("Content-Length", strconv.FormatInt(part.last-part.first+1, 10))
	h.Set("Content-Type", mimeType)
	h.Set("Expires", a.store.now().UTC().Format(http.TimeFormat))
	h.Set("Server", "UploadServer")
	h.Set("Vary", "Origin, X-Origin")
	h.Set("X-Goog-Hash", "crc32c="+base64.StdEncoding.EncodeToString(crc[:]))
	h.Set("X-Guploader-Uploadid", random(80))
	c.done = true
	c.w.WriteHeader(status)
	copyOut(c.w, io.LimitReader(content, part.last-part.first+1))
	return nil
}

// copyOut sends a body whose header is out already: an error can only cut it short.
func copyOut(w http.ResponseWriter, r io.Reader) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, 128<<10))
}
