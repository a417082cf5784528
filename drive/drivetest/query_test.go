package drivetest

import (
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQueries(t *testing.T) {
	var ticks atomic.Int64 // no two changes at the same time
	s := NewServer(t, Options{Now: func() time.Time {
		return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(ticks.Add(1)) * time.Millisecond)
	}})
	ann, bob := newClient(t, s, "ann@uni.edu"), newClient(t, s, "bob@uni.edu")
	reg := ann.folder("sregistry", "")
	// Names are single words so that a result reads as one line.
	ann.put("HelloWorld.sif", []byte("x"), "parents", []string{reg}, "properties", map[string]string{"type": "container", "tag": "it's a \\ slash"})
	ann.put("quinn's_paper", []byte("x"), "description", "alpha beta gamma", "mimeType", "text/plain", "starred", true)
	trashed := ann.put("old.sif", []byte("x"), "parents", []string{reg}, "properties", map[string]string{"type": "container"})
	ann.do("PATCH", "/drive/v3/files/"+trashed, `{"trashed":true}`)
	shared := bob.put("bobs.sif", []byte("x"), "properties", map[string]string{"type": "other"})
	bob.do("POST", "/drive/v3/files/"+shared+"/permissions", `{"type":"user","role":"reader","emailAddress":"Ann@uni.edu"}`)
	bob.put("secret", []byte("x"))

	for _, test := range []struct{ q, want string }{
		{"", "sregistry HelloWorld.sif quinn's_paper old.sif bobs.sif"}, // trashed and shared are listed by default
		{"trashed=false", "sregistry HelloWorld.sif quinn's_paper bobs.sif"},
		{"trashed != false", "old.sif"},
		{"not trashed = false", "old.sif"},
		{"starred = true", "quinn's_paper"},
		{"sharedWithMe", "bobs.sif"},
		{"sharedWithMe and trashed=false", "bobs.sif"},
		{"sharedWithMe = false and trashed=true", "old.sif"},
		{"name = 'helloworld.SIF'", "HelloWorld.sif"}, // case does not count
		{"name = 'hello'", ""},
		{"name != 'helloworld.sif' and starred=true", "quinn's_paper"},
		{"name contains 'hello'", "HelloWorld.sif"}, // a word's beginning
		{"name contains 'world'", ""},
		{"name contains 'sif'", "HelloWorld.sif old.sif bobs.sif"},
		{"name contains 'sif, HELLO!'", "HelloWorld.sif"}, // every word, punctuation aside
		{`name = 'quinn\'s_paper'`, "quinn's_paper"},
		{`properties has {key='tag' and value='it\'s a \\ slash'}`, "HelloWorld.sif"},
		{"properties has { key = 'type' and value = 'container' }", "HelloWorld.sif old.sif"},
		{"properties has{key='type' and value='Container'}", ""},
		{"appProperties has {key='type' and value='container'}", ""},
		{"not properties has {key='type' and value='container'} and mimeType='application/octet-stream'", "bobs.sif"},
		{"mimeType='application/octet-stream' and properties has { key='type' and value='container' } and '" + reg + "' in parents", "HelloWorld.sif old.sif"},
		{"mimeType = 'application/vnd.google-apps.folder' and name='sregistry'", "sregistry"},
		{"mimeType contains 'text/'", "quinn's_paper"},
		{"mimeType != 'application/octet-stream'", "sregistry quinn's_paper"},
		{"'root' in parents", "sregistry quinn's_paper"},
		{"'" + reg + "' in parents", "HelloWorld.sif old.sif"},
		{"not '" + reg + "' in parents", "sregistry quinn's_paper bobs.sif"},
		{"'me' in owners", "sregistry HelloWorld.sif quinn's_paper old.sif"},
		{"'BOB@uni.edu' in owners", "bobs.sif"},
		{"'ann@uni.edu' in readers and 'bob@uni.edu' in owners", "bobs.sif"},
		{"'ann@uni.edu' in writers", "sregistry HelloWorld.sif quinn's_paper old.sif"},
		{"fullText contains 'beta'", "quinn's_paper"},
		{"fullText contains 'bet'", ""}, // whole words only
		{`fullText contains '"beta gamma"'`, "quinn's_paper"},
		{`fullText contains '"alpha gamma"'`, ""},
		{"visibility = 'limited' and starred = true", "quinn's_paper"},
		{"visibility = 'anyoneWithLink'", ""},
		{"modifiedTime > '2026-03-01T12:00:00'", "sregistry HelloWorld.sif quinn's_paper old.sif bobs.sif"}, // UTC
		{"modifiedTime > '2026-03-01T12:00:00-20:00'", ""},
		{"createdTime < '2026-03-02' and starred = true", "quinn's_paper"},
		{"viewedByMeTime >= '2099-01-01T00:00:00Z'", ""},
		// and and or have the same precedence, from left to right.
		{"starred=true or trashed=true and name='old.sif'", "old.sif"},
		{"starred=true or (trashed=true and name='old.sif')", "quinn's_paper old.sif"},
		{"name='old.sif' and trashed=true or starred=true", "quinn's_paper old.sif"},
		{"not (starred=true or trashed=true) and 'me' in owners", "sregistry HelloWorld.sif"},
		{"not not starred=true", "quinn's_paper"},
		{"( ( starred = true ) )", "quinn's_paper"},
	} {
		t.Run(test.q, func(t *testing.T) {
			order := "createdTime"
			if len(test.q) > 8 && test.q[:8] == "fullText" {
				order = ""
			}
			ann := *ann
			ann.t = t
			require.Equal(t, test.want, ann.names(test.q, "orderBy", order))
		})
	}

	for _, q := range []string{
		"garbage", "name", "name =", "name = x", "name = 'x", "name = \"x\"", "= 'x'", "name == 'x'", "id = 'x'", "id > 'x'",
		"name = 'x' and", "and name = 'x'", "name = 'x' name = 'y'", "(name = 'x'", "name = 'x')", "name = true", "trashed = 'maybe'",
		"trashed", "trashed = 1", "trashed > true", "not", "parents = 'x'", "parents in 'x'", "'x' in name", "'x' in", "'x'",
		"properties has {key='x'}", "properties has {value='y' and key='x'}", "properties = 'x'", "properties has {key='x' and value='y'",
		"modifiedTime > 'yesterday'", "modifiedTime contains '2026'", "mimeType > 'x'", "fullText = 'x'", "visibility = 'everybody'",
		`name = 'a\n'`, "name = 'x';", "sharedWithMe = 'x'", "title = 'x'", "NAME = 'x'",
	} {
		t.Run("400 "+q, func(t *testing.T) {
			ann := *ann
			ann.t = t
			e := ann.fails(400, "invalid", "GET", "/drive/v3/files?q="+url.QueryEscape(q), "")
			require.Equal(t, "q", e.Error.Errors[0].Location)
			require.Equal(t, "parameter", e.Error.Errors[0].LocationType)
			require.Equal(t, "Invalid Value", e.Error.Message)
		})
	}
	ann.fails(500, "internalError", "GET", "/drive/v3/files?q="+url.QueryEscape("name >= 'x'"), "")
	ann.fails(400, "badRequest", "GET", "/drive/v3/files?orderBy=name&q="+url.QueryEscape("fullText contains 'x'"), "")
	ann.fails(400, "invalid", "GET", "/drive/v3/files?orderBy=size", "")
	ann.fails(400, "invalid", "GET", "/drive/v3/files?spaces=photos", "")
	ann.fails(400, "invalid", "GET", "/drive/v3/files?corpora=mine", "")
	ann.fails(400, "invalid", "GET", "/drive/v3/files?corpora=allDrives", "")
	ann.fails(404, "notFound", "GET", "/drive/v3/files?corpora=drive&driveId=0AAAA", "")
	require.Equal(t, "sregistry", ann.names("name='sregistry'", "corpora", "allDrives", "includeItemsFromAllDrives", "true", "supportsAllDrives", "true"))
	require.Empty(t, ann.names("", "spaces", "appDataFolder"))
}

func TestQueryLags(t *testing.T) {
	var clock virtualClock
	s := NewServer(t, Options{
		Now:    clock.now,
		Quirks: Quirks{NameLag: 10 * time.Minute, ListLag: time.Minute, LoseMultiParent: true},
	})
	c := newClient(t, s, "")
	a, b := c.folder("a", ""), c.folder("b", "")
	id := c.put("x.sif", []byte("x"), "parents", []string{a})
	require.Equal(t, "x.sif", c.get(id)["name"], "files.get sees it at once")
	require.Empty(t, c.names("'"+a+"' in parents"))
	clock.pass(time.Minute)
	require.Equal(t, "x.sif", c.names("'"+a+"' in parents"))
	require.Empty(t, c.names("name = 'x.sif'"), "names take longer")
	clock.pass(10 * time.Minute)
	require.Equal(t, "x.sif", c.names("name = 'x.sif'"))
	c.do("PATCH", "/drive/v3/files/"+id, `{"name":"y.sif"}`)
	require.Empty(t, c.names("name contains 'y'"))
	require.Equal(t, "y.sif", c.names("'"+a+"' in parents"))
	require.Empty(t, c.names("'"+a+"' in parents or '"+b+"' in parents"))
}

func FuzzParseQuery(f *testing.F) {
	for _, q := range []string{
		"", "name = 'a' and not ('b' in parents or trashed=false)", `name contains 'a\'b\\'`, "properties has {key='k' and value='v'}",
		"modifiedTime >= '2012-06-04T12:00:00-08:00'", "((((((", "not not not", "'", "sharedWithMe or",
	} {
		f.Add(q)
	}
	s, err := openStore(Options{})
	require.NoError(f, err)
	acc := s.account("ann@uni.edu")
	f.Fuzz(func(t *testing.T, q string) {
		p, err := parseQuery(q)
		if err != nil || p == nil || len(q) > maxQueryDepth { // so that it may go deeper
			return
		}
		again, err := parseQuery("(" + q + ") and not not (" + q + ")")
		require.NoError(t, err, "a query in parentheses is one")
		v := &candidate{s: s, acc: acc, f: &file{Name: "Hello.sif", Owner: acc.email, Parent: acc.rootID}}
		require.Equal(t, p.match(v), again.match(v))
	})
}
