package drivetest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// api answers the calls of the Drive API for accounts that have signed in: see withAccount.
type api struct {
	store *store
}

func newAPI(s *store) *api { return &api{store: s} }

// call is one request being answered. A handler leaves its reply in body, encoded while the store is
// locked and written to the network after; or it writes itself, and sets done.
type call struct {
	w     http.ResponseWriter
	r     *http.Request
	acc   *account
	query url.Values
	vars  []string // what stands for the {} of the path
	mask  mask     // parsed fields parameter, or the method's default
	body  []byte
	done  bool
}

// route is one method of the API. The discovery document is made from these.
type route struct {
	op       string // resource and method
	verb     string
	path     string // {} stands for one segment
	reply    schema // what fields may select; nil = the reply is empty or no JSON object
	standard mask   // what is replied without fields
	params   string // query parameters, for the discovery document
	handle   func(a *api, c *call) error
}

var (
	fileListSchema   = schema{"kind": nil, "incompleteSearch": nil, "nextPageToken": nil, "files": fileSchema}
	changesSchema    = schema{"kind": nil, "nextPageToken": nil, "newStartPageToken": nil, "changes": changeSchema}
	changeSchema     = with(names("kind", "removed", "fileId", "time", "type", "changeType", "driveId", "teamDriveId"), schema{"file": fileSchema, "drive": {"*": nil}, "teamDrive": {"*": nil}})
	startTokenSchema = names("kind", "startPageToken")
	permListSchema   = schema{"kind": nil, "nextPageToken": nil, "permissions": permissionSchema}
	idsSchema        = names("kind", "space", "ids")
	drivesSchema     = schema{"kind": nil, "nextPageToken": nil, "drives": {"*": nil}}

	fileListDefault = mask{"kind": nil, "incompleteSearch": nil, "nextPageToken": nil, "files": fileDefault}
	changesDefault  = mustMask("kind,nextPageToken,newStartPageToken,changes(kind,removed,fileId,time,type,changeType,file(kind,id,name,mimeType))", changesSchema)
	permDefault     = mustMask("kind,id,type,role", permissionSchema)
	permListDefault = mask{"kind": nil, "nextPageToken": nil, "permissions": permDefault}
)

// routes lists literal paths before those whose {} would take them.
var routes = []route{
	{"files.list", "GET", "/drive/v3/files", fileListSchema, fileListDefault, "corpora driveId includeItemsFromAllDrives:b orderBy pageSize:i pageToken q spaces supportsAllDrives:b", (*api).filesList},
	{"files.create", "POST", "/drive/v3/files", fileSchema, fileDefault, "enforceSingleParent:b ignoreDefaultVisibility:b keepRevisionForever:b ocrLanguage supportsAllDrives:b useContentAsIndexableText:b", (*api).filesCreate},
	{"files.generateIds", "GET", "/drive/v3/files/generateIds", idsSchema, nil, "count:i space type", (*api).filesGenerateIDs},
	{"files.emptyTrash", "DELETE", "/drive/v3/files/trash", nil, nil, "driveId enforceSingleParent:b", (*api).filesEmptyTrash},
	{"files.get", "GET", "/drive/v3/files/{}", fileSchema, fileDefault, "acknowledgeAbuse:b supportsAllDrives:b", (*api).filesGet},
	{"files.update", "PATCH", "/drive/v3/files/{}", fileSchema, fileDefault, "addParents enforceSingleParent:b keepRevisionForever:b ocrLanguage removeParents supportsAllDrives:b useContentAsIndexableText:b", (*api).filesUpdate},
	{"files.delete", "DELETE", "/drive/v3/files/{}", nil, nil, "enforceSingleParent:b supportsAllDrives:b", (*api).filesDelete},
	{"files.copy", "POST", "/drive/v3/files/{}/copy", fileSchema, fileDefault, "enforceSingleParent:b ignoreDefaultVisibility:b keepRevisionForever:b ocrLanguage supportsAllDrives:b", (*api).filesCopy},
	{"permissions.list", "GET", "/drive/v3/files/{}/permissions", permListSchema, permListDefault, "pageSize:i pageToken supportsAllDrives:b useDomainAdminAccess:b", (*api).permissionsList},
	{"permissions.create", "POST", "/drive/v3/files/{}/permissions", permissionSchema, permDefault, "emailMessage enforceSingleParent:b moveToNewOwnersRoot:b sendNotificationEmail:b supportsAllDrives:b transferOwnership:b useDomainAdminAccess:b", (*api).permissionsCreate},
	{"permissions.get", "GET", "/drive/v3/files/{}/permissions/{}", permissionSchema, permDefault, "supportsAllDrives:b useDomainAdminAccess:b", (*api).permissionsGet},
	{"permissions.update", "PATCH", "/drive/v3/files/{}/permissions/{}", permissionSchema, permDefault, "removeExpiration:b supportsAllDrives:b transferOwnership:b useDomainAdminAccess:b", (*api).permissionsUpdate},
	{"permissions.delete", "DELETE", "/drive/v3/files/{}/permissions/{}", nil, nil, "supportsAllDrives:b useDomainAdminAccess:b", (*api).permissionsDelete},
	{"revisions.list", "GET", "/drive/v3/files/{}/revisions", revisionListSchema, revisionListDefault, "pageSize:i pageToken", (*api).revisionsList},
	{"revisions.get", "GET", "/drive/v3/files/{}/revisions/{}", revisionSchema, revisionDefault, "acknowledgeAbuse:b", (*api).revisionsGet},
	{"changes.getStartPageToken", "GET", "/drive/v3/changes/startPageToken", startTokenSchema, nil, "driveId supportsAllDrives:b", (*api).changesStartPageToken},
	{"changes.list", "GET", "/drive/v3/changes", changesSchema, changesDefault, "driveId includeCorpusRemovals:b includeItemsFromAllDrives:b includeRemoved:b pageSize:i pageToken:r restrictToMyDrive:b spaces supportsAllDrives:b", (*api).changesList},
	{"about.get", "GET", "/drive/v3/about", aboutSchema, nil, "", (*api).aboutGet},
	{"drives.list", "GET", "/drive/v3/drives", drivesSchema, nil, "pageSize:i pageToken q useDomainAdminAccess:b", (*api).drivesList},
	{"upload.create", "POST", "/upload/drive/v3/files", fileSchema, fileDefault, "", (*api).uploadNew},
	{"upload.update", "PATCH", "/upload/drive/v3/files/{}", fileSchema, fileDefault, "", (*api).uploadNew},
	{"thumbnail", "GET", "/drive-storage/{}", nil, nil, "", (*api).thumbnailGet},
}

// discovery is apart from the routes it describes.
var discovery = route{"discovery", "GET", "/discovery/v1/apis/drive/v3/rest", nil, nil, "", (*api).discoveryGet}

// downloadPrefix is before the path of content that a batch has been asked for.
const downloadPrefix = "/download"

// match finds the route of a request, nil if there is none, and what stands for the {} of its path.
func match(r *http.Request) (found *route, vars []string) {
	verb := r.Method
	if verb == http.MethodHead {
		verb = http.MethodGet
	}
	if verb == discovery.verb && r.URL.Path == discovery.path {
		return &discovery, nil
	}
	path := r.URL.EscapedPath()
	if strings.HasPrefix(path, "/resumable/upload/") {
		path = strings.TrimPrefix(path, "/resumable")
	}
	segments := strings.Split(strings.TrimPrefix(path, downloadPrefix), "/")
next:
	for i := range routes {
		want := strings.Split(routes[i].path, "/")
		if routes[i].verb != verb || len(want) != len(segments) {
			continue
		}
		vars := []string{}
		for j, w := range want {
			switch {
			case w == "{}" && segments[j] != "":
				vars = append(vars, unescape(segments[j]))
			case w != segments[j]:
				continue next
			}
		}
		return &routes[i], vars
	}
	return nil, nil
}

// isSession tells whether r speaks to an upload session that is open already.
func isSession(r *http.Request) bool {
	path := strings.TrimPrefix(r.URL.Path, "/resumable")
	return strings.HasPrefix(path, "/upload/drive/v3/files") && r.URL.Query().Has("upload_id")
}

// opName names what a request does, for logs and quotas: resource and method as in Google's
// documentation, and media, upload.media, upload.multipart, upload.begin, upload.chunk, upload.query,
// upload.cancel for what moves content. "" is none of them.
func opName(r *http.Request) string {
	if isSession(r) {
		switch {
		case r.Method == http.MethodDelete:
			return "upload.cancel"
		case strings.HasPrefix(r.Header.Get("Content-Range"), "bytes */"):
			return "upload.query"
		}
		return "upload.chunk"
	}
	found, _ := match(r)
	if found == nil {
		return ""
	}
	query := r.URL.Query()
	switch found.op {
	case "files.get", "revisions.get":
		if query.Get("alt") == "media" {
			return "media"
		}
	case "upload.create", "upload.update":
		if query.Get("uploadType") == "resumable" {
			return "upload.begin"
		}
		return "upload." + query.Get("uploadType")
	}
	return found.op
}

// ServeHTTP answers one call. The account is in the request's context; the discovery document and open
// upload sessions do without.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{w: w, r: r, acc: accountFrom(r.Context()), query: r.URL.Query()}
	if err := a.serve(c); err != nil {
		drain(r.Body) // a connection closed under a client that still sends loses the reply
		retryAfter(w, err, a.store.quirks.RetryAfter)
		writeError(w, err)
		return
	}
	if !c.done {
		c.write()
	}
}

// maxDrain bounds how much of a refused body is read.
const maxDrain = 32 << 20

func drain(body io.Reader) {
	_, _ = io.CopyN(io.Discard, body, maxDrain)
}

func (a *api) serve(c *call) error {
	if isSession(c.r) {
		return a.uploadSession(c)
	}
	found, vars := match(c.r)
	if found == nil {
		return errNoRoute(c.r.URL.Path)
	}
	if c.acc == nil && found.op != "discovery" {
		return &apiError{
			Status: http.StatusUnauthorized, Reason: "required", Message: "Login Required.",
			LocationType: "header", Location: "Authorization",
		}
	}
	c.vars, c.mask = vars, found.standard
	if fields := c.query.Get("fields"); fields != "" && found.reply != nil && found.op != "about.get" {
		m, err := parseMask(fields, found.reply)
		if err != nil {
			return err
		}
		c.mask = m
	}
	return found.handle(a, c)
}

// reply encodes value, of what the call's fields select. A caller that passes a file holds the store's lock.
func (c *call) reply(value any) {
	c.body = appendJSON(nil, value, c.mask)
}

// write sends what reply encoded; nothing encoded is 204.
func (c *call) write() {
	h := c.w.Header()
	h.Set("Cache-Control", "no-cache, no-store, max-age=0, must-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Vary", "Origin, X-Origin")
	if c.body == nil {
		c.w.WriteHeader(http.StatusNoContent)
		return
	}
	if c.query.Get("prettyPrint") != "false" {
		var b bytes.Buffer
		if json.Indent(&b, c.body, "", " ") == nil {
			c.body = append(b.Bytes(), '\n')
		}
	}
	h.Set("Content-Type", "application/json; charset=UTF-8")
	h.Set("Content-Length", strconv.Itoa(len(c.body)))
	_, _ = c.w.Write(c.body)
}

// view is file f as this call shows it. The caller holds the store's lock.
func (c *call) view(s *store, f *file) *fileView {
	return &fileView{s: s, f: f, acc: c.acc, root: rootURL(c.r), role: s.roleOf(c.acc.email, f)}
}

// rootURL is the address of the server as the client knows it, also behind a proxy that ends TLS.
func rootURL(r *http.Request) string {
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// pageSize reads pageSize: usual if absent, most if larger, an error if not positive.
func (c *call) pageSize(usual, most int) (int, error) {
	value := c.query.Get("pageSize")
	if value == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		return 0, errParameter("pageSize", "Invalid value '"+value+"'. Values must be within the range: [1, "+strconv.Itoa(most)+"]")
	}
	return min(n, most), nil
}

// maxBody bounds JSON bodies; thumbnails, of 2 MB in base64, travel in them.
const maxBody = 8 << 20

// jsonBody reads the request's JSON object; an empty body is an empty object.
func (c *call) jsonBody() (map[string]json.RawMessage, error) {
	return parseBody(c.r.Body)
}

func parseBody(r io.Reader) (map[string]json.RawMessage, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err != nil {
		return nil, errBadRequest("Bad Request")
	}
	body := map[string]json.RawMessage{}
	if len(text) > maxBody {
		return nil, &apiError{Status: http.StatusRequestEntityTooLarge, Reason: "uploadTooLarge", Message: "Request Entity Too Large"}
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return body, nil
	}
	if err := json.Unmarshal(text, &body); err != nil {
		return nil, &apiError{Status: http.StatusBadRequest, Reason: "parseError"}
	}
	if body == nil { // "null" is what Google's Go library sends for no metadata
		body = map[string]json.RawMessage{}
	}
	return body, nil
}
