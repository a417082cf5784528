package image

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Drive's limits of a file's public properties, which all applications share (Drive guide, "Add custom file properties").
const (
	MaxProperty   = 124 // bytes of UTF-8, key and value together
	MaxProperties = 30  // per file
)

// freeProperties is how many of a file's properties are kept free of everything but the start-up profile.
const freeProperties = 6

// maxDescription is how much of Drive's description field a push uses, in bytes. Drive documents no limit; files with
// 16 K characters were seen.
const maxDescription = 16 << 10

// The registry's own property keys.
const (
	keyType       = "type"
	keyURI        = "uri"
	keyCollection = "collection"
	keyImage      = "image"
	keyTag        = "tag"
	keyVersion    = "version"
	keyStorage    = "storage"
)

// TypeContainer is the value of the property "type" that makes a file an image of the registry. Clients of all eras list
// by it.
const TypeContainer = "container"

// foreignKeys are registry keys that other clients, of several eras, write beside ours. They repeat the name, so moving
// an image to another name deletes them.
var foreignKeys = []string{"url", "original", "registry", "tag_uri", "storage_uri", "storage_version"}

// ownPrefix begins the keys of properties that sregfs keeps for itself.
const ownPrefix = "sregfs."

// isLabel tells whether a property with this key is a label of the image, not part of the registry's bookkeeping.
func isLabel(key string) bool {
	switch key {
	case "", keyType, keyURI, keyCollection, keyImage, keyTag, keyVersion, keyStorage:
		return false
	}
	return !slices.Contains(foreignKeys, key) && !strings.HasPrefix(key, ownPrefix)
}

// Metadata is what a push writes to Drive beside the bytes.
type Metadata struct {
	Name        string            // Drive file name, equal to the property storage
	Properties  map[string]string // public properties
	Description string            // JSON object of the labels that did not fit, or ""
	Dropped     []string          // keys of labels that fitted nowhere, sorted, for the log
}

// Describe returns what a push of r as a file with extension ext (with its dot) writes: the registry's keys, extra, and
// as many labels as fit, shortest first. Labels that do not fit, or whose key is the registry's, go whole into the
// description; a label never makes a push fail. ErrName or ErrTooLong, with the number of bytes to cut, if the registry
// or its limits can't hold the name or extra.
func Describe(r Ref, ext string, labels, extra map[string]string) (Metadata, error) {
	props, err := nameProperties(r, ext)
	if err != nil {
		return Metadata{}, err
	}
	for k, v := range extra {
		if _, taken := props[k]; taken || k == "" {
			return Metadata{}, fmt.Errorf("%w: the property %q is the registry's own", ErrName, k)
		}
		if over := len(k) + len(v) - MaxProperty; over > 0 {
			return Metadata{}, fmt.Errorf("%w: the property %q has %d bytes too many", ErrTooLong, k, over)
		}
		props[k] = v
	}
	if over := reserved(props) - MaxProperties; over > 0 {
		return Metadata{}, fmt.Errorf("%w: %d properties too many", ErrTooLong, over)
	}
	spilled := map[string]string{}
	for _, k := range shortestFirst(labels) {
		v := strings.ToValidUTF8(labels[k], "\uFFFD")
		k = strings.ToValidUTF8(k, "\uFFFD")
		_, taken := props[k]
		if taken || v == "" || !isLabel(k) || len(k)+len(v) > MaxProperty || reserved(props) >= MaxProperties {
			spilled[k] = v
			continue
		}
		props[k] = v
	}
	m := Metadata{Name: props[keyStorage], Properties: props}
	m.Description, m.Dropped = spill(spilled)
	return m, nil
}

// nameProperties are the registry's properties of an image called r.
func nameProperties(r Ref, ext string) (map[string]string, error) {
	r = r.Fold()
	if err := r.Check(); err != nil {
		return nil, err
	}
	props := map[string]string{
		keyType:       TypeContainer,
		keyURI:        r.String(),
		keyCollection: r.Collection,
		keyImage:      r.Image,
		keyTag:        r.Tag,
		keyStorage:    r.String() + ext,
	}
	if r.Version != "" {
		props[keyVersion] = r.Version
	}
	over := 0
	for k, v := range props {
		over = max(over, len(k)+len(v)-MaxProperty)
	}
	if over > 0 {
		have := len(r.Short())
		return nil, fmt.Errorf("%w: %s has %d bytes, with this version at most %d fit into Drive's properties: cut %d",
			ErrTooLong, r.Short(), have, have-over, over)
	}
	return props, nil
}

// shortestFirst returns the keys of labels by the length of key and value, then by key.
func shortestFirst(labels map[string]string) []string {
	return slices.SortedFunc(maps.Keys(labels), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a)+len(labels[a]), len(b)+len(labels[b])), cmp.Compare(a, b))
	})
}

// Patch is a change of a file's metadata: what files.update sends.
type Patch struct {
	Name        string             // new file name, "" = unchanged
	Properties  map[string]*string // only what changes; nil deletes the property
	Description *string            // nil = unchanged
}

// Retag returns the patch that gives a file with these properties the name to. Labels and the start-up profile stay;
// what other clients noted of the old name goes. Errors are those of Describe.
func Retag(props map[string]string, to Ref, ext string) (Patch, error) {
	want, err := nameProperties(to, ext)
	if err != nil {
		return Patch{}, err
	}
	p := Patch{Name: want[keyStorage], Properties: map[string]*string{}}
	count := len(props)
	for k, v := range want {
		old, has := props[k]
		if !has {
			count++
		}
		if !has || old != v {
			p.Properties[k] = &v
		}
	}
	for _, k := range append([]string{keyVersion}, foreignKeys...) {
		_, has := props[k]
		if _, keep := want[k]; has && !keep {
			p.Properties[k] = nil
			count--
		}
	}
	if over := count - MaxProperties; over > 0 {
		return Patch{}, fmt.Errorf("%w: %d properties too many; remove labels", ErrTooLong, over)
	}
	return p, nil
}
