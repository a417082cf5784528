package drivetest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzParseCall: whatever a batch's part holds, it becomes a request the server can route, or an error.
func FuzzParseCall(f *testing.F) {
	for _, seed := range []string{
		"GET /drive/v3/files/x?fields=name HTTP/1.1\nHost: a\n\n", "POST http://a/b\r\nContent-Type: application/json\r\n\r\n{}\r\n",
		"DELETE /x HTTP/1.1", "\n\n", "get /%zz\n\n", "X \x00 /\n:\n\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := parseCall(raw)
		if err != nil {
			return
		}
		require.True(t, strings.HasPrefix(r.URL.Path, "/"))
		require.NotNil(t, r.Body)
		inherit(r, &http.Request{Header: http.Header{"Authorization": {"Bearer x"}}, URL: r.URL})
		_ = loggedOp(r)
		_, _ = overridden(r)
	})
}
