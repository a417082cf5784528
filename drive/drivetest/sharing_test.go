package drivetest

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// share gives a role on a file and returns the permission's id.
func (c *client) share(file, email, role string) string {
	c.t.Helper()
	got := c.do("POST", "/drive/v3/files/"+file+"/permissions", `{"type":"user","role":"`+role+`","emailAddress":"`+email+`"}`)
	require.Equal(c.t, "drive#permission", got["kind"])
	return got["id"].(string)
}

func TestPermissions(t *testing.T) {
	s := NewServer(t, Options{})
	ann, bob := newClient(t, s, "ann@uni.edu"), newClient(t, s, "bob@uni.edu")
	id, other := ann.put("a.sif", []byte("abc")), ann.put("b.sif", nil)
	path := "/drive/v3/files/" + id + "/permissions"

	bob.fails(404, "notFound", "GET", "/drive/v3/files/"+id, "")
	got := ann.do("POST", path+"?fields=*&sendNotificationEmail=true&emailMessage=hello", `{"type":"user","role":"reader","emailAddress":"Bob@uni.edu"}`)
	require.Equal(t, "bob@uni.edu", got["emailAddress"])
	require.Equal(t, "Bob", got["displayName"])
	require.Equal(t, "reader", got["role"])
	pid := got["id"].(string)
	require.Regexp(t, `^[0-9]{20}$`, pid)
	about := bob.do("GET", "/drive/v3/about?fields=user", "")["user"].(map[string]any)
	require.Equal(t, pid, about["permissionId"], "the grantee's id is one everywhere")
	require.Equal(t, pid, ann.share(other, "bob@uni.edu", "reader"))
	require.Equal(t, pid, ann.share(id, "bob@uni.edu", "reader"), "again is no second permission")
	require.Len(t, ann.do("GET", path, "")["permissions"], 2)
	require.Equal(t, map[string]any{"kind": "drive#permission", "id": pid, "type": "user", "role": "reader"}, ann.do("GET", path+"/"+pid, ""))

	// What a reader sees, and may not do.
	seen := bob.get(id)
	require.Equal(t, false, seen["ownedByMe"])
	require.Equal(t, true, seen["shared"])
	require.Contains(t, seen, "sharedWithMeTime")
	require.Equal(t, "ann@uni.edu", seen["sharingUser"].(map[string]any)["emailAddress"])
	require.NotContains(t, seen, "parents", "the folder is not shared")
	require.NotContains(t, seen, "permissions")
	require.Equal(t, false, seen["capabilities"].(map[string]any)["canEdit"])
	require.Equal(t, true, seen["capabilities"].(map[string]any)["canDownload"])
	require.Equal(t, "abc", string(bob.send("GET", "/drive/v3/files/"+id+"?alt=media", nil).body))
	for _, test := range []struct{ method, path, body string }{
		{"PATCH", "/drive/v3/files/" + id, `{"name":"mine"}`},
		{"PATCH", "/drive/v3/files/" + id, `{"trashed":true}`},
		{"DELETE", "/drive/v3/files/" + id, ``},
		{"GET", path, ``},
		{"POST", path, `{"type":"anyone","role":"reader"}`},
		{"PATCH", path + "/" + pid, `{"role":"writer"}`},
		{"PATCH", "/upload/drive/v3/files/" + id + "?uploadType=resumable", `{}`},
		{"GET", "/drive/v3/files/" + id + "/revisions", ``},
	} {
		bob.fails(403, "insufficientFilePermissions", test.method, test.path, test.body)
	}
	bob.do("PATCH", "/drive/v3/files/"+id, `{"starred":true}`)
	require.Equal(t, true, bob.get(id)["starred"])
	require.Equal(t, false, ann.get(id)["starred"], "stars are each one's own")

	// A writer may change it, and still neither trash nor delete.
	require.Equal(t, "writer", ann.do("PATCH", path+"/"+pid, `{"role":"writer"}`)["role"])
	bob.do("PATCH", "/drive/v3/files/"+id, `{"name":"ours"}`)
	require.Equal(t, "bob@uni.edu", ann.get(id)["lastModifyingUser"].(map[string]any)["emailAddress"])
	bob.fails(403, "insufficientFilePermissions", "PATCH", "/drive/v3/files/"+id, `{"trashed":true}`)
	bob.fails(403, "insufficientFilePermissions", "DELETE", "/drive/v3/files/"+id, ``)
	bob.share(id, "carl@uni.edu", "reader")
	ann.do("PATCH", "/drive/v3/files/"+id, `{"writersCanShare":false}`)
	bob.fails(403, "insufficientFilePermissions", "POST", path, `{"type":"anyone","role":"reader"}`)
	ann.do("PATCH", "/drive/v3/files/"+id, `{"copyRequiresWriterPermission":true}`)
	carl := newClient(t, s, "carl@uni.edu")
	carl.fails(403, "cannotDownloadFile", "GET", "/drive/v3/files/"+id+"?alt=media", "")
	carl.fails(403, "cannotCopyFile", "POST", "/drive/v3/files/"+id+"/copy", "")

	// Taking it away; and giving it up.
	require.Equal(t, 204, carl.send("DELETE", path+"/"+granteeID("carl@uni.edu"), nil).status)
	carl.fails(404, "notFound", "GET", "/drive/v3/files/"+id, "")
	require.Equal(t, 204, ann.send("DELETE", path+"/"+pid, nil).status)
	bob.fails(404, "notFound", "GET", "/drive/v3/files/"+id+"?alt=media", "")
	ann.fails(404, "notFound", "DELETE", path+"/"+pid, "")
	ann.fails(404, "notFound", "GET", path+"/"+pid, "")
	ann.fails(403, "insufficientFilePermissions", "DELETE", path+"/"+granteeID("ann@uni.edu"), "")

	// A link for anyone opens the file; nobody finds it.
	got = ann.do("POST", path, `{"type":"anyone","role":"reader"}`)
	require.Equal(t, "anyoneWithLink", got["id"])
	require.Equal(t, "ours", carl.get(id)["name"])
	require.Empty(t, carl.names(""))
	require.Equal(t, "ours", ann.names("visibility='anyoneWithLink'"))
	ann.do("POST", path, `{"type":"domain","role":"commenter","domain":"uni.edu"}`)
	require.Equal(t, true, carl.get(id)["capabilities"].(map[string]any)["canComment"])
	require.Equal(t, false, newClient(t, s, "dora@else.org").get(id)["capabilities"].(map[string]any)["canComment"])
}

func TestSharingRefusals(t *testing.T) {
	s := NewServer(t, Options{})
	c := newClient(t, s, "")
	s.User("bob@uni.edu")
	id := c.put("a", nil)
	path := "/drive/v3/files/" + id + "/permissions"
	for _, test := range []struct {
		query, body, reason string
		status              int
	}{
		{"", `{}`, "required", 400},
		{"", `{"type":"user","role":"reader"}`, "required", 400},
		{"", `{"type":"user","emailAddress":"bob@uni.edu"}`, "required", 400},
		{"", `{"role":"reader","emailAddress":"bob@uni.edu"}`, "required", 400},
		{"", `{"type":"user","role":"king","emailAddress":"bob@uni.edu"}`, "invalid", 400},
		{"", `{"type":"user","role":"organizer","emailAddress":"bob@uni.edu"}`, "invalid", 400},
		{"", `{"type":"robot","role":"reader"}`, "invalid", 400},
		{"", `{"type":"user","role":"reader","emailAddress":"nonsense"}`, "invalid", 400},
		{"", `{"type":"user","role":"reader","emailAddress":"a b@uni.edu"}`, "invalid", 400},
		{"", `{"type":"domain","role":"reader"}`, "required", 400},
		{"?sendNotificationEmail=false", `{"type":"user","role":"reader","emailAddress":"new@else.org"}`, "invalidSharingRequest", 400},
		{"?sendNotificationEmail=true", `{"type":"anyone","role":"reader"}`, "invalid", 400},
		{"", `{"type":"user","role":"owner","emailAddress":"bob@uni.edu"}`, "forbidden", 403},
	} {
		t.Run(test.query+test.body, func(t *testing.T) { c.fails(test.status, test.reason, "POST", path+test.query, test.body) })
	}
	require.Len(t, c.do("GET", path, "")["permissions"], 1)
	c.fails(403, "insufficientFilePermissions", "POST", "/drive/v3/files/root/permissions", `{"type":"anyone","role":"reader"}`)
	c.share(id, "new@else.org", "reader") // somebody without an account, told by mail
	require.Equal(t, "a", newClient(t, s, "new@else.org").names("sharedWithMe"))
	pid := c.share(id, "bob@uni.edu", "reader")
	c.fails(403, "fieldNotWritable", "PATCH", path+"/"+pid, `{"role":"writer","emailAddress":"x@uni.edu"}`)
	c.fails(400, "invalid", "PATCH", path+"/"+pid, `{}`)
	c.fails(403, "forbidden", "PATCH", path+"/"+pid, `{"role":"owner"}`)

	c.do("PATCH", path+"/"+pid+"?transferOwnership=true", `{"role":"owner"}`)
	bob := newClient(t, s, "bob@uni.edu")
	require.Equal(t, true, bob.get(id)["ownedByMe"])
	require.Equal(t, []any{bob.get("root")["id"]}, bob.get(id)["parents"])
	require.Equal(t, true, c.get(id)["capabilities"].(map[string]any)["canEdit"])
	c.fails(403, "insufficientFilePermissions", "DELETE", "/drive/v3/files/"+id, "")
	bob.do("DELETE", "/drive/v3/files/"+id, "")
}

// TestGrantsAtOnce: of changes of one file's permissions whose requests overlap the service keeps the last.
func TestGrantsAtOnce(t *testing.T) {
	for lose, want := range map[bool]int{false: 4, true: 3} { // the owner, an earlier one, and those at once
		t.Run(fmt.Sprint("lose=", lose), func(t *testing.T) {
			c := newClient(t, NewServer(t, Options{Quirks: Quirks{LoseGrants: lose}}), "")
			id := c.put("a", nil)
			path := "/drive/v3/files/" + id + "/permissions"
			c.share(id, "early@uni.edu", "reader")
			c.http.Transport.(*http.Transport).ExpectContinueTimeout = time.Minute // the body is not sent before the server asks for it
			body, writer := io.Pipe()
			late := make(chan reply, 1)
			go func() {
				late <- c.send("POST", path, body, "Content-Type", "application/json", "Expect", "100-continue")
			}()
			_, err := io.WriteString(writer, `{"type":"user","role":"reader",`)
			require.NoError(t, err)
			c.share(id, "bob@uni.edu", "reader")
			_, err = io.WriteString(writer, `"emailAddress":"late@uni.edu"}`)
			require.NoError(t, err)
			require.NoError(t, writer.Close())
			require.Equal(t, 200, (<-late).status)
			require.Len(t, c.do("GET", path, "")["permissions"], want)
		})
	}
}

func TestFolderSharingFlowsDown(t *testing.T) {
	s := NewServer(t, Options{})
	ann, bob := newClient(t, s, "ann@uni.edu"), newClient(t, s, "bob@uni.edu")
	reg := ann.folder("reg", "")
	sub := ann.folder("sub", reg)
	id := ann.put("x", []byte("abc"), "parents", []string{sub})
	pid := ann.share(reg, "bob@uni.edu", "reader")

	require.Equal(t, "reg sub x", bob.names(""))
	require.Equal(t, "reg", bob.names("sharedWithMe"), "only what was shared itself")
	require.Equal(t, "x", bob.names("'"+sub+"' in parents"))
	require.Equal(t, []any{sub}, bob.get(id)["parents"])
	require.NotContains(t, bob.get(reg), "parents")
	require.Len(t, ann.do("GET", "/drive/v3/files/"+id+"/permissions", "")["permissions"], 2)
	bob.fails(403, "insufficientParentPermissions", "POST", "/drive/v3/files", `{"parents":["`+reg+`"]}`)
	ann.fails(403, "cannotModifyInheritedPermission", "DELETE", "/drive/v3/files/"+id+"/permissions/"+pid, "")
	ann.fails(403, "cannotModifyInheritedPermission", "PATCH", "/drive/v3/files/"+id+"/permissions/"+pid, `{"role":"writer"}`)
	ann.share(id, "bob@uni.edu", "commenter") // more than the folder gives
	require.Equal(t, true, bob.get(id)["capabilities"].(map[string]any)["canComment"])
	ann.do("DELETE", "/drive/v3/files/"+id+"/permissions/"+pid, "")
	require.Equal(t, false, bob.get(id)["capabilities"].(map[string]any)["canComment"])

	// A writer's file in it is his, in her folder; it outlives the folder.
	ann.do("PATCH", "/drive/v3/files/"+reg+"/permissions/"+pid, `{"role":"writer"}`)
	his := bob.put("his", []byte("1"), "parents", []string{sub})
	require.Equal(t, true, ann.get(his)["capabilities"].(map[string]any)["canEdit"])
	ann.fails(403, "insufficientFilePermissions", "DELETE", "/drive/v3/files/"+his, "")
	ann.do("DELETE", "/drive/v3/files/"+reg, "")
	require.Equal(t, []any{bob.get("root")["id"]}, bob.get(his)["parents"])
	bob.fails(404, "notFound", "GET", "/drive/v3/files/"+id, "")
	ann.fails(404, "notFound", "GET", "/drive/v3/files/"+his, "")
}

func TestPermissionPages(t *testing.T) {
	s := NewServer(t, Options{})
	c := newClient(t, s, "")
	id := c.put("a", nil)
	for i := range 4 {
		c.share(id, fmt.Sprintf("user%d@uni.edu", i), "reader")
	}
	path := "/drive/v3/files/" + id + "/permissions"
	require.Len(t, c.do("GET", path, "")["permissions"], 5)
	var seen int
	for token := ""; ; {
		page := c.do("GET", path+"?pageSize=2&pageToken="+token, "")
		seen += len(page["permissions"].([]any))
		next, more := page["nextPageToken"]
		if !more {
			break
		}
		token = next.(string)
	}
	require.Equal(t, 5, seen)
	c.fails(400, "invalid", "GET", path+"?pageToken=x", "")
}

// feedReader follows one account's changes.
type feedReader struct {
	*client
	token string
}

func follow(c *client) *feedReader {
	c.t.Helper()
	got := c.do("GET", "/drive/v3/changes/startPageToken", "")
	require.Equal(c.t, "drive#startPageToken", got["kind"])
	return &feedReader{c, got["startPageToken"].(string)}
}

// read returns what changed since the last time, as "name" or "-id", page by page of two.
func (f *feedReader) read(more ...string) string {
	f.t.Helper()
	var changes []string
	for {
		v := url.Values{"pageToken": {f.token}, "pageSize": {"2"}, "fields": {"*"}}
		for i := 0; i < len(more); i += 2 {
			v.Set(more[i], more[i+1])
		}
		page := f.do("GET", "/drive/v3/changes?"+v.Encode(), "")
		for _, c := range page["changes"].([]any) {
			c := c.(map[string]any)
			require.Equal(f.t, "drive#change", c["kind"])
			require.Equal(f.t, "file", c["changeType"])
			require.NotEmpty(f.t, c["time"])
			if c["removed"] == true {
				require.NotContains(f.t, c, "file")
				changes = append(changes, "-"+c["fileId"].(string))
				continue
			}
			file := c["file"].(map[string]any)
			require.Equal(f.t, c["fileId"], file["id"])
			name := file["name"].(string)
			if file["trashed"] == true {
				name += "(trashed)"
			}
			changes = append(changes, name)
		}
		next, more := page["nextPageToken"]
		last, ended := page["newStartPageToken"]
		require.NotEqual(f.t, more, ended, "exactly one of the two")
		if ended {
			f.token = last.(string)
			return strings.Join(changes, " ")
		}
		f.token = next.(string)
	}
}

func TestChanges(t *testing.T) {
	s := NewServer(t, Options{})
	annC, bobC := newClient(t, s, "ann@uni.edu"), newClient(t, s, "bob@uni.edu")
	ann, bob := follow(annC), follow(bobC)
	first := ann.token
	require.Empty(t, ann.read())

	a, b, c := ann.put("a", nil), ann.put("b", nil), ann.put("c", nil)
	require.Equal(t, "a b c", ann.read(), "one's own changes are there")
	require.Empty(t, ann.read())
	require.Empty(t, bob.read(), "others' are not")
	for range 3 {
		ann.do("PATCH", "/drive/v3/files/"+a, `{"properties":{"x":"y"}}`)
	}
	require.Equal(t, "a", ann.read(), "one entry for a file")
	ann.token = first
	require.Equal(t, "b c a", ann.read(), "the newest replaces the older ones")
	old := ann.token

	ann.do("PATCH", "/drive/v3/files/"+b, `{"trashed":true}`)
	require.Equal(t, "b(trashed)", ann.read())
	ann.do("DELETE", "/drive/v3/files/"+b, ``)
	require.Equal(t, "-"+b, ann.read())
	ann.token = old
	require.Equal(t, "-"+b, ann.read(), "tokens are good for ever")
	ann.token = old
	require.Empty(t, ann.read("includeRemoved", "false"))

	pid := ann.share(a, "bob@uni.edu", "reader")
	require.Equal(t, "a", bob.read(), "sharing is a change for the sharee")
	require.Equal(t, "a", ann.read())
	ann.do("PATCH", "/drive/v3/files/"+a, `{"name":"A"}`)
	require.Equal(t, "A", bob.read())
	ann.do("DELETE", "/drive/v3/files/"+a+"/permissions/"+pid, "")
	require.Equal(t, "-"+a, bob.read(), "and so is its end")
	require.Equal(t, "A", ann.read())

	// A folder: what is inside comes and goes with it.
	reg := ann.folder("reg", "")
	x := ann.put("x", nil, "parents", []string{reg})
	pid = ann.share(reg, "bob@uni.edu", "writer")
	require.Equal(t, "reg x", bob.read())
	require.Equal(t, "x reg", ann.read("restrictToMyDrive", "true"), "sharing reg changes x for him, not for her")
	ann.do("PATCH", "/drive/v3/files/"+reg, `{"trashed":true}`)
	require.Equal(t, "reg(trashed) x(trashed)", bob.read())
	ann.do("PATCH", "/drive/v3/files/"+reg, `{"trashed":false}`)
	require.Equal(t, "reg x", bob.read())
	require.Empty(t, bob.read("restrictToMyDrive", "true"))
	ann.do("PATCH", "/drive/v3/files/"+x+"?addParents=root&removeParents="+reg, ``)
	require.Equal(t, "-"+x, bob.read(), "moved out of his sight")
	ann.do("PATCH", "/drive/v3/files/"+c+"?addParents="+reg+"&removeParents=root", ``)
	require.Equal(t, "c", bob.read())
	ann.do("DELETE", "/drive/v3/files/"+reg+"/permissions/"+pid, "")
	require.Equal(t, "-"+c+" -"+reg, bob.read())
	bob.token = first
	require.ElementsMatch(t, strings.Fields("-"+a+" -"+x+" -"+reg+" -"+c), strings.Fields(bob.read()))

	ann.fails(400, "required", "GET", "/drive/v3/changes", "")
	for _, token := range []string{"x", "-1", "0", "1e3", "99999999"} {
		e := ann.fails(400, "invalid", "GET", "/drive/v3/changes?pageToken="+token, "")
		require.Equal(t, "pageToken", e.Error.Errors[0].Location)
	}
	ann.fails(400, "invalid", "GET", "/drive/v3/changes?pageSize=0&pageToken="+first, "")
	got := ann.do("GET", "/drive/v3/changes?pageSize=9999&prettyPrint=false&pageToken="+first, "")
	require.NotContains(t, got, "nextPageToken")
	require.Equal(t, map[string]any{"kind": "drive#file", "id": a, "name": "A", "mimeType": "application/octet-stream"}, got["changes"].([]any)[1].(map[string]any)["file"])
}

func TestChangesQuirks(t *testing.T) {
	var clock virtualClock
	s := NewServer(t, Options{Now: clock.now, Quirks: Quirks{ChangesLag: time.Minute, QuietChildren: true}})
	ann, bob := follow(newClient(t, s, "ann@uni.edu")), follow(newClient(t, s, "bob@uni.edu"))
	clock.pass(10 * time.Minute)
	ann.read()
	reg := ann.folder("reg", "")
	ann.put("x", nil, "parents", []string{reg})
	require.Empty(t, ann.read())
	late := follow(ann.client)
	clock.pass(time.Minute)
	require.Equal(t, "reg x", ann.read(), "late, not lost")
	require.Equal(t, "reg x", late.read())
	ann.share(reg, "bob@uni.edu", "reader")
	clock.pass(time.Minute)
	require.Equal(t, "reg", strings.TrimPrefix(bob.read(), "My Drive "), "nothing is said of what is inside")
}

// TestFeedForgetsDeadEntries changes one file many times: the feed stays small, and old tokens good.
func TestFeedForgetsDeadEntries(t *testing.T) {
	s := NewServer(t, Options{})
	f := follow(newClient(t, s, ""))
	u := s.User("")
	a, err := u.Put(File{Name: "a"}, nil)
	require.NoError(t, err)
	_, err = u.Put(File{Name: "b"}, nil)
	require.NoError(t, err)
	for i := range 3000 {
		require.NoError(t, u.Patch(a.ID, func(f *File) { f.Description = fmt.Sprint(i) }))
	}
	require.Equal(t, "b a", f.read())
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	require.Less(t, len(s.store.feeds[u.Email()].entries), 1500)
}
