package drivetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
)

// edit is a create, update or copy to be carried out: metadata as the client sent it, and content that
// is stored already.
type edit struct {
	acc     *account
	query   url.Values
	body    map[string]json.RawMessage
	thumb   *thumbnail  // from contentHints
	content *newContent // nil: metadata only
}

// newContent is bytes stored for a revision to be.
type newContent struct {
	key      string
	digest   *digest
	mimeType string // as the upload said; "" = nothing
}

// newEdit reads and checks the request's metadata; body nil reads the whole request.
func (a *api) newEdit(c *call, body map[string]json.RawMessage) (*edit, error) {
	if body == nil {
		var err error
		if body, err = c.jsonBody(); err != nil {
			return nil, err
		}
	}
	e := &edit{acc: c.acc, query: c.query, body: body}
	if hints, ok := body["contentHints"]; ok {
		image, mimeType, err := parseThumbnail(hints)
		if err != nil {
			return nil, err
		}
		if image != nil {
			key, _, err := a.store.save(bytes.NewReader(image))
			if err != nil {
				return nil, err
			}
			e.thumb = &thumbnail{MimeType: mimeType, Content: key}
		}
	}
	return e, nil
}

// discard removes the contents of an edit that failed.
func (a *api) discard(e *edit) {
	if e.thumb != nil {
		_ = a.store.contents.remove(e.thumb.Content)
	}
	if e.content != nil {
		_ = a.store.contents.remove(e.content.key)
	}
}

// create makes the file e describes and returns its id.
func (a *api) create(e *edit) (id string, err error) {
	if e.content == nil && e.wantsBlob() {
		key, d, err := a.store.save(bytes.NewReader(nil))
		if err != nil {
			return "", err
		}
		e.content = &newContent{key: key, digest: d}
	}
	err = a.store.update(func(tx *tx) error {
		f, err := tx.create(e)
		if err != nil {
			return err
		}
		id = f.ID
		return nil
	})
	if err != nil {
		a.discard(e)
		a.orphan(e, err)
	}
	return id, err
}

// orphan leaves an empty file behind a create that failed on its properties, if the server is that quirky.
func (a *api) orphan(e *edit, err error) {
	if !a.store.quirks.OrphanOnProperty || !isPropertyLimit(err) {
		return
	}
	rest := map[string]json.RawMessage{}
	for name, value := range e.body {
		if name != "properties" && name != "appProperties" && name != "contentHints" {
			rest[name] = value
		}
	}
	_, _ = a.create(&edit{acc: e.acc, query: e.query, body: rest})
}

// wantsBlob tells whether the metadata is of a file that has bytes.
func (e *edit) wantsBlob() bool {
	var mimeType string
	_ = json.Unmarshal(e.body["mimeType"], &mimeType) // checked where it is used
	return !strings.HasPrefix(mimeType, appsPrefix)
}

// update changes file id and returns its id, which the alias root is not.
func (a *api) update(id string, e *edit) (string, error) {
	err := a.store.update(func(tx *tx) error {
		f, err := tx.update(id, e)
		if err == nil {
			id = f.ID
		}
		return err
	})
	if err != nil {
		a.discard(e)
	}
	return id, err
}

// copy makes a copy of file id with the changes of e, and returns the copy's id.
func (a *api) copy(id string, e *edit) (made string, err error) {
	err = a.store.update(func(tx *tx) error {
		f, err := tx.copy(id, e)
		if err == nil {
			made = f.ID
		}
		return err
	})
	if err != nil {
		a.discard(e)
	}
	return made, err
}

func (t *tx) create(e *edit) (*file, error) {
	id, err := t.reserve(e)
	if err != nil {
		return nil, err
	}
	f := &file{
		ID: id, Name: "Untitled", MimeType: binaryType, Parent: e.acc.rootID, Owner: e.acc.email,
		Created: t.now, Modified: t.now, ModifiedBy: e.acc.email, Grants: []grant{t.ownerGrant(e.acc.email)},
	}
	if e.content != nil && e.content.mimeType != "" {
		f.MimeType = e.content.mimeType
	}
	if err := t.setMetadata(f, e, true); err != nil {
		return nil, err
	}
	if err := t.placeNew(f, e); err != nil {
		return nil, err
	}
	if e.content != nil {
		if strings.HasPrefix(f.MimeType, appsPrefix) {
			return nil, errBadRequest("Bad Request. The MIME type " + f.MimeType + " has no content of its own.")
		}
		if err := t.setContent(f, e); err != nil {
			return nil, err
		}
		if f.OriginalName == "" {
			f.OriginalName = f.Name
		}
	}
	if f.MimeType == shortcutType && f.Shortcut == nil {
		return nil, &apiError{Status: 400, Reason: "required", Message: "The shortcutDetails.targetId field is required."}
	}
	t.put(f)
	return f, nil
}

func (t *tx) update(id string, e *edit) (*file, error) {
	least := roleWriter
	switch {
	case e.body["trashed"] != nil:
		least = roleOwner
	case e.personal():
		least = roleReader
	}
	f, err := t.s.findFor(e.acc, id, least)
	if err != nil {
		return nil, err
	}
	if f.Parent == "" && (e.body["trashed"] != nil || e.query.Get("addParents") != "" || e.query.Get("removeParents") != "") {
		return nil, errForbidden("insufficientFilePermissions")
	}
	f = t.edit(f.ID)
	if err := t.setMetadata(f, e, false); err != nil {
		return nil, err
	}
	if err := t.move(f, e); err != nil {
		return nil, err
	}
	if e.content != nil {
		if strings.HasPrefix(f.MimeType, appsPrefix) {
			return nil, errBadRequest("Bad Request. The MIME type " + f.MimeType + " has no content of its own.")
		}
		if e.content.mimeType != "" && e.body["mimeType"] == nil {
			f.MimeType = e.content.mimeType
		}
		if err := t.setContent(f, e); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (t *tx) copy(id string, e *edit) (*file, error) {
	from, err := t.s.find(e.acc, id)
	if err != nil {
		return nil, err
	}
	if from.isFolder() || from.WritersCopy && t.s.roleOf(e.acc.email, from) < roleWriter {
		return nil, &apiError{Status: 403, Reason: "cannotCopyFile", Message: "This file cannot be copied by the user."}
	}
	newID, err := t.reserve(e)
	if err != nil {
		return nil, err
	}
	f := from.clone()
	f.ID, f.Owner, f.Version = newID, e.acc.email, 0
	f.Grants = []grant{t.ownerGrant(e.acc.email)}
	f.Created, f.Modified, f.ModifiedBy = t.now, t.now, e.acc.email
	f.Starred, f.Trashed, f.Revisions = nil, false, nil
	if up := t.s.files[from.Parent]; up == nil || t.s.roleOf(e.acc.email, up) < roleWriter {
		f.Parent = e.acc.rootID
	}
	if head := from.head(); head != nil {
		r := *head
		r.ID, r.Modified, r.By, r.Keep = newRevisionID(), t.now, e.acc.email, e.query.Get("keepRevisionForever") == "true"
		f.Revisions = []revision{r}
		if err := t.checkQuota(f.Owner, r.Size); err != nil {
			return nil, err
		}
	}
	if err := t.setMetadata(f, e, true); err != nil {
		return nil, err
	}
	if err := t.placeNew(f, e); err != nil {
		return nil, err
	}
	t.put(f)
	return f, nil
}

func (t *tx) ownerGrant(email string) grant {
	return grant{ID: granteeID(email), Type: "user", Role: "owner", Address: email, At: t.now, By: email}
}

// reserve returns the id of the file to be: the client's, which must be one we made for it and unused, or a new one.
func (t *tx) reserve(e *edit) (string, error) {
	raw, given := e.body["id"]
	var id string
	if given {
		if err := decode("id", raw, &id); err != nil {
			return "", err
		}
	}
	switch {
	case id == "":
		return t.s.newID(e.acc.email), nil
	case t.get(id) != nil || t.s.spent[id]:
		return "", &apiError{Status: 409, Reason: "fileIdInUse"}
	case !t.s.madeFor(e.acc.email, id):
		return "", &apiError{Status: 400, Reason: "invalid", Message: "The provided file ID is not usable."}
	}
	return id, nil
}

// setContent gives f its new head. A thumbnail does not outlive the content it was made for.
func (t *tx) setContent(f *file, e *edit) error {
	var old int64
	if head := f.head(); head != nil && !head.Keep {
		old = head.Size
	}
	if err := t.checkQuota(f.Owner, e.content.digest.size-old); err != nil {
		return err
	}
	r := revision{
		ID: newRevisionID(), Content: e.content.key, MimeType: f.MimeType,
		By: e.acc.email, Keep: e.query.Get("keepRevisionForever") == "true",
	}
	e.content.digest.fill(&r)
	if e.body["modifiedTime"] == nil {
		f.Modified = t.now
	}
	r.Modified = f.Modified
	f.ModifiedBy = e.acc.email
	f.Revisions = append(f.Revisions, r)
	if n := len(f.Revisions) - maxRevisions; n > 0 {
		f.Revisions = slices.Delete(f.Revisions, 0, n)
	}
	f.Thumb = nil
	f.setThumb(e)
	return nil
}

// maxRevisions is how many the service keeps.
const maxRevisions = 100

func newRevisionID() string { return "0B" + random(51) }

// checkQuota refuses n more bytes of an owner who has no room for them.
func (t *tx) checkQuota(owner string, n int64) error {
	p := t.s.people[owner]
	switch {
	case p.Service:
		return &apiError{Status: 403, Reason: "storageQuotaExceeded", Message: "Service Accounts do not have storage quota. Leverage shared drives, or use OAuth delegation instead."}
	case p.Quota > 0 && n > 0 && t.s.used[owner]+n > p.Quota:
		return errForbidden("storageQuotaExceeded")
	}
	return nil
}

// check runs an edit without keeping anything, to find its errors before content is sent. size is -1 if
// the client did not say.
func (a *api) check(id string, e *edit, size int64) error {
	_, _, err := a.store.apply(func(tx *tx) error {
		trial := *e
		trial.content = nil
		var f *file
		var err error
		if id == "" {
			if !e.wantsBlob() {
				return errBadRequest("Bad Request. A file of this MIME type has no content of its own.")
			}
			f, err = tx.create(&trial)
		} else {
			f, err = tx.update(id, &trial)
		}
		if err == nil && f.isFolder() {
			err = errBadRequest("Bad Request. A folder has no content of its own.")
		}
		if err == nil {
			err = tx.checkQuota(f.Owner, max(size, 0)-f.replaceable())
		}
		if err == nil {
			err = errTrial
		}
		return err
	})
	if err == errTrial { //nolint:errorlint // our own, never wrapped
		return nil
	}
	a.orphan(e, err)
	return err
}

// errTrial undoes a transaction that was only a trial.
var errTrial = errors.New("trial")

// replaceable is how many bytes of f a new head would free.
func (f *file) replaceable() int64 {
	if head := f.head(); head != nil && !head.Keep {
		return head.Size
	}
	return 0
}
