package drivetest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"
)

// File is a file of the store, for tests and demonstrations.
type File struct {
	ID, Name, MimeType        string
	Parents                   []string
	Properties, AppProperties map[string]string // AppProperties: of direct access, no OAuth client sees them
	Description               string
	Size                      int64  // bytes
	MD5, SHA1, SHA256         string // lower-case hex; "" for folders
	HeadRevisionID            string
	Version                   int64
	Trashed                   bool // by itself, or inside a folder that is
	Created, Modified         time.Time
	Owner                     string
	Permissions               []Permission // also those that flow down from folders
	HasThumbnail              bool
}

// Permission is what one grantee may do with a File.
type Permission struct{ ID, Type, Role, Email string }

// direct is the account of u, through no OAuth client and with every scope.
func (u *User) direct() *account { return u.server.store.account(u.email) }

// Put creates a file, or a folder if f's MIME type is a folder's, from f's name, type, parents,
// properties, description and times, and from content, which may be nil. An ID must be one the account
// could create a file with. The file as it became is returned.
func (u *User) Put(f File, content io.Reader) (File, error) {
	body := map[string]any{"name": f.Name}
	add := func(name string, value any, set bool) {
		if set {
			body[name] = value
		}
	}
	add("id", f.ID, f.ID != "")
	add("mimeType", f.MimeType, f.MimeType != "")
	add("parents", f.Parents, len(f.Parents) > 0)
	add("properties", f.Properties, len(f.Properties) > 0)
	add("appProperties", f.AppProperties, len(f.AppProperties) > 0)
	add("description", f.Description, f.Description != "")
	add("createdTime", f.Created, !f.Created.IsZero())
	add("modifiedTime", f.Modified, !f.Modified.IsZero())
	e, err := u.edit(body)
	if err != nil {
		return File{}, fmt.Errorf("put %s: %w", f.Name, err)
	}
	if content != nil && e.wantsBlob() {
		key, d, err := u.server.store.save(content)
		if err != nil {
			return File{}, fmt.Errorf("put %s: %w", f.Name, err)
		}
		e.content = &newContent{key: key, digest: d}
	}
	id, err := u.server.api.create(e)
	if err != nil {
		return File{}, fmt.Errorf("put %s: %w", f.Name, err)
	}
	if f.Trashed {
		if err := u.Patch(id, func(f *File) { f.Trashed = true }); err != nil {
			return File{}, err
		}
	}
	got, ok := u.File(id)
	if !ok {
		return File{}, fmt.Errorf("put %s: %w", f.Name, os.ErrNotExist)
	}
	return got, nil
}

// edit is a change with this JSON body.
func (u *User) edit(body map[string]any) (*edit, error) {
	e := &edit{acc: u.direct(), body: map[string]json.RawMessage{}}
	for name, value := range body {
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		e.body[name] = raw
	}
	return e, nil
}

// Files returns all files the user owns, folders and trashed ones among them, oldest first.
func (u *User) Files() []File {
	s := u.server.store
	s.mu.RLock()
	defer s.mu.RUnlock()
	var mine []*file
	for _, f := range s.files {
		if f.Owner == u.email && f.Parent != "" {
			mine = append(mine, f)
		}
	}
	slices.SortFunc(mine, func(a, b *file) int { return cmp.Compare(a.Seq, b.Seq) })
	files := make([]File, len(mine))
	for i, f := range mine {
		files[i] = s.export(f)
	}
	return files
}

// File returns a file the user can see; the alias root is My Drive.
func (u *User) File(id string) (File, bool) {
	acc, s := u.direct(), u.server.store
	s.mu.RLock()
	defer s.mu.RUnlock()
	f, err := s.find(acc, id)
	if err != nil {
		return File{}, false
	}
	return s.export(f), true
}

// export is f in the exported form. The caller holds mu.
func (s *store) export(f *file) File {
	x := File{
		ID: f.ID, Name: f.Name, MimeType: f.MimeType, Properties: maps.Clone(f.Properties),
		AppProperties: maps.Clone(f.Private[""]), Description: f.Description, Version: f.Version, Trashed: s.trashed(f),
		Created: f.Created, Modified: f.Modified, Owner: f.Owner, HasThumbnail: f.thumbnailed(),
	}
	if f.Parent != "" {
		x.Parents = []string{f.Parent}
	}
	if r := f.head(); r != nil {
		x.Size, x.MD5, x.SHA1, x.SHA256, x.HeadRevisionID = r.Size, r.MD5, r.SHA1, r.SHA256, r.ID
	}
	for _, p := range s.permissions(f) {
		x.Permissions = append(x.Permissions, Permission{ID: p.ID, Type: p.Type, Role: p.Role, Email: p.Address})
	}
	return x
}

// Content opens the content of a file as it is now. The caller closes it.
func (u *User) Content(id string) (io.ReadSeekCloser, error) {
	acc, s := u.direct(), u.server.store
	s.mu.RLock()
	defer s.mu.RUnlock()
	f, err := s.find(acc, id)
	if err != nil {
		return nil, err
	}
	return s.open(f.head())
}

// Patch changes name, description, properties, parent and the trashed flag of a file to what edit makes
// of them. It acts for the owner's account or a writer's, by the rules of files.update.
func (u *User) Patch(id string, edit func(*File)) error {
	old, ok := u.File(id)
	if !ok {
		return fmt.Errorf("patch: %w", errNotFound(id))
	}
	now := old
	now.Properties, now.AppProperties = maps.Clone(old.Properties), maps.Clone(old.AppProperties)
	now.Parents = slices.Clone(old.Parents)
	edit(&now)
	body := map[string]any{}
	if now.Name != old.Name {
		body["name"] = now.Name
	}
	if now.Description != old.Description {
		body["description"] = now.Description
	}
	if now.Trashed != old.Trashed {
		body["trashed"] = now.Trashed
	}
	if !now.Modified.Equal(old.Modified) {
		body["modifiedTime"] = now.Modified
	}
	if p := patchOf(old.Properties, now.Properties); len(p) > 0 {
		body["properties"] = p
	}
	if p := patchOf(old.AppProperties, now.AppProperties); len(p) > 0 {
		body["appProperties"] = p
	}
	e, err := u.edit(body)
	if err != nil {
		return fmt.Errorf("patch %s: %w", id, err)
	}
	if !slices.Equal(now.Parents, old.Parents) {
		e.query = map[string][]string{"addParents": now.Parents, "removeParents": old.Parents}
	}
	if _, err := u.server.api.update(id, e); err != nil {
		return fmt.Errorf("patch %s: %w", id, err)
	}
	return nil
}

// patchOf is the merge patch that makes now of old.
func patchOf(old, now map[string]string) map[string]*string {
	patch := map[string]*string{}
	for key := range old {
		if _, ok := now[key]; !ok {
			patch[key] = nil
		}
	}
	for key, value := range now {
		if was, ok := old[key]; !ok || was != value {
			patch[key] = &value
		}
	}
	return patch
}

// Replace gives a file new content, which makes a new head revision.
func (u *User) Replace(id string, content io.Reader) error {
	if content == nil {
		content = bytes.NewReader(nil)
	}
	key, d, err := u.server.store.save(content)
	if err != nil {
		return fmt.Errorf("replace %s: %w", id, err)
	}
	e := &edit{acc: u.direct(), content: &newContent{key: key, digest: d}}
	if _, err := u.server.api.update(id, e); err != nil {
		return fmt.Errorf("replace %s: %w", id, err)
	}
	return nil
}

// Delete deletes a file for good.
func (u *User) Delete(id string) error {
	c := &call{acc: u.direct(), vars: []string{id}}
	if err := u.server.api.filesDelete(c); err != nil {
		return fmt.Errorf("delete %s: %w", id, err)
	}
	return nil
}

// SetAbusive makes the service take a file for malware, or not: its owner has to insist on a download with
// acknowledgeAbuse, and others can not.
func (u *User) SetAbusive(id string, abusive bool) error {
	acc := u.direct()
	return u.server.store.update(func(tx *tx) error {
		f, err := tx.s.findFor(acc, id, roleOwner)
		if err == nil {
			tx.edit(f.ID).Abusive = abusive
		}
		return err
	})
}

// SetQuota limits the user's storage to so many bytes; 0 lifts the limit.
func (u *User) SetQuota(limit int64) {
	// The only error is the journal's, which every later write reports too.
	_ = u.server.store.update(func(tx *tx) error {
		p := *tx.person(u.email)
		p.Quota = max(limit, 0)
		tx.putPerson(&p)
		return nil
	})
}
