package drivetest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

const (
	maxBatchCalls = 100
	maxBatchBody  = 16 << 20 // no media in batches: metadata of 100 calls fits well
	maxBatchURL   = 8000
)

// isBatch says whether path takes batches: Drive's own, or the global one of clients without a newer discovery document.
func isBatch(path string) bool { return path == "/batch/drive/v3" || path == "/batch" }

// serveBatch carries out the calls of a multipart/mixed body one after the other and answers them in one
// body, in their order. A call that fails fails alone.
func (s *Server) serveBatch(w http.ResponseWriter, r *http.Request) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Method != http.MethodPost:
		writeError(w, errNoRoute(r.URL.Path))
		return
	case err != nil || kind != "multipart/mixed" || params["boundary"] == "":
		writeError(w, errBadRequest("Failed to parse batch request, error: Content-Type is not multipart/mixed with a boundary."))
		return
	}
	calls, err := batchCalls(multipart.NewReader(io.LimitReader(r.Body, maxBatchBody), params["boundary"]))
	if err != nil {
		writeError(w, errBadRequest("Failed to parse batch request, error: "+err.Error()))
		return
	}
	if len(calls) > maxBatchCalls {
		writeError(w, errBadRequest(fmt.Sprintf("The batch request contains too many calls: %d, the limit is %d.", len(calls), maxBatchCalls)))
		return
	}
	var body bytes.Buffer
	reply := multipart.NewWriter(&body)
	_ = reply.SetBoundary("batch_" + random(32))
	inner := s.inner()
	for _, call := range calls {
		header := textproto.MIMEHeader{"Content-Type": {"application/http"}}
		if call.id != "" {
			header.Set("Content-ID", responseID(call.id))
		}
		part, err := reply.CreatePart(header)
		if err != nil {
			break // a buffer takes everything
		}
		call.answer(part, inner, r)
	}
	_ = reply.Close()
	w.Header().Set("Content-Type", "multipart/mixed; boundary="+reply.Boundary())
	w.Header().Set("Cache-Control", "private, max-age=0")
	w.Header().Set("Content-Length", fmt.Sprint(body.Len()))
	_, _ = w.Write(body.Bytes())
}

// batchCall is one part of a batch; err is answered in place of carrying it out.
type batchCall struct {
	id      string // Content-ID, with its brackets
	request *http.Request
	err     error
}

// batchCalls splits a batch. An error is about the whole; a part that is no request has its own.
func batchCalls(parts *multipart.Reader) ([]batchCall, error) {
	var calls []batchCall
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) && len(calls) > 0 {
			return calls, nil
		}
		if err != nil {
			return nil, errors.New("the multipart body has no calls or is cut short")
		}
		raw, err := io.ReadAll(part)
		if err != nil {
			return nil, errors.New("a part is cut short")
		}
		call := batchCall{id: part.Header.Get("Content-ID")}
		if kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type")); kind != "application/http" {
			call.err = errBadRequest("A part of a batch must be application/http.")
		} else {
			call.request, call.err = parseCall(raw)
		}
		calls = append(calls, call)
	}
}

// parseCall reads a whole HTTP request as batch clients write it: lines may end in LF alone, the protocol
// and the Content-Length may be missing, the address may have a host or not.
func parseCall(raw []byte) (*http.Request, error) {
	in := textproto.NewReader(bufio.NewReader(bytes.NewReader(raw)))
	line, err := in.ReadLine()
	for err == nil && strings.TrimSpace(line) == "" {
		line, err = in.ReadLine()
	}
	words := strings.Fields(line)
	if err != nil || len(words) < 2 || len(words) > 3 || len(words[1]) > maxBatchURL {
		return nil, errBadRequest("Failed to parse batch request, error: Failed in parsing the request line of a part.")
	}
	address, err := url.Parse(words[1])
	if err != nil || !strings.HasPrefix(address.Path, "/") {
		return nil, errBadRequest("Failed to parse batch request, error: Failed in parsing the address of a part.")
	}
	header, err := in.ReadMIMEHeader()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errBadRequest("Failed to parse batch request, error: Failed in parsing the headers of a part.")
	}
	body, err := io.ReadAll(in.R)
	if err != nil {
		return nil, err
	}
	r := &http.Request{
		Method: strings.ToUpper(words[0]), URL: &url.URL{Path: address.Path, RawPath: address.RawPath, RawQuery: address.RawQuery},
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header(header), Body: http.NoBody,
	}
	if body = bytes.TrimRight(body, "\r\n"); len(body) > 0 {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	return r, nil
}

// responseID is the Content-ID of the answer to the part with this id.
func responseID(id string) string {
	if inside, ok := strings.CutPrefix(id, "<"); ok {
		return "<response-" + inside
	}
	return "response-" + id
}

// answer carries the call out, as a part of outer, and writes the answer as an HTTP reply.
func (c *batchCall) answer(w io.Writer, inner http.Handler, outer *http.Request) {
	var rec recorder
	rec.header = http.Header{}
	r := c.request
	err := c.err
	if err == nil {
		r = r.WithContext(outer.Context())
		r.Host, r.RemoteAddr = outer.Host, outer.RemoteAddr
		inherit(r, outer)
		r, err = overridden(r)
	}
	switch {
	case err != nil:
		writeError(&rec, err)
	case strings.HasPrefix(r.URL.Path, "/batch"), strings.HasPrefix(r.URL.Path, "/upload/"):
		writeError(&rec, errBadRequest("Batches hold neither uploads nor batches."))
	case r.URL.Query().Get("alt") == "media": // not in here, but over there: as measured by clients of the service
		rec.Header().Set("Location", rootURL(outer)+downloadPrefix+r.URL.RequestURI())
		rec.WriteHeader(http.StatusFound)
	default:
		inner.ServeHTTP(&rec, r)
	}
	rec.WriteHeader(http.StatusOK)
	_, _ = fmt.Fprintf(w, "HTTP/1.1 %d %s\r\n", rec.status, http.StatusText(rec.status))
	rec.header.Set("Content-Length", fmt.Sprint(rec.body.Len()))
	_ = rec.header.Write(w)
	_, _ = io.WriteString(w, "\r\n")
	_, _ = w.Write(rec.body.Bytes())
}

// inherit gives a call the outer request's headers and query parameters it does not set itself, but for
// the headers about the outer body.
func inherit(r, outer *http.Request) {
	for key, values := range outer.Header {
		if !strings.HasPrefix(key, "Content-") && len(r.Header.Values(key)) == 0 {
			r.Header[key] = values
		}
	}
	query := r.URL.Query()
	for key, values := range outer.URL.Query() {
		if !query.Has(key) {
			r.URL.RawQuery = strings.Trim(r.URL.RawQuery+"&"+url.Values{key: values}.Encode(), "&")
		}
	}
}

// recorder keeps a reply in memory.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}
