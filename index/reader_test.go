package index_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

const block = 1 << 20

// readAll reads the whole of img in pieces of n bytes.
func readAll(t testing.TB, r *index.Reader, n int) []byte {
	t.Helper()
	var out bytes.Buffer
	p := make([]byte, n)
	for off := int64(0); ; {
		m, err := r.ReadAt(t.Context(), p, off)
		out.Write(p[:m])
		off += int64(m)
		if errors.Is(err, io.EOF) {
			return out.Bytes()
		}
		require.NoError(t, err)
	}
}

func open(t testing.TB, ix *index.Index, img index.Image) *index.Reader {
	t.Helper()
	r, err := ix.OpenImage(img)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// put puts content on Drive and returns it as an index opened afterwards knows it.
func put(t testing.TB, srv *drivetest.Server, name string, content []byte) string {
	t.Helper()
	return indextest.Put(t, srv.User(""), name, content, nil).ID
}

func byID(t testing.TB, ix *index.Index, id string) index.Image {
	t.Helper()
	img, err := ix.ByID(id)
	require.NoError(t, err)
	return img
}

// fetched is what was asked of Drive's content of a file: ranges and bytes.
func fetched(srv *drivetest.Server, id string) (ranges []string, sum int64) {
	for _, r := range srv.Requests() {
		if r.Range == "" || !strings.HasSuffix(r.Path, "/"+id) {
			continue
		}
		ranges = append(ranges, r.Range)
		first, last, _ := strings.Cut(strings.TrimPrefix(r.Range, "bytes="), "-")
		a, _ := strconv.ParseInt(first, 10, 64)
		b, _ := strconv.ParseInt(last, 10, 64)
		sum += b - a + 1
	}
	return ranges, sum
}

func TestReadsWhatWasPushed(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	sizes := []int64{0, 1, block - 1, block, block + 1, 5*block + 3, 70*block + 11}
	ids := map[int64]string{}
	contents := map[int64][]byte{}
	for i, size := range sizes {
		contents[size] = imagetest.Bytes(uint64(i), size)
		ids[size] = put(t, srv, fmt.Sprintf("c/i:t%d", size), contents[size])
	}
	ix := indextest.Open(t, srv, index.Options{})
	for _, size := range sizes {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			img := byID(t, ix, ids[size])
			srv.ResetRequests()
			r := open(t, ix, img)
			require.True(t, bytes.Equal(contents[size], readAll(t, r, 128<<10)), "cold")
			require.True(t, bytes.Equal(contents[size], readAll(t, r, 3*block+7)), "warm")
			_, sum := fetched(srv, img.File)
			require.Equal(t, size, sum, "each byte is fetched once")
			require.Equal(t, size, ix.Cached(img))
			random := rand.New(rand.NewPCG(1, uint64(size)))
			for range 200 {
				if size == 0 {
					break
				}
				off := random.Int64N(size)
				p := make([]byte, 1+random.IntN(300<<10))
				n, err := r.ReadAt(t.Context(), p, off)
				if off+int64(len(p)) > size {
					require.ErrorIs(t, err, io.EOF)
				} else {
					require.NoError(t, err)
				}
				require.True(t, bytes.Equal(contents[size][off:off+int64(n)], p[:n]))
			}
			n, err := r.ReadAt(t.Context(), make([]byte, 1), size)
			require.Zero(t, n)
			require.ErrorIs(t, err, io.EOF)
		})
	}
}

func TestSixteenReadersFetchEachByteOnce(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.SIF(t, 20*block+77)
	id := put(t, srv, "c/i:t", content)
	ix := indextest.Open(t, srv, index.Options{})
	img := byID(t, ix, id)
	srv.ResetRequests()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			r, err := ix.OpenImage(img)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			random := rand.New(rand.NewPCG(2, uint64(i)))
			p := make([]byte, 4096)
			for range 400 {
				off := random.Int64N(int64(len(content)) - 4096)
				if n, err := r.ReadAt(t.Context(), p, off); err != nil || !bytes.Equal(p[:n], content[off:off+4096]) {
					t.Errorf("at %d: %v", off, err)
					return
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, ix.Prefetch(t.Context(), img))
	_, sum := fetched(srv, id)
	require.Equal(t, int64(len(content)), sum)
}

func TestAWaiterLeavesAndTheFetchGoesOn(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(3, block/2)
	id := put(t, srv, "c/i:t", content)
	ix := indextest.Open(t, srv, index.Options{})
	img := byID(t, ix, id)
	release := make(chan struct{})
	srv.Fault(drivetest.On("GET", "/drive/v3/files/*").Query("alt", "media").Hold(release))
	srv.ResetRequests()
	r := open(t, ix, img)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := r.ReadAt(ctx, make([]byte, 100), 0)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	close(release)
	indextest.Eventually(t, func() bool { return ix.Cached(img) == img.Size }, "the block arrives for the next reader")
	_, sum := fetched(srv, id)
	require.Equal(t, img.Size, sum)
}

// large is a file of zeros on Drive that takes no memory.
func large(t testing.TB, size int64) (*drivetest.Server, string) {
	t.Helper()
	srv := drivetest.NewServer(t, drivetest.Options{Dir: t.TempDir()})
	f, err := srv.User("").Put(drivetest.File{
		Name: "c/i:t.sif", MimeType: "application/octet-stream", Parents: []string{indextest.Root(t, srv.User(""))},
		Properties: map[string]string{"type": "container", "collection": "c", "image": "i", "tag": "t"},
	}, io.LimitReader(zeros{}, size))
	require.NoError(t, err)
	return srv, f.ID
}

// Who reads here and there gets windows around what he reads for a while, and then what he asks for; the rest too where it
// is wanted, see TestAnUnknownStartHurries.
func TestRandomReadsFetchLittle(t *testing.T) {
	const size = 300 * block
	srv, id := large(t, size)
	ix := indextest.Open(t, srv, index.Options{Complete: index.CompleteNever})
	srv.ResetRequests()
	r := open(t, ix, byID(t, ix, id))
	random := rand.New(rand.NewPCG(9, 9))
	p := make([]byte, 4096)
	for range 100 {
		_, err := r.ReadAt(t.Context(), p, random.Int64N(size-4096))
		require.NoError(t, err)
	}
	_, sum := fetched(srv, id)
	t.Logf("fetched %d MiB of %d (%d %%)", sum/block, size/block, sum*100/size)
	require.Less(t, sum, int64(150*block))
}

func TestSequentialReadsUseLongRequests(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(4, 60*block)
	id := put(t, srv, "c/i:t", content)
	ix := indextest.Open(t, srv, index.Options{})
	srv.ResetRequests()
	r := open(t, ix, byID(t, ix, id))
	require.True(t, bytes.Equal(content, readAll(t, r, 128<<10)))
	ranges, sum := fetched(srv, id)
	require.Equal(t, int64(len(content)), sum)
	require.Less(t, len(ranges), 40, "60 MiB in few requests: %v", ranges)
}

func TestRestartKeepsBlocks(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(5, 10*block)
	id := put(t, srv, "c/i:t", content)
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir})
	img := byID(t, ix, id)
	r := open(t, ix, img)
	p := make([]byte, 1000)
	_, err := r.ReadAt(t.Context(), p, 4*block)
	require.NoError(t, err)
	indextest.Eventually(t, func() bool { return ix.Cached(img) >= 3*block }, "neighbours and both ends")
	require.NoError(t, r.Close())
	require.NoError(t, ix.Close())
	stray := filepath.Join(dir, "blocks", strings.Repeat("ab", 16))
	require.NoError(t, os.WriteFile(stray, p, 0o600))
	other := filepath.Join(dir, "blocks", "README")
	require.NoError(t, os.WriteFile(other, p, 0o600))

	ix = indextest.Open(t, srv, index.Options{Dir: dir})
	require.NoFileExists(t, stray, "a block file without a record goes")
	require.FileExists(t, other, "what is not ours stays")
	cached := ix.Cached(img)
	require.GreaterOrEqual(t, cached, int64(3*block))
	srv.ResetRequests()
	r = open(t, ix, img)
	_, err = r.ReadAt(t.Context(), p, 4*block)
	require.NoError(t, err)
	require.True(t, bytes.Equal(p, content[4*block:4*block+1000]))
	require.True(t, bytes.Equal(content, readAll(t, r, block)))
	_, sum := fetched(srv, id)
	require.Equal(t, img.Size-cached, sum, "only what was missing")
	require.NoError(t, r.Close())
	require.NoError(t, ix.Close())

	t.Run("a lost block file is fetched again", func(t *testing.T) {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "blocks")))
		ix := indextest.Open(t, srv, index.Options{Dir: dir})
		require.Zero(t, ix.Cached(img))
		require.True(t, bytes.Equal(content, readAll(t, open(t, ix, img), block)))
	})
}

func TestTheBudgetHolds(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	contents := map[string][]byte{}
	var ids []string
	for i := range 4 {
		content := imagetest.Bytes(uint64(i), 6*block+int64(i))
		id := put(t, srv, fmt.Sprintf("c/i:%d", i), content)
		contents[id] = content
		ids = append(ids, id)
	}
	big := imagetest.Bytes(77, 50*block)
	bigID := put(t, srv, "c/big:1", big)
	cache := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{CacheDir: cache, CacheSize: 20 * block, CacheMinFree: 1})

	require.NoError(t, ix.Pin(byID(t, ix, ids[0])))
	for _, id := range ids {
		require.NoError(t, ix.Prefetch(t.Context(), byID(t, ix, id)))
	}
	require.LessOrEqual(t, ix.CacheStats().Used, int64(20*block))
	require.Equal(t, byID(t, ix, ids[0]).Size, ix.Cached(byID(t, ix, ids[0])), "pinned stays")
	require.Zero(t, ix.Cached(byID(t, ix, ids[1])), "the least recently used goes")
	require.Equal(t, byID(t, ix, ids[3]).Size, ix.Cached(byID(t, ix, ids[3])))

	require.ErrorIs(t, ix.Prefetch(t.Context(), byID(t, ix, bigID)), syscall.ENOSPC)
	srv.ResetRequests()
	r := open(t, ix, byID(t, ix, bigID))
	require.True(t, bytes.Equal(big, readAll(t, r, 128<<10)), "an image larger than the budget is read through")
	_, sum := fetched(srv, bigID)
	require.Less(t, sum, int64(len(big))*3/2, "and hardly anything twice")
	require.LessOrEqual(t, ix.CacheStats().Used, int64(20*block))
	require.Equal(t, byID(t, ix, ids[0]).Size, ix.Cached(byID(t, ix, ids[0])), "pinned stays")
	require.ErrorIs(t, ix.Evict(byID(t, ix, bigID)), index.ErrBusy)
	require.NoError(t, r.Close())
	require.NoError(t, ix.Evict(byID(t, ix, bigID)))
	require.NoError(t, ix.Evict(byID(t, ix, ids[0])))
	require.NoError(t, ix.ClearCache())
	require.Zero(t, ix.CacheStats().Used)
	indextest.Eventually(t, func() bool {
		files, err := os.ReadDir(cache)
		return err == nil && len(files) == 0
	}, "no file is left when those who had it open are done")
	for id, content := range contents {
		require.True(t, bytes.Equal(content, readAll(t, open(t, ix, byID(t, ix, id)), 128<<10)))
	}
}

func TestADiskWithoutRoomServesUncached(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(6, 12*block)
	id := put(t, srv, "c/i:t", content)
	ix := indextest.Open(t, srv, index.Options{CacheMinFree: 1 << 60})
	img := byID(t, ix, id)
	require.True(t, bytes.Equal(content, readAll(t, open(t, ix, img), 128<<10)))
	require.Zero(t, ix.Cached(img))
	require.Positive(t, ix.CacheStats().Uncached)
}

func TestWrongContentIsThrownAway(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(7, 3*block)
	id := put(t, srv, "c/i:t", content)
	ix := indextest.Open(t, srv, index.Options{})
	img := byID(t, ix, id)
	corrupt := func(times int) *drivetest.Rule {
		rule := drivetest.On("GET", "/drive/v3/files/"+id).Query("alt", "media").Corrupt().Times(times)
		srv.Fault(rule)
		return rule
	}
	corrupt(1)
	require.NoError(t, ix.Prefetch(t.Context(), img), "the second fetch is right")
	require.True(t, bytes.Equal(content, readAll(t, open(t, ix, img), block)))

	other := byID(t, ix, put2(t, srv, ix, "c/i:u", imagetest.Bytes(8, 3*block)))
	srv.ClearFaults()
	srv.Fault(drivetest.On("GET", "/drive/v3/files/"+other.File).Query("alt", "media").Corrupt())
	require.ErrorIs(t, ix.Prefetch(t.Context(), other), index.ErrDigest)
	_, err := open(t, ix, other).ReadAt(t.Context(), make([]byte, 10), 0)
	require.ErrorIs(t, err, index.ErrDigest)
	require.Equal(t, []string{other.File}, ix.CacheStats().Bad)
}

// put2 puts an image on Drive while ix is open, and waits until it is known.
func put2(t *testing.T, srv *drivetest.Server, ix *index.Index, name string, content []byte) string {
	t.Helper()
	id := put(t, srv, name, content)
	indextest.Refresh(t, ix)
	return id
}
