package index_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// places are what starts read in the tests here: the head, which all read first, and blocks all over the image.
func places(mib ...int64) []image.Span {
	spans := []image.Span{{Off: 0, Len: 4096}}
	for _, m := range mib {
		spans = append(spans, image.Span{Off: m << 20, Len: 4096})
	}
	return spans
}

// someStart is one of a container: it takes more reads than a look.
var someStart = places(38, 20, 3, 30, 11, 25, 7, 17, 33, 5, 28, 14)

// start opens img, reads the spans one after the other as a container does, compares them, and closes it.
func start(t testing.TB, ix *index.Index, img index.Image, content []byte, spans []image.Span) {
	t.Helper()
	require.NoError(t, started(t.Context(), ix, img, content, spans))
}

// started is start for a goroutine of its own.
func started(ctx context.Context, ix *index.Index, img index.Image, content []byte, spans []image.Span) error {
	r, err := ix.OpenImage(img)
	if err != nil {
		return err
	}
	for _, s := range spans {
		p := make([]byte, s.Len)
		if _, err := r.ReadAt(ctx, p, s.Off); err != nil {
			return errors.Join(err, r.Close())
		}
		if !bytes.Equal(content[s.Off:s.Off+s.Len], p) {
			return errors.Join(fmt.Errorf("wrong bytes at %d", s.Off), r.Close())
		}
	}
	return r.Close()
}

// published waits for the recording of an image to be on Drive, and returns it.
func published(t testing.TB, srv *drivetest.Server, id string, size int64, long int) image.Profiles {
	t.Helper()
	var p image.Profiles
	indextest.Eventually(t, func() bool {
		var err error
		p, err = image.ParseProfiles(fileOf(t, srv, id).Properties, size)
		return err == nil && p.Recorded.Bytes() >= int64(long)*image.ProfileBlock
	}, "the recording is published")
	return p
}

func fileOf(t testing.TB, srv *drivetest.Server, id string) drivetest.File {
	t.Helper()
	for _, f := range srv.User("").Files() {
		if f.ID == id {
			return f
		}
	}
	t.Fatalf("no file %s", id)
	return drivetest.File{}
}

// patches is how often the metadata of a file was changed.
func patches(srv *drivetest.Server, id string) (n int) {
	for _, r := range srv.Requests() {
		if r.Method == "PATCH" && strings.HasSuffix(r.Path, "/"+id) {
			n++
		}
	}
	return n
}

// Promise 2, on a machine that never saw the image: what another one's start read is asked for at once.
func TestARecordedStartIsAskedForAtOnce(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(1, 40<<20)
	id := indextest.Put(t, srv.User(""), "c/i:t", content, map[string]string{"maintainer": "ann@uni.edu"}).ID
	before := fileOf(t, srv, id)
	first := indextest.Open(t, srv, index.Options{})
	start(t, first, byID(t, first, id), content, someStart)
	known := published(t, srv, id, int64(len(content)), len(someStart))
	for i, s := range someStart {
		require.Equal(t, s.Off, known.Recorded[i].Off, "in the order of first need")
	}
	after := fileOf(t, srv, id)
	require.Equal(t, before.Modified, after.Modified, "a profile makes no image the newest")
	for k, v := range before.Properties {
		require.Equal(t, v, after.Properties[k])
	}
	indextest.Eventually(t, func() bool { return first.Profiles(byID(t, first, id)).Recorded.Bytes() > 0 }, "it is on record here")
	require.Equal(t, map[string]string{"maintainer": "ann@uni.edu"}, byID(t, first, id).Labels, "it is no label")

	g := newGate(t, srv)
	second := indextest.Open(t, srv, index.Options{Drive: g.client(t, srv)})
	img := byID(t, second, id)
	srv.ResetRequests()
	g.let(func(extent) bool { return false })
	done := make(chan error, 1)
	go func() { done <- started(t.Context(), second, img, content, someStart) }()
	g.until(t, "everything is asked for before anything is answered", func(asked []extent) bool {
		return !slices.ContainsFunc(someStart, func(s image.Span) bool {
			return !slices.ContainsFunc(asked, func(e extent) bool { return e.first <= s.Off && s.Off+s.Len-1 <= e.last })
		})
	})
	g.let(nil)
	ends(t, done)
	_, sum := fetched(srv, id)
	require.Less(t, sum, int64(len(someStart)*4<<17), "and little else")
	require.Zero(t, patches(srv, id), "nothing new was learnt")
}

// A recording says what starts read, and is published once an hour at most, to nobody's surprise.
func TestWhatIsRecorded(t *testing.T) {
	content := imagetest.Bytes(1, 40<<20)
	const size = 40 << 20
	steps := func(from, to, step int64) (spans []image.Span) {
		for off := from; off < to; off += step {
			spans = append(spans, image.Span{Off: off, Len: min(step, to-off)})
		}
		return spans
	}
	for name, c := range map[string]struct {
		o        index.Options
		starts   [][]image.Span
		recorded int // blocks of 64 KiB known on this machine
		patches  int
	}{
		"a start":              {starts: [][]image.Span{someStart}, recorded: len(someStart), patches: 1},
		"the same start again": {starts: [][]image.Span{someStart, someStart, someStart}, recorded: len(someStart), patches: 1},
		"another start":        {starts: [][]image.Span{someStart, places(1, 2, 4, 6, 8, 10, 12, 13, 15)}, recorded: len(someStart) + 9, patches: 1},
		"a look":               {starts: [][]image.Span{places(39, 38)}},
		"looks":                {starts: [][]image.Span{places(39), places(38), places(37)}},
		"a copy":               {starts: [][]image.Span{steps(0, size, 128<<10)}},
		"the head of a copy":   {starts: [][]image.Span{steps(0, 20<<20, 128<<10)}},
		"a part in sequence":   {starts: [][]image.Span{steps(10<<20, 12<<20, 128<<10)}},
		"a copy of what was started": {
			starts: [][]image.Span{someStart, steps(0, size, 128<<10)}, recorded: len(someStart), patches: 1,
		},
		"switched off": {o: index.Options{NoProfiles: true}, starts: [][]image.Span{someStart}},
		"read-only":    {o: index.Options{ReadOnly: true}, starts: [][]image.Span{someStart}, recorded: len(someStart)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := drivetest.NewServer(t, drivetest.Options{})
			id := put(t, srv, "c/i:t", content)
			dir := filepath.Join(t.TempDir(), "state")
			c.o.Dir = dir
			ix := indextest.Open(t, srv, c.o)
			srv.ResetRequests()
			for i, spans := range c.starts {
				start(t, ix, byID(t, ix, id), content, spans)
				if i == 0 && c.patches > 0 {
					published(t, srv, id, size, 1)
				}
			}
			require.NoError(t, ix.Close(), "which ends all recordings")
			require.Equal(t, c.patches, patches(srv, id))

			later := indextest.Open(t, srv, index.Options{Dir: dir, ReadOnly: true})
			indextest.Refresh(t, later)
			require.Equal(t, int64(c.recorded)*image.ProfileBlock, later.Profiles(byID(t, later, id)).Recorded.Bytes())
		})
	}
}

// Close ends what is open, and lets what was learnt be published, over a slow line too.
func TestCloseKeepsARecording(t *testing.T) {
	for _, open := range []bool{true, false} {
		t.Run(fmt.Sprintf("open %t", open), func(t *testing.T) {
			srv := drivetest.NewServer(t, drivetest.Options{})
			content := imagetest.Bytes(1, 40<<20)
			id := put(t, srv, "c/i:t", content)
			ix := indextest.Open(t, srv, index.Options{})
			index.Patient(ix)
			r, err := ix.OpenImage(byID(t, ix, id))
			require.NoError(t, err)
			for _, s := range someStart {
				_, err := r.ReadAt(t.Context(), make([]byte, s.Len), s.Off)
				require.NoError(t, err)
			}
			srv.Fault(drivetest.On("*", "/drive/v3/files/"+id).Delay(300 * time.Millisecond))
			if !open {
				require.NoError(t, r.Close())
			}
			require.NoError(t, ix.Close())
			require.NoError(t, r.Close())
			p, err := image.ParseProfiles(fileOf(t, srv, id).Properties, int64(len(content)))
			require.NoError(t, err)
			require.Len(t, p.Recorded, len(someStart))
		})
	}
}

// Images of others, which we may only read, bring their profiles along and are not touched.
func TestASharedImageBringsItsProfile(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
	content := imagetest.Bytes(1, 40<<20)
	id := put(t, srv, "c/i:t", content)
	ann := indextest.Open(t, srv, index.Options{})
	start(t, ann, byID(t, ann, id), content, someStart)
	published(t, srv, id, int64(len(content)), len(someStart))

	bob := srv.User("bob@uni.edu")
	_, err := ann.Share(t.Context(), byID(t, ann, id), index.Invite{Email: "bob@uni.edu", Role: index.RoleWriter})
	require.NoError(t, err)
	theirs := indextest.Open(t, srv, index.Options{Drive: indextest.Client(t, srv, bob)})
	indextest.Refresh(t, theirs)
	img := byID(t, theirs, id)
	require.NotEmpty(t, img.Space)
	require.Len(t, theirs.Profiles(img).Recorded, len(someStart))
	srv.ResetRequests()
	start(t, theirs, img, content, places(1, 2, 4, 6, 8, 9, 10, 12, 13, 15))
	require.NoError(t, theirs.Close())
	require.Zero(t, patches(srv, id))

	copied, err := ann.PushFile(t.Context(), localFile(t, content), image.Ref{Collection: "c", Image: "copy", Tag: "t"}, ".sif", nil)
	require.NoError(t, err)
	require.NotEqual(t, id, copied.File)
	require.Len(t, ann.Profiles(copied).Recorded, len(someStart), "a copy on Drive knows what its source knew")
}

// localFile puts content into a file of this machine.
func localFile(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.sif")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

// What an image says of its start goes to Drive with it, in the same request.
func TestAPushSaysWhatTheImageSaysOfItsStart(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	files := imagetest.Files{"/.singularity.d/runscript": "#!/bin/sh\nexec tool\n", "/bin/sh": string(imagetest.Bytes(5, 300_000))}
	content := imagetest.SIF(t, 40<<20, files)
	ix := indextest.Open(t, srv, index.Options{})
	srv.ResetRequests()
	ref := image.Ref{Collection: "c", Image: "i", Tag: "t"}
	img, err := ix.PushFile(t.Context(), localFile(t, content), ref, ".sif", nil)
	require.NoError(t, err)
	require.Zero(t, patches(srv, img.File))
	want, err := image.Startup(bytes.NewReader(content), int64(len(content)))
	require.NoError(t, err)
	require.NotEmpty(t, want)
	got, err := image.ParseProfiles(fileOf(t, srv, img.File).Properties, img.Size)
	require.NoError(t, err)
	require.Equal(t, want, got.Static)
	require.Empty(t, got.Recorded)

	start(t, ix, img, content, someStart)
	known := published(t, srv, img.File, img.Size, len(someStart))
	require.NotEmpty(t, known.Static, "what starts read goes before what they may read")
	again, err := ix.PushFile(t.Context(), localFile(t, content), ref, ".sif", nil)
	require.NoError(t, err)
	require.Equal(t, img.File, again.File)
	now, err := image.ParseProfiles(fileOf(t, srv, img.File).Properties, img.Size)
	require.NoError(t, err)
	require.Equal(t, known, now, "a push of the same content takes nothing back")

	off := indextest.Open(t, srv, index.Options{NoProfiles: true})
	img, err = off.PushFile(t.Context(), localFile(t, imagetest.SIF(t, 10<<20)), image.Ref{Collection: "c", Image: "i", Tag: "off"}, ".sif", nil)
	require.NoError(t, err)
	require.Zero(t, off.Profiles(img).Bytes())
}

// An image that a browser or the Python tool uploaded says nothing, until all of it was here once.
func TestAnImageWithoutAProfileGetsOne(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.SIF(t, 40<<20, imagetest.Files{"/.singularity.d/runscript": "#!/bin/sh\n"})
	id := put(t, srv, "c/i:t", content)
	ix := indextest.Open(t, srv, index.Options{})
	img := byID(t, ix, id)
	require.Zero(t, ix.Profiles(img).Bytes())
	require.NoError(t, ix.Prefetch(t.Context(), img))
	require.NotEmpty(t, ix.Profiles(img).Static)
	_, err := ix.FreeCache(id)
	require.NoError(t, err)
	require.Zero(t, ix.Cached(img))
	require.NotEmpty(t, ix.Profiles(img).Static, "the next cold start has it")
	require.Zero(t, patches(srv, id), "it is not worth a change of somebody's file")
}

// Two machines that publish at the same time leave one of the two, and nothing else of the image is touched.
func TestTwoMachinesPublish(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(1, 40<<20)
	id := put(t, srv, "c/i:t", content)
	var wg sync.WaitGroup
	for i := range int64(3) {
		ix := indextest.Open(t, srv, index.Options{})
		img := byID(t, ix, id)
		wg.Go(func() { start(t, ix, img, content, places(39, 38, 5+i, 10+i, 15+i, 20+i, 25+i, 30+i, 35-i, 12+i)) })
	}
	wg.Wait()
	p := published(t, srv, id, int64(len(content)), 10)
	require.Equal(t, int64(0), p.Recorded[0].Off)
	require.Equal(t, "c", fileOf(t, srv, id).Properties["collection"])
}

// The recording costs those who read what was read before nothing.
func TestARecordedReadTakesNoMemory(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := imagetest.Bytes(1, 4<<20)
	ix := indextest.Open(t, srv, index.Options{Poll: -1})
	id := put(t, srv, "c/i:t", content)
	indextest.Refresh(t, ix)
	r := open(t, ix, byID(t, ix, id))
	p := make([]byte, 128<<10)
	ctx := context.Background()
	read := func() {
		if _, err := r.ReadAt(ctx, p, 1<<20); err != nil {
			t.Error(err)
		}
	}
	read()
	require.NoError(t, ix.Prefetch(ctx, byID(t, ix, id))) // what still comes would be counted
	// What the process does beside the reads, such as closing connections, is counted too, and ends.
	indextest.Eventually(t, func() bool { return testing.AllocsPerRun(100, read) == 0 }, "reads without an allocation")
}
