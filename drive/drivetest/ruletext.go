package drivetest

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// parse applies one word of the text form.
func (r *Rule) parse(word string) error {
	key, value, hasValue := strings.Cut(word, "=")
	if name, isQuery := strings.CutPrefix(key, "?"); isQuery && hasValue {
		r.Query(name, value)
		return nil
	}
	if flag := r.flags()[key]; flag != nil {
		if hasValue {
			return errors.New("takes no value")
		}
		*flag = true
		return nil
	}
	if !hasValue {
		return errors.New("is neither an effect nor a query parameter with its value")
	}
	if set := settings[key]; set != nil {
		return set(r, value)
	}
	r.Query(key, value)
	return nil
}

// splitWords splits at blanks outside of double quotes, and undoes the quoting.
func splitWords(text string) ([]string, error) {
	var words []string
	for {
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
		if text == "" {
			return words, nil
		}
		var word strings.Builder
		for text != "" {
			if text[0] == '"' {
				prefix, err := strconv.QuotedPrefix(text)
				if err != nil {
					return nil, errors.New("a quote is not closed or holds an unknown escape")
				}
				plain, err := strconv.Unquote(prefix)
				if err != nil {
					return nil, err
				}
				word.WriteString(plain)
				text = text[len(prefix):]
				continue
			}
			end := strings.IndexFunc(text, func(c rune) bool { return c == '"' || unicode.IsSpace(c) })
			if end < 0 {
				end = len(text)
			}
			word.WriteString(text[:end])
			text = text[end:]
			if text != "" && text[0] != '"' {
				break
			}
		}
		words = append(words, word.String())
	}
}

// quoted is word as splitWords reads it back.
func quoted(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(c rune) bool { return c == '"' || unicode.IsSpace(c) || !unicode.IsPrint(c) }) {
		return word
	}
	return strconv.Quote(word)
}

func positive(p *int, v string) (err error) {
	if *p, err = strconv.Atoi(v); err == nil && *p < 1 {
		err = errors.New("want 1 or more")
	}
	return err
}

func fraction(p *float64, v string) (err error) {
	if *p, err = strconv.ParseFloat(v, 64); err == nil && (*p <= 0 || *p > 1 || math.IsNaN(*p)) {
		err = errors.New("want more than 0 and at most 1")
	}
	return err
}

func status(p *int, v string) (err error) {
	if *p, err = strconv.Atoi(v); err == nil && (*p < 200 || *p > 599) {
		err = errors.New("want 200 to 599")
	}
	return err
}

func duration(p *time.Duration, v string) (err error) {
	if *p, err = time.ParseDuration(v); err == nil && *p < 0 {
		err = errors.New("want a duration that is not negative")
	}
	return err
}

func bytesOf(p *int64, v string) (err error) {
	if *p, err = strconv.ParseInt(v, 10, 64); err == nil && *p < 0 {
		err = errors.New("want a number of bytes")
	}
	return err
}
