package drivetest

import (
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxOverrideBody bounds the form of an overridden GET; the service stops at far less.
const maxOverrideBody = 1 << 20

// overridden turns a POST with X-HTTP-Method-Override into the request it stands for. A GET that did not
// fit in an address carries its query as a form in the body.
func overridden(r *http.Request) (*http.Request, error) {
	method := strings.ToUpper(r.Header.Get("X-HTTP-Method-Override"))
	if r.Method != http.MethodPost || method == "" {
		return r, nil
	}
	r = r.Clone(r.Context())
	r.Header.Del("X-HTTP-Method-Override")
	r.Method = method
	if method != http.MethodGet || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return r, nil
	}
	form, err := io.ReadAll(io.LimitReader(r.Body, maxOverrideBody))
	if err != nil {
		return nil, errBadRequest("The form of an overridden GET did not arrive: " + err.Error())
	}
	if _, err := url.ParseQuery(string(form)); err != nil {
		return nil, errBadRequest("The form of an overridden GET is malformed: " + err.Error())
	}
	r.URL.RawQuery = strings.Trim(r.URL.RawQuery+"&"+string(form), "&")
	r.Body, r.ContentLength = http.NoBody, 0
	r.Header.Del("Content-Type")
	return r, nil
}
