package image_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image"
	"sregfs/index/image/imagetest"
)

func TestStartupOfEveryFormat(t *testing.T) {
	files := basics().files()
	sif := imagetest.SIF(t, 20<<20, files)
	simg := imagetest.Simg(t, 20<<20, files)
	for name, data := range map[string][]byte{"SIF": sif, "Singularity 2": simg, "squashfs": simg[31:]} {
		t.Run(name, func(t *testing.T) {
			p, err := image.Startup(reader(data), int64(len(data)))
			require.NoError(t, err)
			sane(t, p, int64(len(data)))
			for _, name := range needed {
				at := int64(bytes.Index(data, []byte(files[name])))
				require.True(t, covers(p, at, fileSize), name)
			}
		})
	}
	for name, data := range map[string][]byte{"unknown": imagetest.Bytes(1, 1<<20), "a SIF cut short": sif[:1<<20], "short": sif[:100]} {
		t.Run(name, func(t *testing.T) {
			size := int64(len(data))
			p, err := image.Startup(reader(data), size)
			require.NoError(t, err)
			require.Equal(t, image.Profile{{Off: 0, Len: min(2*block, size)}}, p, "its head")
		})
	}
	p, err := image.Startup(reader(nil), 0)
	require.NoError(t, err)
	require.Empty(t, p)
}

// TestStartupOfEveryCompressor: metadata packed by the real tool, in directories with many other names.
func TestStartupOfEveryCompressor(t *testing.T) {
	dir := rootfs(t, nil, 500)
	files := basics().files()
	require.NoError(t, os.Remove(filepath.Join(dir, ".singularity.d/runscript")))
	for name, text := range files {
		p := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		if target, link := strings.CutPrefix(text, "-> "); link {
			require.NoError(t, os.Symlink(target, p))
		} else {
			require.NoError(t, os.WriteFile(p, []byte(text), 0o755))
		}
	}
	for _, c := range []struct{ comp, blocks string }{{"gzip", "4096"}, {"xz", "128K"}, {"lz4", "1M"}, {"zstd", "128K"}} {
		t.Run(c.comp+" "+c.blocks, func(t *testing.T) {
			data := mksquashfs(t, dir, "-comp", c.comp, "-b", c.blocks, "-noD", "-noF", "-no-duplicates")
			p, err := image.Startup(reader(data), int64(len(data)))
			require.NoError(t, err)
			sane(t, p, int64(len(data)))
			for _, name := range needed {
				at := int64(bytes.Index(data, []byte(files[name][:4096])))
				require.Positive(t, at)
				require.True(t, covers(p, at, 4096), name)
			}
		})
	}
}

// limited is an image whose reader fails, or is at its end, after some reads.
type limited struct {
	data  []byte
	reads int
	err   error
}

func (l *limited) ReadAt(p []byte, off int64) (int, error) {
	if l.reads--; l.reads < 0 {
		return 0, l.err
	}
	return reader(l.data).ReadAt(p, off)
}

// An error of the reader is told, and is never taken for a file that is not there, even if it sounds like that.
func TestStartupTellsErrorsOfTheReader(t *testing.T) {
	files := basics().files()
	for i := range 2000 {
		files[fmt.Sprintf("/usr/bin/%04d", i)] = "x"
	}
	data := imagetest.SIF(t, 20<<20, files)
	size := int64(len(data))
	whole, err := image.Startup(reader(data), size)
	require.NoError(t, err)
	fails := 0
	for n := range 1000 {
		for _, kind := range []error{os.ErrNotExist, errors.New("broken line")} {
			p, err := image.Startup(&limited{data, n, kind}, size)
			sane(t, p, size)
			if err == nil {
				require.Equal(t, whole, p)
				continue
			}
			require.ErrorIs(t, err, kind)
			fails++
		}
		_, err := image.Startup(&limited{data, n, io.EOF}, size) // shorter than it was said to be
		require.NoError(t, err)
		if fails < 2*n {
			require.Greater(t, fails, 20)
			return
		}
	}
	t.Fatal("it never ends")
}
