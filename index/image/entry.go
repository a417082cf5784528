package image

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// This file is the tree's spelling of names: how a Ref becomes a directory entry and an entry a Ref. Drive names may be
// any text, so whatever a directory cannot hold, or would read as something else, is percent-encoded: "/", control
// and other unprintable characters, bytes that are not UTF-8, ":" (and "@" in an image or tag), a leading "." "~" "#",
// a trailing "~" "#" or blank, the dot of an image extension that is part of the name, the reserved names, and "%"
// where it would read as an escape. A name sregfs wrote itself holds none of these and looks as it is.

// extensions are the endings of image files, none of them part of an image's name.
var extensions = []string{".sif", ".simg", ".img", ".sqsh"}

// Extensions returns the endings of image files, with their dots, the usual one first.
func Extensions() []string { return slices.Clone(extensions) }

// Names at the top of the tree that are not collections.
const (
	ControlDir = ".sregfs"        // control files
	SharedDir  = "shared-with-me" // images of other people
)

// Names of temporary files begin or end with these: rsync's .x.Ab12Cd, editors' .x.swp, #x# and x~.
const (
	draftPrefixes = ".~#"
	draftSuffixes = "~#"
)

// Reserved tells whether name, in any case, is one of the tree's own at its top: no collection may have it.
func Reserved(name string) bool {
	return strings.EqualFold(name, ControlDir) || strings.EqualFold(name, SharedDir)
}

// SplitExt cuts an image extension off the end of name. ext is lower-case with its dot, one of .sif .simg .img .sqsh,
// or "" if name has none or is nothing else.
func SplitExt(name string) (base, ext string) {
	for _, ext := range extensions {
		if at := len(name) - len(ext); at > 0 && strings.EqualFold(name[at:], ext) {
			return name[:at], ext
		}
	}
	return name, ""
}

// innerExt returns where in s an image extension stands that something else may have been appended to, as in
// "x.sif.part", "x.img~" or "x.sif"; -1 if there is none.
func innerExt(s string) int {
	for i := range len(s) {
		if s[i] != '.' {
			continue
		}
		for _, ext := range extensions {
			end := i + len(ext)
			if end <= len(s) && strings.EqualFold(s[i:end], ext) && (end == len(s) || strings.IndexByte(".~#", s[end]) >= 0) {
				return i
			}
		}
	}
	return -1
}

// Dir is the collection's path in the tree, without a leading slash.
func (r Ref) Dir() string {
	segments := strings.Split(r.Collection, "/")
	for i, s := range segments {
		segments[i] = EncodeName(s)
	}
	return strings.Join(segments, "/")
}

// TagDir is the name of the directory that holds the tag's versions: "image:tag". Lower-cased it is a key of the tag
// within its collection, for hostile names too: ParseEntry(name) gives a Ref with the same TagDir.
func (r Ref) TagDir() string {
	return encode(r.Image, maxPart, "@") + ":" + encode(r.Tag, maxPart, "@")
}

// TagFile is the name of the tag's newest version: "image:tag.sif" for ext ".sif".
func (r Ref) TagFile(ext string) string { return r.TagDir() + ext }

// VersionFile is the name of this version inside TagDir: "<version>.sif" for ext ".sif".
func (r Ref) VersionFile(ext string) string { return encode(r.Version, maxVersion, "@") + ext }

// ParseEntry reads a name inside a collection's directory. Names that end in an image extension are image files:
// "hello-world:latest.sif", "hello-world.sif" (tag latest), "hello-world:latest@ed97.sif". Without extension,
// "hello-world:latest" is a tag's directory, and "hello-world:latest@ed97" a version. Ref has no collection, its case
// and any malformed part are kept: Check says whether it may be written. ok is false for all other names, and for those
// that programs give to files on their way: with a leading ".", "~" or "#", or something after the extension, as
// ".hello.sif.Xa12", "hello.sif.part", "notes.txt". These are drafts.
func ParseEntry(name string) (ref Ref, ext string, ok bool) {
	if name == "" || strings.IndexByte(draftPrefixes, name[0]) >= 0 {
		return Ref{}, "", false
	}
	base, ext := SplitExt(name)
	base, version, versioned := strings.Cut(base, "@")
	img, tag, tagged := strings.Cut(base, ":")
	if ext == "" {
		last := name[len(name)-1]
		if !tagged || img == "" || tag == "" || innerExt(name) >= 0 || strings.IndexByte(draftSuffixes, last) >= 0 {
			return Ref{}, "", false
		}
	}
	if !tagged {
		tag = defaultTag
	}
	if versioned && version == "" {
		tag += "@" // an "@" with nothing behind it: keep it where Check refuses it
	}
	return Ref{Image: decodeEntry(img), Tag: decodeEntry(tag), Version: decodeEntry(version)}, ext, true
}

// EncodeName spells s, one segment of a path in Drive, as a name in the tree: never "", ".", "..", hidden, reserved, or
// over 255 bytes. DecodeName gives s back unless it was too long, and then ends in a hash of s.
func EncodeName(s string) string { return encode(s, maxSegment, "") }

// DecodeName is the inverse of EncodeName. A spelling EncodeName would not have chosen is ErrName, so that no two names
// in the tree lead to one place; the case of escapes does not matter.
func DecodeName(s string) (string, error) {
	text := unescape(s)
	if !strings.EqualFold(EncodeName(text), s) {
		return "", fmt.Errorf("%w: %q is not spelled as the tree spells names", ErrName, s)
	}
	return text, nil
}

// decodeEntry decodes a part of an entry. A part with foreign escapes stays as it is, and Check refuses it.
func decodeEntry(s string) string {
	text := unescape(s)
	if !strings.EqualFold(escape(text, "@"), s) {
		return s
	}
	return text
}

// encode is EncodeName with a limit in bytes and more characters to escape. Names of any case that are too long share
// the hash of their lower case.
func encode(s string, limit int, also string) string {
	if s == "" {
		return "%00" // Identify never leaves a part empty; a directory entry must not be
	}
	if len(s) <= limit {
		if name := escape(s, also); len(name) <= limit {
			return name
		}
	}
	sum := sha256.Sum256([]byte(lower(s)))
	hash := "-" + hex.EncodeToString(sum[:5])
	var cuts []int // where characters begin, or bytes that are none
	for i := range s[:min(len(s), limit)] {
		cuts = append(cuts, i)
	}
	for _, keep := range slices.Backward(cuts) {
		if name := escape(s[:keep]+hash, also); len(name) <= limit {
			return name
		}
	}
	return hash[1:]
}

// escape percent-encodes what s may not hold.
func escape(s, also string) string {
	forced := forcedEscapes(s)
	if len(forced) == 0 && !strings.ContainsFunc(s, isUnusual) {
		return s // as good as every name
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		c, n := utf8.DecodeRuneInString(s[i:])
		hostile := c == '/' || c == ':' || c == utf8.RuneError && n == 1 || !unicode.IsPrint(c) ||
			strings.ContainsRune(also, c) || isEscape(s[i:]) || slices.Contains(forced, i)
		for _, raw := range []byte(s[i : i+n]) {
			if hostile {
				fmt.Fprintf(&b, "%%%02X", raw)
			} else {
				b.WriteByte(raw)
			}
		}
		i += n
	}
	return b.String()
}

// isUnusual tells whether c is worth a second look by escape.
func isUnusual(c rune) bool {
	return (c < 'a' || c > 'z') && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && c != '-' && c != '_' && c != '.'
}

// forcedEscapes returns the offsets in s of bytes that are harmless elsewhere.
func forcedEscapes(s string) []int {
	if s == "" {
		return nil
	}
	var at []int
	if last := len(s) - 1; s[last] == ' ' || strings.IndexByte(draftSuffixes, s[last]) >= 0 {
		at = append(at, last)
	}
	if s[0] == ' ' || strings.IndexByte(draftPrefixes, s[0]) >= 0 || Reserved(s) {
		at = append(at, 0)
	}
	for from := 0; ; {
		i := innerExt(s[from:])
		if i < 0 {
			return at
		}
		at = append(at, from+i)
		from += i + 1
	}
}

// isEscape tells whether s begins with "%" and two hex digits.
func isEscape(s string) bool {
	if len(s) < 3 || s[0] != '%' {
		return false
	}
	_, err := strconv.ParseUint(s[1:3], 16, 8)
	return err == nil
}

// unescape replaces each "%" and two hex digits by their byte, and leaves every other "%".
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if isEscape(s[i:]) {
			raw, _ := strconv.ParseUint(s[i+1:i+3], 16, 8) // isEscape parsed it already
			b.WriteByte(byte(raw))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
