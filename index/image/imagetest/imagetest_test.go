package imagetest_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image/imagetest"
)

func TestSizesAreExact(t *testing.T) {
	for _, size := range []int64{64 << 10, 100_001, 1 << 20, 3<<20 + 7} {
		require.Len(t, imagetest.SIF(t, size), int(size))
		simg := imagetest.Simg(t, size)
		require.Len(t, simg, int(size))
		used := binary.LittleEndian.Uint64(simg[31+40:])
		require.LessOrEqual(t, used, uint64(size-31)/1024*1024, "the kernel sees whole blocks of a loop device only")
	}
	require.Len(t, imagetest.Bytes(1, 1000), 1000)
	require.Equal(t, make([]byte, 10), imagetest.Zeros(10))
}

func TestSameSeedSameBytes(t *testing.T) {
	one := imagetest.SIF(t, 1<<20, imagetest.Seed(7))
	require.True(t, bytes.Equal(one, imagetest.SIF(t, 1<<20, imagetest.Seed(7))))
	require.False(t, bytes.Equal(one, imagetest.SIF(t, 1<<20, imagetest.Seed(8))))
	require.False(t, bytes.Equal(imagetest.Bytes(1, 100), imagetest.Bytes(2, 100)))
	long := imagetest.Bytes(1, 3<<20+5)
	require.True(t, bytes.Equal(imagetest.Bytes(1, 12345), long[:12345]))
	require.False(t, bytes.Equal(long[:4096], long[1<<20:1<<20+4096]), "no two pages are alike")
}

func TestTooSmallIsAnError(t *testing.T) {
	require.ErrorContains(t, imagetest.WriteSIF(&bytes.Buffer{}, 1000), "too small")
	require.ErrorContains(t, imagetest.WriteSimg(&bytes.Buffer{}, 100), "too small")
}

// TestOthersReadIt has the format judged by programs that know nothing of this package.
func TestOthersReadIt(t *testing.T) {
	dir := t.TempDir()
	sif := filepath.Join(dir, "x.sif")
	imagetest.SIFFile(t, sif, 5<<20+123, imagetest.Labels{"maintainer": "ann@uni.edu"})
	t.Run("siftool", func(t *testing.T) {
		list := run(t, "siftool", "list", sif)
		require.Contains(t, list, "Def.FILE")
		require.Contains(t, list, "JSON.Generic")
		require.Contains(t, list, "FS (Squashfs/*System/amd64)")
		require.Contains(t, run(t, "siftool", "dump", "2", sif), "ann@uni.edu")
		part := filepath.Join(dir, "part")
		require.NoError(t, os.WriteFile(part, []byte(run(t, "siftool", "dump", "3", sif)), 0o600))
		run(t, "unsquashfs", "-d", filepath.Join(dir, "root"), part)
		labels, err := os.ReadFile(filepath.Join(dir, "root/.singularity.d/labels.json"))
		require.NoError(t, err)
		require.JSONEq(t, `{"maintainer":"ann@uni.edu"}`, string(labels))
		noise, err := os.ReadFile(filepath.Join(dir, "root/data/noise"))
		require.NoError(t, err)
		require.True(t, bytes.Equal(imagetest.Bytes(0, int64(len(noise))), noise))
		require.Greater(t, len(noise), 5_000_000)
	})
	t.Run("unsquashfs at an offset", func(t *testing.T) {
		simg := filepath.Join(dir, "x.simg")
		require.NoError(t, os.WriteFile(simg, imagetest.Simg(t, 300_000), 0o600))
		require.Contains(t, run(t, "unsquashfs", "-o", "31", "-l", simg), ".singularity.d/env/90-environment.sh")
	})
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s %v: %s%s", name, args, out, &stderr)
	return string(out)
}

func TestFilesAreInTheImage(t *testing.T) {
	long := string(imagetest.Bytes(9, 300_000))
	dir := t.TempDir()
	simg := filepath.Join(dir, "x.simg")
	require.NoError(t, os.WriteFile(simg, imagetest.Simg(t, 1<<20, imagetest.Files{
		"/usr/bin/long": long, "/usr/bin/empty": "", "/bin": "-> usr/bin", "/.singularity.d/runscript": "#!/bin/sh\nlong\n",
	}), 0o600))
	run(t, "unsquashfs", "-o", "31", "-d", filepath.Join(dir, "root"), simg)
	for path, want := range map[string]string{"bin/long": long, "bin/empty": "", "singularity": "#!/bin/sh\nlong\n"} {
		got, err := os.ReadFile(filepath.Join(dir, "root", path))
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
}

func TestELFIsReadByTheStandardLibrary(t *testing.T) {
	for _, e := range []imagetest.ELF{{}, {Narrow: true, Machine: elf.EM_386}, {Big: true, Machine: elf.EM_S390}, {Narrow: true, Big: true, Machine: elf.EM_PPC}} {
		e.Interpreter, e.Needed, e.Size = "/lib/ld.so", []string{"libc.so.6", "libm.so.6"}, 5000
		f, err := elf.NewFile(strings.NewReader(e.String()))
		require.NoError(t, err)
		require.Len(t, e.String(), 5000)
		if e.Machine != elf.EM_NONE {
			require.Equal(t, e.Machine, f.Machine)
		}
		require.Len(t, f.Progs, 3)
		require.Equal(t, elf.PT_INTERP, f.Progs[0].Type)
		text := make([]byte, f.Progs[0].Filesz)
		_, err = f.Progs[0].ReadAt(text, 0)
		require.NoError(t, err)
		require.Equal(t, "/lib/ld.so\x00", string(text))
	}
}
