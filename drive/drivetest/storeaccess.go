package drivetest

import "strings"

// role orders what an account may do with a file; each includes the ones before.
type role int

const (
	roleNone role = iota
	roleReader
	roleCommenter
	roleWriter
	roleOwner
)

func roleNamed(name string) role {
	switch name {
	case "owner":
		return roleOwner
	case "writer", "organizer", "fileOrganizer":
		return roleWriter
	case "commenter":
		return roleCommenter
	case "reader":
		return roleReader
	}
	return roleNone
}

// covers tells whether g reaches the account with this address.
func (g *grant) covers(email string) bool {
	switch g.Type {
	case "anyone":
		return true
	case "domain":
		_, domain, _ := strings.Cut(email, "@")
		return strings.EqualFold(domain, g.Address)
	}
	return strings.EqualFold(g.Address, email)
}

// roleOf is what the account may do with f by any grant on it or on a folder above. Owning the folder
// makes a writer of what others put there. The caller holds mu; so for the other methods here.
func (s *store) roleOf(email string, f *file) role {
	if f.Owner == email {
		return roleOwner
	}
	best := roleNone
	for up := f; up != nil; up = s.files[up.Parent] {
		for i := range up.Grants {
			if g := &up.Grants[i]; g.covers(email) {
				best = max(best, min(roleNamed(g.Role), roleWriter))
			}
		}
	}
	return best
}

// listed tells whether f is among the account's files: its own, and those it was given by name. A link
// for anyone lets people open a file, not find it.
func (s *store) listed(email string, f *file) bool {
	if f.Owner == email {
		return true
	}
	for up := f; up != nil; up = s.files[up.Parent] {
		for i := range up.Grants {
			g := &up.Grants[i]
			if (g.Type == "user" || g.Type == "group" || g.Discoverable) && g.covers(email) {
				return true
			}
		}
	}
	return false
}

// sharedWith returns the grant by which f itself, not a folder above it, was given to the account.
func (s *store) sharedWith(email string, f *file) *grant {
	if f.Owner == email {
		return nil
	}
	for i := range f.Grants {
		if g := &f.Grants[i]; g.Type == "user" && g.covers(email) {
			return g
		}
	}
	return nil
}

// trashed tells whether f is in the bin, by itself or inside a folder that is.
func (s *store) trashed(f *file) bool {
	for up := f; up != nil; up = s.files[up.Parent] {
		if up.Trashed {
			return true
		}
	}
	return false
}

// inherited is a permission as it holds on a file: its own, or one from a folder above.
type inherited struct {
	grant
	from string // id of the folder; "" = the file's own
}

// permissions are all grants that hold on f, one for each grantee with the greatest role, own ones first.
func (s *store) permissions(f *file) []inherited {
	var all []inherited
	at := map[string]int{}
	for up := f; up != nil; up = s.files[up.Parent] {
		for _, g := range up.Grants {
			p := inherited{grant: g}
			if up != f {
				p.from = up.ID
				if g.Role == "owner" {
					p.Role = "writer"
				}
			}
			i, seen := at[g.ID]
			switch {
			case !seen:
				at[g.ID] = len(all)
				all = append(all, p)
			case roleNamed(p.Role) > roleNamed(all[i].Role):
				all[i] = p
			}
		}
	}
	return all
}

// find returns file id, or the alias root, if the account may see it, else the 404 the service answers for both.
func (s *store) find(acc *account, id string) (*file, error) {
	if id == "root" && !acc.narrow() { // whose programs cannot look My Drive up, only put files there
		id = acc.rootID
	}
	f := s.files[id]
	if f == nil || !acc.sees(f) || s.roleOf(acc.email, f) == roleNone {
		return nil, errNotFound(id)
	}
	return f, nil
}

// findFor is find for an action that takes at least a role.
func (s *store) findFor(acc *account, id string, least role) (*file, error) {
	f, err := s.find(acc, id)
	if err != nil {
		return nil, err
	}
	if s.roleOf(acc.email, f) < least {
		return nil, errForbidden("insufficientFilePermissions")
	}
	return f, nil
}
