package drivetest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"unicode"
)

func (a *api) permissionsList(c *call) error {
	size, err := c.pageSize(100, 100)
	if err != nil {
		return err
	}
	return a.store.view(func() error {
		s := a.store
		f, err := s.findFor(c.acc, c.vars[0], roleWriter)
		if err != nil {
			return err
		}
		all := s.permissions(f)
		start := 0
		if token := c.query.Get("pageToken"); token != "" {
			start = slices.IndexFunc(all, func(p inherited) bool { return p.ID == token })
			if start < 0 {
				return errParameter("pageToken", "")
			}
		}
		end := len(all)
		if c.query.Has("pageSize") { // without, My Drive answers the whole list
			end = min(start+size, len(all))
		}
		reply := object{{"kind", "drive#permissionList"}}
		if end < len(all) {
			reply = append(reply, member{"nextPageToken", all[end].ID})
		}
		page := list{}
		for _, p := range all[start:end] {
			page = append(page, s.permission(&p))
		}
		c.reply(append(reply, member{"permissions", page}))
		return nil
	})
}

func (a *api) permissionsGet(c *call) error {
	return a.store.view(func() error {
		f, err := a.store.findFor(c.acc, c.vars[0], roleWriter)
		if err != nil {
			return err
		}
		return c.replyPermission(a.store, f, c.vars[1])
	})
}

// replyPermission answers with the permission id on f. The caller holds the store's lock.
func (c *call) replyPermission(s *store, f *file, id string) error {
	for _, p := range s.permissions(f) {
		if p.ID == id {
			c.reply(s.permission(&p))
			return nil
		}
	}
	return errNoPermission(id)
}

// replyPermission answers with permission id on file as it is now.
func (a *api) replyPermission(c *call, file, id string) error {
	return a.store.view(func() error {
		f, err := a.store.find(c.acc, file)
		if err != nil {
			return err
		}
		return c.replyPermission(a.store, f, id)
	})
}

func errRole() error {
	return &apiError{
		Status: 400, Reason: "invalid", Message: "The specified role is invalid or not applicable to this item.",
		LocationType: "other", Location: "permission.role",
	}
}

func errNoPermission(id string) error {
	return &apiError{Status: 404, Reason: "notFound", Message: "Permission not found: " + id + ".", LocationType: "parameter", Location: "permissionId"}
}

// permissionsCreate shares a file. Sharing with somebody who has it already changes the role.
func (a *api) permissionsCreate(c *call) error {
	before := a.grants(c.vars[0])
	body, err := c.jsonBody()
	if err != nil {
		return err
	}
	g, err := a.parseGrant(c, body)
	if err != nil {
		return err
	}
	return a.regrant(c, g.Role, before, func(tx *tx, f *file, transfer bool) (string, error) {
		g.At, g.By = tx.now, c.acc.email
		if g.Address == f.Owner && g.Type == "user" {
			return g.ID, nil // the owner has it
		}
		f = tx.edit(f.ID)
		if transfer {
			return g.ID, tx.transfer(f, g)
		}
		f.grant(g)
		return g.ID, nil
	})
}

// grants are the grants of a file as a request finds them that is about to change one.
func (a *api) grants(file string) []grant {
	a.store.mu.RLock()
	defer a.store.mu.RUnlock()
	if f := a.store.files[file]; f != nil {
		return f.Grants
	}
	return nil
}

// regrant lets change give somebody role on the file c is about, and answers with the permission it names. The file had
// the grants before when the request came.
func (a *api) regrant(c *call, role string, before []grant, change func(tx *tx, f *file, transfer bool) (id string, err error)) error {
	transfer, err := transfers(c, role)
	if err != nil {
		return err
	}
	var file, id string
	err = a.store.update(func(tx *tx) error {
		f, err := tx.shareable(c, transfer)
		if err != nil {
			return err
		}
		file = f.ID
		if a.store.quirks.LoseGrants && !slices.Equal(f.Grants, before) {
			f = tx.edit(f.ID)
			f.Grants = slices.Clone(before)
		}
		id, err = change(tx, f, transfer)
		return err
	})
	if err != nil {
		return err
	}
	return a.replyPermission(c, file, id)
}

// parseGrant reads and checks the permission of a body.
func (a *api) parseGrant(c *call, body map[string]json.RawMessage) (grant, error) {
	var g grant
	var email, domain string
	for name, into := range map[string]any{
		"type": &g.Type, "role": &g.Role, "emailAddress": &email, "domain": &domain, "allowFileDiscovery": &g.Discoverable,
	} {
		if raw, ok := body[name]; ok {
			if err := decode(name, raw, into); err != nil {
				return grant{}, err
			}
		}
	}
	required := func(name string) error {
		return &apiError{Status: 400, Reason: "required", Message: "The permission " + name + " field is required."}
	}
	notify := c.query.Get("sendNotificationEmail")
	switch {
	case g.Type == "":
		return grant{}, required("type")
	case g.Role == "":
		return grant{}, required("role")
	case !grantable(g.Role):
		return grant{}, errRole()
	}
	switch g.Type {
	case "user", "group":
		g.Address = strings.ToLower(strings.TrimSpace(email))
		g.ID = granteeID(g.Address)
		g.Discoverable = false
		switch {
		case g.Address == "":
			return grant{}, &apiError{Status: 400, Reason: "required", Message: "Permission value field required"}
		case !isAddress(g.Address):
			return grant{}, &apiError{Status: 400, Reason: "invalid", Message: "The specified emailAddress is invalid or not applicable for the given permission type.", LocationType: "other", Location: "permission.emailAddress"}
		case notify == "false" && g.Type == "user" && !a.store.known(g.Address):
			return grant{}, &apiError{Status: 400, Reason: "invalidSharingRequest", Message: `Bad Request. User message: "You are trying to invite ` + g.Address + `. Since there is no Google account associated with this email address, you must check the 'Notify people' box to invite this recipient."`}
		}
	case "domain":
		g.Address = strings.ToLower(strings.TrimSpace(domain))
		g.ID = granteeID(g.Address) + "k"
		if g.Address == "" {
			return grant{}, &apiError{Status: 400, Reason: "required", Message: "Permission value field required"}
		}
	case "anyone":
		g.ID = "anyoneWithLink"
		if g.Discoverable {
			g.ID = "anyone"
		}
	default:
		return grant{}, &apiError{Status: 400, Reason: "invalid", Message: "The specified permission type field is invalid.", LocationType: "other", Location: "permission.type"}
	}
	if notify == "true" && g.Type != "user" && g.Type != "group" {
		return grant{}, errParameter("sendNotificationEmail", "Notification emails can only be sent to users and groups.")
	}
	return g, nil
}

// isAddress tells whether text looks like an e-mail address, and can be the name of a directory.
func isAddress(text string) bool {
	name, domain, ok := strings.Cut(text, "@")
	return ok && name != "" && domain != "" && !strings.ContainsFunc(text, func(c rune) bool {
		return unicode.IsSpace(c) || unicode.IsControl(c) || strings.ContainsRune(`/\<>,;`, c)
	})
}

// grantable tells whether a file outside of shared drives can be shared in this role.
func grantable(role string) bool {
	return roleNamed(role) != roleNone && role != "organizer" && role != "fileOrganizer"
}

// transfers tells whether the call makes an owner, which must be asked for expressly.
func transfers(c *call, role string) (bool, error) {
	if role != "owner" {
		return false, nil
	}
	if c.query.Get("transferOwnership") != "true" {
		return false, &apiError{Status: http.StatusForbidden, Reason: "forbidden", Message: "The transferOwnership parameter must be enabled when the permission role is 'owner'.", LocationType: "parameter", Location: "transferOwnership"}
	}
	return true, nil
}

// shareable returns the file of a call that changes permissions, if the account may do that.
func (t *tx) shareable(c *call, transfer bool) (*file, error) {
	f, err := t.s.find(c.acc, c.vars[0])
	if err != nil {
		return nil, err
	}
	v := c.view(t.s, f)
	if !v.mayShare() || transfer && v.role != roleOwner {
		return nil, errForbidden("insufficientFilePermissions")
	}
	return f, nil
}

// grant adds g, or gives its grantee g's role.
func (f *file) grant(g grant) {
	i := slices.IndexFunc(f.Grants, func(old grant) bool { return old.ID == g.ID })
	if i < 0 {
		f.Grants = append(f.Grants, g)
		return
	}
	f.Grants[i].Role = g.Role
	f.Grants[i].Discoverable = g.Discoverable
}

// transfer makes g's grantee the owner; the old one stays on as writer.
func (t *tx) transfer(f *file, g grant) error {
	p := t.s.people[g.Address]
	if g.Type != "user" || p == nil {
		return &apiError{Status: 403, Reason: "invalidSharingRequest", Message: "Ownership can only be transferred to a user with an account."}
	}
	for i := range f.Grants {
		if f.Grants[i].Role == "owner" {
			f.Grants[i].Role = "writer"
		}
	}
	f.grant(g)
	f.Owner = g.Address
	if up := t.s.files[f.Parent]; up == nil || t.s.roleOf(g.Address, up) < roleWriter {
		f.Parent = p.RootID
	}
	return nil
}

// permissionsUpdate changes a role.
func (a *api) permissionsUpdate(c *call) error {
	before := a.grants(c.vars[0])
	body, err := c.jsonBody()
	if err != nil {
		return err
	}
	for name := range body {
		if _, known := permissionSchema[name]; known && !slices.Contains([]string{"role", "kind", "expirationTime"}, name) {
			return &apiError{Status: 403, Reason: "fieldNotWritable", Message: "The resource body includes fields which are not directly writable."}
		}
	}
	var role string
	if raw, ok := body["role"]; ok {
		if err := decode("role", raw, &role); err != nil {
			return err
		}
	}
	if !grantable(role) {
		return errRole()
	}
	id := c.vars[1]
	return a.regrant(c, role, before, func(tx *tx, f *file, transfer bool) (string, error) {
		i, err := tx.ownGrant(f, id)
		if err != nil {
			return id, err
		}
		f = tx.edit(f.ID)
		g := f.Grants[i]
		switch {
		case g.Role == "owner" && role != "owner":
			return id, errForbidden("insufficientFilePermissions")
		case transfer && g.Role != "owner":
			g.Role = role
			return id, tx.transfer(f, g)
		}
		f.Grants[i].Role = role
		return id, nil
	})
}

// ownGrant returns the index of a grant made on f itself. One that flows down from a folder can only be
// changed there: access of a file is never less than its folder's.
func (t *tx) ownGrant(f *file, id string) (int, error) {
	if i := slices.IndexFunc(f.Grants, func(g grant) bool { return g.ID == id }); i >= 0 {
		return i, nil
	}
	if slices.ContainsFunc(t.s.permissions(f), func(p inherited) bool { return p.ID == id }) {
		return 0, &apiError{Status: 403, Reason: "cannotModifyInheritedPermission", Message: "Cannot update or delete an inherited permission on an item."}
	}
	return 0, errNoPermission(id)
}

// permissionsDelete takes a permission away. Everybody may give up his own.
func (a *api) permissionsDelete(c *call) error {
	return a.store.update(func(tx *tx) error {
		f, err := tx.s.find(c.acc, c.vars[0])
		if err != nil {
			return err
		}
		if v := c.view(tx.s, f); !v.mayShare() && c.vars[1] != c.acc.permissionID {
			return errForbidden("insufficientFilePermissions")
		}
		i, err := tx.ownGrant(f, c.vars[1])
		if err != nil {
			return err
		}
		if f.Grants[i].Role == "owner" {
			return errForbidden("insufficientFilePermissions")
		}
		f = tx.edit(f.ID)
		f.Grants = slices.Delete(f.Grants, i, i+1)
		return nil
	})
}
