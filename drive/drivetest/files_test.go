package drivetest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCreate(t *testing.T) {
	var clock virtualClock
	s := NewServer(t, Options{Now: clock.now})
	c := newClient(t, s, "")

	got := c.do("POST", "/drive/v3/files?fields=*", `{}`)
	root := c.get("root")
	require.Equal(t, "Untitled", got["name"])
	require.Equal(t, "application/octet-stream", got["mimeType"])
	require.Equal(t, []any{root["id"]}, got["parents"])
	require.Equal(t, "0", got["size"], "a blob of no bytes")
	require.Equal(t, "d41d8cd98f00b204e9800998ecf8427e", got["md5Checksum"])
	require.Equal(t, "2026-03-01T12:00:00.000Z", got["createdTime"])
	require.Regexp(t, `^1[0-9A-Za-z_-]{32}$`, got["id"])
	require.Equal(t, "My Drive", root["name"])
	require.NotContains(t, root, "parents")

	folder := c.do("POST", "/drive/v3/files?fields=*", `{"name":"f","mimeType":"application/vnd.google-apps.folder","createdTime":"2020-02-03T04:05:06.789+01:00","modifiedTime":"2021-02-03T04:05:06Z"}`)
	require.NotContains(t, folder, "size")
	require.NotContains(t, folder, "headRevisionId")
	require.Equal(t, "2020-02-03T03:05:06.789Z", folder["createdTime"])
	require.Equal(t, "2021-02-03T04:05:06.000Z", folder["modifiedTime"])

	in := `"parents":["` + folder["id"].(string) + `"]`
	for range 2 { // names are not unique, and nearly anything is one
		c.do("POST", "/drive/v3/files", `{"name":"a/b:c@d/.. \u0007 <&>",`+in+`}`)
	}
	files := c.do("GET", "/drive/v3/files?q="+url.QueryEscape("'"+folder["id"].(string)+"' in parents"), "")["files"].([]any)
	require.Len(t, files, 2)
	require.Equal(t, "a/b:c@d/.. \u0007 <&>", files[0].(map[string]any)["name"])

	short := c.do("POST", "/drive/v3/files?fields=*", `{"mimeType":"application/vnd.google-apps.shortcut","shortcutDetails":{"targetId":"`+folder["id"].(string)+`"}}`)
	require.Equal(t, map[string]any{"targetId": folder["id"], "targetMimeType": folderType}, short["shortcutDetails"])
	require.NotContains(t, short, "size")

	file := got["id"].(string)
	for _, test := range []struct {
		body, reason string
		status       int
	}{
		{`{"parents":["nothing"]}`, "notFound", 404},
		{`{"parents":["` + file + `"]}`, "parentNotAFolder", 403},
		{`{"parents":["root","` + folder["id"].(string) + `"]}`, "cannotAddParent", 403},
		{`{"parents":"root"}`, "invalid", 400},
		{`{"name":5}`, "invalid", 400},
		{`{"properties":{"a":5}}`, "invalid", 400},
		{`{"modifiedTime":"yesterday"}`, "invalid", 400},
		{`{"size":"5"}`, "fieldNotWritable", 403},
		{`{"headRevisionId":"x"}`, "fieldNotWritable", 403},
		{`{"mimeType":"application/vnd.google-apps.shortcut"}`, "required", 400},
		{`[]`, "parseError", 400},
		{`{"name":"x"`, "parseError", 400},
	} {
		t.Run(test.body, func(t *testing.T) { c.fails(test.status, test.reason, "POST", "/drive/v3/files", test.body) })
	}
	c.do("POST", "/drive/v3/files", `{"kind":"drive#file","unknownMember":1}`)
	c.fails(404, "notFound", "GET", "/drive/v3/nothing", "")
	c.fails(404, "notFound", "PUT", "/drive/v3/files/"+file, "")
	c.fails(400, "invalid", "GET", "/drive/v3/files/"+file+"?acknowledgeAbuse=true", "")
}

func TestUpdate(t *testing.T) {
	var clock virtualClock
	s := NewServer(t, Options{Now: clock.now})
	c := newClient(t, s, "")
	id := c.put("a.sif", []byte("abc"), "properties", map[string]string{"keep": "1", "gone": "2"}, "appProperties", map[string]string{"mine": "x"})
	before := c.get(id)
	clock.pass(time.Minute)

	got := c.do("PATCH", "/drive/v3/files/"+id+"?fields=*", `{"properties":{"gone":null,"tag":"x","absent":null}}`)
	require.Equal(t, map[string]any{"keep": "1", "tag": "x"}, got["properties"], "a merge patch")
	require.Equal(t, "2", got["version"])
	require.Equal(t, before["headRevisionId"], got["headRevisionId"])
	require.Equal(t, before["md5Checksum"], got["md5Checksum"])
	require.Equal(t, "2026-03-01T12:01:00.000Z", got["modifiedTime"])
	got = c.do("PATCH", "/drive/v3/files/"+id+"?fields=*", `{"properties":{}}`)
	require.Equal(t, map[string]any{"keep": "1", "tag": "x"}, got["properties"])
	require.Equal(t, "3", got["version"], "every write counts")
	got = c.do("PATCH", "/drive/v3/files/"+id, `{"name":"b.sif","description":"d","mimeType":"text/plain"}`)
	require.Equal(t, map[string]any{"kind": "drive#file", "id": id, "name": "b.sif", "mimeType": "application/octet-stream"}, got, "the type changes with the content only")
	require.Equal(t, "d", c.get(id)["description"])
	require.NotContains(t, c.do("PATCH", "/drive/v3/files/"+id+"?fields=*", `{"description":null}`), "description")
	require.Equal(t, "2026-05-06T07:08:09.100Z", c.do("PATCH", "/drive/v3/files/"+id+"?fields=modifiedTime", `{"modifiedTime":"2026-05-06T07:08:09.1Z"}`)["modifiedTime"])

	// appProperties are the client's own: another client does not see them.
	require.Equal(t, map[string]any{"mine": "x"}, c.get(id)["appProperties"])
	direct, ok := s.User("").File(id)
	require.True(t, ok)
	require.Empty(t, direct.AppProperties)
	require.Equal(t, "b.sif", c.names("appProperties has {key='mine' and value='x'}"))

	for _, test := range []struct {
		body, reason string
		status       int
	}{
		{`{"parents":["root"]}`, "fieldNotWritable", 403},
		{`{"id":"x"}`, "fieldNotWritable", 403},
		{`{"createdTime":"2020-01-01T00:00:00Z"}`, "fieldNotWritable", 403},
		{`{"md5Checksum":"x"}`, "fieldNotWritable", 403},
		{`{"owners":[]}`, "fieldNotWritable", 403},
		{`{"trashed":"yes"}`, "invalid", 400},
	} {
		t.Run(test.body, func(t *testing.T) { c.fails(test.status, test.reason, "PATCH", "/drive/v3/files/"+id, test.body) })
	}
	e := c.fails(403, "fieldNotWritable", "PATCH", "/drive/v3/files/"+id, `{"parents":["root"]}`)
	require.Contains(t, e.Error.Message, "Use the addParents and removeParents parameters instead.")
	e = c.fails(404, "notFound", "PATCH", "/drive/v3/files/nothing", `{}`)
	require.Equal(t, "File not found: nothing.", e.Error.Message)
	require.Equal(t, "fileId", e.Error.Errors[0].Location)
}

func TestMove(t *testing.T) {
	s := NewServer(t, Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
	c, bob := newClient(t, s, ""), newClient(t, s, "bob@uni.edu")
	a, b := c.folder("a", ""), c.folder("b", "")
	inner := c.folder("inner", a)
	id := c.put("x", nil, "parents", []string{a})
	move := func(id, add, remove string) string {
		return "/drive/v3/files/" + id + "?fields=parents&addParents=" + add + "&removeParents=" + remove
	}
	require.Equal(t, []any{b}, c.do("PATCH", move(id, b, a), `{}`)["parents"])
	require.Equal(t, []any{c.get("root")["id"]}, c.do("PATCH", move(id, "root", b), ``)["parents"])
	require.Equal(t, []any{a}, c.do("PATCH", move(id, a, "root"), ``)["parents"])
	require.Equal(t, []any{c.get("root")["id"]}, c.do("PATCH", move(id, "", a), ``)["parents"], "nothing is nowhere")
	require.Equal(t, []any{a}, c.do("PATCH", move(id, a, ""), ``)["parents"], "an owner need not say from where")
	c.fails(403, "cannotAddParent", "PATCH", move(id, b+",root", ""), ``)
	for _, shared := range []string{id, a, b} {
		c.do("POST", "/drive/v3/files/"+shared+"/permissions", `{"type":"user","role":"writer","emailAddress":"bob@uni.edu"}`)
	}
	bob.fails(403, "cannotAddParent", "PATCH", move(id, b, ""), ``)
	require.Equal(t, []any{b}, bob.do("PATCH", move(id, b, a), ``)["parents"])
	require.Equal(t, []any{c.get("root")["id"]}, c.do("PATCH", move(id, "root", ""), ``)["parents"])
	c.fails(400, "badRequest", "PATCH", move(id, "root", ""), ``)
	c.fails(400, "badRequest", "PATCH", move(a, inner, "root"), ``)
	c.fails(400, "badRequest", "PATCH", move(a, a, "root"), ``)
	c.fails(404, "notFound", "PATCH", move(id, "nothing", "root"), ``)
	c.fails(403, "insufficientFilePermissions", "PATCH", move("root", a, ""), ``)
	require.Equal(t, "inner", c.names("'"+a+"' in parents"))
}

func TestFoldersCanBeTooDeep(t *testing.T) {
	c := newClient(t, NewServer(t, Options{}), "")
	at := ""
	for range 100 {
		at = c.folder("f", at)
	}
	c.fails(403, "myDriveHierarchyDepthLimitExceeded", "POST", "/drive/v3/files", `{"mimeType":"application/vnd.google-apps.folder","parents":["`+at+`"]}`)
	c.put("a file may", nil, "parents", []string{at})
}

func TestPropertyLimits(t *testing.T) {
	s := NewServer(t, Options{})
	c := newClient(t, s, "")
	id := c.put("x", nil)
	set := func(kind string, n int) string {
		props := map[string]string{}
		for i := range n {
			props[fmt.Sprintf("k%d", i)] = "v"
		}
		b, err := json.Marshal(map[string]any{kind: props})
		require.NoError(t, err)
		return string(b)
	}
	fits := `{"properties":{"clé":"` + strings.Repeat("é", 60) + `"}}`     // 4 + 120 bytes
	tooLong := `{"properties":{"clé":"` + strings.Repeat("é", 60) + `x"}}` // one more
	const path = "/drive/v3/files/"
	for _, test := range []struct{ name, method, path string }{
		{"create", "POST", "/drive/v3/files"}, {"update", "PATCH", path + id}, {"copy", "POST", path + id + "/copy"},
		{"session", "POST", "/upload/drive/v3/files?uploadType=resumable"},
		{"session of an update", "PATCH", "/upload/drive/v3/files/" + id + "?uploadType=resumable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before, files := c.get(id), len(s.User("").Files())
			e := c.fails(403, "propertyLengthLimitExceeded", test.method, test.path, tooLong)
			require.Equal(t, "Properties and app properties are limited to 124 bytes in UTF-8 encoding, counting both the key and the value.", e.Error.Message)
			require.Equal(t, "global", e.Error.Errors[0].Domain)
			c.fails(403, "propertyLengthLimitExceeded", test.method, test.path, strings.Replace(tooLong, "properties", "appProperties", 1))
			c.fails(403, "propertyCountLimitExceeded", test.method, test.path, set("properties", 31))
			c.fails(403, "propertyCountLimitExceeded", test.method, test.path, set("appProperties", 31))
			require.Equal(t, before, c.get(id))
			require.Len(t, s.User("").Files(), files)
		})
	}
	require.Equal(t, 200, c.send("POST", "/upload/drive/v3/files?uploadType=resumable", strings.NewReader(fits)).status)
	c.do("POST", "/drive/v3/files", fits)
	c.do("PATCH", path+id, set("properties", 30))
	c.do("PATCH", path+id, set("appProperties", 30))
	c.do("PATCH", path+id, `{"properties":{"k0":null,"other":"v"}}`)
	c.fails(403, "propertyCountLimitExceeded", "PATCH", path+id, `{"properties":{"one":"more"}}`)
}

func TestTrashAndDelete(t *testing.T) {
	s := NewServer(t, Options{})
	c := newClient(t, s, "")
	a := c.folder("a", "")
	b := c.folder("b", a)
	x := c.put("x", []byte("12345"), "parents", []string{b})
	y := c.put("y", nil)

	c.do("PATCH", "/drive/v3/files/"+a, `{"trashed":true}`)
	got := c.get(x)
	require.Equal(t, true, got["trashed"])
	require.Equal(t, false, got["explicitlyTrashed"])
	require.Equal(t, true, c.get(a)["explicitlyTrashed"])
	require.Contains(t, c.get(a), "trashedTime")
	require.Equal(t, "y", c.names("trashed=false"))
	require.Equal(t, "a b x", c.names("trashed=true"))
	require.Equal(t, "12345", string(c.send("GET", "/drive/v3/files/"+x+"?alt=media", nil).body))
	c.do("PATCH", "/drive/v3/files/"+a, `{"trashed":false}`)
	require.Equal(t, false, c.get(x)["trashed"])
	require.NotContains(t, c.get(a), "trashedTime")

	c.do("PATCH", "/drive/v3/files/"+y, `{"trashed":true}`)
	require.Equal(t, 204, c.send("DELETE", "/drive/v3/files/trash", nil).status)
	c.fails(404, "notFound", "GET", "/drive/v3/files/"+y, "")
	r := c.send("DELETE", "/drive/v3/files/"+a, nil)
	require.Equal(t, 204, r.status)
	require.Empty(t, r.body)
	for _, id := range []string{a, b, x} {
		c.fails(404, "notFound", "GET", "/drive/v3/files/"+id, "")
	}
	c.fails(404, "notFound", "DELETE", "/drive/v3/files/"+a, "")
	c.fails(403, "insufficientFilePermissions", "DELETE", "/drive/v3/files/root", "")
	c.fails(403, "insufficientFilePermissions", "PATCH", "/drive/v3/files/root", `{"trashed":true}`)
	require.Equal(t, "0", c.do("GET", "/drive/v3/about?fields=storageQuota", "")["storageQuota"].(map[string]any)["usage"])
	require.Empty(t, s.store.contents.(*memContents).all)
}

func TestCopy(t *testing.T) {
	s := NewServer(t, Options{})
	ann, bob := newClient(t, s, "ann@uni.edu"), newClient(t, s, "bob@uni.edu")
	reg := ann.folder("reg", "")
	id := ann.put("a.sif", []byte("abc"), "parents", []string{reg}, "description", "d", "properties", map[string]string{"a": "1", "b": "2"})
	ann.do("POST", "/drive/v3/files/"+id+"/permissions", `{"type":"user","role":"reader","emailAddress":"bob@uni.edu"}`)

	got := ann.do("POST", "/drive/v3/files/"+id+"/copy?fields=*", `{"properties":{"b":null,"c":"3"}}`)
	was := ann.get(id)
	require.NotEqual(t, id, got["id"])
	require.Equal(t, "a.sif", got["name"])
	require.Equal(t, []any{reg}, got["parents"])
	require.Equal(t, map[string]any{"a": "1", "c": "3"}, got["properties"])
	require.Equal(t, was["md5Checksum"], got["md5Checksum"])
	require.Equal(t, was["description"], got["description"])
	require.NotEqual(t, was["headRevisionId"], got["headRevisionId"])
	require.Equal(t, "1", got["version"])
	require.Len(t, got["permissions"], 1, "sharing is not copied")

	// A sharee's copy is his own, in his drive: he can not write to the folder of the original.
	got = bob.do("POST", "/drive/v3/files/"+id+"/copy?fields=*", `{"name":"mine"}`)
	require.Equal(t, true, got["ownedByMe"])
	require.Equal(t, []any{bob.get("root")["id"]}, got["parents"])
	require.NoError(t, s.User("").Delete(id))
	require.Equal(t, "abc", string(bob.send("GET", "/drive/v3/files/"+got["id"].(string)+"?alt=media", nil).body))

	ann.fails(403, "cannotCopyFile", "POST", "/drive/v3/files/"+reg+"/copy", `{}`)
	ann.fails(404, "notFound", "POST", "/drive/v3/files/"+got["id"].(string)+"/copy", `{}`)
	bob.fails(404, "notFound", "POST", "/drive/v3/files/"+got["id"].(string)+"/copy", `{"parents":["`+reg+`"]}`)
}

func TestThumbnails(t *testing.T) {
	c := newClient(t, NewServer(t, Options{}), "")
	picture := func(width int) []byte {
		var b bytes.Buffer
		require.NoError(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, width, 100))))
		return b.Bytes()
	}
	hint := func(b []byte, mimeType string) string {
		return `{"contentHints":{"thumbnail":{"image":"` + base64.URLEncoding.EncodeToString(b) + `","mimeType":"` + mimeType + `"}}}`
	}
	id := c.put("a.sif", []byte("abc"))
	require.Equal(t, false, c.get(id)["hasThumbnail"])
	require.NotContains(t, c.get(id), "thumbnailLink")
	got := c.do("PATCH", "/drive/v3/files/"+id, hint(picture(220), "image/png"))
	require.Equal(t, "a.sif", got["name"])
	got = c.get(id)
	require.Equal(t, true, got["hasThumbnail"])
	require.NotContains(t, got, "contentHints")
	r := c.send("GET", got["thumbnailLink"].(string), nil)
	require.Equal(t, 200, r.status)
	require.Equal(t, picture(220), r.body)
	require.Equal(t, "image/png", r.header.Get("Content-Type"))
	require.Equal(t, 401, c.send("GET", got["thumbnailLink"].(string), nil, "Authorization", "").status)

	c.do("PATCH", "/drive/v3/files/"+id, `{"name":"b.sif"}`)
	require.Equal(t, true, c.get(id)["hasThumbnail"], "metadata leaves it")
	require.Equal(t, 200, c.send("PATCH", "/upload/drive/v3/files/"+id+"?uploadType=media", strings.NewReader("new")).status)
	require.Equal(t, false, c.get(id)["hasThumbnail"], "content drops it")

	u := c.begin(hint(picture(766), "image/png"))
	got = c.wantsFile(c.chunk(u, []byte("x"), ""), []byte("x"))
	got = c.get(got["id"].(string))
	require.Equal(t, true, got["hasThumbnail"], "it travels with the session")
	require.Equal(t, picture(766), c.send("GET", got["thumbnailLink"].(string), nil).body)
	got = c.do("POST", "/drive/v3/files/"+got["id"].(string)+"/copy?fields=*", `{}`)
	require.Equal(t, true, got["hasThumbnail"])

	for name, body := range map[string]string{
		"too narrow":      hint(picture(219), "image/png"),
		"no picture":      hint([]byte("hello"), "image/png"),
		"other type":      hint(picture(220), "image/gif"),
		"not url-safe":    `{"contentHints":{"thumbnail":{"image":"+/+/","mimeType":"image/png"}}}`,
		"too large":       hint(append(picture(220), make([]byte, 2<<20)...), "image/png"),
		"of another form": `{"contentHints":[]}`,
	} {
		t.Run(name, func(t *testing.T) { c.fails(400, "invalid", "PATCH", "/drive/v3/files/"+id, body) })
	}
}

func TestQuota(t *testing.T) {
	s := NewServer(t, Options{})
	c := newClient(t, s, "")
	id := c.put("a", noise(600))
	s.User("").SetQuota(1000)
	r := c.send("POST", "/upload/drive/v3/files?uploadType=media", bytes.NewReader(noise(401)))
	e := c.isError(r, 403, "storageQuotaExceeded")
	require.Equal(t, "The user's Drive storage quota has been exceeded.", e.Error.Message)
	r = c.send("POST", "/upload/drive/v3/files?uploadType=resumable", nil, "X-Upload-Content-Length", "401")
	c.isError(r, 403, "storageQuotaExceeded")
	u := c.begin(`{}`) // of unknown length: it shows at the end
	c.isError(c.chunk(u, noise(401), ""), 403, "storageQuotaExceeded")
	c.isError(c.chunk(u, nil, "bytes */*"), 410, "backendError")
	c.fails(403, "storageQuotaExceeded", "POST", "/drive/v3/files/"+id+"/copy", `{}`)
	r = c.send("PATCH", "/upload/drive/v3/files/"+id+"?uploadType=resumable", nil, "X-Upload-Content-Length", "1000")
	require.Equal(t, 200, r.status, "new content takes the place of the old: %s", r.body)
	c.wantsFile(c.chunk(c.begin(`{}`), noise(400), ""), noise(400))
	c.folder("folders take no room", "")
	require.Len(t, s.store.contents.(*memContents).all, 3, "what was refused is not kept: %d files and a session", 2)
}

func TestServiceAccountsStoreNothing(t *testing.T) {
	s := NewServer(t, Options{})
	acc := s.store.serviceAccount("robot@project.iam.gserviceaccount.com")
	c := newClient(t, s, acc.email)
	r := c.send("POST", "/upload/drive/v3/files?uploadType=resumable", nil)
	e := c.isError(r, 403, "storageQuotaExceeded")
	require.Contains(t, e.Error.Message, "Service Accounts do not have storage quota.")
	c.fails(403, "storageQuotaExceeded", "POST", "/drive/v3/files", `{}`)
	ann := newClient(t, s, "")
	id := ann.put("a", []byte("abc"))
	ann.do("POST", "/drive/v3/files/"+id+"/permissions", `{"type":"user","role":"writer","emailAddress":"`+acc.email+`"}`)
	c.fails(403, "storageQuotaExceeded", "POST", "/drive/v3/files/"+id+"/copy", `{}`)
	require.Equal(t, "abc", string(c.send("GET", "/drive/v3/files/"+id+"?alt=media", nil).body))
}
