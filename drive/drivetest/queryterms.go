package drivetest

import (
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
)

// candidate is a file a query looks at.
type candidate struct {
	s      *store
	f      *file
	acc    *account
	hidden time.Time // names given after this are not indexed yet
}

// newComparison makes the term field op value, if there is such a one.
func newComparison(field, op, value string, kind tokenKind) (predicate, error) {
	t := &term{field: field, op: op, value: value}
	switch field {
	case "name", "mimeType", "fullText", "visibility", "shortcutDetails.targetId":
		if kind != tokenString {
			return nil, errQuery()
		}
		return t, t.text()
	case "trashed", "starred", "sharedWithMe":
		if kind != tokenWord || value != "true" && value != "false" || op != "=" && op != "!=" {
			return nil, errQuery()
		}
		t.flag((value == "true") == (op == "="))
		return t, nil
	case "modifiedTime", "createdTime", "viewedByMeTime":
		at, ok := parseQueryTime(value)
		if kind != tokenString || !ok || op == "contains" {
			return nil, errQuery()
		}
		t.instant(at)
		return t, nil
	}
	return nil, errQuery()
}

// text makes the test of a term that compares words.
func (t *term) text() error {
	if t.op != "=" && t.op != "!=" && t.op != "contains" {
		if t.field == "name" { // the service fails on name >= 'x' instead of refusing it
			return &apiError{Status: http.StatusInternalServerError, Reason: "internalError"}
		}
		return errQuery()
	}
	equal := t.op == "="
	switch {
	case t.field == "name" && t.op == "contains":
		want := words(t.value)
		t.test = func(v *candidate) bool { return v.named() && prefixWords(words(v.f.Name), want) }
	case t.field == "name":
		t.test = func(v *candidate) bool { return v.named() && strings.EqualFold(v.f.Name, t.value) == equal }
	case t.field == "mimeType" && t.op == "contains":
		t.test = func(v *candidate) bool { return strings.HasPrefix(v.f.MimeType, t.value) }
	case t.field == "mimeType":
		t.test = func(v *candidate) bool { return (v.f.MimeType == t.value) == equal }
	case t.field == "fullText" && t.op == "contains":
		t.test = fullText(t.value)
	case t.field == "visibility" && t.op != "contains":
		if !slices.Contains([]string{"anyoneCanFind", "anyoneWithLink", "domainCanFind", "domainWithLink", "limited"}, t.value) {
			return errQuery()
		}
		t.test = func(v *candidate) bool { return (v.s.visibility(v.f) == t.value) == equal }
	case t.field == "shortcutDetails.targetId" && t.op != "contains":
		t.test = func(v *candidate) bool {
			return v.f.Shortcut != nil && (v.f.Shortcut.TargetID == t.value) == equal
		}
	default:
		return errQuery()
	}
	return nil
}

// named tells whether the index has the file's name already.
func (v *candidate) named() bool { return v.hidden.IsZero() || !v.f.Named.After(v.hidden) }

func (t *term) flag(want bool) {
	switch t.field {
	case "trashed":
		t.test = func(v *candidate) bool { return v.s.trashed(v.f) == want }
	case "starred":
		t.test = func(v *candidate) bool { return slices.Contains(v.f.Starred, v.acc.email) == want }
	case "sharedWithMe":
		t.test = func(v *candidate) bool { return (v.s.sharedWith(v.acc.email, v.f) != nil) == want }
	}
}

func (t *term) instant(at time.Time) {
	t.test = func(v *candidate) bool {
		var has time.Time
		switch t.field {
		case "modifiedTime":
			has = v.f.Modified
		case "createdTime":
			has = v.f.Created
		case "viewedByMeTime":
			if v.f.Owner == v.acc.email {
				has = v.f.Created
			}
		}
		if has.IsZero() {
			return false
		}
		switch c := has.Compare(at); t.op {
		case "=":
			return c == 0
		case "!=":
			return c != 0
		case "<":
			return c < 0
		case "<=":
			return c <= 0
		case ">":
			return c > 0
		default:
			return c >= 0
		}
	}
}

// newMembership makes the term 'value' in field.
func newMembership(field, value string) (predicate, error) {
	t := &term{field: field, op: "in", value: value}
	least := map[string]role{"readers": roleReader, "writers": roleWriter}
	switch field {
	case "parents":
		t.test = func(v *candidate) bool { return v.f.Parent == v.folder(value) }
	case "owners":
		t.test = func(v *candidate) bool { return v.f.Owner == v.person(value) }
	case "writers", "readers":
		t.test = func(v *candidate) bool {
			return slices.ContainsFunc(v.s.permissions(v.f), func(p inherited) bool {
				return p.Type != "anyone" && p.Address == v.person(value) && roleNamed(p.Role) >= least[field]
			})
		}
	default:
		return nil, errQuery()
	}
	return t, nil
}

func (v *candidate) folder(id string) string {
	if id == "root" {
		return v.acc.rootID
	}
	return id
}

func (v *candidate) person(email string) string {
	if email == "me" {
		return v.acc.email
	}
	return strings.ToLower(email)
}

// visibility is who can reach f, in the words of the query term.
func (s *store) visibility(f *file) string {
	best, found := "limited", 0
	for _, p := range s.permissions(f) {
		name, weight := "limited", 0
		switch {
		case p.Type == "anyone" && p.Discoverable:
			name, weight = "anyoneCanFind", 4
		case p.Type == "anyone":
			name, weight = "anyoneWithLink", 3
		case p.Type == "domain" && p.Discoverable:
			name, weight = "domainCanFind", 2
		case p.Type == "domain":
			name, weight = "domainWithLink", 1
		}
		if weight > found {
			best, found = name, weight
		}
	}
	return best
}

// words splits text as the index does: letters and digits, in lower case.
func words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// prefixWords tells whether each wanted word begins some word: HelloWorld contains Hello, not World.
func prefixWords(have, want []string) bool {
	for _, w := range want {
		if !slices.ContainsFunc(have, func(h string) bool { return strings.HasPrefix(h, w) }) {
			return false
		}
	}
	return len(want) > 0
}

// fullText matches whole words of name and description; in double quotes, a phrase.
func fullText(value string) func(*candidate) bool {
	phrase := len(value) > 1 && strings.HasPrefix(value, `"`) && strings.HasSuffix(value, `"`)
	want := words(value)
	return func(v *candidate) bool {
		have := append(words(v.f.Name), words(v.f.Description)...)
		if phrase {
			return len(want) > 0 && strings.Contains(" "+strings.Join(have, " ")+" ", " "+strings.Join(want, " ")+" ")
		}
		for _, w := range want {
			if !slices.Contains(have, w) {
				return false
			}
		}
		return len(want) > 0
	}
}
