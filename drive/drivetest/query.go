package drivetest

import (
	"slices"
	"strings"
	"time"
)

// A q parameter is terms joined by and, or, not and parentheses. As the service documents, and and or
// have the same precedence and are evaluated left to right: a or b and c is (a or b) and c.

// predicate is a parsed q, or part of it.
type predicate interface {
	match(v *candidate) bool
}

type (
	andOf struct{ left, right predicate }
	orOf  struct{ left, right predicate }
	notOf struct{ of predicate }
	// term is one comparison. match is made when it is parsed, with the value in its right form.
	term struct {
		field, op, value string
		test             func(v *candidate) bool
	}
)

func (p andOf) match(v *candidate) bool { return p.left.match(v) && p.right.match(v) }
func (p orOf) match(v *candidate) bool  { return p.left.match(v) || p.right.match(v) }
func (p notOf) match(v *candidate) bool { return !p.of.match(v) }
func (t *term) match(v *candidate) bool { return t.test(v) }

// walk calls fn for each term of p.
func walk(p predicate, fn func(*term)) {
	switch p := p.(type) {
	case andOf:
		walk(p.left, fn)
		walk(p.right, fn)
	case orOf:
		walk(p.left, fn)
		walk(p.right, fn)
	case notOf:
		walk(p.of, fn)
	case *term:
		fn(p)
	}
}

// errQuery is what the service answers to a q it can not read.
func errQuery() error { return errParameter("q", "") }

// comparisons are the operators that are signs.
var comparisons = []string{"=", "!=", "<", "<=", ">", ">="}

// maxQueryDepth bounds parentheses and nots inside each other.
const maxQueryDepth = 100

// parseQuery reads a q parameter; nil without error is an empty one, which every file matches.
func parseQuery(q string) (predicate, error) {
	p := queryParser{text: q}
	if p.next(); p.kind == tokenEnd {
		return nil, nil
	}
	found, err := p.expression(0)
	if err == nil && p.kind != tokenEnd {
		err = errQuery()
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}

type tokenKind int

const (
	tokenEnd    tokenKind = iota
	tokenWord             // name, and, true, …
	tokenString           // in quotes; token is the value without escapes
	tokenSign             // = != < <= > >= ( ) { }
	tokenBad
)

type queryParser struct {
	text  string
	at    int
	kind  tokenKind
	token string
}

// next reads one token.
func (p *queryParser) next() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
	if p.at == len(p.text) {
		p.kind, p.token = tokenEnd, ""
		return
	}
	switch c := p.text[p.at]; {
	case c == '\'':
		p.quoted()
	case strings.IndexByte("(){}=", c) >= 0:
		p.sign(1)
	case c == '<' || c == '>' || c == '!':
		if strings.HasPrefix(p.text[p.at+1:], "=") {
			p.sign(2)
		} else {
			p.sign(1)
		}
	case isWord(c):
		start := p.at
		for p.at < len(p.text) && isWord(p.text[p.at]) {
			p.at++
		}
		p.kind, p.token = tokenWord, p.text[start:p.at]
	default:
		p.kind, p.token = tokenBad, ""
	}
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_'
}

func (p *queryParser) sign(n int) {
	p.kind, p.token = tokenSign, p.text[p.at:p.at+n]
	p.at += n
}

// quoted reads a string in single quotes, where \' and \\ stand for themselves.
func (p *queryParser) quoted() {
	var b strings.Builder
	for i := p.at + 1; i < len(p.text); i++ {
		switch p.text[i] {
		case '\\':
			i++
			if i == len(p.text) || p.text[i] != '\'' && p.text[i] != '\\' {
				p.kind, p.token = tokenBad, ""
				return
			}
			b.WriteByte(p.text[i])
		case '\'':
			p.at = i + 1
			p.kind, p.token = tokenString, b.String()
			return
		default:
			b.WriteByte(p.text[i])
		}
	}
	p.kind, p.token = tokenBad, ""
}

// take goes on if the next token is this word or sign.
func (p *queryParser) take(kind tokenKind, token string) bool {
	if p.kind != kind || p.token != token {
		return false
	}
	p.next()
	return true
}

// expression reads operands joined by and and or, from left to right.
func (p *queryParser) expression(depth int) (predicate, error) {
	left, err := p.operand(depth)
	for err == nil {
		join := p.token
		if !p.take(tokenWord, "and") && !p.take(tokenWord, "or") {
			return left, nil
		}
		var right predicate
		if right, err = p.operand(depth); err != nil {
			break
		}
		if join == "and" {
			left = andOf{left, right}
		} else {
			left = orOf{left, right}
		}
	}
	return nil, err
}

func (p *queryParser) operand(depth int) (predicate, error) {
	switch {
	case depth > maxQueryDepth:
		return nil, errQuery()
	case p.take(tokenWord, "not"):
		of, err := p.operand(depth + 1)
		return notOf{of}, err
	case p.take(tokenSign, "("):
		inside, err := p.expression(depth + 1)
		if err == nil && !p.take(tokenSign, ")") {
			err = errQuery()
		}
		return inside, err
	case p.kind == tokenString:
		value := p.token
		p.next()
		if !p.take(tokenWord, "in") || p.kind != tokenWord {
			return nil, errQuery()
		}
		field := p.token
		p.next()
		return newMembership(field, value)
	case p.kind != tokenWord:
		return nil, errQuery()
	}
	field := p.token
	p.next()
	if field == "properties" || field == "appProperties" {
		return p.property(field)
	}
	op := p.token
	switch {
	case p.kind == tokenSign && slices.Contains(comparisons, op), p.kind == tokenWord && op == "contains":
		p.next()
	case field == "sharedWithMe": // alone, it is = true
		return newComparison(field, "=", "true", tokenWord)
	default:
		return nil, errQuery()
	}
	value, kind := p.token, p.kind
	if kind != tokenString && kind != tokenWord {
		return nil, errQuery()
	}
	p.next()
	return newComparison(field, op, value, kind)
}

// property reads has {key='k' and value='v'}; the and belongs to the braces.
func (p *queryParser) property(field string) (predicate, error) {
	var key, value string
	ok := p.take(tokenWord, "has") && p.take(tokenSign, "{") &&
		p.take(tokenWord, "key") && p.take(tokenSign, "=") && p.str(&key) && p.take(tokenWord, "and") &&
		p.take(tokenWord, "value") && p.take(tokenSign, "=") && p.str(&value) && p.take(tokenSign, "}")
	if !ok {
		return nil, errQuery()
	}
	t := &term{field: field, op: "has", value: key}
	if field == "properties" {
		t.test = func(v *candidate) bool { got, ok := v.f.Properties[key]; return ok && got == value }
	} else {
		t.test = func(v *candidate) bool { got, ok := v.f.Private[v.acc.client][key]; return ok && got == value }
	}
	return t, nil
}

func (p *queryParser) str(into *string) bool {
	if p.kind != tokenString {
		return false
	}
	*into = p.token
	p.next()
	return true
}

// parseQueryTime reads an RFC 3339 time, whose zone is UTC unless it says otherwise, or a date.
func parseQueryTime(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
