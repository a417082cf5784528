package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Labels returns the labels of a Drive file: its properties without the registry's, and those that Describe put into
// the description. It is the inverse of Describe.
func Labels(props map[string]string, description string) map[string]string {
	labels := map[string]string{}
	for k, v := range props {
		if isLabel(k) {
			labels[k] = v
		}
	}
	maps.Copy(labels, unspill(description))
	return labels
}

// SetLabel returns the patch that sets the label key of a file with these properties and description, or removes it
// where value is nil. A label that does not fit into a property goes into the description; ErrTooLong if a text of
// somebody else's stands there, or no room is left.
func SetLabel(props map[string]string, description, key string, value *string) (Patch, error) {
	if key == "" || strings.ToValidUTF8(key, "") != key || value != nil && strings.ToValidUTF8(*value, "") != *value {
		return Patch{}, fmt.Errorf("%w: label %q: key and value must be UTF-8 text", ErrName, key)
	}
	p := Patch{Properties: map[string]*string{}}
	spilled := unspill(description)
	_, wasProperty := props[key]
	_, wasSpilled := spilled[key]
	asProperty := value != nil && *value != "" && isLabel(key) && len(key)+len(*value) <= MaxProperty &&
		(wasProperty || reserved(props) < MaxProperties)
	switch {
	case asProperty:
		p.Properties[key] = value
	case wasProperty && isLabel(key):
		p.Properties[key] = nil
	}
	toSpill := value != nil && !asProperty
	if !toSpill && !wasSpilled {
		return p, nil
	}
	if description != "" && spilled == nil {
		return Patch{}, fmt.Errorf("%w: label %s does not fit into a property, and the description is in use", ErrTooLong, key)
	}
	if spilled == nil {
		spilled = map[string]string{}
	}
	delete(spilled, key)
	if toSpill {
		spilled[key] = *value
	}
	text, dropped := spill(spilled)
	if len(dropped) > 0 {
		return Patch{}, fmt.Errorf("%w: label %s does not fit into the description", ErrTooLong, key)
	}
	p.Description = &text
	return p, nil
}

// spill writes labels as the JSON object the description holds: {"key":"value"}, keys sorted. The longest that do not
// fit are dropped; their keys are returned, sorted.
func spill(labels map[string]string) (text string, dropped []string) {
	kept := map[string]string{}
	room := maxDescription - len("{}")
	for _, k := range shortestFirst(labels) {
		cost := len(marshal(map[string]string{k: labels[k]})) - len("{}") + len(",")
		if room -= cost; room < 0 {
			room += cost
			dropped = append(dropped, k)
			continue
		}
		kept[k] = labels[k]
	}
	slices.Sort(dropped)
	if len(kept) == 0 {
		return "", dropped
	}
	return marshal(kept), dropped
}

// unspill reads what spill wrote; nil if the description is something else.
func unspill(description string) map[string]string {
	if !strings.HasPrefix(description, "{") {
		return nil
	}
	var labels map[string]string
	if json.Unmarshal([]byte(description), &labels) != nil {
		return nil
	}
	return labels
}

// marshal is json.Marshal without \u003c for "<", as people read descriptions too.
func marshal(labels map[string]string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(labels); err != nil {
		return "" // a map of strings always encodes
	}
	return strings.TrimSuffix(b.String(), "\n")
}
