package drivetest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// session is a resumable upload from its opening until a week later. What is in the upper part is stored
// and does not change but for the last three; how many bytes have come, the content itself says.
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
	Done     string  `json:",omitempty"` // id of the finished file
	Gone     int     `json:",omitempty"` // status that answers a session cancelled or failed
	Counted  counted `json:",omitzero"`  // digests of the first bytes, which need not be read again after a restart

	st *store
	live
}

// sessionLife is how long a session can be used.
const sessionLife = 7 * 24 * time.Hour

// live is the part of a session that lasts as long as the process.
type live struct {
	mu     sync.Mutex // guards what follows, and Done, Gone and Counted of the session
	turn   int        // of the request that may append; an older one that still trickles may not
	digest *digest    // of the bytes persisted; nil: not counted yet in this process
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

// sessionURL is the address of a session: a credential by itself.
func sessionURL(r *http.Request, id string) string {
	return rootURL(r) + r.URL.EscapedPath() + "?uploadType=resumable&upload_id=" + url.QueryEscape(id)
}

// session finds the session a request names, if it is alive.
func (a *api) session(c *call) (*session, error) {
	s := a.store
	s.mu.RLock()
	ses := s.sessions[c.r.URL.Query().Get("upload_id")]
	s.mu.RUnlock()
	if ses == nil || s.clock().Sub(ses.Created) > sessionLife {
		return nil, &apiError{Status: http.StatusNotFound, Reason: "notFound", Message: "Upload session not found or expired."}
	}
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if ses.Gone != 0 {
		return nil, goneError(ses.Gone)
	}
	return ses, nil
}

// goneError is the answer to a session that ended without a file.
func goneError(status int) error {
	if status == http.StatusGone {
		return &apiError{Status: status, Reason: "backendError", Message: "The upload session has been terminated."}
	}
	return &apiError{Status: status, Reason: "uploadCancelled", Message: "Client Closed Request"}
}

// statusCancelled is the status of a cancelled session.
const statusCancelled = 499

// take returns how many bytes the session has, or the id of the file it became. To append, the request
// must own it: an older one that still trickles loses it then. The first time after a restart the bytes
// that came after the last checkpoint are read again for their digests.
func (ses *session) take(own bool) (done string, size int64, err error) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if ses.Done != "" {
		return ses.Done, 0, nil
	}
	if own {
		ses.turn++
	}
	if ses.digest == nil {
		if ses.digest, err = ses.recount(); err != nil {
			return "", 0, errStore(err)
		}
	}
	return "", ses.digest.size, nil
}

// recount goes on from the last checkpoint with what is on disk down to the last whole granule; more than
// that was never acknowledged.
func (ses *session) recount() (*digest, error) {
	size, err := ses.st.contents.size(ses.Content)
	if err != nil {
		return nil, err
	}
	size -= size % granule
	d := ses.Counted.resume(size)
	if size == d.size {
		return d, nil
	}
	r, err := ses.st.contents.open(ses.Content)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if _, err := r.Seek(d.size, io.SeekStart); err != nil {
		return nil, err
	}
	_, err = io.CopyBuffer(d, io.LimitReader(r, size-d.size), make([]byte, granule))
	return d, err
}

// checkpointStep is how many bytes of an upload are read again after a restart, at most.
const checkpointStep = 32 << 20

// checkpoint stores the digests every checkpointStep bytes, when these are on disk, if the session still
// belongs to the request of this turn.
func (ses *session) checkpoint(p part, turn int) error {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	d := ses.digest
	if ses.st.journal == nil || ses.turn != turn || d == nil || d.size%granule != 0 || d.size-ses.Counted.Size < checkpointStep {
		return nil
	}
	if err := p.Sync(); err != nil {
		return errStore(err)
	}
	ses.Counted = d.counted()
	return ses.st.putSession(ses)
}

// moveSession gives the session a new name; the old one is unknown from now on.
func (a *api) moveSession(ses *session) (string, error) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	err := a.store.update(func(tx *tx) error {
		delete(tx.s.sessions, ses.ID)
		tx.row("session/"+ses.ID, nil)
		ses.ID = random(80)
		tx.s.sessions[ses.ID] = ses
		tx.row("session/"+ses.ID, ses)
		return nil
	})
	return ses.ID, err
}

// uploadCancel forgets the content. 499 is what the upload servers answer, then and later.
func (a *api) uploadCancel(ses *session) error {
	ses.mu.Lock()
	done := ses.Done != ""
	ses.mu.Unlock()
	if done {
		return goneError(statusCancelled)
	}
	if err := a.end(ses, statusCancelled); err != nil {
		return err
	}
	return goneError(statusCancelled)
}

// end takes a session out of use: all later requests get status.
func (a *api) end(ses *session, status int) error {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	ses.turn++
	ses.Gone = status
	return a.store.update(func(tx *tx) error {
		tx.release(ses)
		return nil
	})
}

// release stages how a session ended, and lets go of what it held. The caller holds ses.mu.
func (t *tx) release(ses *session) {
	t.s.holdSession(ses, -1)
	t.held = append(t.held, ses.contentKeys()...)
	ended := &session{
		ID: ses.ID, Email: ses.Email, Client: ses.Client, Query: ses.Query, Total: ses.Total, Created: ses.Created,
		Done: ses.Done, Gone: ses.Gone, st: ses.st,
	}
	t.s.sessions[ses.ID] = ended
	t.row("session/"+ses.ID, ended)
}

// uploadFinish makes the file, and ends the session in the same transaction. If that fails the session is
// dead: what was wrong will be wrong again.
func (a *api) uploadFinish(c *call, ses *session) error {
	id, err := a.finish(c, ses)
	if err != nil {
		return errors.Join(err, a.end(ses, http.StatusGone))
	}
	return a.replyFile(c, id)
}

func (a *api) finish(c *call, ses *session) (id string, err error) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	switch {
	case ses.Done != "":
		return ses.Done, nil
	case ses.Gone != 0:
		return "", goneError(http.StatusGone)
	case ses.digest == nil:
		return "", errOvertaken
	}
	ses.turn++ // whoever still sends is too late
	e := &edit{
		acc: c.acc, query: ses.Query, body: ses.Body, thumb: ses.Thumb,
		content: &newContent{key: ses.Content, digest: ses.digest, mimeType: ses.MimeType},
	}
	err = a.store.update(func(tx *tx) error {
		var f *file
		var err error
		if ses.File == "" {
			f, err = tx.create(e)
		} else {
			f, err = tx.update(ses.File, e)
		}
		if err != nil {
			return err
		}
		ses.Done = f.ID
		tx.release(ses)
		return nil
	})
	return ses.Done, err
}
