package index_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

func TestWritesInAnyOrder(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ix := indextest.Open(t, srv, index.Options{})
	content := imagetest.SIF(t, 4*block+99)
	d, err := ix.CreateDraft(at("c", "i:t.sif"))
	require.NoError(t, err)
	d.Acquire()
	defer d.Release()
	const piece = 32 << 10
	order := rand.New(rand.NewPCG(1, 2)).Perm((len(content) + piece - 1) / piece)
	for _, i := range append(order, order[0]) { // one of them twice
		from := i * piece
		_, err := d.WriteAt(t.Context(), content[from:min(len(content), from+piece)], int64(from))
		require.NoError(t, err)
	}
	img := push(t, d)
	sum := md5.Sum(content)
	require.Equal(t, hex.EncodeToString(sum[:]), img.MD5)
}

func TestHalfAnImageStaysADraft(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir})
	content := imagetest.SIF(t, 2*block)
	d := write(t, ix, at("c", "i:t.sif"), content[:block])
	_, err := d.Push(t.Context())
	require.ErrorIs(t, err, index.ErrPartial)
	require.ErrorIs(t, err, image.ErrTruncated)
	require.Equal(t, index.StateDraft, d.State())
	require.Empty(t, onDrive(srv))

	empty, err := ix.CreateDraft(at("c", "never.sif"))
	require.NoError(t, err)
	require.False(t, empty.Dirty())
	_, err = empty.Push(t.Context())
	require.ErrorIs(t, err, index.ErrPartial)

	plain := write(t, ix, at("c", "notes.txt"), []byte("hello"))
	_, err = plain.Push(t.Context())
	require.ErrorIs(t, err, index.ErrNotImage)
	_, err = ix.CreateDraft(at("c", "notes.txt"))
	require.ErrorIs(t, err, iofs.ErrExist)

	t.Run("and can be completed", func(t *testing.T) {
		_, err = d.WriteAt(t.Context(), content[block:], block)
		require.NoError(t, err)
		push(t, d)
		require.Len(t, onDrive(srv), 1)
	})
	t.Run("drafts survive a restart", func(t *testing.T) {
		require.NoError(t, ix.Close())
		require.NoError(t, os.WriteFile(filepath.Join(dir, "drafts", "00000000000000ff"), []byte("lost and found"), 0o600))
		again := indextest.Open(t, srv, index.Options{Dir: dir})
		var names []string
		for _, d := range again.AllDrafts() {
			names = append(names, d.Place().String())
		}
		require.ElementsMatch(t, []string{"c/never.sif", "c/notes.txt", "recovered-255"}, names)
		list := again.Drafts("C", "")
		require.Len(t, list, 2)
		require.Equal(t, "c/notes.txt", list[1].Place().String())
		p := make([]byte, 5)
		list[1].Acquire()
		_, err := list[1].ReadAt(t.Context(), p, 0)
		require.NoError(t, err)
		require.Equal(t, "hello", string(p))
		list[1].Release()
		require.NoError(t, again.RemoveDraft(list[1]))
		_, ok := again.Draft(at("c", "notes.txt"))
		require.False(t, ok)
	})
}

func TestEditingAPublishedImage(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.SIF(t, 3*block)
	id := put(t, srv, "c/i:t", content)
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir})
	img := byID(t, ix, id)
	place := at("c", "i:t.sif")

	t.Run("without a change nothing happens", func(t *testing.T) {
		srv.ResetRequests()
		d, err := ix.EditDraft(img, place)
		require.NoError(t, err)
		d.Acquire()
		require.Equal(t, img.Size, d.Size())
		require.False(t, d.Dirty())
		same, err := d.Push(t.Context())
		require.NoError(t, err)
		require.Equal(t, id, same.File)
		p := make([]byte, 100)
		_, err = d.ReadAt(t.Context(), p, 500)
		require.NoError(t, err)
		require.Equal(t, content[500:600], p)
		d.Release()
		_, ok := ix.Draft(place)
		require.False(t, ok)
		require.Empty(t, draftFiles(t, dir))
	})
	t.Run("truncation fetches nothing", func(t *testing.T) {
		require.NoError(t, ix.Prefetch(t.Context(), img)) // no fetch is under way then
		require.NoError(t, ix.ClearCache())
		require.Eventually(t, func() bool { // a request is logged when its reply has gone
			_, sum := fetched(srv, id)
			return sum >= img.Size
		}, 10*time.Second, time.Millisecond)
		srv.ResetRequests()
		d, err := ix.EditDraft(img, place)
		require.NoError(t, err)
		d.Acquire()
		require.NoError(t, d.Truncate(t.Context(), 0))
		require.False(t, d.Dirty(), "dd flushes here")
		next := imagetest.SIF(t, 2*block, imagetest.Seed(5))
		_, err = d.WriteAt(t.Context(), next, 0)
		require.NoError(t, err)
		pushed := push(t, d)
		require.NotEqual(t, id, pushed.File)
		ranges, _ := fetched(srv, id)
		require.Empty(t, ranges)
		d.Release()
		require.Len(t, onDrive(srv), 2, "the old version stays")
	})
	t.Run("a change copies first, as apptainer sign needs it", func(t *testing.T) {
		d, err := ix.EditDraft(img, place)
		require.NoError(t, err)
		d.Acquire()
		defer d.Release()
		_, err = d.WriteAt(t.Context(), []byte("signature"), int64(len(content)))
		require.NoError(t, err)
		pushed := push(t, d)
		require.Equal(t, img.Size+9, pushed.Size)
		want := append(bytes.Clone(content), "signature"...)
		require.True(t, bytes.Equal(want, readAll(t, open(t, ix, pushed), block)))

		t.Run("and again on the same handle", func(t *testing.T) {
			_, err = d.WriteAt(t.Context(), []byte("SIGNATURE"), int64(len(content)))
			require.NoError(t, err)
			require.True(t, d.Dirty())
			again := push(t, d)
			require.NotEqual(t, pushed.File, again.File)
			require.True(t, bytes.Equal(want, readAll(t, open(t, ix, pushed), block)), "the version before keeps its bytes")
			want := append(bytes.Clone(content), "SIGNATURE"...)
			require.True(t, bytes.Equal(want, readAll(t, open(t, ix, again), block)))
		})
	})
	require.True(t, bytes.Equal(content, readAll(t, open(t, ix, img), block)))
}

func TestMovingADraftPublishesIt(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ix := indextest.Open(t, srv, index.Options{})
	content := imagetest.SIF(t, block)
	half := write(t, ix, at("c", ".i:t.sif.Xa12"), content[:block/2])
	require.ErrorIs(t, ix.MoveDraft(t.Context(), half, at("c", "i:t.sif")), index.ErrPartial)
	_, ok := ix.Draft(at("c", ".i:t.sif.Xa12"))
	require.True(t, ok, "it stays where it was")

	d := write(t, ix, at("c", ".i:t.sif.Yb34"), content)
	require.NoError(t, ix.MoveDraft(t.Context(), d, at("c", "i:t.part")))
	require.Empty(t, onDrive(srv))
	require.NoError(t, ix.MoveDraft(t.Context(), d, at("c", "i:t.sif")))
	img, err := ix.Lookup("", image.Ref{Collection: "c", Image: "i", Tag: "t"})
	require.NoError(t, err)
	require.Equal(t, int64(len(content)), img.Size)
	_, ok = ix.Draft(at("c", "i:t.part"))
	require.False(t, ok)

	inside := write(t, ix, index.Place{Collection: "c", Tag: "i:t", Name: "anything.sif"}, imagetest.SIF(t, block, imagetest.Seed(3)))
	pushed := push(t, inside)
	require.Equal(t, "c/i:t", pushed.Short())
}

func TestAWriterWaitsForThePush(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ix := indextest.Open(t, srv, index.Options{Background: true})
	content := imagetest.SIF(t, block)
	d := write(t, ix, at("c", "i:t.sif"), content)
	slow := drivetest.On("PUT", "/upload/*").Nth(1).Delay(200 * time.Millisecond)
	srv.Fault(slow)
	push(t, d)
	_, err := d.WriteAt(t.Context(), []byte("more"), int64(len(content)))
	require.NoError(t, err)
	require.Len(t, onDrive(srv), 1, "the write came after the push")
	require.Equal(t, int64(len(content)), onDrive(srv)[0].Size)
	require.True(t, d.Dirty())
	push(t, d)
	require.NoError(t, d.Wait(t.Context()))
	require.Len(t, onDrive(srv), 2)

	t.Run("another draft takes the name meanwhile", func(t *testing.T) {
		srv.Fault(drivetest.On("PUT", "/upload/*").Nth(1).Delay(200 * time.Millisecond))
		first := write(t, ix, at("c", "x:t.sif"), content[:len(content)/1])
		push(t, first)
		second := write(t, ix, at("c", "x:t.sif"), imagetest.SIF(t, block, imagetest.Seed(8)))
		push(t, second)
		require.NoError(t, ix.WaitPushes(t.Context()))
		newest, err := ix.Lookup("", image.Ref{Collection: "c", Image: "x", Tag: "t"})
		require.NoError(t, err)
		img, err := second.Push(t.Context())
		require.NoError(t, err)
		require.Equal(t, img.File, newest.File)
	})
}

func TestReadOnlyRefusesDrafts(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	id := put(t, srv, "c/i:t", []byte("x"))
	ix := indextest.Open(t, srv, index.Options{ReadOnly: true})
	_, err := ix.CreateDraft(at("c", "i:t.sif"))
	require.ErrorIs(t, err, index.ErrReadOnly)
	_, err = ix.EditDraft(byID(t, ix, id), at("c", "i:t.sif"))
	require.ErrorIs(t, err, index.ErrReadOnly)
}

func TestAFullDiskIsSaid(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	drafts := filepath.Join(dir, "drafts")
	require.NoError(t, os.Mkdir(drafts, 0o700))
	if err := unix.Mount("tmpfs", drafts, "tmpfs", 0, "size=3m"); err != nil {
		t.Skip("mounting a small disk:", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(drafts, unix.MNT_DETACH)) })
	ix := indextest.Open(t, srv, index.Options{Dir: dir})
	content := imagetest.SIF(t, 2*block)
	d := write(t, ix, at("c", "i:t.sif"), content)
	_, err := d.WriteAt(t.Context(), imagetest.Zeros(2*block), 2*block)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, d.Truncate(t.Context(), 2*block))
	img := push(t, d)
	require.Equal(t, img.Size, ix.Cached(img), "another disk: the cache has a copy of the file")
	require.Empty(t, draftFiles(t, dir))
	require.True(t, bytes.Equal(content, readAll(t, open(t, ix, img), block)), "Drive has it")
}
