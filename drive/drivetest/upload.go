package drivetest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
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
		if ours := (*apiError)(nil); errors.As(err, &ours) {
			return err
		}
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
		ID: random(80), Email: c.acc.email, Client: c.acc.client, File: id, Body: e.body, Thumb: e.thumb,
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
