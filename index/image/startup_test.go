package image_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
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

func TestStartupFindsLibraries(t *testing.T) {
	main := imagetest.ELF{Interpreter: glibc, Needed: []string{"liba.so.1", "libc.so.6"}}
	lib := imagetest.ELF{}
	for name, c := range map[string]struct {
		change func(r rooted, main imagetest.ELF)
		want   []string
	}{
		"in Debian's directories": {func(r rooted, main imagetest.ELF) {
			r.add("/usr/bin/tool", main).add("/usr/lib/x86_64-linux-gnu/liba.so.1", imagetest.ELF{Needed: []string{"libb.so.2"}})
			r["/lib/x86_64-linux-gnu"] = "-> ../usr/lib/x86_64-linux-gnu"
			r["/usr/lib/x86_64-linux-gnu/libb.so.2"] = "-> libb.so.2.7"
			r.add("/usr/lib/x86_64-linux-gnu/libb.so.2.7", lib)
		}, []string{"/usr/lib/x86_64-linux-gnu/liba.so.1", "/usr/lib/x86_64-linux-gnu/libb.so.2.7"}},
		"by RUNPATH, for itself alone": {func(r rooted, main imagetest.ELF) {
			main.RunPath = "/nowhere:$ORIGIN/../opt"
			r.add("/usr/bin/tool", main).add("/usr/opt/liba.so.1", imagetest.ELF{Needed: []string{"libb.so.2"}})
			r.add("/usr/opt/libb.so.2", lib).add("/usr/lib/libb.so.2", lib)
		}, []string{"/usr/opt/liba.so.1", "/usr/lib/libb.so.2"}},
		"by RPATH, for its libraries too": {func(r rooted, main imagetest.ELF) {
			main.RPath = "${ORIGIN}/../opt"
			r.add("/usr/bin/tool", main).add("/usr/opt/liba.so.1", imagetest.ELF{Needed: []string{"libb.so.2"}})
			r.add("/usr/opt/libb.so.2", lib).add("/usr/lib/libb.so.2", lib)
		}, []string{"/usr/opt/liba.so.1", "/usr/opt/libb.so.2"}},
		"in LD_LIBRARY_PATH": {func(r rooted, main imagetest.ELF) {
			r["/.singularity.d/env/90-environment.sh"] = "export LD_LIBRARY_PATH=\"/opt/lib:$LD_LIBRARY_PATH\"\n"
			r.add("/usr/bin/tool", main).add("/opt/lib/liba.so.1", lib).add("/usr/lib/liba.so.1", lib)
		}, []string{"/opt/lib/liba.so.1"}},
		"by ld.so.cache": {func(r rooted, main imagetest.ELF) {
			r["/etc/ld.so.cache"] = ldSoCache("libz.so.9", "/opt/z/libz.so.9", "liba.so.1", "/opt/a/liba.so.1")
			r.add("/usr/bin/tool", main).add("/opt/a/liba.so.1", lib).add("/usr/lib/liba.so.1", lib)
		}, []string{"/opt/a/liba.so.1"}},
		"by ld.so.cache behind one of the old form": {func(r rooted, main imagetest.ELF) {
			r["/etc/ld.so.cache"] = "ld.so-1.7.0\x00" + strings.Repeat("\x00", 20) + ldSoCache("liba.so.1", "/opt/a/liba.so.1")
			r.add("/usr/bin/tool", main).add("/opt/a/liba.so.1", lib)
		}, []string{"/opt/a/liba.so.1"}},
		"of its own machine": {func(r rooted, main imagetest.ELF) {
			r.add("/usr/bin/tool", main).add("/usr/lib64/liba.so.1", imagetest.ELF{Machine: elf.EM_AARCH64}).add("/usr/lib/liba.so.1", lib)
		}, []string{"/usr/lib/liba.so.1"}},
		"by its path": {func(r rooted, main imagetest.ELF) {
			main.Needed[0] = "/opt/liba.so.1"
			r.add("/usr/bin/tool", main).add("/opt/liba.so.1", lib)
		}, []string{"/opt/liba.so.1"}},
		"that need each other": {func(r rooted, main imagetest.ELF) {
			r.add("/usr/bin/tool", main).add("/usr/lib/liba.so.1", imagetest.ELF{Needed: []string{"libb.so.2"}})
			r.add("/usr/lib/libb.so.2", imagetest.ELF{Needed: []string{"liba.so.1", "libb.so.2"}})
		}, []string{"/usr/lib/liba.so.1", "/usr/lib/libb.so.2"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := basics()
			main := main
			main.Needed = append([]string{}, main.Needed...)
			c.change(r, main)
			requireNamed(t, r, append(append(c.want, "/usr/bin/tool"), needed...)...)
		})
	}
	t.Run("of musl", func(t *testing.T) {
		const ld = "/lib/ld-musl-x86_64.so.1"
		r := rooted{"/etc/ld-musl-x86_64.path": "/opt/musl\n/usr/lib\n", "/.singularity.d/runscript": "#!/bin/sh\n"}
		r.add(ld, lib).add("/bin/sh", imagetest.ELF{Interpreter: ld, Needed: []string{"liba.so.1"}})
		r.add("/opt/musl/liba.so.1", lib).add("/usr/lib/liba.so.1", lib)
		requireNamed(t, r, ld, "/bin/sh", "/opt/musl/liba.so.1")
	})
	for _, e := range []imagetest.ELF{{Narrow: true, Machine: elf.EM_386}, {Big: true, Machine: elf.EM_S390}, {Narrow: true, Big: true, Machine: elf.EM_PPC}} {
		t.Run(fmt.Sprint(e.Machine), func(t *testing.T) {
			r := rooted{"/.singularity.d/runscript": "#!/bin/sh\n"}
			r.add("/lib/ld.so.1", e).add("/lib/liba.so.1", e)
			e.Interpreter, e.Needed = "/lib/ld.so.1", []string{"liba.so.1"}
			requireNamed(t, r.add("/bin/sh", e), "/bin/sh", "/lib/ld.so.1", "/lib/liba.so.1")
		})
	}
}

// ldSoCache makes an /etc/ld.so.cache of names and paths in turn.
func ldSoCache(pairs ...string) string {
	le := binary.LittleEndian
	b := le.AppendUint32([]byte("glibc-ld.so.cache1.1"), uint32(len(pairs)/2))
	b = append(b, make([]byte, 48-len(b))...)
	var text []byte
	textAt := len(b) + len(pairs)/2*24
	at := func(s string) uint32 {
		n := textAt + len(text)
		text = append(append(text, s...), 0)
		return uint32(n)
	}
	for ; len(pairs) > 0; pairs = pairs[2:] {
		b = le.AppendUint32(b, 0x0303)
		b = le.AppendUint32(b, at(pairs[0]))
		b = le.AppendUint32(b, at(pairs[1]))
		b = append(b, make([]byte, 12)...)
	}
	return string(append(b, text...))
}

func TestStartupOfPython(t *testing.T) {
	python := imagetest.ELF{Interpreter: glibc, Needed: []string{"libc.so.6"}}
	// modules puts modules with this source below a directory, compiled, and returns what is read of those that begin
	// with "+".
	modules := func(r rooted, lib, tag string, sources map[string]string) (want []string) {
		for name, source := range sources {
			name, isNeeded := strings.CutPrefix(name, "+")
			r[lib+name+".py"] = source
			compiled := lib + filepath.Dir(name) + "/__pycache__/" + filepath.Base(name) + "." + tag + ".pyc"
			compiled = filepath.Clean(compiled)
			if r[compiled] = program(compiled, imagetest.ELF{}); isNeeded {
				want = append(want, compiled)
			}
		}
		return want
	}
	t.Run("in /usr/bin", func(t *testing.T) {
		r := basics()
		r["/.singularity.d/runscript"], r["/usr/bin/python3"] = "#!/bin/sh\nexec python3 \"$@\"\n", "-> python3.12"
		r.add("/usr/bin/python3.12", python)
		want := modules(r, "/usr/lib/python3.12/", "cpython-312", map[string]string{
			"+encodings/__init__": "import codecs\nfrom . import aliases", "+encodings/aliases": "", "+encodings/utf_8": "", "encodings/utf_16": "",
			"+sitecustomize": "", "os": "", "codecs": "",
		})
		requireNamed(t, r, append(append(want, "/usr/bin/python3.12"), needed...)...)
	})
	t.Run("of an environment, older", func(t *testing.T) {
		r := basics()
		r["/.singularity.d/runscript"], r["/opt/bin/job"] = "#!/bin/sh\n/opt/bin/job\n", "#!/opt/venv/bin/python\n"
		r["/opt/venv/bin/python"], r["/opt/venv/pyvenv.cfg"] = "-> /opt/conda/bin/python3.8", "home = /opt/conda/bin\n"
		r.add("/opt/conda/bin/python3.8", python)
		want := modules(r, "/opt/conda/lib/python3.8/", "cpython-38", map[string]string{"+os": "", "+site": "import os", "json": ""})
		for _, name := range []string{"/opt/conda/lib/python3.8/codecs.py", "/opt/venv/lib/python3.8/site-packages/some.pth"} { // not compiled
			r[name] = program(name, imagetest.ELF{})
			want = append(want, name)
		}
		requireNamed(t, r, append(append(want, "/opt/conda/bin/python3.8"), needed...)...)
	})
	t.Run("with the imports of its program", func(t *testing.T) {
		r := basics()
		r["/.singularity.d/runscript"] = "#!/bin/sh\nexec /opt/main\n"
		r["/opt/main"] = "#!/usr/bin/env python3\n" + `
"""Says
import nothing
"""
import sys, own as o  # import nothing
from pack.sub import (one,
    two, # nothing
    Three)
import missing.module
try:
    import quick
except ImportError:
    import slow
def later():
    import nothing
class C:
    import held
    def m(self):
        import nothing
if TYPE_CHECKING:
    import nothing
if __name__ == "__main__":
    import asprogram
` + "\n"
		r.add("/usr/bin/env", python).add("/usr/bin/python3.12", python)["/usr/bin/python3"] = "-> python3.12"
		want := []string{"/usr/bin/env", "/usr/bin/python3.12"}
		want = append(want, modules(r, "/usr/lib/python3.12/", "cpython-312", map[string]string{
			"+encodings/__init__": "", "+quick": "import none.at.all\nfrom os import path", "+slow": "import slow", "nothing": "", "os": "", "+held": "",
		})...)
		want = append(want, modules(r, "/usr/lib/python3/dist-packages/", "cpython-312", map[string]string{
			"+pack/__init__": "from . import first\nfrom .first import Three", "+pack/first": "if __name__ == '__main__':\n  import nothing",
			"+pack/sub/__init__": "from ..deep import down", "+pack/sub/one": "", "+pack/sub/two": "from .. import first", "pack/sub/four": "",
			"+pack/deep/__init__": "from .down import *", "+pack/deep/down": "from ....nowhere import x\nfrom . import fast",
		})...)
		want = append(want, modules(r, "/opt/", "cpython-312", map[string]string{"+own": "", "+asprogram": ""})...)
		const fast = "/usr/lib/python3/dist-packages/pack/deep/fast.cpython-312-x86_64-linux-gnu.so"
		r.add(fast, imagetest.ELF{Needed: []string{"libfast.so.3"}}).add("/usr/lib64/libfast.so.3", imagetest.ELF{})
		r.add(strings.Replace(fast, "312", "313", 1), imagetest.ELF{})
		requireNamed(t, r, append(append(want, fast, "/usr/lib64/libfast.so.3"), needed...)...)
	})
	t.Run("with a program or module of the runscript", func(t *testing.T) {
		r := basics()
		r["/.singularity.d/runscript"] = "#!/bin/sh\npython3 /opt/first.py && exec python3 -m pack.tool \"$@\"\n"
		r.add("/usr/bin/python3.12", python)["/usr/bin/python3"] = "-> python3.12"
		r["/opt/first.py"] = "import own\n"
		want := modules(r, "/opt/", "cpython-312", map[string]string{"+own": ""})
		want = append(want, modules(r, "/usr/lib/python3/dist-packages/", "cpython-312", map[string]string{
			"+pack/__init__": "", "+pack/tool/__init__": "", "+pack/tool/__main__": "from . import work", "+pack/tool/work": "", "+numpy/__init__": "", "pandas/__init__": "",
		})...)
		requireNamed(t, r, append(append(want, "/usr/bin/python3.12"), needed...)...)
	})
	t.Run("only where it may be what runs", func(t *testing.T) {
		r := basics()
		r.add("/usr/bin/python3", python).add("/usr/bin/tool", python)
		requireNamed(t, r, append([]string{"/usr/bin/tool"}, needed...)...)
		r["/.singularity.d/runscript"] = "#!/bin/sh\nexec /bin/sh \"$@\"\n"
		requireNamed(t, r, append([]string{"/usr/bin/python3"}, needed...)...)
	})
}

func TestStartupOfR(t *testing.T) {
	r := basics()
	r["/.singularity.d/runscript"] = "#!/bin/sh\nRscript /opt/job.R\n"
	r["/usr/bin/R"], r["/usr/lib/R/bin/R"] = "-> ../lib/R/bin/R", "#!/bin/sh\nexec $R_HOME/bin/exec/R\n"
	exe := imagetest.ELF{Interpreter: glibc, Needed: []string{"libR.so", "libc.so.6"}, RunPath: "/usr/lib/R/lib"}
	r.add("/usr/bin/Rscript", imagetest.ELF{Interpreter: glibc, Needed: []string{"libc.so.6"}}).add("/usr/lib/R/bin/exec/R", exe)
	want := []string{"/usr/bin/Rscript", "/usr/lib/R/bin/exec/R"}
	for name, isNeeded := range map[string]bool{
		"lib/libR.so": true, "library/base/R/base.rdb": true, "library/stats/R/stats.rdb": true, "library/stats/libs/stats.so": true,
		"library/stats/libs/other.so": false, "library/stats/help/stats.rdb": false, "library/tcltk/R/tcltk.rdb": false, "etc/Rprofile.site": true,
	} {
		if r.add("/usr/lib/R/"+name, imagetest.ELF{}); isNeeded {
			want = append(want, "/usr/lib/R/"+name)
		}
	}
	for _, name := range []string{"library/base/R/base.rdb", "library/stats/R/stats.rdb", "etc/Rprofile.site"} {
		want = append(want, "/usr/lib/R/"+name+".decoy") // these directories are read as a whole
	}
	requireNamed(t, r, append(want, needed...)...)
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
