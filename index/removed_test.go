package index_test

import (
	"errors"
	iofs "io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// What Drive was asked before an image was removed, and answers afterwards, does not bring it back.
func TestAnAnswerOlderThanTheRemoval(t *testing.T) {
	for name, ask := range map[string]func(*index.Index, index.Image) error{
		"a listing lacks it": func(ix *index.Index, _ index.Image) error {
			index.Later(ix, 2*time.Hour)
			return ix.Refresh(t.Context())
		},
		"a label is set": func(ix *index.Index, img index.Image) error {
			value := "v"
			_, err := ix.SetLabel(t.Context(), img, "k", &value)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := drivetest.NewServer(t, drivetest.Options{Quirks: drivetest.Quirks{ListLag: time.Hour}})
			ix := indextest.Open(t, srv, index.Options{Poll: -1})
			img := push(t, write(t, ix, at("c", "i:t.sif"), imagetest.SIF(t, block)))
			late := drivetest.On("*", "/drive/v3/files/"+img.File).Nth(1).Trickle(1000) // bytes a second, of a reply of some 1,500
			srv.Fault(late)
			asked := make(chan error, 1)
			go func() { asked <- ask(ix, img) }()
			indextest.Eventually(t, func() bool { return late.Hits() > 0 }, "Drive is being asked")
			require.NoError(t, ix.Remove(t.Context(), img))
			if err := <-asked; !errors.Is(err, iofs.ErrNotExist) {
				require.NoError(t, err)
			}
			_, err := ix.ByID(img.File)
			require.ErrorIs(t, err, iofs.ErrNotExist)
			require.Empty(t, onDrive(srv))
		})
	}
}

// A push that Drive has, and of which nobody was told yet, is an image for who removes another push of the same.
func TestAPushIsNotGivenUpWhileItsTwinArrives(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ix := indextest.Open(t, srv, index.Options{Background: true})
	content := imagetest.SIF(t, block)
	release := index.HoldCatalogue(ix)
	defer release()
	first := write(t, ix, at("c", "i:t.sif"), content)
	push(t, first)
	indextest.Eventually(t, func() bool { return first.State() == index.StateCommitted && !first.Dirty() }, "it arrives")
	second := write(t, ix, at("c", "i:t.sif"), content)
	push(t, second)
	require.ErrorIs(t, ix.RemoveDraft(second), index.ErrBusy)
	release()
	require.NoError(t, second.Wait(t.Context()))
	require.NoError(t, ix.Remove(t.Context(), byName(t, ix, "c/i:t")))
	require.Empty(t, onDrive(srv))
}
