package index_test

import (
	"crypto/md5"
	"encoding/hex"
	iofs "io/fs"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// A push that was acknowledged is not lost to a rename that puts another image under its name: it is the version before.
func TestARenameOntoAPushUnderWay(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir, Background: true})
	first, second := imagetest.SIF(t, block, imagetest.Seed(1)), imagetest.SIF(t, block, imagetest.Seed(2))
	later := write(t, ix, at("c", "i.part"), second) // the older draft
	stall := drivetest.On("PUT", "/upload/*").Stall()
	srv.Fault(stall)
	push(t, write(t, ix, at("c", "i:t.sif"), first))
	indextest.Eventually(t, func() bool { return stall.Hits() > 0 }, "it is being sent")
	require.NoError(t, ix.MoveDraft(t.Context(), later, at("c", "i:t.sif")))
	found, ok := ix.Draft(at("c", "i:t.sif"))
	require.True(t, ok)
	require.Equal(t, later.ID(), found.ID())
	require.NoError(t, ix.Close())
	srv.ClearFaults()

	again := indextest.Open(t, srv, index.Options{Dir: dir})
	require.NoError(t, again.WaitPushes(t.Context()))
	require.Len(t, onDrive(srv), 2)
	img, err := again.Lookup("", image.Ref{Collection: "c", Image: "i", Tag: "t"})
	require.NoError(t, err)
	sum := md5.Sum(second)
	require.Equal(t, hex.EncodeToString(sum[:]), img.MD5, "the order in which they were pushed holds over a restart")
}

// What a removed push has made on Drive goes, even if this program does not live to see it.
func TestARemovedPushDoesNotComeBack(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	dir := t.TempDir()
	ix := indextest.Open(t, srv, index.Options{Dir: dir, Background: true})
	unanswered := drivetest.On("PUT", "/upload/*").Nth(1).DropReply()
	asked := drivetest.On("PUT", "/upload/*").Stall()
	srv.Fault(unanswered, asked, drivetest.On("PATCH", "*").Status(503, "backendError"))
	d := write(t, ix, at("c", "i:t.sif"), imagetest.SIF(t, block))
	push(t, d)
	indextest.Eventually(t, func() bool { return len(onDrive(srv)) == 1 }, "Drive has it, and we do not know")
	require.NoError(t, ix.RemoveDraft(d))
	require.NoError(t, ix.Close())
	srv.ClearFaults()

	again := indextest.Open(t, srv, index.Options{Dir: dir})
	require.Empty(t, again.AllDrafts())
	indextest.Eventually(t, func() bool { return len(onDrive(srv)) == 0 }, "it went")
}

// What a push would only make the newest again is not given up by giving up the push: it is an image, and removed as one.
func TestAPushOfWhatIsThereIsNotGivenUp(t *testing.T) {
	content := imagetest.SIF(t, block)
	for name, first := range map[string]func(srv *drivetest.Server, ix *index.Index){
		"published": func(srv *drivetest.Server, ix *index.Index) {
			put(t, srv, "c/i:t", content)
			require.NoError(t, ix.Refresh(t.Context()))
		},
		"on its way": func(_ *drivetest.Server, ix *index.Index) { push(t, write(t, ix, at("c", "i:t.sif"), content)) },
	} {
		t.Run(name, func(t *testing.T) {
			srv := drivetest.NewServer(t, drivetest.Options{})
			ix := indextest.Open(t, srv, index.Options{Background: true})
			release := make(chan struct{})
			srv.Fault(drivetest.On("PUT", "/upload/*").Hold(release), drivetest.On("GET", "/drive/v3/files/*").Hold(release))
			first(srv, ix)
			d := write(t, ix, at("c", "i:t.sif"), content)
			push(t, d)
			require.ErrorIs(t, ix.RemoveDraft(d), index.ErrBusy)
			close(release)
			require.NoError(t, d.Wait(t.Context()))
			require.ErrorIs(t, ix.RemoveDraft(d), iofs.ErrNotExist)
			require.NoError(t, ix.Remove(t.Context(), byName(t, ix, "c/i:t")))
			require.Empty(t, onDrive(srv))
		})
	}
}

// A push that is removed in the middle of its upload does not go on at Drive's side either.
func TestARemovedPushIsCancelled(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ix := indextest.Open(t, srv, index.Options{Background: true})
	cut := drivetest.On("PUT", "/upload/*").Nth(1).CutRequest(block / 2)
	srv.Fault(cut, drivetest.On("PUT", "/upload/*").Stall())
	d := write(t, ix, at("c", "i:t.sif"), imagetest.SIF(t, block))
	push(t, d)
	indextest.Eventually(t, func() bool { return cut.Hits() > 0 }, "half of it is sent")
	require.NoError(t, ix.RemoveDraft(d))
	indextest.Eventually(t, func() bool {
		return slices.ContainsFunc(srv.Requests(), func(r drivetest.Request) bool { return r.Op == "upload.cancel" && r.Status == 499 })
	}, "the session is cancelled")
	require.Empty(t, onDrive(srv))
}

// What is moved to a name after a push of that name is the newest there, although the push may still be under way.
func TestRetagWaitsForAnEarlierPushOfTheName(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	moved := put(t, srv, "c/other:t", imagetest.SIF(t, block, imagetest.Seed(1)))
	ix := indextest.Open(t, srv, index.Options{Background: true})
	slow := drivetest.On("PUT", "/upload/*").Nth(1).Delay(200 * time.Millisecond)
	srv.Fault(slow)
	push(t, write(t, ix, at("c", "i:t.sif"), imagetest.SIF(t, block, imagetest.Seed(2))))
	_, err := ix.Retag(t.Context(), byID(t, ix, moved), image.Ref{Collection: "c", Image: "i", Tag: "t"})
	require.NoError(t, err)
	require.NoError(t, ix.WaitPushes(t.Context()))
	newest, err := ix.Lookup("", image.Ref{Collection: "c", Image: "i", Tag: "t"})
	require.NoError(t, err)
	require.Equal(t, moved, newest.File)
}
