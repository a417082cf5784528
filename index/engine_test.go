package index_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// Whoever waits for a block does not wait for what nobody waits for, however much of it is on its way or queued.
func TestDemandIsNotBehindPrefetch(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(1, 48*block+5)
	id := put(t, srv, "c/i:t", content)
	g := newGate(t, srv)
	ix := g.open(t, srv, index.Options{})
	img := byID(t, ix, id)
	r := open(t, ix, img)
	const there = 40 * block
	indextest.Eventually(t, func() bool {
		demand, other := index.InTheAir(ix)
		return ix.Cached(img) >= block+block/2 && demand+other == 0
	}, "head and tail are here")
	before := len(g.until(t, "", func([]extent) bool { return true }))
	g.let(func(e extent) bool { return e.within(there, there) })
	spans := [][2]int64{}
	for off := int64(4 * block); off < 44*block; off += 4 * block {
		spans = append(spans, [2]int64{off, 4 * block})
	}
	index.AskProfile(r, spans...)
	g.until(t, "the profile is asked for", func(asked []extent) bool { return len(asked) >= before+16 })

	t.Run("a block that is queued departs at once", func(t *testing.T) {
		done := reads(t, r, content, there+5, 1000)
		ends(t, done)
		asked := g.until(t, "", func([]extent) bool { return true })
		require.Contains(t, asked, extent{there, there + block - 1}, "with its neighbours of the profile")
	})
	t.Run("one that is far in a request under way gets its own", func(t *testing.T) {
		asked := g.until(t, "", func([]extent) bool { return true })
		i := slices.IndexFunc(asked, func(e extent) bool { return e.last-e.first >= 2*block-1 && e.first >= 4*block })
		require.GreaterOrEqual(t, i, 0, asked)
		far := asked[i].last - 128<<10 + 1
		g.let(func(e extent) bool { return e.first == there || e.first == far })
		indextest.Eventually(t, func() bool {
			demand, _ := index.InTheAir(ix)
			return demand == 0
		}, "what was read says nothing more of the line")
		index.Line(ix, time.Millisecond, 1e6)
		ends(t, reads(t, r, content, far, 1000))
	})
	g.let(nil)
	require.True(t, bytes.Equal(content, readAll(t, r, 128<<10)))
}

// The first block of a long range is there before the range is.
func TestBlocksAreReadAsTheyArrive(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(2, 20*block)
	id := put(t, srv, "c/i:t", content)
	g := newGate(t, srv)
	ix := g.open(t, srv, index.Options{})
	r := open(t, ix, byID(t, ix, id))
	g.change(func() { g.stop = 300_000 })
	index.AskProfile(r, [2]int64{8 * block, 8 * block})
	ends(t, reads(t, r, content, 8*block, 200_000))
	require.True(t, index.Flying(ix, byID(t, ix, id)), "the rest is still to come")
	g.change(func() { g.stop = 0 })
	require.True(t, bytes.Equal(content, readAll(t, r, 128<<10)))
}

// What is queued for an image goes when its last reader does, and not before; what somebody asked for by name stays.
func TestTheLastReaderTakesTheQueueAlong(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(3, 50*block)
	id := put(t, srv, "c/i:t", content)
	g := newGate(t, srv)
	ix := g.open(t, srv, index.Options{})
	img := byID(t, ix, id)
	g.let(func(extent) bool { return false })
	one, err := ix.OpenImage(img)
	require.NoError(t, err)
	two, err := ix.OpenImage(img)
	require.NoError(t, err)
	var spans [][2]int64
	for off := int64(4 * block); off < 48*block; off += 2 * block {
		spans = append(spans, [2]int64{off, block})
	}
	index.AskProfile(one, spans...)
	g.until(t, "as many as may be in the air", func(asked []extent) bool { return len(asked) >= 16 })
	require.NoError(t, one.Close())
	require.Positive(t, index.Queued(ix, img), "somebody reads it yet")
	require.NoError(t, two.Close())
	require.Zero(t, index.Queued(ix, img))
	g.let(nil)
	indextest.Eventually(t, func() bool { return !index.Flying(ix, img) }, "what was in the air has arrived")
	asked := g.until(t, "", func([]extent) bool { return true })
	require.LessOrEqual(t, len(asked), 20)
	require.NoError(t, ix.Prefetch(t.Context(), img))
	require.Equal(t, img.Size, ix.Cached(img))
}

// However much is queued, and however many read, requests and bytes in the air are bounded.
func TestRequestsInTheAirAreBounded(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(4, 60*block)
	id := put(t, srv, "c/i:t", content)
	g := newGate(t, srv)
	ix := g.open(t, srv, index.Options{})
	img := byID(t, ix, id)
	r := open(t, ix, img)
	g.let(func(extent) bool { return false })
	var done []<-chan error
	for i := range int64(30) {
		index.AskProfile(r, [2]int64{2 * i * block, block})
	}
	for i := range int64(30) {
		done = append(done, reads(t, r, content, (2*i+1)*block+block/2, 1000))
	}
	g.until(t, "all connections are busy", func(asked []extent) bool { return len(asked) >= 16 })
	g.let(nil)
	for _, d := range done {
		ends(t, d)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	require.LessOrEqual(t, g.most, 24)
}

// Sixteen readers of one image, each from its beginning to its end: Drive serves each byte once.
func TestSixteenCopiesFetchEachByteOnce(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(5, 12*block+3)
	id := put(t, srv, "c/i:t", content)
	ix := indextest.Open(t, srv, index.Options{})
	img := byID(t, ix, id)
	srv.SetShape(drivetest.Shape{Latency: 20 * time.Millisecond})
	srv.ResetRequests()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			r, err := ix.OpenImage(img)
			if err != nil {
				t.Error(err)
				return
			}
			if !bytes.Equal(content, readAll(t, r, 128<<10)) {
				t.Error("wrong bytes")
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	_, sum := fetched(srv, id)
	require.LessOrEqual(t, sum, int64(len(content))*102/100)
}

// Of a file that Drive refuses, and of one it refuses for now, nothing is asked for that nobody waits for, until a reader
// was served.
func TestARefusedFileIsLeftAlone(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(6, 50*block)
	id := put(t, srv, "c/i:t", content)
	ix := indextest.Open(t, srv, index.Options{})
	img := byID(t, ix, id)
	r := open(t, ix, img)
	ends(t, reads(t, r, content, 1000, 1000))
	indextest.Eventually(t, func() bool { return !index.Flying(ix, img) }, "head and tail are here")
	refusal := drivetest.On("GET", "/drive/v3/files/"+id).Query("alt", "media").Status(403, "downloadQuotaExceeded")
	srv.Fault(refusal)
	index.AskProfile(r, [2]int64{10 * block, 30 * block})
	indextest.Eventually(t, func() bool { return !index.Flying(ix, img) && index.Queued(ix, img) == 0 }, "the queue is dropped")
	hits := refusal.Hits()
	require.LessOrEqual(t, hits, 16)
	index.AskProfile(r, [2]int64{10 * block, 30 * block})
	require.Zero(t, index.Queued(ix, img), "nothing more is queued")
	_, err := r.ReadAt(t.Context(), make([]byte, 100), 40*block)
	require.ErrorIs(t, err, index.ErrQuota)

	srv.ClearFaults()
	index.Drive(ix).Unpark(id)
	ends(t, reads(t, r, content, 40*block, 1000))
	index.AskProfile(r, [2]int64{10 * block, 10 * block})
	indextest.Eventually(t, func() bool { return ix.Cached(img) > 12*block }, "guesses go on")
}

// The rest of an image that is open comes when nobody has waited for a while, unless it is not wanted.
func TestCompletion(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(7, 20*block+9)
	id := put(t, srv, "c/i:t", content)
	for _, how := range []index.Completion{index.CompleteIdle, index.CompleteNever} {
		t.Run(string(how), func(t *testing.T) {
			ix := indextest.Open(t, srv, index.Options{Complete: how, NoProfiles: true})
			img := byID(t, ix, id)
			r := open(t, ix, img)
			ends(t, reads(t, r, content, 1000, 1000))
			indextest.Eventually(t, func() bool { return !index.Flying(ix, img) }, "the ends are here")
			require.Less(t, ix.Cached(img), int64(2*block))
			index.Idle(ix)
			if how == index.CompleteNever {
				require.Zero(t, index.Queued(ix, img))
				return
			}
			indextest.Eventually(t, func() bool { index.Idle(ix); return ix.Cached(img) == img.Size }, "all of it is here")
			require.Positive(t, ix.CacheStats().Fetched["complete"].Requests)
			require.Positive(t, ix.CacheStats().Open[0].Unread)
			require.True(t, bytes.Equal(content, readAll(t, r, block)))
			require.Zero(t, ix.CacheStats().Open[0].Unread)
		})
	}
	_, err := index.ParseCompletion("sometimes")
	require.Error(t, err)
}

// What the cache holds in blocks of another size is taken in if it is whole and right, and fetched again otherwise; what
// was pinned stays so.
func TestBlocksOfAnotherSize(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	whole, part := imagetest.Bytes(8, 5*block+7), imagetest.Bytes(9, 9*block)
	wholeID, partID := put(t, srv, "c/i:whole", whole), put(t, srv, "c/i:part", part)
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir})
	require.NoError(t, ix.Prefetch(t.Context(), byID(t, ix, wholeID)))
	require.NoError(t, ix.Pin(byID(t, ix, wholeID)))
	r, err := ix.OpenImage(byID(t, ix, partID))
	require.NoError(t, err)
	ends(t, reads(t, r, part, 100, 100))
	require.NoError(t, r.Close())
	require.NoError(t, ix.Close())
	db, err := badger.Open(badger.DefaultOptions(filepath.Join(dir, "index")).WithLogger(nil))
	require.NoError(t, err)
	changed := 0
	require.NoError(t, db.Update(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			b, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			if other := bytes.Replace(b, []byte(`"block":131072`), []byte(`"block":1048576`), 1); len(other) != len(b) {
				changed++
				if err := txn.Set(it.Item().KeyCopy(nil), other); err != nil {
					return err
				}
			}
		}
		return nil
	}))
	require.NoError(t, db.Close())
	require.Equal(t, 2, changed)

	ix = indextest.Open(t, srv, index.Options{Dir: dir})
	report, err := ix.Check(t.Context(), index.CheckOptions{})
	require.NoError(t, err)
	require.Zero(t, report.Remaining, report.Problems)
	require.Equal(t, int64(len(whole)), ix.Cached(byID(t, ix, wholeID)))
	require.True(t, ix.Pinned(byID(t, ix, wholeID)))
	require.Zero(t, ix.Cached(byID(t, ix, partID)))
	srv.ResetRequests()
	require.True(t, bytes.Equal(whole, readAll(t, open(t, ix, byID(t, ix, wholeID)), block)))
	_, sum := fetched(srv, wholeID)
	require.Zero(t, sum)
	require.True(t, bytes.Equal(part, readAll(t, open(t, ix, byID(t, ix, partID)), block)))
}
