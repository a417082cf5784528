package drivetest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// contentRange is a parsed Content-Range header of an upload.
type contentRange struct {
	first, last int64 // last < first: no bytes
	total       int64 // -1: not known yet
	query       bool  // bytes */N or */*: no content, only a question
}

// parseContentRange reads bytes a-b/N, bytes a-b/*, bytes */N, bytes */*, and the bytes 0--1/0 by which
// Python's client sends an empty file.
func parseContentRange(header string) (contentRange, error) {
	bad := errBadRequest("Failed to parse Content-Range header.")
	spec, ok := strings.CutPrefix(header, "bytes ")
	part, whole, slash := strings.Cut(spec, "/")
	if !ok || !slash {
		return contentRange{}, bad
	}
	r := contentRange{last: -1, total: -1}
	if whole != "*" {
		n, err := parseOffset(whole)
		if err != nil {
			return contentRange{}, bad
		}
		r.total = n
	}
	switch part {
	case "*":
		r.query = true
		return r, nil
	case "0--1":
		if r.total != 0 {
			return contentRange{}, bad
		}
		return r, nil
	}
	first, last, ok := strings.Cut(part, "-")
	a, errA := parseOffset(first)
	b, errB := parseOffset(last)
	if !ok || errA != nil || errB != nil || a > b || r.total >= 0 && b >= r.total {
		return contentRange{}, bad
	}
	r.first, r.last = a, b
	return r, nil
}

func (r contentRange) length() int64 { return r.last - r.first + 1 }

// uploadSession answers a request to an open session: a chunk, a status query, or the wish to cancel.
func (a *api) uploadSession(c *call) error {
	ses, err := a.session(c)
	if err != nil {
		return err
	}
	c.acc = a.store.account(ses.Email)
	c.acc.client = ses.Client
	c.query = ses.Query
	c.mask = fileDefault
	if fields := ses.Query.Get("fields"); fields != "" {
		if c.mask, err = parseMask(fields, fileSchema); err != nil {
			return err
		}
	}
	switch c.r.Method {
	case http.MethodDelete:
		return a.uploadCancel(ses)
	case http.MethodPut, http.MethodPost:
	default:
		return errNoRoute(c.r.URL.Path)
	}
	header := c.r.Header.Get("Content-Range")
	if header == "" { // the whole content in one request
		return a.uploadChunk(c, ses, contentRange{last: c.r.ContentLength - 1, total: c.r.ContentLength}, true)
	}
	r, err := parseContentRange(header)
	if err != nil {
		return err
	}
	if r.query {
		return a.uploadQuery(c, ses, r)
	}
	return a.uploadChunk(c, ses, r, false)
}

// uploadQuery answers bytes */N and bytes */*. Naming the total when all of it has come is how some
// clients end an upload whose size they did not know before.
func (a *api) uploadQuery(c *call, ses *session, r contentRange) error {
	if a.store.quirks.StatusStarOnly && r.total >= 0 {
		return &apiError{Status: http.StatusInternalServerError, Reason: "backendError"}
	}
	done, size, err := ses.take(false)
	if err != nil {
		return err
	}
	switch {
	case done != "":
		return a.replyFile(c, done)
	case r.total >= 0 && ses.Total >= 0 && r.total != ses.Total:
		return errBadRequest(fmt.Sprintf("Invalid request. The upload was announced with %d bytes, not %d.", ses.Total, r.total))
	case max(r.total, ses.Total) == size:
		return a.uploadFinish(c, ses)
	}
	return a.uploadMore(c, ses, size)
}

// uploadChunk takes the bytes of one request. whole means it has no Content-Range: all content, from 0.
func (a *api) uploadChunk(c *call, ses *session, r contentRange, whole bool) error {
	done, size, err := ses.take(true)
	if err != nil {
		return err
	}
	if done != "" { // sent again because the reply was lost
		_, _ = io.Copy(io.Discard, c.r.Body)
		return a.replyFile(c, done)
	}
	final := whole || r.last+1 == r.total
	if err := a.checkChunk(c, ses, r, size, whole, final); err != nil {
		return err
	}
	limit := int64(-1) // bytes of the content to keep at most; -1 = all
	if q := a.store.quirks.PersistAtMost; q > 0 && !final {
		limit = max(q-q%granule, granule)
	}
	size, complete, err := ses.receive(c.r.Body, r, size, limit, final, a.store.quirks.Unaligned == UnalignedKeep)
	if err != nil {
		return err
	}
	switch {
	case complete && ses.Total >= 0 && size != ses.Total:
		return errBadRequest(fmt.Sprintf("Invalid request. The upload was announced with %d bytes, not %d.", ses.Total, size))
	case complete:
		return a.uploadFinish(c, ses)
	}
	return a.uploadMore(c, ses, size)
}

// checkChunk refuses a chunk by its header alone.
func (a *api) checkChunk(c *call, ses *session, r contentRange, size int64, whole, final bool) error {
	n := r.length()
	switch {
	case r.total >= 0 && ses.Total >= 0 && r.total != ses.Total:
		return errBadRequest(fmt.Sprintf("Invalid request. The upload was announced with %d bytes, not %d.", ses.Total, r.total))
	case whole && r.total >= 0 && r.total < size:
		return errBadRequest(fmt.Sprintf("Invalid request. %d byte(s) have been persisted already.", size))
	case whole:
		return nil
	case c.r.ContentLength >= 0 && c.r.ContentLength != n:
		return errBadRequest(fmt.Sprintf("Invalid request.  There were %d byte(s) in the request body.  There should have been %d byte(s) (starting at offset %d and ending at offset %d) according to the Content-Range header.", c.r.ContentLength, n, r.first, r.last))
	case r.first > size:
		status := a.store.quirks.GapStatus
		if status == 0 {
			status = http.StatusBadRequest
		}
		return &apiError{Status: status, Reason: "badRequest", Message: fmt.Sprintf("Invalid request. The chunk begins at offset %d, but only %d byte(s) have been persisted.", r.first, size)}
	case !final && n%granule != 0 && a.store.quirks.Unaligned == UnalignedReject:
		return errBadRequest(fmt.Sprintf("Invalid request.  The number of bytes uploaded is required to be equal or greater than 262144, except for the final request (it's recommended to be the exact multiple of 262144).  The received request contained %d bytes, which does not meet this requirement.", n))
	}
	return nil
}

// errOvertaken ends a request whose session another request has taken meanwhile.
var errOvertaken = &apiError{Status: http.StatusServiceUnavailable, Reason: "backendError", Message: "Another request has taken over this upload session."}

// receive appends the bytes of body that are new, which r says where they belong, in whole granules as
// they come; a rest shorter than one is kept only at the end of the content, or if keep is set. It returns
// how many bytes are persisted, durably, and whether that is all.
func (ses *session) receive(body io.Reader, r contentRange, size, limit int64, final, keep bool) (int64, bool, error) {
	ses.mu.Lock()
	turn := ses.turn
	ses.mu.Unlock()
	if _, err := io.CopyN(io.Discard, body, min(size-r.first, max(r.length(), 0))); err != nil && !errors.Is(err, io.EOF) {
		return size, false, errCut(err)
	}
	p, err := ses.st.contents.extend(ses.Content, size)
	if err != nil {
		return size, false, errStore(err)
	}
	want := int64(-1)
	if r.total >= 0 || r.last >= r.first {
		want = max(r.last+1-size, 0)
	}
	buf := make([]byte, granule)
	var kept, came int64
	var failed error
	for failed == nil {
		n, ended, err := fill(body, buf)
		came += int64(n)
		if err != nil {
			failed = errCut(err)
		}
		if ended && want >= 0 && came < want { // the body is shorter than it said
			failed = errCut(io.ErrUnexpectedEOF)
		}
		if want >= 0 && came > want {
			failed = errBadRequest("Invalid request. The request body is longer than its Content-Range header says.")
			break
		}
		if n < granule && (failed != nil || !final && !keep) {
			n -= n % granule
		}
		if limit >= 0 && kept+int64(n) > limit {
			n = int(limit - kept)
		}
		if e := ses.append(p, turn, buf[:n]); e != nil {
			failed = e
			break
		}
		kept += int64(n)
		if ended {
			break
		}
		if e := ses.checkpoint(p, turn); e != nil {
			failed = e
		}
	}
	if err := errors.Join(p.Sync(), p.Close()); err != nil && failed == nil {
		failed = errStore(err)
	}
	return size + kept, final && failed == nil, failed
}

// fill reads until buf is full, or body has ended as it should, or failed.
func fill(body io.Reader, buf []byte) (n int, ended bool, err error) {
	for n < len(buf) {
		k, err := body.Read(buf[n:])
		n += k
		if err == io.EOF { // bare; anything else is no proper end
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// append adds b if the session still belongs to the request of this turn.
func (ses *session) append(p part, turn int, b []byte) error {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if ses.turn != turn {
		return errOvertaken
	}
	if len(b) == 0 {
		return nil
	}
	if _, err := p.Write(b); err != nil {
		ses.digest = nil // counted again from the disk
		return errStore(err)
	}
	_, _ = ses.digest.Write(b) // never fails
	return nil
}

// errCut is the answer to a body that ended early. Nobody is there to read it, mostly.
func errCut(err error) error {
	return &apiError{Status: http.StatusRequestTimeout, Reason: "uploadBroken", Message: "The request body ended early: " + err.Error()}
}

// uploadMore answers 308 Resume Incomplete; to clients that ask so, as 200 with the status in a header.
func (a *api) uploadMore(c *call, ses *session, size int64) error {
	h := c.w.Header()
	if size > 0 {
		h.Set("Range", "bytes=0-"+strconv.FormatInt(size-1, 10))
		ses.mu.Lock()
		if ses.digest != nil {
			h.Set("X-Range-Md5", hex.EncodeToString(ses.digest.md5.Sum(nil)))
		}
		ses.mu.Unlock()
	}
	if a.store.quirks.MoveSession {
		moved, err := a.moveSession(ses)
		if err != nil {
			return err
		}
		h.Set("Location", sessionURL(c.r, moved))
	}
	h.Set("Server", "UploadServer")
	h.Set("X-Guploader-Uploadid", ses.ID)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", "0")
	status := http.StatusPermanentRedirect
	if c.r.Header.Get("X-GUploader-No-308") == "yes" {
		h.Set("X-Http-Status-Code-Override", "308")
		status = http.StatusOK
	}
	c.done = true
	c.w.WriteHeader(status)
	return nil
}
