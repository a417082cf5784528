package index

import (
	"fmt"
	"strings"

	"sregfs/index/image"
)

// Place is where a draft stands in my own tree: a name inside a collection, or inside a tag directory.
// Collection and Tag are as the tree's user wrote them, decoded; comparison ignores the case of Collection and Tag.
type Place struct {
	Collection string `json:"collection"`
	Tag        string `json:"tag,omitempty"` // "image:tag" when the draft is inside a tag directory, else ""
	Name       string `json:"name"`
}

// Ref returns what the place publishes as, and with which extension. ok is false for a plain draft: a name that is no
// image name. Inside a tag directory every name with an image extension is a version of that tag, whatever its stem.
func (p Place) Ref() (ref image.Ref, ext string, ok bool) {
	name := p.Name
	if p.Tag != "" {
		var known bool
		if _, ext, known = image.ParseEntry(p.Name); !known || ext == "" {
			return image.Ref{}, "", false
		}
		name = p.Tag
	}
	ref, e, ok := image.ParseEntry(name)
	if !ok {
		return image.Ref{}, "", false
	}
	if p.Tag == "" {
		ext = e
	}
	if ext == "" {
		return image.Ref{}, "", false // a bare "image:tag" is the tag's directory
	}
	ref.Collection, ref.Version = p.Collection, ""
	if ref.Collection == "" {
		ref.Collection = image.DefaultCollection
	}
	return ref.Fold(), ext, true
}

// check returns ErrName unless a file can have the place's name.
func (p Place) check() error {
	if p.Name == "" || strings.ContainsAny(p.Name, "/\x00") {
		return fmt.Errorf("file name %q: %w", p.Name, ErrName)
	}
	return nil
}

// String is the place as a path in the tree.
func (p Place) String() string {
	parts := make([]string, 0, 3)
	for _, s := range []string{p.Collection, p.Tag, p.Name} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, "/")
}

// Fold is the form places are compared in: equal for places that differ in the case of Collection or Tag only.
func (p Place) Fold() Place {
	return Place{Collection: image.Ref{Collection: p.Collection}.Fold().Collection, Tag: strings.ToLower(p.Tag), Name: p.Name}
}
