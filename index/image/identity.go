package image

import "strings"

// defaultExt is the extension of a file whose Drive name has none, as files uploaded by hand.
const defaultExt = ".sif"

// Identity is who a Drive file is: its name, and the extension (with its dot) it goes by.
type Identity struct {
	Ref
	Ext string
}

// Identify tells who a Drive file is from its name and its public properties, of any era of the registry: by the
// properties collection, image, tag and version, what they lack by the property uri, then by the file name
// ("collection/image:tag@version.sif"), and when that is no name of an image either, by library/<file name>. It never
// fails; hostile text is kept as it is, and the tree escapes it. No part is empty but Version, no collection has empty
// segments or too many.
//
// Old files hold names no rule of today would give: a uri with a dash before the tag (collection/image-tag@md5), tags
// with slashes, images with slashes from the time when only the first segment was the collection. The properties are
// therefore believed before any text is split.
func Identify(name string, props map[string]string) Identity {
	base, ext := SplitExt(name)
	if ext == "" {
		if _, ext = SplitExt(props[keyStorage]); ext == "" {
			ext = defaultExt
		}
	}
	said, ok := split(props[keyURI])
	if !ok {
		said, ok = split(base)
	}
	if !ok {
		said = Ref{Collection: DefaultCollection, Image: base}
	}
	r := Ref{props[keyCollection], props[keyImage], props[keyTag], props[keyVersion]}
	r.Collection = first(r.Collection, said.Collection)
	if r.Image == "" || strings.EqualFold(r.Image, said.Image) {
		r.Tag = first(r.Tag, said.Tag)
	}
	if i := strings.LastIndexByte(r.Image, '/'); i > 0 && sane(r.Image) {
		r.Collection, r.Image = r.Collection+"/"+r.Image[:i], r.Image[i+1:]
	}
	r.Image = first(r.Image, said.Image, "unnamed")
	r.Tag = first(r.Tag, defaultTag)
	r.Version = lower(first(r.Version, said.Version))
	r.Collection = tidy(r.Collection)
	return Identity{Ref: r, Ext: ext}
}

// split reads a uri or file name generously: any text whose path has no empty, "." or ".." segment. Tag and Version are
// "" where it has none.
func split(text string) (Ref, bool) {
	text, _ = SplitExt(TrimScheme(text))
	text, version, _ := strings.Cut(text, "@")
	var r Ref
	slash := strings.LastIndexByte(text, '/')
	name, tag, tagged := strings.Cut(text[slash+1:], ":")
	if slash >= 0 {
		r.Collection = text[:slash]
	}
	r.Image, r.Tag, r.Version = name, tag, version
	if r.Image == "" || tagged && tag == "" || !sane(text) {
		return Ref{}, false
	}
	r.Collection = first(r.Collection, DefaultCollection)
	return r, true
}

// sane tells whether every segment of path is a name a directory may have.
func sane(path string) bool {
	for s := range strings.SplitSeq(path, "/") {
		if s == "" || s == "." || s == ".." {
			return false
		}
	}
	return true
}

// tidy drops empty segments of a collection, and makes one segment of those too deep for a path.
func tidy(collection string) string {
	var segments []string
	for s := range strings.SplitSeq(collection, "/") {
		if s != "" {
			segments = append(segments, s)
		}
	}
	if len(segments) > maxDepth {
		deep := strings.Join(segments[maxDepth-1:], "%2F")
		segments = append(segments[:maxDepth-1], deep)
	}
	return first(strings.Join(segments, "/"), DefaultCollection)
}

func first(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}
