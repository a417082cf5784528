package image_test

import (
	"bytes"
	"hash/fnv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image"
	"sregfs/index/image/imagetest"
)

// fileSize is the size of the programs in the tests: some blocks of a profile, so that one is not named by accident.
const fileSize = 7 * block

// seed is a number of the name's own.
func seed(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails
	return h.Sum64()
}

// program makes a program or library whose bytes are its own.
func program(name string, e imagetest.ELF) string {
	e.Seed, e.Size = imagetest.Seed(seed(name)), fileSize
	return e.String()
}

// rooted is a tree of files, all programs of which a start may run.
type rooted imagetest.Files

// add puts a program there.
func (r rooted) add(name string, e imagetest.ELF) rooted {
	r[name] = program(name, e)
	return r
}

// decoys are beside every file, so that what is not needed lies next to what is.
func (r rooted) files() imagetest.Files {
	files := imagetest.Files{}
	for name, text := range r {
		files[name] = text
		if !strings.HasPrefix(text, "-> ") {
			decoy := name + ".decoy"
			files[decoy] = string(imagetest.Bytes(seed(decoy), fileSize))
		}
	}
	return files
}

const glibc = "/lib64/ld-linux-x86-64.so.2"

// basics is the root of a small distribution.
func basics() rooted {
	r := rooted{
		"/etc/passwd": "root:x:0:0::/root:/bin/sh\n", "/bin": "-> usr/bin", "/lib64": "-> usr/lib64",
		"/.singularity.d/runscript": "#!/bin/sh\nexec tool \"$@\"\n",
	}
	r.add("/usr/lib64/ld-linux-x86-64.so.2", imagetest.ELF{})
	r.add("/usr/lib64/libc.so.6", imagetest.ELF{})
	r.add("/usr/bin/sh", imagetest.ELF{Interpreter: glibc, Needed: []string{"libc.so.6"}})
	return r
}

// startup is the profile of an image with these files, and where in the image each of them lies.
func startup(t *testing.T, r rooted) (image.Profile, map[string]image.Span) {
	t.Helper()
	files := r.files()
	size := int64(4 << 20)
	for _, text := range files {
		size += int64(len(text))
	}
	data := imagetest.SIF(t, size, files)
	p, err := image.Startup(reader(data), int64(len(data)))
	require.NoError(t, err)
	sane(t, p, int64(len(data)))
	where := map[string]image.Span{}
	for name, text := range files {
		if len(text) > block {
			at := bytes.Index(data, []byte(text))
			require.Positive(t, at, name)
			where[name] = image.Span{Off: int64(at), Len: int64(len(text))}
		}
	}
	return p, where
}

// requireNamed requires that of the large files these are in the profile as a whole, and the others are not.
func requireNamed(t *testing.T, r rooted, names ...string) {
	t.Helper()
	p, where := startup(t, r)
	named := map[string]bool{}
	for _, name := range names {
		require.Contains(t, where, name)
		named[name] = true
		require.True(t, covers(p, where[name].Off, where[name].Len), "%s is needed", name)
	}
	for name, s := range where {
		if !named[name] {
			// Neighbours share a block at both ends, and the kernel reads four blocks ahead.
			require.False(t, covers(p, s.Off+5*block, block), "%s is not needed", name)
		}
	}
}

var needed = []string{"/usr/bin/sh", "/usr/lib64/ld-linux-x86-64.so.2", "/usr/lib64/libc.so.6"}

func TestStartupFollowsTheRunscript(t *testing.T) {
	tool := func(needed ...string) imagetest.ELF {
		return imagetest.ELF{Interpreter: glibc, Needed: append(needed, "libc.so.6")}
	}
	for name, c := range map[string]struct {
		change func(rooted)
		want   []string
	}{
		"to a program in the default PATH": {func(r rooted) { r.add("/usr/local/bin/tool", tool()) }, []string{"/usr/local/bin/tool"}},
		"to the first of several in PATH": {func(r rooted) {
			r.add("/usr/local/bin/tool", tool()).add("/usr/sbin/tool", tool())
		}, []string{"/usr/local/bin/tool"}},
		"through links": {func(r rooted) {
			r["/usr/bin/tool"], r["/etc/alternatives/tool"], r["/opt/v1"] = "-> /etc/alternatives/tool", "-> ../../opt/v1/bin/tool-1.2", "-> 1.2"
			r.add("/opt/1.2/bin/tool-1.2", tool())
		}, []string{"/opt/1.2/bin/tool-1.2"}},
		"by its path": {func(r rooted) {
			r["/.singularity.d/runscript"] = "#!/bin/sh\n# /opt/old/tool was here\nif [ -n \"$A\" ]; then exec '/opt/x/tool' -v; fi\n"
			r.add("/opt/x/tool", tool()).add("/opt/old/tool", tool())
		}, []string{"/opt/x/tool"}},
		"of an OCI image": {func(r rooted) {
			r["/.singularity.d/runscript"] = "#!/bin/sh\nOCI_ENTRYPOINT='\"/sbin/tini\" \"--\"'\nOCI_CMD='\"serve\"'\n"
			r["/.singularity.d/env/10-docker2singularity.sh"] = "#!/bin/sh\nexport PATH=\"/opt/app/bin:/usr/bin\"\n"
			r.add("/sbin/tini", tool()).add("/opt/app/bin/serve", tool())
		}, []string{"/sbin/tini", "/opt/app/bin/serve"}},
		"through PATH of the image": {func(r rooted) {
			r["/.singularity.d/env/90-environment.sh"] = "#!/bin/sh\nPATH=/opt/a:${PATH:-\"/opt/b:/usr/bin\"}\nexport PATH\n"
			r.add("/opt/b/tool", tool()).add("/usr/bin/tool", tool())
		}, []string{"/opt/b/tool"}},
		"to a script": {func(r rooted) {
			r["/usr/bin/tool"] = "#! /opt/bin/interpreter -x\n"
			r.add("/opt/bin/interpreter", tool("libx.so.1")).add("/usr/lib64/libx.so.1", imagetest.ELF{})
		}, []string{"/opt/bin/interpreter", "/usr/lib64/libx.so.1"}},
		"to a script of env": {func(r rooted) {
			r["/usr/bin/tool"] = "#!/usr/bin/env -S A=b rubylike -w\n"
			r.add("/usr/bin/env", tool()).add("/usr/bin/rubylike", tool())
		}, []string{"/usr/bin/env", "/usr/bin/rubylike"}},
		"to a script that is its own interpreter": {func(r rooted) { r["/usr/bin/tool"] = "#!/usr/bin/tool\n" }, nil},
		"to nothing": {func(r rooted) {
			r["/.singularity.d/runscript"] = "#!/bin/sh\nexec missing ../up /etc / . \"$@\"\n"
		}, nil},
		"to a program with a link that loops": {func(r rooted) {
			r["/usr/bin/tool"], r["/usr/bin/lo"], r["/usr/bin/op"] = "-> lo", "-> op", "-> lo"
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := basics()
			c.change(r)
			requireNamed(t, r, append(c.want, needed...)...)
		})
	}
}

// What a start needs first comes first, whatever lies where.
func TestStartupIsInOrder(t *testing.T) {
	r := basics()
	r.add("/usr/bin/bash", imagetest.ELF{Interpreter: glibc, Needed: []string{"libtinfo.so.6"}}).add("/usr/lib64/libtinfo.so.6", imagetest.ELF{})
	r.add("/usr/bin/tool", imagetest.ELF{Interpreter: glibc, Needed: []string{"libtool.so.1"}}).add("/usr/lib64/libtool.so.1", imagetest.ELF{})
	p, where := startup(t, r)
	place := func(name string) int {
		for i, s := range p {
			if s.Off <= where[name].Off && where[name].Off < s.Off+s.Len {
				return i
			}
		}
		t.Fatalf("%s is not in the profile", name)
		return 0
	}
	require.Zero(t, p[0].Off)
	require.Greater(t, p[1].Off, where["/usr/bin/tool"].Off, "the tables are at the end")
	last := 0
	for _, name := range []string{"/usr/bin/sh", "/usr/lib64/ld-linux-x86-64.so.2", "/usr/bin/tool", "/usr/lib64/libtool.so.1", "/usr/bin/bash", "/usr/lib64/libtinfo.so.6"} {
		require.GreaterOrEqual(t, place(name), last, name)
		last = place(name)
	}
}

// Of files too long to be read at every start, the head and what is relocated is named.
func TestStartupOfLargePrograms(t *testing.T) {
	r := basics()
	e := imagetest.ELF{Interpreter: glibc, Needed: []string{"libc.so.6"}, Size: 40 << 20}
	r["/usr/bin/tool"] = e.String()
	p, where := startup(t, r)
	require.True(t, covers(p, where["/usr/bin/tool"].Off, 4<<20))
	require.Less(t, p.Bytes(), int64(12<<20))
}
