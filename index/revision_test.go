package index_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

func TestARevisionStaysWhatItIs(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ann := srv.User("")
	content := imagetest.Bytes(9, 10*block)
	id := put(t, srv, "c/i:t", content)
	stateDir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Poll: -1, Dir: stateDir})
	img := byID(t, ix, id)
	r := open(t, ix, img)
	p := make([]byte, 1000)
	_, err := r.ReadAt(t.Context(), p, 1000)
	require.NoError(t, err)
	indextest.Eventually(t, func() bool { return ix.Cached(img) == block+block/2 }, "both ends")
	next := imagetest.Bytes(10, 10*block)
	require.NoError(t, ann.Replace(id, bytes.NewReader(next)))

	_, err = r.ReadAt(t.Context(), p, 7*block)
	require.ErrorIs(t, err, index.ErrChanged)
	_, err = r.ReadAt(t.Context(), p, 1000)
	require.NoError(t, err, "what is cached stays readable")
	require.True(t, bytes.Equal(p, content[1000:2000]))
	indextest.Eventually(t, func() bool { return byID(t, ix, id).Revision != img.Revision }, "the catalogue was told")
	second := open(t, ix, byID(t, ix, id))
	require.True(t, bytes.Equal(next, readAll(t, second, block)))

	t.Run("a catalogue that is behind is found out on the first read", func(t *testing.T) {
		stale := byID(t, ix, id)
		require.NoError(t, second.Close())
		require.NoError(t, r.Close())
		require.NoError(t, ix.Close()) // what was still being fetched is here, and can be cleared
		ix := indextest.Open(t, srv, index.Options{Poll: -1, Dir: stateDir})
		require.NoError(t, ix.ClearCache())
		require.NoError(t, ann.Replace(id, bytes.NewReader(content)))
		_, err := open(t, ix, stale).ReadAt(t.Context(), p, 0)
		require.ErrorIs(t, err, index.ErrChanged)
	})
}

func TestOfflineCachedImagesAreRead(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(11, 3*block)
	id := put(t, srv, "c/i:t", content)
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir})
	img := byID(t, ix, id)
	require.NoError(t, ix.Prefetch(t.Context(), img))
	require.NoError(t, ix.Close())

	offline, err := index.Open(t.Context(), index.Options{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, offline.Close()) })
	r := open(t, offline, img)
	require.True(t, bytes.Equal(content, readAll(t, r, 128<<10)))
	require.NoError(t, r.Close())
}

func TestReadersWhileBlocksGo(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	contents := map[string][]byte{}
	var ids []string
	for i := range 3 {
		content := imagetest.Bytes(uint64(20+i), 8*block+int64(i)*1000)
		id := put(t, srv, fmt.Sprintf("c/i:%d", i), content)
		contents[id] = content
		ids = append(ids, id)
	}
	ix := indextest.Open(t, srv, index.Options{CacheSize: 10 * block, CacheMinFree: 1})
	var wg sync.WaitGroup
	for i := range 6 {
		img := byID(t, ix, ids[i%3])
		content := contents[img.File]
		wg.Go(func() {
			random := rand.New(rand.NewPCG(3, uint64(i)))
			p := make([]byte, 200<<10)
			for range 8 {
				r, err := ix.OpenImage(img)
				if err != nil {
					t.Error(err)
					return
				}
				for range 10 {
					off := random.Int64N(img.Size - int64(len(p)))
					if n, err := r.ReadAt(t.Context(), p, off); err != nil || !bytes.Equal(p[:n], content[off:off+int64(n)]) {
						t.Errorf("at %d: %d bytes, %v", off, n, err)
					}
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
				if random.IntN(4) == 0 {
					if err := ix.ClearCache(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, ix.CacheStats().Used, int64(10*block))
	indextest.Eventually(t, func() bool {
		var sum int64
		for _, id := range ids {
			sum += ix.Cached(byID(t, ix, id))
		}
		return sum == ix.CacheStats().Used
	}, "the account is right when all is quiet")
}
