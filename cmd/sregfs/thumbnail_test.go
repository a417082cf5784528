package main

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image/imagetest"
)

func TestThumbnail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sif := w.file("i.sif", imagetest.SIF(t, 100_000))
	ann := w.as("ann@uni.edu")

	t.Run("our robot", func(t *testing.T) {
		picture, err := robot()
		require.NoError(t, err)
		conf, format, err := image.DecodeConfig(bytes.NewReader(picture))
		require.NoError(t, err)
		require.Equal(t, "png", format)
		require.GreaterOrEqual(t, conf.Width, minThumbnailWidth)
		ann.sregfs("push", "--name", "c/robot", sif).ok(t)
		require.True(t, onlyImage(t, w).HasThumbnail)
	})
	var small bytes.Buffer
	require.NoError(t, png.Encode(&small, image.NewGray(image.Rect(0, 0, 100, 100))))
	for name, data := range map[string][]byte{"small": small.Bytes(), "no picture": []byte("hello"), "large": make([]byte, maxThumbnail+1)} {
		t.Run(name, func(t *testing.T) {
			file := w.file("picture", data)
			oneLine(t, w.as("ann@uni.edu", "SREGISTRY_THUMBNAIL="+file).sregfs("-q", "push", "--name", "c/other", sif), exitError, file)
		})
	}
	require.NoError(t, os.Remove(w.path("picture")))
	oneLine(t, w.as("ann@uni.edu", "SREGISTRY_THUMBNAIL="+w.path("picture")).sregfs("-q", "push", "--name", "c/other", sif), exitError, "SREGISTRY_THUMBNAIL: ", "picture does not exist")
	t.Run("only a push needs it", func(t *testing.T) {
		stale := w.as("ann@uni.edu", "SREGISTRY_THUMBNAIL="+w.path("picture"))
		require.Contains(t, stale.sregfs("search").ok(t), "c/robot:latest")
		stale.sregfs("pull", "c/robot").ok(t)
		stale.sregfs("share", "--email", "bob@uni.edu", "c/robot").ok(t)
	})
}
