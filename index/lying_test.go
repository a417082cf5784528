package index_test

import (
	"bytes"
	"io"
	iofs "io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// liar stands between a client and an emulated Drive, and answers listings, or pages of the feed, as others than they are:
// those of a while ago, or without some of their items, or twice.
type liar struct {
	url string

	mu     sync.Mutex
	edit   map[string]func([]byte) []byte // guarded by mu, which is held while they run: of the replies to a path
	noHash bool                           // guarded by mu: replies with content lack the hash
}

func newLiar(t *testing.T, srv *drivetest.Server) *liar {
	t.Helper()
	to, err := url.Parse(srv.URL())
	require.NoError(t, err)
	l := &liar{edit: map[string]func([]byte) []byte{}}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
		r.Out.Header.Del("Accept-Encoding") // plain text
	}}
	proxy.ModifyResponse = func(r *http.Response) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.noHash {
			r.Header.Del("X-Goog-Hash")
		}
		edit := l.edit[r.Request.URL.Path]
		if edit == nil || r.StatusCode != http.StatusOK {
			return nil
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		b = edit(b)
		r.Body = io.NopCloser(bytes.NewReader(b))
		r.Header.Set("Content-Length", strconv.Itoa(len(b)))
		return r.Body.Close()
	}
	front := httptest.NewServer(proxy)
	t.Cleanup(front.Close)
	l.url = front.URL
	return l
}

// The paths worth lying about.
const (
	listPath = "/drive/v3/files"
	feedPath = "/drive/v3/changes"
)

// lie has edit change the replies to path; nil tells the truth.
func (l *liar) lie(path string, edit func([]byte) []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.edit[path] = edit
}

// old has the replies to path stay as they are now; the function it returns makes true ones of them again.
func (l *liar) old(t *testing.T, path string, now func()) (truth func()) {
	t.Helper()
	var seen [][]byte
	l.lie(path, func(b []byte) []byte {
		seen = append(seen, bytes.Clone(b))
		return b
	})
	now()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.NotEmpty(t, seen, "somebody asked")
	first := seen[0]
	l.edit[path] = func([]byte) []byte { return first }
	return func() { l.lie(path, nil) }
}

// open opens an index of srv's default user that asks the liar.
func (l *liar) open(t *testing.T, srv *drivetest.Server, dir string) *index.Index {
	t.Helper()
	credentials := t.TempDir()
	require.NoError(t, srv.User("").WriteCredentials(credentials))
	auth, err := drive.OpenAuth(drive.AuthOptions{Credentials: credentials + "/client_secrets.json", Token: credentials + "/token.json", Save: true})
	require.NoError(t, err)
	c, err := drive.New(drive.Options{URL: l.url, Auth: auth})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return indextest.Open(t, srv, index.Options{Dir: dir, Drive: c, Poll: -1, RootID: indextest.Root(t, srv.User(""))})
}

// relist has ix list everything, as it does every hour.
func relist(t *testing.T, ix *index.Index) {
	t.Helper()
	index.Later(ix, 2*time.Hour)
	indextest.Refresh(t, ix)
}

// A listing from before a removal brings nothing back: one through us, one by somebody else, a move out of the folder; in
// this process and in the next. What somebody takes out of the bin is back when Drive is asked.
func TestAnOldListingBringsNothingBack(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ann := srv.User("")
	l, dir := newLiar(t, srv), t.TempDir()
	elsewhere, err := ann.Put(drivetest.File{Name: "elsewhere", MimeType: drive.FolderType}, nil)
	require.NoError(t, err)
	stays := indextest.Put(t, ann, "c/stays:1", []byte("0"), nil)
	gone := map[string]drivetest.File{}
	for i, name := range []string{"ours", "theirs", "deleted", "moved"} {
		gone[name] = indextest.Put(t, ann, "c/"+name+":1", []byte{byte(i)}, nil)
	}
	ix := l.open(t, srv, dir)
	l.old(t, listPath, func() { relist(t, ix) })

	require.NoError(t, ix.Remove(t.Context(), byName(t, ix, "c/ours:1")))
	require.NoError(t, ann.Patch(gone["theirs"].ID, func(f *drivetest.File) { f.Trashed = true }))
	require.NoError(t, ann.Delete(gone["deleted"].ID))
	require.NoError(t, ann.Patch(gone["moved"].ID, func(f *drivetest.File) { f.Parents = []string{elsewhere.ID} }))
	indextest.Refresh(t, ix)
	check := func(when string) {
		t.Helper()
		for range 3 { // each time it is asked for again
			relist(t, ix)
			for name, f := range gone {
				require.False(t, has(ix, f.ID), "%s: %s", when, name)
			}
			require.True(t, has(ix, stays.ID), when)
		}
	}
	check("in this process")
	require.NoError(t, ix.Close())
	ix = l.open(t, srv, dir)
	check("after a restart")

	require.NoError(t, ann.Patch(gone["ours"].ID, func(f *drivetest.File) { f.Trashed = false }))
	require.NoError(t, ann.Patch(gone["moved"].ID, func(f *drivetest.File) { f.Parents = []string{indextest.Root(t, ann)} }))
	indextest.Refresh(t, ix)
	require.True(t, has(ix, gone["ours"].ID), "out of the bin, and shown when Refresh returns")
	require.True(t, has(ix, gone["moved"].ID), "back in the folder")
	require.NoError(t, ix.Close())
	ix = l.open(t, srv, dir)
	require.True(t, has(ix, gone["ours"].ID))
}

// A listing that lacks images, all of them even, or shows them as they were, changes nothing.
func TestAListingThatLacksImages(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ann := srv.User("")
	l := newLiar(t, srv)
	ix := l.open(t, srv, "")
	empty := l.old(t, listPath, func() { relist(t, ix) })
	var all []drivetest.File
	for i := range 40 {
		all = append(all, indextest.Put(t, ann, "c/i:"+strconv.Itoa(i), []byte{byte(i)}, nil))
	}
	indextest.Refresh(t, ix)
	relist(t, ix)
	require.Len(t, ix.Images(), len(all), "none is in the listing")

	empty()
	l.old(t, listPath, func() { relist(t, ix) })
	_, err := ix.Retag(t.Context(), byName(t, ix, "c/i:0"), ref(t, "d/j:0"))
	require.NoError(t, err)
	require.NoError(t, ann.Patch(all[1].ID, func(f *drivetest.File) { f.Properties["tag"] = "renamed" }))
	indextest.Refresh(t, ix)
	relist(t, ix)
	require.Equal(t, all[0].ID, byName(t, ix, "d/j:0").File, "our own write")
	require.Equal(t, all[1].ID, byName(t, ix, "c/i:renamed").File, "what the feed told")
	require.Len(t, ix.Images(), len(all))
}

// Pages of the feed that come again, and a file that is in the feed twice because it changed while the pages were read.
func TestTheFeedComesTwice(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ann := srv.User("")
	l := newLiar(t, srv)
	ix := l.open(t, srv, "")
	f := indextest.Put(t, ann, "c/a:1", []byte("1"), nil)
	truth := l.old(t, feedPath, func() { indextest.Refresh(t, ix) })
	require.True(t, has(ix, f.ID))
	for range 3 {
		indextest.Refresh(t, ix)
		require.True(t, has(ix, f.ID))
	}
	truth()

	require.NoError(t, ann.Patch(f.ID, func(f *drivetest.File) { f.Properties["tag"] = "2" }))
	l.lie(feedPath, func(b []byte) []byte { // gone, then back: the last entry counts
		return bytes.Replace(b, []byte(`"changes":[`), []byte(`"changes":[{"kind":"drive#change","removed":true,"fileId":"`+f.ID+`","changeType":"file"},`), 1)
	})
	indextest.Refresh(t, ix)
	require.Equal(t, f.ID, byName(t, ix, "c/a:2").File)
}

// A token Drive does not take is followed by a listing, whatever the answer is; a passing error is not.
func TestLostTokens(t *testing.T) {
	for _, tt := range []struct {
		status int
		reason string
		lists  bool
	}{{400, "invalid", true}, {404, "notFound", true}, {410, "gone", true}, {403, "accessNotConfigured", false}} {
		t.Run(strconv.Itoa(tt.status), func(t *testing.T) {
			srv := drivetest.NewServer(t, drivetest.Options{})
			ann := srv.User("")
			stays, goes := indextest.Put(t, ann, "c/a:1", []byte("1"), nil), indextest.Put(t, ann, "c/b:1", []byte("2"), nil)
			ix := indextest.Open(t, srv, index.Options{Poll: -1})
			srv.Fault(drivetest.On("GET", feedPath).Status(tt.status, tt.reason).Times(1))
			require.NoError(t, ann.Patch(goes.ID, func(f *drivetest.File) { f.Trashed = true }))
			srv.ResetRequests()
			err := ix.Refresh(t.Context())
			require.Equal(t, tt.lists, err == nil, "%v", err)
			require.Equal(t, tt.lists, lists(srv) > 0)
			require.Equal(t, !tt.lists, has(ix, goes.ID))
			indextest.Refresh(t, ix)
			require.True(t, has(ix, stays.ID))
			require.False(t, has(ix, goes.ID))
		})
	}
}

// The folder itself goes into the bin and comes back, and the feed tells nothing of what is in it.
func TestTheFolderGoesAndComesBack(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		t.Run("quiet "+strconv.FormatBool(quiet), func(t *testing.T) {
			srv := drivetest.NewServer(t, drivetest.Options{Quirks: drivetest.Quirks{QuietChildren: quiet}})
			ann := srv.User("")
			f := indextest.Put(t, ann, "c/a:1", []byte("1"), nil)
			root := indextest.Root(t, ann)
			ix := indextest.Open(t, srv, index.Options{Poll: -1})
			require.NoError(t, ann.Patch(root, func(f *drivetest.File) { f.Name = "renamed" }))
			indextest.Refresh(t, ix)
			require.True(t, has(ix, f.ID), "the folder is known by its id")
			require.NoError(t, ann.Patch(root, func(f *drivetest.File) { f.Trashed = true }))
			err := ix.Refresh(t.Context())
			require.Error(t, err)
			require.Contains(t, index.Sentence(err), "bin")
			other := indextest.PutRaw(t, ann, drivetest.File{Name: "other.sif", Properties: map[string]string{"type": "container"}, Parents: []string{root}}, []byte("x"))
			require.NoError(t, ann.Patch(root, func(f *drivetest.File) { f.Trashed = false }))
			indextest.Refresh(t, ix)
			require.True(t, has(ix, f.ID))
			require.True(t, has(ix, other.ID))
			require.Equal(t, index.Online, ix.Status().State)
		})
	}
}

// Withdrawn shares go whether the feed tells of them or not, and come back when they are given again.
func TestWithdrawnShares(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{Users: []string{"ann@uni.edu", "ben@uni.edu"}})
	ann, ben := srv.User("ann@uni.edu"), srv.User("ben@uni.edu")
	f := indextest.Put(t, ben, "c/i:t", []byte("his"), nil)
	his := indextest.Client(t, srv, ben)
	share := func() drive.Permission {
		p, err := his.Share(t.Context(), f.ID, drive.Invite{Email: ann.Email(), Role: "reader"})
		require.NoError(t, err)
		return p
	}
	l := newLiar(t, srv)
	ix := l.open(t, srv, "")
	for _, told := range []bool{true, false, true} {
		p := share()
		indextest.Refresh(t, ix)
		require.True(t, has(ix, f.ID), "shared")
		if !told {
			l.lie(feedPath, func(b []byte) []byte { return []byte(strings.ReplaceAll(string(b), f.ID, "another")) })
		}
		require.NoError(t, his.Unshare(t.Context(), f.ID, p.ID))
		indextest.Refresh(t, ix)
		require.Equal(t, !told, has(ix, f.ID), "what the feed does not tell is not known yet")
		l.lie(feedPath, nil)
		relist(t, ix)
		require.False(t, has(ix, f.ID), "the hourly look finds it")
		require.Empty(t, ix.Owners())
	}
}

// A size that no file has would take all memory there is, for the bits of its blocks.
func TestASizeThatNoFileHasIsNotBelieved(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := bytes.Repeat([]byte("x"), 12345)
	id := put(t, srv, "c/i:t", content)
	l := newLiar(t, srv)
	for _, size := range []string{"9223372036854775807", "-1"} {
		edited := 0
		l.lie(listPath, func(b []byte) []byte {
			edited += bytes.Count(b, []byte(`"12345"`))
			return bytes.ReplaceAll(b, []byte(`"12345"`), []byte(`"`+size+`"`))
		})
		dir := t.TempDir()
		ix := l.open(t, srv, dir)
		require.Positive(t, edited)
		_, err := ix.ByID(id)
		require.ErrorIs(t, err, iofs.ErrNotExist, size)
		l.lie(listPath, nil)
		relist(t, ix)
		require.Equal(t, content, readAll(t, open(t, ix, byID(t, ix, id)), 4096), "the next listing is true")
	}
}

// Content is always that of the head revision. Drive tells which by a hash; where nothing does, the catalogue knows.
func TestRevisionsAreNotMixedWithoutHashes(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	before, after := imagetest.Bytes(1, 10*block), imagetest.Bytes(2, 10*block)
	id := put(t, srv, "c/i:t", before)
	l := newLiar(t, srv)
	l.noHash = true
	ix := l.open(t, srv, t.TempDir())
	r := open(t, ix, byID(t, ix, id))
	ends(t, reads(t, r, before, 1000, 1000))
	require.NoError(t, srv.User("").Replace(id, bytes.NewReader(after)))
	indextest.Refresh(t, ix)
	_, err := r.ReadAt(t.Context(), make([]byte, 1000), 7*block)
	require.ErrorIs(t, err, index.ErrChanged)
	ends(t, reads(t, r, before, 1000, 1000))
	require.True(t, bytes.Equal(after, readAll(t, open(t, ix, byID(t, ix, id)), block)))
}
