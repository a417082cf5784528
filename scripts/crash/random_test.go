//go:build crash

package crash

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
)

// points are all the crash points of the program.
var points = []string{
	"draft.created", "draft.moved", "draft.buried", "draft.unlinked", "draft.synced", "draft.sealed", "id.reserved", "session.opened",
	"session.recorded", "chunk.sent", "drive.answered", "uploaded", "committed", "draft.adopted", "disposed", "blocks.synced",
	"records.stored", "image.patched", "image.trashed",
}

// slow is a Drive in which a push takes some tenths of a second.
var slow = drivetest.Shape{Latency: 10 * time.Millisecond, PerConnection: 8 << 20}

// newDrive is a Drive and the credentials of its user.
func newDrive(t *testing.T, shape drivetest.Shape) (srv *drivetest.Server, credentials string) {
	t.Helper()
	srv = drivetest.NewServer(t, drivetest.Options{Shape: shape})
	credentials = t.TempDir()
	require.NoError(t, srv.User("").WriteCredentials(credentials))
	return srv, credentials
}

func TestKilledAtEachPoint(t *testing.T) {
	srv, credentials := newDrive(t, slow)
	k := newMaker(*seed)
	m := newMount(t, srv.URL(), credentials, "--push", "background")
	workers := newWorkers(4, m, k, srv.User(""), true)
	for _, point := range points {
		if point == "blocks.synced" {
			continue // workers read what they pushed, which is here
		}
		t.Log(point)
		err := m.start(point)
		if err != errDied { //nolint:errorlint // it is ours
			require.NoError(t, err, point)
			if point == "chunk.sent" { // only what is larger than a chunk has more than one
				b, sum, err := k.content(20 << 20)
				require.NoError(t, err)
				if err := workers[0].push(workers[0].names[0], "a", b, sum); !dead(err) {
					require.NoError(t, err)
				}
			}
			wait := work(t, workers, m.ended)
			m.died()
			wait()
		}
		require.NoError(t, m.start(""))
		m.drain()
		judge(t, srv.User(""), k, m, namesOf(workers))
		m.kill()
	}
}

func TestKilledAtRandomMoments(t *testing.T) {
	for _, push := range []string{"close", "background"} {
		t.Run(push, func(t *testing.T) { killAtRandom(t, push, (*kills+1)/2) })
	}
}

func killAtRandom(t *testing.T, push string, kills int) {
	srv, credentials := newDrive(t, slow)
	k := newMaker(*seed)
	m := newMount(t, srv.URL(), credentials, "--push", push)
	workers := newWorkers(4, m, k, srv.User(""), push == "background")
	dice := rand.New(rand.NewPCG(*seed, 99))
	t.Logf("-seed %d", *seed)
	log := uploads{at: map[string]int64{}}
	killed := 0
	defer func() {
		t.Logf("%d kills, %d images, %d uploads of %d bytes", killed, len(k.made), len(log.at), log.bytes)
	}()
	for killed < kills {
		// A life with workers, ended at a point or at any moment.
		armed := ""
		if dice.IntN(2) == 0 {
			armed = fmt.Sprintf("%s:%d", points[dice.IntN(len(points))], 1+dice.IntN(4))
		}
		if m.cmd == nil {
			err := m.start(armed)
			if err == errDied { //nolint:errorlint // it is ours
				killed++
				continue
			}
			require.NoError(t, err)
		}
		wait := work(t, workers, make(chan struct{}))
		after := time.NewTimer(time.Duration(50+dice.IntN(700)) * time.Millisecond)
		select {
		case <-m.ended:
		case <-after.C:
		}
		m.kill()
		killed++
		wait()
		// Lives without, that end before they have emptied the journal.
		for range dice.IntN(3) {
			err := m.start("")
			require.NoError(t, err)
			<-time.After(time.Duration(dice.IntN(150)) * time.Millisecond)
			m.kill()
			killed++
		}
		// And one that empties it.
		require.NoError(t, m.start(""))
		m.drain()
		judge(t, srv.User(""), k, m, namesOf(workers))
		if dice.IntN(2) == 0 { // else it works on
			m.kill()
			killed++
		}
		log.add(t, srv)
		pushes := 0
		for _, w := range workers {
			pushes += w.pushes
		}
		require.LessOrEqual(t, len(log.at), pushes, "an upload was begun again")
	}
}

// uploads is what the log of the Drive says of the contents it was sent.
type uploads struct {
	at    map[string]int64 // where the last chunk of each session began
	bytes int64
}

// add reads the log on. An upload goes on where Drive is, never further back.
func (u *uploads) add(t *testing.T, srv *drivetest.Server) {
	t.Helper()
	for _, r := range srv.Requests() {
		if r.Op != "upload.chunk" || r.In == 0 {
			continue
		}
		query, err := url.ParseQuery(r.Query)
		require.NoError(t, err)
		session := query.Get("upload_id")
		var from, to, size int64
		_, err = fmt.Sscanf(r.ContentRange, "bytes %d-%d/%d", &from, &to, &size)
		require.NoError(t, err, r.ContentRange)
		if r.Status < 300 || r.Status == 308 { // one that was cut is logged when it is noticed
			require.GreaterOrEqual(t, from, u.at[session], "Drive was sent again what it had: %s", r)
		}
		u.at[session] = max(u.at[session], from)
		u.bytes += r.In
	}
	srv.ResetRequests()
}
