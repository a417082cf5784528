package image_test

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"sregfs/index/image/imagetest"
)

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
