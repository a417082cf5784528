package index_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sregfs/drive"
	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

func at(collection, name string) index.Place { return index.Place{Collection: collection, Name: name} }

// write creates a draft at p and writes content to it in order, as cp does.
func write(t testing.TB, ix *index.Index, p index.Place, content []byte) *index.Draft {
	t.Helper()
	d, err := ix.CreateDraft(p)
	require.NoError(t, err)
	d.Acquire()
	t.Cleanup(d.Release)
	for off := 0; off < len(content); off += 128 << 10 {
		n, err := d.WriteAt(t.Context(), content[off:min(len(content), off+128<<10)], int64(off))
		require.NoError(t, err)
		require.Equal(t, min(128<<10, len(content)-off), n)
	}
	return d
}

func push(t testing.TB, d *index.Draft) index.Image {
	t.Helper()
	img, err := d.Push(t.Context())
	require.NoError(t, err)
	return img
}

// onDrive are the images in user's registry, those in the bin left out.
func onDrive(srv *drivetest.Server) []drivetest.File {
	var out []drivetest.File
	for _, f := range srv.User("").Files() {
		if f.Properties["type"] == "container" && !f.Trashed {
			out = append(out, f)
		}
	}
	return out
}

func sent(srv *drivetest.Server) (n int64) {
	for _, r := range srv.Requests() {
		if strings.HasPrefix(r.Path, "/upload/") {
			n += r.In
		}
	}
	return n
}

// draftFiles are the names in the state's drafts directory.
func draftFiles(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "drafts"))
	require.NoError(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestPushedImagesAreOnDriveAndInTheCache(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir, Poll: -1})
	content := imagetest.SIF(t, 5*block+321, imagetest.Labels{"maintainer": "ann@uni.edu"})
	d := write(t, ix, at("vsoch", "hello-world:latest.sif"), content)
	require.True(t, d.Dirty())
	found, ok := ix.Draft(at("vsoch", "hello-world:latest.sif"))
	require.True(t, ok)
	require.Same(t, d, found)
	img := push(t, d)

	sum := md5.Sum(content)
	require.Equal(t, hex.EncodeToString(sum[:]), img.Version)
	require.Equal(t, "vsoch/hello-world:latest", img.Short())
	files := onDrive(srv)
	require.Len(t, files, 1)
	require.Equal(t, img.File, files[0].ID)
	require.Equal(t, "ann@uni.edu", files[0].Properties["maintainer"])
	require.Equal(t, img.Version, files[0].Properties["version"])
	require.Equal(t, hex.EncodeToString(sum[:]), files[0].MD5)
	require.Equal(t, 1, countOp(srv, "upload.begin"))

	require.False(t, d.Dirty())
	_, ok = ix.Draft(at("vsoch", "hello-world:latest.sif"))
	require.False(t, ok, "the name is the image's now")
	require.Empty(t, ix.Pushes())
	require.Empty(t, draftFiles(t, dir))
	require.Equal(t, img.Size, ix.Cached(img), "what was pushed is cached")
	srv.ResetRequests()
	found2, err := ix.Lookup("", image.Ref{Collection: "vsoch", Image: "hello-world", Tag: "latest"})
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, readAll(t, open(t, ix, found2), 128<<10)))
	p := make([]byte, 1000)
	_, err = d.ReadAt(t.Context(), p, 4096)
	require.NoError(t, err, "who has it open reads on")
	require.True(t, bytes.Equal(content[4096:5096], p))
	ranges, _ := fetched(srv, img.File)
	require.Empty(t, ranges)
}

func countOp(srv *drivetest.Server, op string) (n int) {
	for _, r := range srv.Requests() {
		if r.Op == op {
			n++
		}
	}
	return n
}

func TestTheSamePushedTwiceIsOneFile(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ix := indextest.Open(t, srv, index.Options{})
	content := imagetest.SIF(t, 2*block)
	first := push(t, write(t, ix, at("c", "i:t.sif"), content))
	srv.ResetRequests()
	second := push(t, write(t, ix, at("c", "i:t.sif"), content))
	require.Equal(t, first.File, second.File)
	require.Zero(t, sent(srv), "no second upload")
	require.Len(t, onDrive(srv), 1)

	t.Run("under a second tag it is copied on Drive", func(t *testing.T) {
		srv.ResetRequests()
		other := push(t, write(t, ix, at("c", "i:u.sif"), content))
		require.NotEqual(t, first.File, other.File)
		require.Zero(t, sent(srv))
		require.Equal(t, 1, countOp(srv, "files.copy"))
		require.Len(t, onDrive(srv), 2)
		require.Equal(t, other.Size, ix.Cached(other))
	})
	t.Run("an older version becomes the newest again", func(t *testing.T) {
		next := push(t, write(t, ix, at("c", "i:t.sif"), imagetest.SIF(t, 3*block, imagetest.Seed(2))))
		newest, err := ix.Lookup("", image.Ref{Collection: "c", Image: "i", Tag: "t"})
		require.NoError(t, err)
		require.Equal(t, next.File, newest.File)
		srv.ResetRequests()
		push(t, write(t, ix, at("c", "i:t.sif"), content))
		require.Zero(t, sent(srv))
		newest, err = ix.Lookup("", image.Ref{Collection: "c", Image: "i", Tag: "t"})
		require.NoError(t, err)
		require.Equal(t, first.File, newest.File)
	})
	t.Run("a trashed one is sent again", func(t *testing.T) {
		for _, f := range onDrive(srv) {
			require.NoError(t, srv.User("").Patch(f.ID, func(f *drivetest.File) { f.Trashed = true }))
		}
		img := push(t, write(t, ix, at("c", "i:t.sif"), content))
		require.NotEqual(t, first.File, img.File)
		require.Len(t, onDrive(srv), 1)
	})
}

func TestPushesOfTheSameContentAtOnceMakeOneFile(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ix := indextest.Open(t, srv, index.Options{})
	content := imagetest.SIF(t, block)
	var wg sync.WaitGroup
	for _, name := range []string{"i:t.sif", "i:t.simg", "i:u.sif", "I:T.sif"} {
		d := write(t, ix, at("c", name), content)
		wg.Go(func() {
			if _, err := d.Push(t.Context()); err != nil {
				t.Error(name, err)
			}
		})
	}
	wg.Wait()
	require.Len(t, onDrive(srv), 2, "one for each tag")
	require.Equal(t, 1, countOp(srv, "upload.begin"))
}

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

func TestFaultsOnTheWay(t *testing.T) {
	cases := []struct {
		name  string
		rules []*drivetest.Rule
	}{
		{"the final reply is lost", []*drivetest.Rule{drivetest.On("PUT", "/upload/*").Nth(1).DropReply()}},
		{"the chunk is cut", []*drivetest.Rule{drivetest.On("PUT", "/upload/*").Times(2).CutRequest(700_000)}},
		{"the session dies", []*drivetest.Rule{drivetest.On("PUT", "/upload/*").Nth(1).Status(410, "backendError")}},
		{"the session is lost", []*drivetest.Rule{drivetest.On("PUT", "/upload/*").Nth(1).Status(404, "notFound")}},
		{"rate limits", []*drivetest.Rule{drivetest.On("PUT", "/upload/*").Times(2).Status(403, "userRateLimitExceeded")}},
		{"5xx after the commit", []*drivetest.Rule{drivetest.On("PUT", "/upload/*").Nth(1).Status(503, "backendError").After()}},
		{"the session's reply is lost", []*drivetest.Rule{drivetest.On("POST", "/upload/*").Nth(1).DropReply()}},
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			srv := drivetest.NewServer(t, drivetest.Options{})
			ix := indextest.Open(t, srv, index.Options{})
			d := write(t, ix, at("c", "i:t.sif"), imagetest.SIF(t, 2*block, imagetest.Seed(uint64(i))))
			for _, rule := range c.rules {
				srv.Fault(rule)
			}
			img := push(t, d)
			require.Len(t, onDrive(srv), 1)
			require.Equal(t, onDrive(srv)[0].ID, img.File)
			require.Positive(t, c.rules[0].Hits())
		})
	}
}

func TestAFinalErrorParksThePush(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir})
	content := imagetest.SIF(t, block)
	d := write(t, ix, at("c", "i:t.sif"), content)
	full := drivetest.On("POST", "/upload/*").Status(403, "storageQuotaExceeded")
	srv.Fault(full)
	_, err := d.Push(t.Context())
	require.ErrorIs(t, err, index.ErrFull)
	require.Equal(t, index.StateFailed, d.State())
	require.ErrorIs(t, d.Err(), index.ErrFull)
	require.Empty(t, onDrive(srv))
	pushes := ix.Pushes()
	require.Len(t, pushes, 1)
	require.True(t, pushes[0].Final)
	require.NotEmpty(t, pushes[0].Error)
	p := make([]byte, 100)
	_, err = d.ReadAt(t.Context(), p, 0)
	require.NoError(t, err)
	require.Equal(t, content[:100], p)

	outer := t
	t.Run("over a restart", func(t *testing.T) {
		require.NoError(t, ix.Close())
		srv.ClearFaults()
		ix = indextest.Open(outer, srv, index.Options{Dir: dir})
		pushes := ix.Pushes()
		require.Len(t, pushes, 1)
		require.True(t, pushes[0].Final)
		require.NotEmpty(t, pushes[0].Error)
		require.Empty(t, onDrive(srv), "it waits for its user")
	})
	t.Run("until it is retried", func(t *testing.T) {
		require.NoError(t, ix.RetryPush(pushes[0].ID))
		require.NoError(t, ix.WaitPushes(t.Context()))
		require.Len(t, onDrive(srv), 1)
		require.Empty(t, ix.AllDrafts())
		require.ErrorIs(t, ix.RetryPush(pushes[0].ID), iofs.ErrNotExist)
	})
}

func TestWrongChecksumsKeepTheDraft(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ix := indextest.Open(t, srv, index.Options{})
	content := imagetest.SIF(t, block)
	d := write(t, ix, at("c", "i:t.sif"), content)
	// The bytes are changed beneath us, behind the draft's back: what Drive gets is not what was written.
	all := ix.AllDrafts()
	require.Len(t, all, 1)
	f, err := os.OpenFile(index.DraftFile(ix, d), os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{1, 2, 3}, block/2)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_, err = d.Push(t.Context())
	require.ErrorIs(t, err, index.ErrDigest)
	require.Empty(t, onDrive(srv), "the wrong file is trashed")
	require.Equal(t, index.StateFailed, d.State())
}

func TestAPassingErrorIsReturnedAndThePushGoesOn(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	client := shortClient(t, srv)
	ix := indextest.Open(t, srv, index.Options{Dir: dir, Drive: client, Timeout: 300 * time.Millisecond})
	content := imagetest.SIF(t, block)
	d := write(t, ix, at("c", "i:t.sif"), content)
	srv.Fault(drivetest.On("*", "/upload/*").Status(503, "backendError"))
	_, err := d.Push(t.Context())
	require.ErrorIs(t, err, index.ErrTimeout)
	require.Len(t, ix.Pushes(), 1)
	require.False(t, ix.Pushes()[0].Final)
	later := write(t, ix, at("c", "i:t.sif"), imagetest.SIF(t, block, imagetest.Seed(2)))
	_, err = later.Push(t.Context())
	require.ErrorIs(t, err, index.ErrTimeout, "behind the one that waits")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, ix.WaitPushes(ctx), context.DeadlineExceeded)

	srv.ClearFaults()
	require.NoError(t, ix.WaitPushes(t.Context()))
	require.Len(t, onDrive(srv), 2)
	newest, err := ix.Lookup("", image.Ref{Collection: "c", Image: "i", Tag: "t"})
	require.NoError(t, err)
	img, err := later.Push(t.Context())
	require.NoError(t, err, "it is there: nothing to push")
	require.Equal(t, img.File, newest.File, "in the order they were written")
}

func TestTheJournalGoesOnAfterARestart(t *testing.T) {
	cases := []struct {
		state index.State
		block *drivetest.Rule // keeps the push in that state
	}{
		{index.StateSealed, drivetest.On("GET", "/drive/v3/files/generateIds").Stall()},
		{index.StateSealed, drivetest.On("POST", "/upload/*").Stall()},
		{index.StateSealed, drivetest.On("POST", "/upload/*").DropReply()},
		{index.StateSending, drivetest.On("PUT", "/upload/*").Stall()},
		{index.StateSending, drivetest.On("PUT", "/upload/*").CutRequest(900_000)},
		{index.StateSending, drivetest.On("PUT", "/upload/*").DropReply()},
	}
	for _, background := range []bool{true, false} {
		for i, c := range cases {
			t.Run(string(c.state), func(t *testing.T) {
				srv := drivetest.NewServer(t, drivetest.Options{})
				dir := t.TempDir()
				ix := indextest.Open(t, srv, index.Options{Dir: dir, Background: background})
				content := imagetest.SIF(t, 2*block, imagetest.Seed(uint64(i)))
				d := write(t, ix, at("c", "i:t.sif"), content)
				srv.Fault(c.block)
				if background {
					img := push(t, d)
					require.Empty(t, img.File)
					require.Equal(t, "c/i:t", img.Short())
				} else {
					ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
					defer cancel()
					_, err := d.Push(ctx)
					require.ErrorIs(t, err, context.DeadlineExceeded)
				}
				indextest.Eventually(t, func() bool { return c.block.Hits() > 0 && d.State() == c.state }, "it hangs there")
				p := make([]byte, 1000)
				_, err := d.ReadAt(t.Context(), p, 7777)
				require.NoError(t, err, "it can be read meanwhile")
				require.Equal(t, content[7777:8777], p)
				require.NoError(t, ix.Close())
				srv.ClearFaults()

				again := indextest.Open(t, srv, index.Options{Dir: dir})
				require.NoError(t, again.WaitPushes(t.Context()))
				files := onDrive(srv)
				require.Len(t, files, 1)
				sum := md5.Sum(content)
				require.Equal(t, hex.EncodeToString(sum[:]), files[0].MD5)
				img, err := again.Lookup("", image.Ref{Collection: "c", Image: "i", Tag: "t"})
				require.NoError(t, err)
				require.Equal(t, img.Size, again.Cached(img))
				require.Empty(t, again.AllDrafts())
				require.Empty(t, draftFiles(t, dir))
			})
		}
	}
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

func TestRemovingAPush(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir, Background: true})
	d := write(t, ix, at("c", "i:t.sif"), imagetest.SIF(t, block))
	stall := drivetest.On("PUT", "/upload/*").Stall()
	srv.Fault(stall)
	push(t, d)
	indextest.Eventually(t, func() bool { return stall.Hits() > 0 }, "it is being sent")
	require.NoError(t, ix.RemoveDraft(d))
	srv.ClearFaults()
	require.Empty(t, ix.Pushes())
	require.Empty(t, draftFiles(t, dir))
	_, err := d.WriteAt(t.Context(), []byte("x"), 0)
	require.NoError(t, err, "who has it open goes on")
	require.False(t, d.Dirty())
	require.NoError(t, ix.WaitPushes(t.Context()))
	require.Empty(t, onDrive(srv))
}

func TestPushFile(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir})
	path := filepath.Join(t.TempDir(), "x.sif")
	imagetest.SIFFile(t, path, 3*block)
	name := ref(t, "c/i:t")
	var last int64
	img, err := ix.PushFile(t.Context(), path, name, ".sif", func(done, total int64) { last = done })
	require.NoError(t, err)
	require.Equal(t, int64(3*block), img.Size)
	require.Equal(t, img.Size, last)
	require.FileExists(t, path)

	require.NoError(t, os.Truncate(path, 2*block))
	_, err = ix.PushFile(t.Context(), path, name, ".sif", nil)
	require.ErrorIs(t, err, index.ErrPartial)
	require.Empty(t, ix.AllDrafts(), "the file is the user's: nothing is left behind")
	_, err = ix.PushFile(t.Context(), path+"none", name, ".sif", nil)
	require.ErrorIs(t, err, iofs.ErrNotExist)
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

func TestNamesTooLongAreRefusedBeforeSending(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ix := indextest.Open(t, srv, index.Options{})
	d := write(t, ix, at(strings.Repeat("c", 120), "i:t.sif"), imagetest.SIF(t, block))
	srv.ResetRequests()
	_, err := d.Push(t.Context())
	require.ErrorIs(t, err, index.ErrTooLong)
	require.Zero(t, sent(srv))
}

// shortClient is a client that gives up soon.
func shortClient(t *testing.T, srv *drivetest.Server) *drive.Client {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, srv.User("").WriteCredentials(dir))
	auth, err := drive.OpenAuth(drive.AuthOptions{
		Credentials: filepath.Join(dir, "client_secrets.json"), Token: filepath.Join(dir, "token.json"),
	})
	require.NoError(t, err)
	c, err := drive.New(drive.Options{URL: srv.URL(), Auth: auth, Timeout: 300 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestACrashInEachStateIsContinued(t *testing.T) {
	content := imagetest.SIF(t, 2*block)
	for _, state := range []index.State{index.StateSealed, index.StateSending, index.StateUploaded, index.StateCommitted} {
		t.Run(string(state), func(t *testing.T) {
			srv := drivetest.NewServer(t, drivetest.Options{})
			dir := t.TempDir()
			ix := indextest.Open(t, srv, index.Options{Dir: dir})
			d := write(t, ix, at("c", "i:t.sif"), content)
			require.NoError(t, index.StepTo(t.Context(), d, state))
			require.NoError(t, ix.Close())

			again := indextest.Open(t, srv, index.Options{Dir: dir})
			require.NoError(t, again.WaitPushes(t.Context()))
			require.Len(t, onDrive(srv), 1)
			img, err := again.Lookup("", image.Ref{Collection: "c", Image: "i", Tag: "t"})
			require.NoError(t, err)
			srv.ResetRequests()
			require.True(t, bytes.Equal(content, readAll(t, open(t, again, img), block)))
			ranges, _ := fetched(srv, img.File)
			require.Empty(t, ranges, "the draft became the cache's copy")
			require.Empty(t, again.AllDrafts())
			require.Empty(t, draftFiles(t, dir))
		})
	}
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
	require.Zero(t, ix.Cached(img), "another disk: the file can't become the cache's")
	require.Empty(t, draftFiles(t, dir))
	require.True(t, bytes.Equal(content, readAll(t, open(t, ix, img), block)), "Drive has it")
}

func TestASourceThatIsGoneIsSent(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ix := indextest.Open(t, srv, index.Options{Poll: -1})
	content := imagetest.SIF(t, block)
	first := push(t, write(t, ix, at("c", "i:t.sif"), content))
	require.NoError(t, srv.User("").Delete(first.File))
	img := push(t, write(t, ix, at("c", "i:u.sif"), content))
	require.Len(t, onDrive(srv), 1)
	require.Equal(t, img.File, onDrive(srv)[0].ID)
	require.Equal(t, 2, countOp(srv, "upload.begin"))
}
