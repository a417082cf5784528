package image_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image"
)

// machineRoot is a root in which files of the machine the test runs on lie at their own paths.
type machineRoot string

// link puts a file there, with the links on the way to it.
func (dir machineRoot) link(t *testing.T, name string) {
	t.Helper()
	for p := name; ; {
		to := filepath.Join(string(dir), p)
		require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
		real, err := filepath.EvalSymlinks(p)
		require.NoError(t, err)
		if _, err := os.Lstat(to); err == nil {
			return
		}
		if real == p {
			data, err := os.ReadFile(p)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(to, data, 0o755))
			return
		}
		require.NoError(t, os.Symlink(real, to))
		p = real
	}
}

// libraries puts those there that ldd says a program loads, and returns them.
func (dir machineRoot) libraries(t *testing.T, program string) (libs []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)(/\S+) \(0x`).FindAllStringSubmatch(tool(t, "ldd", program), -1) {
		dir.link(t, m[1])
		libs = append(libs, m[1])
	}
	return libs
}

// startup is the profile of the root as an image with this runscript. It returns the files that are not in the profile.
func (dir machineRoot) startup(t *testing.T, runscript string, files map[string]bool) (missing []string) {
	t.Helper()
	dir.link(t, "/bin/sh")
	dir.link(t, "/etc/ld.so.cache")
	meta := filepath.Join(string(dir), ".singularity.d")
	require.NoError(t, os.MkdirAll(meta, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(meta, "runscript"), []byte("#!/bin/sh\n"+runscript), 0o755))
	data := mksquashfs(t, string(dir), "-noD", "-noF", "-no-fragments", "-no-duplicates")
	p, err := image.Startup(reader(data), int64(len(data)))
	require.NoError(t, err)
	for name := range files {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		if len(text) == 0 {
			continue
		}
		text = text[:min(len(text), 64<<10)] // a long file may have holes
		at := int64(strings.Index(string(data), string(text)))
		require.Positive(t, at, name)
		if !covers(p, at, int64(len(text))) {
			missing = append(missing, name)
		}
	}
	return missing
}

// TestStartupFindsWhatLddFinds compares with the dynamic loader itself.
func TestStartupFindsWhatLddFinds(t *testing.T) {
	dir := machineRoot(t.TempDir())
	words := ""
	files := map[string]bool{}
	for _, name := range []string{"bash", "ls", "tar", "git", "curl", "perl"} {
		p, err := exec.LookPath(name)
		if err != nil || !strings.HasPrefix(p, "/usr/bin/") {
			continue
		}
		dir.link(t, p)
		files[p] = true
		words += name + "\n"
		for _, lib := range dir.libraries(t, p) {
			files[lib] = true
		}
	}
	if len(files) < 5 {
		t.Skip("this machine has too few programs")
	}
	require.Empty(t, dir.startup(t, words, files))
	t.Logf("%d programs and libraries", len(files))
}

// TestStartupFindsWhatPythonLoads compares with what Python says that it loads.
func TestStartupFindsWhatPythonLoads(t *testing.T) {
	const program = "import argparse, json, urllib.request, concurrent.futures, sqlite3, unittest\n"
	python := strings.TrimSpace(tool(t, "python3", "-c", "import sys, os; print(os.path.realpath(sys.executable))"))
	dir := machineRoot(t.TempDir())
	opt := filepath.Join(string(dir), "opt")
	require.NoError(t, os.Mkdir(opt, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(opt, "main.py"), []byte(program), 0o600))
	dir.link(t, python)
	files := map[string]bool{python: true}
	for _, lib := range dir.libraries(t, python) {
		files[lib] = true
	}
	said := tool(t, python, "-v", "-I", "-S", "-c", program) // -S: without what this machine adds by .pth files
	for _, m := range regexp.MustCompile(`# (/\S+\.pyc) matches (/\S+\.py)`).FindAllStringSubmatch(said, -1) {
		dir.link(t, m[1])
		dir.link(t, m[2])
		files[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`loaded from '(/\S+\.so)'`).FindAllStringSubmatch(said, -1) {
		dir.link(t, m[1])
		files[m[1]] = true
	}
	if len(files) < 80 {
		t.Skipf("this machine's Python loads %d files only: its standard library is none", len(files))
	}
	missing := dir.startup(t, python+" /opt/main.py\n", files)
	t.Logf("%d of %d files are in the profile; not: %q", len(files)-len(missing), len(files), missing)
	require.Less(t, len(missing)*20, len(files), "of 20 files 19 are found; what functions import when they run is not seen")
}
