package drivetest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// member is one name and value of a JSON object; object keeps them in order, as the service does. A nil
// value is left out.
type member struct {
	name  string
	value any
}

type object []member

// list is a JSON array.
type list []any

// timeFormat is how the service writes times: UTC, milliseconds, Z.
const timeFormat = "2006-01-02T15:04:05.000Z"

// appendJSON appends value, of what mask m selects, to b. An int64 becomes a string, as JSON int64 do in
// Google's APIs; an int stays a number.
func appendJSON(b []byte, value any, m mask) []byte {
	switch v := value.(type) {
	case string:
		return appendString(b, v)
	case bool:
		return strconv.AppendBool(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		b = append(b, '"')
		b = strconv.AppendInt(b, v, 10)
		return append(b, '"')
	case time.Time:
		return appendString(b, v.UTC().Format(timeFormat))
	case []string:
		return appendArray(b, v, m)
	case list:
		return appendArray(b, v, m)
	case map[string]string:
		b = append(b, '{')
		first := true
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if _, ok := m.pick(k); !ok {
				continue
			}
			if !first {
				b = append(b, ',')
			}
			first = false
			b = appendString(b, k)
			b = append(b, ':')
			b = appendString(b, v[k])
		}
		return append(b, '}')
	case object:
		b = append(b, '{')
		first := true
		for _, it := range v {
			if inner, ok := m.pick(it.name); ok && it.value != nil && holds(it.value, inner) {
				b = appendName(b, it.name, &first)
				b = appendJSON(b, it.value, inner)
			}
		}
		return append(b, '}')
	case *fileView:
		return appendFile(b, v, selectFields(m))
	case fileViews:
		fields := selectFields(m)
		b = append(b, '[')
		for i, view := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendFile(b, view, fields)
		}
		return append(b, ']')
	}
	panic(fmt.Sprintf("drivetest: no JSON form for %T", value)) // a mistake in a table of this package
}

// fileViews is a list of files, which share one selection of fields.
type fileViews []*fileView

// selected is a field of a file that a mask selects, and what inside it.
type selected struct {
	*fileField
	inner mask
}

func selectFields(m mask) []selected {
	var fields []selected
	for i := range fileFields {
		if inner, ok := m.pick(fileFields[i].name); ok {
			fields = append(fields, selected{&fileFields[i], inner})
		}
	}
	return fields
}

func appendFile(b []byte, v *fileView, fields []selected) []byte {
	b = append(b, '{')
	first := true
	for _, field := range fields {
		if x := field.get(v); x != nil && holds(x, field.inner) {
			b = appendName(b, field.name, &first)
			b = appendJSON(b, x, field.inner)
		}
	}
	return append(b, '}')
}

// holds tells whether value can have inside what m selects: a/b selects nothing of an a that is a string.
func holds(value any, m mask) bool {
	switch value.(type) {
	case string, bool, int, int64, time.Time, []string:
		return m == nil
	}
	return true
}

func appendArray[T any](b []byte, values []T, m mask) []byte {
	b = append(b, '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSON(b, v, m)
	}
	return append(b, ']')
}

// appendName adds a member's name; ours are plain.
func appendName(b []byte, name string, first *bool) []byte {
	if !*first {
		b = append(b, ',')
	}
	*first = false
	b = append(b, '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

// plain are the bytes that stand for themselves in a JSON string.
var plain = func() (set [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		set[c] = !strings.ContainsRune("\"\\<>&", c)
	}
	return set
}()

// appendString is json.Marshal for strings, faster for the plain ones.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if !plain[s[i]] {
			quoted, _ := json.Marshal(s) // strings always encode
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
