package fs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/indextest"
)

// asked counts the requests of an account since the log was emptied.
func asked(srv *drivetest.Server, user *drivetest.User) (ops []string) {
	for _, r := range srv.Requests() {
		if r.User == user.Email() && r.Op != "oauth.token" {
			ops = append(ops, r.Op)
		}
	}
	return ops
}

// TestAnotherAccountsSignIn: somebody else's token takes the place of the owner's, under a mount or before it starts.
// Nothing is dropped, pushed or believed with it, and when the owner's is back all goes on.
func TestAnotherAccountsSignIn(t *testing.T) {
	t.Parallel()
	for _, started := range []bool{true, false} {
		t.Run(map[bool]string{true: "under a mount", false: "before it starts"}[started], func(t *testing.T) {
			srv := drivetest.NewServer(t, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
			ann, bob := srv.User("ann@uni.edu"), srv.User("bob@uni.edu")
			cached, remote, pushed := sif(t, 1<<20, 1), sif(t, 2<<20, 2), sif(t, 300_000, 3)
			indextest.Put(t, ann, "c/cached:1", cached, nil)
			indextest.Put(t, ann, "c/remote:1", remote, nil)
			indextest.Put(t, bob, "b/secret:1", sif(t, 100_000, 4), nil)
			m := fstest.Mount(t, srv, fstest.Options{User: ann.Email(), Timeout: 5 * time.Second})
			m.Sh("cat c/cached:1.sif > /dev/null")
			if !started {
				m.Unmount()
			}
			srv.ResetRequests()
			m.SignIn(bob)
			if !started {
				m.Remount()
			}
			indextest.Eventually(t, func() bool { return strings.Contains(m.Sh("cat .sregfs/status"), "bob@uni.edu") }, "it is noticed")
			require.Equal(t, "sign-in", m.Sh("jq -r .state .sregfs/status"))
			require.Contains(t, m.Sh("jq -r .error .sregfs/status"), "sregfs login` as ann@uni.edu, or use another state directory with SREGFS_STATE_DIR")
			m.Fail("echo > .sregfs/refresh")

			require.Equal(t, sha(cached), strings.Fields(m.Sh("sha256sum c/cached:1.sif"))[0])
			require.Contains(t, m.Fail("cat c/remote:1.sif"), "Key has expired")
			require.Contains(t, m.Fail("rm c/remote:1.sif"), "Key has expired")
			require.Contains(t, m.Fail("mv c/remote:1.sif c/other:1.sif"), "Key has expired")
			require.Contains(t, m.Fail("cp "+local(t, "src", pushed)+" c/new:1.sif"), "Key has expired")
			require.Equal(t, "cached:1\ncached:1.sif\nnew:1.sif\nremote:1\nremote:1.sif", m.Sh("ls c"))
			m.Sh("test ! -e b; df . > /dev/null")
			require.Equal(t, []string{"about.get"}, asked(srv, bob), "one question, and nothing else")
			require.Equal(t, 1, images(bob))
			require.Equal(t, 2, images(ann))

			m.SignIn(ann)
			indextest.Eventually(t, func() bool { return images(ann) == 3 }, "the push goes on by itself")
			requireOnDrive(t, ann, "c/new:1", pushed)
			indextest.Eventually(t, func() bool { return m.Sh("jq -r .state .sregfs/status") == "online" }, "in step again")
			require.Equal(t, sha(remote), strings.Fields(m.Sh("sha256sum c/remote:1.sif"))[0])
			require.Equal(t, "cached:1\ncached:1.sif\nnew:1\nnew:1.sif\nremote:1\nremote:1.sif", m.Sh("ls c"))
			require.Equal(t, []string{"about.get"}, asked(srv, bob))
		})
	}
}

// TestAPushWhoseIdIsOfNoUse: Drive may refuse an id that was reserved some time ago. Whoever retries the push gets
// another one, and one image.
func TestAPushWhoseIdIsOfNoUse(t *testing.T) {
	t.Parallel()
	for _, refusal := range []struct {
		status int
		reason string
	}{{400, "invalid"}, {403, "insufficientFilePermissions"}, {404, "notFound"}, {409, "fileIdInUse"}} {
		t.Run(refusal.reason, func(t *testing.T) {
			srv := drivetest.NewServer(t, drivetest.Options{})
			user, content := srv.User(""), sif(t, 300_000, 1)
			m := fstest.Mount(t, srv, fstest.Options{Timeout: faultTime})
			refused := drivetest.On("POST", "/upload/*").Status(refusal.status, refusal.reason).Message("The provided file ID is not usable.").Times(2)
			srv.Fault(refused)
			_, code := m.Try("mkdir c; cp " + local(t, "src", content) + " c/x:1.sif")
			if refusal.status != 409 { // which says that the id is the matter
				require.NotZero(t, code)
				require.Zero(t, images(user))
				m.Sh(`echo "retry $(jq .id .sregfs/transfers)" > .sregfs/push; sync c/x:1.sif`)
			}
			require.Equal(t, 2, refused.Hits())
			requireOnDrive(t, user, "c/x:1", content)
			require.Equal(t, 1, images(user))
		})
	}
}
