package drivetest

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// uploadNew answers what is sent to /upload without a session: the content itself in one request
// (media, multipart), or the metadata that opens a session (resumable).
func (a *api) uploadNew(c *call) error {
	id := ""
	if len(c.vars) > 0 {
		id = c.vars[0]
	}
	switch c.query.Get("uploadType") {
	case "resumable":
		return a.uploadBegin(c, id)
	case "media":
		e := &edit{acc: c.acc, query: c.query, body: map[string]json.RawMessage{}}
		if err := a.check(id, e, c.r.ContentLength); err != nil {
			return err
		}
		return a.uploadOnce(c, id, e, c.r.Body, c.r.Header.Get("Content-Type"))
	case "multipart":
		return a.uploadMultipart(c, id)
	}
	return errParameter("uploadType", "")
}

// uploadMultipart reads multipart/related: the metadata, then the content.
func (a *api) uploadMultipart(c *call, id string) error {
	mediaType, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(mediaType, "multipart/") || params["boundary"] == "" {
		return errBadRequest("Bad content type. Please use multipart.")
	}
	parts := multipart.NewReader(c.r.Body, params["boundary"])
	first, err := parts.NextRawPart()
	if err != nil {
		return errBadRequest("Malformed multipart body.")
	}
	body, err := parseBody(first)
	if err != nil {
		return err
	}
	e, err := a.newEdit(c, body)
	if err != nil {
		return err
	}
	err = a.check(id, e, -1)
	var second *multipart.Part
	if err == nil {
		if second, err = parts.NextRawPart(); err != nil {
			err = errBadRequest("Missing end boundary in multipart body.")
		}
	}
	if err != nil {
		a.discard(e)
		return err
	}
	// A body cut before its last boundary is an error of the reader: nothing is made of half a file.
	var content io.Reader = second
	if strings.EqualFold(second.Header.Get("Content-Transfer-Encoding"), "base64") {
		content = base64.NewDecoder(base64.StdEncoding, second)
	}
	return a.uploadOnce(c, id, e, content, second.Header.Get("Content-Type"))
}

// uploadOnce stores body and creates file id, or a new file, with it.
func (a *api) uploadOnce(c *call, id string, e *edit, body io.Reader, mimeType string) error {
	key, d, err := a.store.save(body)
	if err != nil {
		a.discard(e)
		return errBadRequest("The request body is incomplete: " + err.Error())
	}
	e.content = &newContent{key: key, digest: d, mimeType: plainType(mimeType)}
	if id == "" {
		id, err = a.create(e)
	} else {
		id, err = a.update(id, e)
	}
	if err != nil {
		return err
	}
	return a.replyFile(c, id)
}

// plainType is a media type as it becomes a file's mimeType.
func plainType(header string) string {
	if header == "" || strings.HasPrefix(header, "multipart/") {
		return ""
	}
	return header
}

// session is a resumable upload from its opening until a week later. What is in the upper part is stored
// and does not change but for Done and Gone; how many bytes have come, the content itself says.
type session struct {
	ID       string
	Email    string
	Client   string
	File     string // to update; "" = create
	Reserved string // id of the file to be
	Body     map[string]json.RawMessage
	Thumb    *thumbnail `json:",omitempty"`
	Query    url.Values
	MimeType string
	Total    int64 // bytes announced at opening; -1 = not
	Created  time.Time
	Content  string
	Done     string `json:",omitempty"` // id of the finished file
	Gone     int    `json:",omitempty"` // status that answers a session cancelled or failed

	st *store
	live
}

// sessionLife is how long a session can be used.
const sessionLife = 7 * 24 * time.Hour

// uploadBegin opens a session. Errors of metadata, permission and quota show here already.
func (a *api) uploadBegin(c *call, id string) error {
	total := int64(-1)
	if text := c.r.Header.Get("X-Upload-Content-Length"); text != "" {
		n, err := parseOffset(text)
		if err != nil {
			return errBadRequest("Invalid X-Upload-Content-Length header.")
		}
		total = n
	}
	if total > maxUploadSize {
		return &apiError{Status: http.StatusRequestEntityTooLarge, Reason: "uploadTooLarge", Message: "Request Too Large"}
	}
	if ct := c.r.Header.Get("Content-Type"); ct != "" && c.r.ContentLength != 0 {
		if t, _, err := mime.ParseMediaType(ct); err != nil || t != "application/json" {
			return errBadRequest("Unsupported content with type: " + ct)
		}
	}
	e, err := a.newEdit(c, nil)
	if err != nil {
		return err
	}
	if err := a.check(id, e, total); err != nil {
		a.discard(e)
		return err
	}
	content, err := a.store.contents.create()
	if err != nil {
		return errStore(err)
	}
	ses := &session{
		ID: randomToken(60), Email: c.acc.email, Client: c.acc.client, File: id, Body: e.body, Thumb: e.thumb,
		Query: c.query, MimeType: plainType(c.r.Header.Get("X-Upload-Content-Type")), Total: total,
		Created: a.store.clock(), Content: content, st: a.store,
	}
	delete(ses.Body, "contentHints") // kept as a stored picture
	if ses.Thumb != nil {
		ses.Body["contentHints"] = json.RawMessage(`{}`)
	}
	if err := a.store.putSession(ses); err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Location", sessionURL(c.r, ses.ID))
	h.Set("X-Guploader-Uploadid", ses.ID)
	h.Set("Server", "UploadServer")
	h.Set("Cache-Control", "no-cache, no-store, max-age=0, must-revalidate")
	h.Set("Content-Length", "0")
	c.done = true
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// sessionURL is the address of a session: a credential by itself.
func sessionURL(r *http.Request, id string) string {
	return rootURL(r) + r.URL.EscapedPath() + "?uploadType=resumable&upload_id=" + url.QueryEscape(id)
}

// putSession stores a session, new or changed.
func (s *store) putSession(ses *session) error {
	return s.update(func(tx *tx) error {
		if s.sessions[ses.ID] == nil {
			s.holdSession(ses, 1)
		}
		s.sessions[ses.ID] = ses
		tx.row("session/"+ses.ID, ses)
		return nil
	})
}

// holdSession counts the contents of a session as used, n 1, or no more, n -1. The caller holds mu.
func (s *store) holdSession(ses *session, n int) {
	for _, key := range ses.contentKeys() {
		if s.refs[key] += n; s.refs[key] <= 0 {
			delete(s.refs, key)
		}
	}
}

// contentKeys are the contents a session keeps until it ends.
func (ses *session) contentKeys() []string {
	var keys []string
	if ses.Content != "" {
		keys = append(keys, ses.Content)
	}
	if ses.Thumb != nil {
		keys = append(keys, ses.Thumb.Content)
	}
	return keys
}
