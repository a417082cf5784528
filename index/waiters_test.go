package index_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// A read may come later than the Close of its Reader: the kernel sends them in parallel. One after the end of the index
// has its answer too.
func TestAReadAfterCloseHasAnAnswer(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(1, 3*block+7)
	id := put(t, srv, "c/i:t", content)
	ix := indextest.Open(t, srv, index.Options{})
	img := byID(t, ix, id)
	require.NoError(t, ix.Prefetch(t.Context(), img))
	r := open(t, ix, img)
	p := make([]byte, 1000)
	_, err := r.ReadAt(t.Context(), p, block)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	indextest.Eventually(t, func() bool { return !index.Opened(ix, img) }, "its file is closed")

	ends(t, reads(t, r, content, 2*block, 1000))
	require.NoError(t, ix.Close())
	done := reads(t, r, content, 2*block, 1000)
	require.Error(t, <-done)
}

// However many ask for an image by name while all connections are taken, each of them is told when it is here.
func TestWhoAsksByNameIsToldHoweverManyDo(t *testing.T) {
	const askers = 1100
	srv := drivetest.NewServer(t, drivetest.Options{})
	var others []string
	for i := range 12 {
		others = append(others, put(t, srv, fmt.Sprintf("c/other%d:t", i), imagetest.Bytes(uint64(i+10), block/2)))
	}
	id := put(t, srv, "c/i:t", imagetest.Bytes(1, 3*block))
	g := newGate(t, srv)
	ix := g.open(t, srv, index.Options{Complete: index.CompleteNever}) // which would have its own place in the queue
	img := byID(t, ix, id)
	g.let(func(extent) bool { return false })
	done := make(chan error, askers+len(others))
	for _, other := range others {
		img := byID(t, ix, other)
		go func() { done <- ix.Prefetch(t.Context(), img) }()
	}
	g.until(t, "all connections for this are taken", func(asked []extent) bool { return len(asked) == len(others) })
	for range askers {
		go func() { done <- ix.Prefetch(t.Context(), img) }()
	}
	indextest.Eventually(t, func() bool { return index.Queued(ix, img) == askers }, "all are in the queue")
	g.let(nil)
	for range cap(done) {
		require.NoError(t, <-done)
	}
}

// What the disk has no room for is kept in memory for a while, and takes no more of it than it has bytes.
func TestBlocksInMemoryTakeTheirSize(t *testing.T) {
	const reads, apart = 64, 512 << 10
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(2, (reads+4)*apart)
	id := put(t, srv, "c/i:t", content)
	ix := indextest.Open(t, srv, index.Options{CacheMinFree: 1 << 60, NoProfiles: true})
	img := byID(t, ix, id)
	r := open(t, ix, img)
	p := make([]byte, 4096)
	for i := range reads {
		off := int64(2*block + i*37%reads*apart)
		_, err := r.ReadAt(t.Context(), p, off)
		require.NoError(t, err)
		require.True(t, bytes.Equal(content[off:off+4096], p))
	}
	bytes, room := index.InMemory(ix, img)
	require.Positive(t, bytes)
	require.LessOrEqual(t, room, 2*bytes)
}

// A small image is found right before it is read, also when the disk has no room for it.
func TestASmallImageInMemoryIsFoundRight(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	for _, size := range []int64{1, 128 << 10, block} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			content := imagetest.Bytes(uint64(size), size)
			id := put(t, srv, fmt.Sprintf("c/i%d:t", size), content)
			ix := indextest.Open(t, srv, index.Options{CacheMinFree: 1 << 60, NoProfiles: true})
			r := open(t, ix, byID(t, ix, id))
			corrupt := func() *drivetest.Rule {
				return drivetest.On("GET", "/drive/v3/files/"+id).Query("alt", "media").Corrupt()
			}
			once := corrupt().Times(1)
			srv.Fault(once)
			require.True(t, bytes.Equal(content, readAll(t, r, 4096)))
			require.Equal(t, 1, once.Hits())
			require.NoError(t, r.Close())

			srv.Fault(corrupt())
			t.Cleanup(srv.ClearFaults)
			other := indextest.Open(t, srv, index.Options{CacheMinFree: 1 << 60, NoProfiles: true})
			n, err := open(t, other, byID(t, other, id)).ReadAt(t.Context(), make([]byte, 1), 0)
			require.ErrorIs(t, err, index.ErrDigest)
			require.Zero(t, n)
			require.ErrorIs(t, other.Prefetch(t.Context(), byID(t, other, id)), index.ErrDigest)
		})
	}
}
