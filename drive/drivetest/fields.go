package drivetest

import (
	"maps"
	"slices"
	"strings"
)

// mask is a parsed fields parameter. Selected members map to what is selected inside them; nil is everything.
type mask map[string]mask

// schema is the members a resource has, so that a mask can be checked: nil for what has none inside, and
// a member "*" where any name is one, as in properties.
type schema map[string]schema

// maxMaskDepth bounds the nesting of masks; the service's resources are not nearly as deep.
const maxMaskDepth = 32

// pick tells whether name is selected, and what inside it.
func (m mask) pick(name string) (mask, bool) {
	if m == nil {
		return nil, true
	}
	if inner, ok := m[name]; ok {
		return inner, true
	}
	inner, ok := m["*"]
	return inner, ok
}

// parseMask reads a fields parameter and checks it against what the reply can hold:
// a,b · a/b · a(b,c) · * · with blanks after commas.
func parseMask(text string, s schema) (mask, error) {
	p := maskParser{text: text}
	m, ok := p.list(0)
	if !ok || p.at != len(text) {
		return nil, errMask(strings.TrimSpace(text[min(p.at, len(text)):]), text)
	}
	if bad := m.outside(s); bad != "" {
		return nil, errMask(bad, text)
	}
	if inner, all := m["*"]; all && inner == nil {
		return nil, nil
	}
	return m, nil
}

func errMask(bad, text string) error {
	if bad == "" {
		bad = text
	}
	return &apiError{
		Status: 400, Reason: "invalidParameter", Message: "Invalid field selection " + bad,
		LocationType: "parameter", Location: "fields",
	}
}

type maskParser struct {
	text string
	at   int
}

func (p *maskParser) blanks() {
	for p.at < len(p.text) && (p.text[p.at] == ' ' || p.text[p.at] == '\t' || p.text[p.at] == '\n' || p.text[p.at] == '\r') {
		p.at++
	}
}

// accept takes the character c if it comes next.
func (p *maskParser) accept(c byte) bool {
	p.blanks()
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

// list reads selections between commas.
func (p *maskParser) list(depth int) (mask, bool) {
	m := mask{}
	for {
		if !p.selection(m, depth) {
			return nil, false
		}
		if !p.accept(',') {
			return m, true
		}
	}
}

// selection reads one path and what is in its parentheses, into m.
func (p *maskParser) selection(m mask, depth int) bool {
	p.blanks()
	start := p.at
	for p.at < len(p.text) && !strings.ContainsRune(",/() \t\r\n", rune(p.text[p.at])) {
		p.at++
	}
	name := p.text[start:p.at]
	if name == "" || depth > maxMaskDepth {
		p.at = start
		return false
	}
	var inner mask
	switch {
	case p.accept('/'):
		inner = mask{}
		if !p.selection(inner, depth+1) {
			return false
		}
	case p.accept('('):
		var ok bool
		if inner, ok = p.list(depth + 1); !ok || !p.accept(')') {
			return false
		}
	}
	m.add(name, inner)
	return true
}

// add joins a selection with one of the same name: everything wins.
func (m mask) add(name string, inner mask) {
	old, seen := m[name]
	switch {
	case !seen || inner == nil:
		m[name] = inner
	case old != nil:
		for k, v := range inner {
			old.add(k, v)
		}
	}
}

// outside returns the first selected name that s does not have, "" if all are there.
func (m mask) outside(s schema) string {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		inner := m[name]
		if name == "*" {
			if bad := inner.outsideAny(s); bad != "" {
				return bad
			}
			continue
		}
		below, ok := s[name]
		if !ok {
			if below, ok = s["*"]; !ok {
				return name
			}
		}
		if inner != nil {
			if bad := inner.outside(below); bad != "" {
				return bad
			}
		}
	}
	return ""
}

// outsideAny checks what follows a star: some member of s must have it.
func (m mask) outsideAny(s schema) string {
	if m == nil {
		return ""
	}
	bad := "*"
	for name, below := range s {
		if _, anything := below["*"]; name == "*" || anything {
			continue
		}
		if bad = m.outside(below); bad == "" {
			return ""
		}
	}
	return bad
}
