package drivetest

import (
	"encoding/json"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFields(t *testing.T) {
	s := NewServer(t, Options{})
	c := newClient(t, s, "")
	id := c.put("a.sif", []byte("abc"), "properties", map[string]string{"type": "container", "org.label-schema.x": "y"})

	get := "/drive/v3/files/" + id + "?prettyPrint=false"
	for _, test := range []struct{ name, path, want string }{
		{"default of get", get, `{"kind":"drive#file","id":"ID","name":"a.sif","mimeType":"application/octet-stream"}`},
		{"empty is default", get + "&fields=", `{"kind":"drive#file","id":"ID","name":"a.sif","mimeType":"application/octet-stream"}`},
		{"two", get + "&fields=id,name", `{"id":"ID","name":"a.sif"}`},
		{"blanks", get + "&fields=id,%20name", `{"id":"ID","name":"a.sif"}`},
		{"int64 is a string", get + "&fields=size,version", `{"version":"1","size":"3"}`},
		{"unset is absent", get + "&fields=description,id", `{"id":"ID"}`},
		{"path", get + "&fields=owners/emailAddress", `{"owners":[{"emailAddress":"ann@uni.edu"}]}`},
		{"inside", get + "&fields=capabilities(canDelete,canShare),id", `{"id":"ID","capabilities":{"canDelete":true,"canShare":true}}`},
		{"any property", get + "&fields=properties/org.label-schema.x", `{"properties":{"org.label-schema.x":"y"}}`},
		{"star inside", get + "&fields=properties(*)", `{"properties":{"org.label-schema.x":"y","type":"container"}}`},
		{"everything wins", get + "&fields=properties/type,properties", `{"properties":{"org.label-schema.x":"y","type":"container"}}`},
		{"union", get + "&fields=owners/me,owners(emailAddress)", `{"owners":[{"me":true,"emailAddress":"ann@uni.edu"}]}`},
		{"never set", get + "&fields=driveId,resourceKey", `{}`},
		{"default of list", "/drive/v3/files?prettyPrint=false", `{"kind":"drive#fileList","incompleteSearch":false,"files":[{"kind":"drive#file","id":"ID","name":"a.sif","mimeType":"application/octet-stream"}]}`},
		{"list", "/drive/v3/files?prettyPrint=false&fields=nextPageToken,%20files(id,%20name)", `{"files":[{"id":"ID","name":"a.sif"}]}`},
		{"deep list", "/drive/v3/files?prettyPrint=false&fields=files(permissions(role),id)", `{"files":[{"id":"ID","permissions":[{"role":"owner"}]}]}`},
		{"star, then a name", "/drive/v3/about?prettyPrint=false&fields=*/emailAddress", `{"user":{"emailAddress":"ann@uni.edu"},"storageQuota":{},"importFormats":{},"exportFormats":{},"maxImportSizes":{},"driveThemes":[]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := c.send("GET", test.path, nil)
			require.Equal(t, 200, r.status, "%s", r.body)
			var got, want any
			require.NoError(t, json.Unmarshal(r.body, &got))
			require.NoError(t, json.Unmarshal([]byte(test.want), &want))
			want = replaced(want, "ID", id)
			require.Equal(t, want, got, "%s", r.body)
		})
	}

	for _, bad := range []struct{ path, fields, name string }{
		{"/drive/v3/files/" + id, "etag", "etag"},
		{"/drive/v3/files/" + id, "id,nme", "nme"},
		{"/drive/v3/files/" + id, "id/x", "x"},
		{"/drive/v3/files/" + id, "owners(emial)", "emial"},
		{"/drive/v3/files/" + id, "owners.emailAddress", "owners.emailAddress"},
		{"/drive/v3/files/" + id, "files(id)", "files"},
		{"/drive/v3/files", "id", "id"},
		{"/drive/v3/files", "files(etag)", "etag"},
		{"/drive/v3/files/" + id, "id,", "id,"},
		{"/drive/v3/files/" + id, "owners(", "owners("},
		{"/drive/v3/files/" + id, "owners(me", "owners(me"},
		{"/drive/v3/files/" + id, "id)", ")"},
		{"/drive/v3/files/" + id, "id name", "name"},
		{"/drive/v3/files/" + id, "*/nothing", "nothing"},
	} {
		t.Run("400 "+bad.fields, func(t *testing.T) {
			e := c.fails(400, "invalidParameter", "GET", bad.path+"?fields="+url.QueryEscape(bad.fields), "")
			require.Equal(t, "Invalid field selection "+bad.name, e.Error.Message)
			require.Equal(t, "fields", e.Error.Errors[0].Location)
		})
	}
	// A bad mask stops a write before it happens.
	c.fails(400, "invalidParameter", "PATCH", "/drive/v3/files/"+id+"?fields=x", `{"name":"changed"}`)
	require.Equal(t, "a.sif", c.get(id)["name"])
}

// replaced puts new for the string old, wherever it is in v.
func replaced(v any, old, now string) any {
	switch v := v.(type) {
	case string:
		if v == old {
			return now
		}
	case []any:
		for i := range v {
			v[i] = replaced(v[i], old, now)
		}
	case map[string]any:
		for k := range v {
			v[k] = replaced(v[k], old, now)
		}
	}
	return v
}

func TestAbout(t *testing.T) {
	s := NewServer(t, Options{})
	c := newClient(t, s, "")
	for _, query := range []string{"", "?fields=", "?fields=storageQuota.limit"} {
		e := c.fails(400, "required", "GET", "/drive/v3/about"+query, "")
		require.Equal(t, "The 'fields' parameter is required for this method.", e.Error.Message)
		require.Equal(t, "fields", e.Error.Errors[0].Location)
	}
	c.fails(400, "invalidParameter", "GET", "/drive/v3/about?fields=quota", "")

	id := c.put("a", []byte("hello"))
	c.put("b", []byte("four"))
	c.do("PATCH", "/drive/v3/files/"+id, `{"trashed":true}`)
	got := c.do("GET", "/drive/v3/about?fields=user,storageQuota,maxUploadSize", "")
	require.Equal(t, map[string]any{"usage": "9", "usageInDrive": "9", "usageInDriveTrash": "5"}, got["storageQuota"], "no limit is unlimited")
	require.Equal(t, "5497558138880", got["maxUploadSize"])
	user := got["user"].(map[string]any)
	require.Equal(t, "ann@uni.edu", user["emailAddress"])
	require.Equal(t, true, user["me"])
	require.Equal(t, user["permissionId"], c.get(id)["permissions"].([]any)[0].(map[string]any)["id"])

	s.User("").SetQuota(1000)
	got = c.do("GET", "/drive/v3/about?fields=storageQuota/limit", "")
	require.Equal(t, map[string]any{"storageQuota": map[string]any{"limit": "1000"}}, got)
}

func FuzzParseMask(f *testing.F) {
	for _, text := range []string{"", "*", "id,name", "files(id, name)", "files/owners/me", "a(b(c(d", "a//b", ",", "files(*)/id", "properties/a.b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseMask(text, fileListSchema)
		if err != nil {
			require.Nil(t, m)
			return
		}
		again, err := parseMask(text+","+text, fileListSchema)
		require.NoError(t, err)
		require.Equal(t, m, again, "selecting twice selects the same")
	})
}

func FuzzAppendString(f *testing.F) {
	for _, text := range []string{"", "plain", "a\"b\\c\x00\x7f", "é<&>\u2028", "\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want, err := json.Marshal(text)
		require.NoError(t, err)
		require.Equal(t, string(want), string(appendString(nil, text)))
	})
}
