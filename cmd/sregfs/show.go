package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sirupsen/logrus"

	"sregfs/drive"
	"sregfs/index"
)

// displayURI is the image's name as the registry stores it: the uri property,
// else the name we know it by.
func displayURI(img index.Image) string {
	return printable(cmp.Or(img.Properties["uri"], img.String()))
}

// imageFields are the fields of the Drive file that a search shows.
func imageFields(img index.Image) map[string]string {
	fields := map[string]string{"id": img.File, "name": img.Name}
	if img.Space != "" {
		fields["owner"] = img.Space
	}
	maps.Copy(fields, img.Properties)
	maps.Copy(fields, img.Labels)
	return fields
}

// printable keeps text that strangers wrote from steering the terminal, or from
// looking like other text: control characters, marks that turn the direction
// of writing, blanks that do not show.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, s)
}

// printJSON prints v as one line, or indented. What printable would replace is
// escaped: it says the same to programs and nothing to a terminal.
func (a *app) printJSON(v any, indent string) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetIndent("", indent)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	out := text.Bytes()
	if bytes.ContainsFunc(out, escaped) {
		out = nil
		for _, r := range text.String() { // outside of strings, which hold no newline, it is plain
			if !escaped(r) {
				out = utf8.AppendRune(out, r)
				continue
			}
			for _, unit := range utf16.Encode([]rune{r}) {
				out = fmt.Appendf(out, "\\u%04x", unit)
			}
		}
	}
	_, err := a.out.Write(out)
	return err
}

func escaped(r rune) bool { return !unicode.IsPrint(r) && r != '\n' }

// say prints what people like to see and scripts do not.
func (a *app) say(format string, args ...any) {
	if !a.set.Quiet && !a.set.JSON {
		fmt.Fprintln(a.out, printable(fmt.Sprintf(format, args...)))
	}
}

// plainLog is the log for people: what it quotes cannot steer their terminal. It
// looks as the registry tool's, or with dates for what runs for long.
type plainLog struct {
	logrus.TextFormatter
	dated bool
}

// Format implements logrus.Formatter.
func (f *plainLog) Format(e *logrus.Entry) ([]byte, error) {
	e.Message = printable(e.Message)
	if f.dated {
		return f.TextFormatter.Format(e)
	}
	var line strings.Builder
	if e.Level != logrus.InfoLevel {
		line.WriteString(strings.ToUpper(e.Level.String()) + " ")
	}
	line.WriteString(e.Message)
	for _, key := range slices.Sorted(maps.Keys(e.Data)) {
		fmt.Fprintf(&line, " %s=%s", key, printable(fmt.Sprint(e.Data[key])))
	}
	return []byte(line.String() + "\n"), nil
}

// where is the image's place on this machine, else its URL.
func (a *app) where(reg registry, img index.Image) string {
	if c, ok := a.copyOf(img); ok {
		return c.path
	}
	return cmp.Or(reg.Path(img), drive.ContentURL(a.set.URL, img.File))
}
