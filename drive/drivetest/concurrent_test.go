package drivetest

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// consistent checks what the store's maps say of each other.
func consistent(t *testing.T, s *store) {
	t.Helper()
	s.mu.RLock()
	defer s.mu.RUnlock()
	used, refs, children := map[string]int64{}, map[string]int{}, 0
	for id, f := range s.files {
		require.Equal(t, id, f.ID)
		used[f.Owner] += f.quotaBytes()
		for _, key := range f.contentKeys() {
			refs[key]++
		}
		if f.Parent != "" {
			require.Same(t, f, s.children[f.Parent][id])
			require.NotNil(t, s.files[f.Parent], "%s is nowhere", f.Name)
		}
	}
	for _, ses := range s.sessions {
		for _, key := range ses.contentKeys() {
			refs[key]++
		}
	}
	for _, kids := range s.children {
		children += len(kids)
	}
	require.Len(t, s.files, children+len(s.people), "all but each My Drive are somebody's children")
	maps.DeleteFunc(used, func(_ string, n int64) bool { return n == 0 })
	have := maps.Clone(s.used)
	maps.DeleteFunc(have, func(_ string, n int64) bool { return n == 0 })
	require.Equal(t, used, have)
	require.Equal(t, refs, s.refs)
	for key := range refs {
		_, err := s.contents.size(key)
		require.NoError(t, err)
	}
	for email, feed := range s.feeds {
		for i := range feed.entries[1:] {
			require.Less(t, feed.entries[i].Seq, feed.entries[i+1].Seq)
		}
		for _, c := range feed.entries {
			if f := s.files[c.File]; feed.alive(&c) && !c.Removed {
				require.NotNil(t, f)
				require.NotEqual(t, roleNone, s.roleOf(email, f))
			}
		}
	}
}

func TestManyClientsAtOnce(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		t.Run("dir="+dir, func(t *testing.T) {
			s := NewServer(t, Options{Dir: dir})
			reg := newClient(t, s, "ann@uni.edu").folder("reg", "")
			var work sync.WaitGroup
			for n := range 6 {
				c := newClient(t, s, "ann@uni.edu")
				work.Go(func() {
					content := noise(kib256 + 1 + n)
					for i := range 5 {
						name := fmt.Sprintf("f%d-%d", n, i)
						u := c.begin(`{"name":"` + name + `","parents":["` + reg + `"]}`)
						c.chunk(u, content[:kib256], fmt.Sprintf("bytes 0-%d/*", kib256-1))
						id := c.object(c.chunk(u, content[kib256:], fmt.Sprintf("bytes %d-%d/%d", kib256, len(content)-1, len(content))))["id"]
						path := "/drive/v3/files/" + id.(string)
						c.do("PATCH", path, `{"properties":{"a":"b"}}`)
						pid := c.share(id.(string), "bob@uni.edu", "reader")
						c.do("GET", "/drive/v3/files?fields=*&q=trashed=false", "")
						c.send("PATCH", "/upload"+path+"?uploadType=media", bytes.NewReader(content[:1000]))
						copied := c.do("POST", path+"/copy", "")["id"].(string)
						switch i {
						case 0:
							c.do("DELETE", path, "")
						case 1:
							c.do("PATCH", path, `{"trashed":true}`)
						case 2:
							c.do("DELETE", path+"/permissions/"+pid, "")
						case 3:
							c.do("PATCH", path+"?addParents=root&removeParents="+reg, "")
						}
						c.do("DELETE", "/drive/v3/files/"+copied, "")
					}
				})
			}
			follower := follow(newClient(t, s, "bob@uni.edu"))
			work.Go(func() {
				for range 20 {
					follower.read()
				}
			})
			work.Wait()
			consistent(t, s.store)
			follower.read()
			follower.token = "1"
			alive := strings.Fields(follower.read())
			removed := 0
			for _, name := range alive {
				if strings.HasPrefix(name, "-") {
					removed++
				}
			}
			require.Equal(t, 12, removed, "six deleted, six unshared: %s", alive)
			require.Len(t, strings.Fields(follower.names("sharedWithMe")), 18)
		})
	}
}
