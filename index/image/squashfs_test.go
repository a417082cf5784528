package image_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image"
	"sregfs/index/image/imagetest"
)

// rootfs makes the directory an image is packed from. crowd is the number of other files beside /.singularity.d.
func rootfs(t *testing.T, labels map[string]string, crowd int) string {
	t.Helper()
	dir := t.TempDir()
	meta := filepath.Join(dir, ".singularity.d")
	require.NoError(t, os.MkdirAll(filepath.Join(meta, "env"), 0o755))
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(meta, name), []byte(text), 0o755))
	}
	text, err := json.MarshalIndent(labels, "", "\t")
	require.NoError(t, err)
	write("labels.json", string(text))
	write("Singularity", "Bootstrap: docker\nFrom: alpine\n")
	write("actual", "#!/bin/sh\necho run\n")
	require.NoError(t, os.Symlink("/.singularity.d/../.singularity.d/hop", filepath.Join(meta, "runscript")))
	require.NoError(t, os.Symlink("actual", filepath.Join(meta, "hop")))
	require.NoError(t, os.Symlink("test", filepath.Join(meta, "test"))) // a link to itself
	write("runscript.help", "Help!\n")
	write("startscript", "#!/bin/sh\n")
	write("env/01-base.sh", "the same everywhere\n")
	write("env/10-docker2singularity.sh", "export A=1\n")
	write("env/90-environment.sh", "export B=2\n")
	for i := range crowd {
		name := fmt.Sprintf(".%c-%s-%05d", 'a'+i%26, strings.Repeat("n", 40), i)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	return dir
}

// mksquashfs packs dir with the real tool.
func mksquashfs(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "fs")
	tool(t, "mksquashfs", append([]string{dir, out, "-noappend", "-no-progress", "-quiet", "-all-root"}, args...)...)
	data, err := os.ReadFile(out)
	require.NoError(t, err)
	return data
}

// tool runs a program of another package, and skips the test where it is not installed.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s %q: %s", name, args, out)
	return string(out)
}

func reader(b []byte) *bytes.Reader { return bytes.NewReader(b) }

// manyLabels do not fit into one squashfs block of 4 KiB, and compress.
func manyLabels() map[string]string {
	labels := map[string]string{"maintainer": "ann@uni.edu"}
	for i := range 3000 {
		labels[fmt.Sprintf("org.label-schema.number-%d", i)] = strings.Repeat("value ", i%7)
	}
	return labels
}

func TestSquashfsOfEveryCompressor(t *testing.T) {
	labels := manyLabels()
	dir := rootfs(t, labels, 0)
	for _, comp := range []string{"gzip", "xz", "lz4", "zstd", "lzma"} {
		t.Run(comp, func(t *testing.T) { read(t, mksquashfs(t, dir, "-comp", comp), labels) })
	}
	t.Run("lzo", func(t *testing.T) {
		data := mksquashfs(t, dir, "-comp", "lzo")
		in, err := image.Inspect(reader(data), int64(len(data)))
		require.ErrorIs(t, err, image.ErrUnsupported)
		require.ErrorContains(t, err, "lzo")
		require.Equal(t, image.Squashfs, in.Format)
	})
	for name, args := range map[string][]string{
		"xz with filters":         {"-comp", "xz", "-Xbcj", "x86"},
		"small blocks":            {"-b", "4096"},
		"large blocks":            {"-b", "1M", "-comp", "zstd"},
		"nothing compressed":      {"-noI", "-noD", "-noF", "-noX", "-noId"},
		"metadata not compressed": {"-noI", "-noId"},
		"no fragments":            {"-no-fragments", "-b", "4096"},
		"fragments always":        {"-always-use-fragments", "-b", "64K"},
		"no tail ends":            {"-no-tailends"},
		"no export table":         {"-no-exports"},
		"lz4 high":                {"-comp", "lz4", "-Xhc"},
	} {
		t.Run(name, func(t *testing.T) {
			data := mksquashfs(t, dir, args...)
			if _, err := image.Inspect(reader(data), int64(len(data))); name == "xz with filters" && err != nil {
				require.ErrorIs(t, err, image.ErrUnsupported) // where the filter won, we say that we can't
				return
			}
			read(t, data, labels)
		})
	}
}

// TestSquashfsWithLargeDirectories: an extended root directory with an index, in which ours is neither first nor last.
func TestSquashfsWithLargeDirectories(t *testing.T) {
	labels := map[string]string{"maintainer": "ann@uni.edu"}
	data := mksquashfs(t, rootfs(t, labels, 3000))
	read(t, data, labels)
}

func TestSquashfsBehindALauncher(t *testing.T) {
	labels := map[string]string{"maintainer": "ann@uni.edu"}
	data := append([]byte("#!/usr/bin/env run-singularity\n"), mksquashfs(t, rootfs(t, labels, 0))...)
	in := read(t, data, labels)
	require.Equal(t, image.SIMG, in.Format)
	require.False(t, in.Created.IsZero())
}

// read checks everything rootfs put into the image.
func read(t *testing.T, data []byte, labels map[string]string) image.Info {
	t.Helper()
	size := int64(len(data))
	require.NoError(t, image.Whole(reader(data), size))
	in, err := image.Inspect(reader(data), size)
	require.NoError(t, err)
	require.Equal(t, labels, in.Labels)
	m, err := image.Metafiles(reader(data), size)
	require.NoError(t, err)
	require.Equal(t, image.Meta{
		Labels: labels, Deffile: "Bootstrap: docker\nFrom: alpine", Runscript: "#!/bin/sh\necho run", Help: "Help!",
		Startscript: "#!/bin/sh",
		Environment: map[string]string{
			"/.singularity.d/env/10-docker2singularity.sh": "export A=1", "/.singularity.d/env/90-environment.sh": "export B=2",
		},
	}, m)
	return in
}

func TestSquashfsWithoutMetadata(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "hello"), []byte("x"), 0o644))
	data := mksquashfs(t, dir)
	in, err := image.Inspect(reader(data), int64(len(data)))
	require.NoError(t, err)
	require.Empty(t, in.Labels)
	require.NotNil(t, in.Labels)
	m, err := image.Metafiles(reader(data), int64(len(data)))
	require.NoError(t, err)
	require.Empty(t, m.Deffile)
}

func TestSquashfsWithHostileFiles(t *testing.T) {
	dir := rootfs(t, nil, 0)
	file := filepath.Join(dir, ".singularity.d/labels.json")
	for name, text := range map[string]string{"no JSON": "labels", "an array": "[]", "bomb": strings.Repeat(" ", 3<<20), "deep": strings.Repeat("[", 1<<19)} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
			data := mksquashfs(t, dir)
			in, err := image.Inspect(reader(data), int64(len(data)))
			require.Error(t, err)
			require.Equal(t, image.Squashfs, in.Format)
			require.Empty(t, in.Labels)
		})
	}
	t.Run("values that are no text", func(t *testing.T) {
		require.NoError(t, os.WriteFile(file, []byte(`{"n":1.50,"b":true,"z":null,"o":{"a":[1]}}`), 0o644))
		data := mksquashfs(t, dir)
		in, err := image.Inspect(reader(data), int64(len(data)))
		require.NoError(t, err)
		require.Equal(t, map[string]string{"n": "1.50", "b": "true", "z": "", "o": `{"a":[1]}`}, in.Labels)
	})
}

// TestSquashfsDamaged flips every byte of the metadata of a small image in turn: errors, never a panic or a hang.
func TestSquashfsDamaged(t *testing.T) {
	good := imagetest.Simg(t, 4096)
	start := int(binary.LittleEndian.Uint64(good[31+64:])) + 31 // of the inode table
	for at := 31; at < len(good); at++ {
		if at >= 31+96 && at < start {
			continue
		}
		for _, flip := range []byte{0xff, 0x80, 0x01} {
			bad := bytes.Clone(good)
			bad[at] ^= flip
			lookInto(t, bad)
		}
	}
}

func FuzzSquashfs(f *testing.F) {
	for _, comp := range []string{"", "gzip", "xz", "lz4", "zstd", "lzma"} {
		f.Add(seedSquashfs(f, comp))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<20 {
			return
		}
		lookInto(t, data)
		lookInto(t, append([]byte("#!/usr/bin/env run-singularity\n"), data...))
	})
}

// seedSquashfs is a small file system made by mksquashfs where it is installed, or by imagetest.
func seedSquashfs(f *testing.F, comp string) []byte {
	f.Helper()
	dir := f.TempDir()
	if _, err := exec.LookPath("mksquashfs"); err != nil || comp == "" {
		return imagetest.Simg(f, 4096)[31:]
	}
	if err := os.MkdirAll(filepath.Join(dir, "d/.singularity.d"), 0o755); err != nil {
		f.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "d/.singularity.d/labels.json"), []byte(`{"a":"`+strings.Repeat("b", 500)+`"}`), 0o644); err != nil {
		f.Fatal(err)
	}
	out, err := exec.CommandContext(f.Context(), "mksquashfs", dir+"/d", dir+"/fs", "-comp", comp, "-nopad", "-quiet", "-no-progress").CombinedOutput()
	if err != nil {
		f.Fatalf("mksquashfs: %s", out)
	}
	data, err := os.ReadFile(dir + "/fs")
	if err != nil {
		f.Fatal(err)
	}
	return data
}

// requireOwn requires that err, if any, is the package's word on a damaged image: the reader has no errors of its own.
func requireOwn(t *testing.T, err error) {
	t.Helper()
	own := err == nil
	for _, kind := range []error{image.ErrTruncated, image.ErrCorrupt, image.ErrUnsupported, image.ErrEmpty} {
		own = own || errors.Is(err, kind)
	}
	require.True(t, own, "%v", err)
}

// lookInto calls everything that reads image bytes; what it says of them must be sane.
func lookInto(t *testing.T, data []byte) {
	t.Helper()
	size := int64(len(data))
	in, err := image.Inspect(reader(data), size)
	requireOwn(t, err)
	require.NotNil(t, in.Labels)
	if err == nil && in.Format == image.Unknown {
		require.Empty(t, in.Labels)
	}
	_, err = image.Metafiles(reader(data), size)
	requireOwn(t, err)
	requireOwn(t, image.Whole(reader(data), size))
	spans, err := image.HeadTail(reader(data), size)
	require.NoError(t, err, "the bytes are all there to be read")
	end := int64(0)
	for _, s := range spans {
		require.Greater(t, s.Len, int64(0))
		require.GreaterOrEqual(t, s.Off, end)
		end = s.Off + s.Len
		require.LessOrEqual(t, end, size)
	}
	profile, err := image.Startup(reader(data), size)
	require.NoError(t, err)
	sane(t, profile, size)
}
