package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

// FuzzShow: whatever a text holds, what is printed of it is printable, and JSON of it says the same.
func FuzzShow(f *testing.F) {
	for _, s := range []string{"", "plain", "x\x1b[2J", "\u202egnp\u200b\u009b", "a\nb\tc\r\x00", "\xff\xfe", "日本 ünï \U0001F600\U000E0001", `"\u001b`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		require.False(t, strings.ContainsFunc(printable(s), func(r rune) bool { return !unicode.IsPrint(r) }), "%q", printable(s))
		var out bytes.Buffer
		a := &app{out: &out}
		require.NoError(t, a.printJSON(map[string]string{"s": s}, ""))
		text, ok := strings.CutSuffix(out.String(), "\n")
		require.True(t, ok)
		require.False(t, strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }), "%q", text)
		var back map[string]string
		require.NoError(t, json.Unmarshal([]byte(text), &back))
		require.Equal(t, string([]rune(s)), back["s"], "bytes that are no text are lost, nothing else")
	})
}
