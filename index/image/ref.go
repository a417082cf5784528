package image

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a name is made of when it does not say.
const (
	DefaultCollection = "library"
	defaultTag        = "latest"
)

// Limits of a name's parts in bytes, so that "image:tag@version.sqsh" stays under the 255 bytes of a file name and a
// path of all of them under PATH_MAX. Drive's properties are tighter still; Describe holds a name to those.
const (
	maxSegment = 255 // one segment of a collection
	maxPart    = 90  // image, tag
	maxVersion = 64
	maxDepth   = 12 // segments of a collection
)

// Ref names an image. Collection may have several segments, joined by "/". Version is an MD5 (32 hex), a SHA-256
// (64 hex) or an opaque label; "" means the newest. A Ref from Parse is valid, one from Identify or ParseEntry may hold
// anything: Check tells. Refs are compared with ==, after Fold where case must not matter.
type Ref struct{ Collection, Image, Tag, Version string }

// Parse reads the text form collection/image:tag@version, as a person writes it: a prefix google-drive://,
// google_drive:// or drive:// and one image extension at the end are dropped, the collection defaults to "library" and
// the tag to "latest", and the result is lower-case. What is no name by Check is ErrName, with the reason.
func Parse(text string) (Ref, error) {
	rest, _ := SplitExt(TrimScheme(text))
	var r Ref
	rest, version, versioned := strings.Cut(rest, "@")
	slash := strings.LastIndexByte(rest, '/')
	r.Collection = DefaultCollection
	if slash >= 0 {
		r.Collection = rest[:slash]
	}
	name, tag, tagged := strings.Cut(rest[slash+1:], ":")
	r.Image, r.Tag, r.Version = name, defaultTag, version
	if tagged {
		r.Tag = tag
	}
	r = r.Fold()
	if versioned && version == "" {
		return Ref{}, fmt.Errorf("%w: %.100q: nothing after the \"@\"", ErrName, text)
	}
	if err := r.Check(); err != nil {
		return Ref{}, fmt.Errorf("%.100q: %w", text, err)
	}
	return r, nil
}

// TrimScheme drops the prefix google-drive://, google_drive:// or drive://, in any case: what follows is a name, or
// whatever else stands for an image.
func TrimScheme(text string) string {
	for _, scheme := range []string{"google-drive://", "google_drive://", "drive://"} {
		if len(text) >= len(scheme) && strings.EqualFold(text[:len(scheme)], scheme) {
			return text[len(scheme):]
		}
	}
	return text
}

// Check returns nil if sregfs may write this name, else ErrName (or ErrTooLong, which is one) with the reason. A name
// that passes is shown in the tree as it is, without escapes, and Parse(r.String()) gives it back but for its case.
func (r Ref) Check() error {
	segments := strings.Split(r.Collection, "/")
	if len(segments) > maxDepth {
		return fmt.Errorf("%w: the collection has %d segments, at most %d fit", ErrTooLong, len(segments), maxDepth)
	}
	for _, s := range segments {
		if err := checkPart("collection", s, maxSegment); err != nil {
			return err
		}
	}
	if Reserved(segments[0]) {
		return fmt.Errorf("%w: %q is reserved", ErrName, segments[0])
	}
	if err := checkPart("image name", r.Image, maxPart); err != nil {
		return err
	}
	if err := checkPart("tag", r.Tag, maxPart); err != nil {
		return err
	}
	if r.Version == "" {
		return nil
	}
	return checkPart("version", r.Version, maxVersion)
}

// checkPart is the grammar of one part of a name. what names the part in the error. It must refuse whatever encode
// would change, so that a name sregfs writes reads the same everywhere.
func checkPart(what, s string, limit int) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: the %s %s", ErrName, what, fmt.Sprintf(format, args...))
	}
	if s == "" {
		return bad("is empty")
	}
	if !utf8.ValidString(s) {
		return bad("%.60q is not UTF-8", s)
	}
	for i, c := range s {
		switch {
		case c == '/' || c == ':' || c == '@':
			return bad("%.60q holds %q", s, c)
		case !unicode.IsPrint(c):
			return bad("%.60q holds the unprintable character %U", s, c)
		case isEscape(s[i:]):
			return bad("%.60q holds the escape %q", s, s[i:i+3])
		}
	}
	switch {
	case strings.ContainsRune(draftPrefixes, rune(s[0])):
		return bad("%.60q begins with %q", s, s[0])
	case strings.ContainsRune(draftSuffixes, rune(s[len(s)-1])):
		return bad("%.60q ends with %q", s, s[len(s)-1])
	case s[0] == ' ' || s[len(s)-1] == ' ':
		return bad("%.60q begins or ends with a blank", s)
	}
	if at := innerExt(s); at >= 0 {
		return bad("%.60q holds a file extension, %.60q", s, s[at:])
	}
	if len(s) > limit {
		return fmt.Errorf("%w: the %s has %d bytes, at most %d fit", ErrTooLong, what, len(s), limit)
	}
	return nil
}

// String is the text form collection/image:tag[@version]. It is safe to print: hostile parts are escaped as in the tree.
func (r Ref) String() string {
	if r.Version == "" {
		return r.Short()
	}
	return r.Short() + "@" + encode(r.Version, maxVersion, "@")
}

// Short is String without the version.
func (r Ref) Short() string { return r.Dir() + "/" + r.TagDir() }

// Fold returns r in lower case, the form in which names are written, compared and used as keys.
func (r Ref) Fold() Ref {
	return Ref{lower(r.Collection), lower(r.Image), lower(r.Tag), lower(r.Version)}
}

// lower keeps bytes that are not UTF-8 apart from each other, which strings.ToLower does not.
func lower(s string) string {
	if utf8.ValidString(s) {
		return strings.ToLower(s)
	}
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
