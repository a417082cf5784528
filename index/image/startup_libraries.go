package image

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"path"
	"strings"
)

// triplets are the directories Debian keeps the libraries of one architecture in.
var triplets = map[elf.Machine]string{
	elf.EM_X86_64: "x86_64-linux-gnu", elf.EM_AARCH64: "aarch64-linux-gnu", elf.EM_386: "i386-linux-gnu",
	elf.EM_ARM: "arm-linux-gnueabihf", elf.EM_PPC64: "powerpc64le-linux-gnu", elf.EM_S390: "s390x-linux-gnu",
	elf.EM_RISCV: "riscv64-linux-gnu", elf.EM_LOONGARCH: "loongarch64-linux-gnu",
}

// defaultDirs is where a program's libraries are by default.
func (s *starter) defaultDirs(interpreter string, machine elf.Machine) []string {
	if _, arch, musl := strings.Cut(interpreter, "/ld-musl-"); musl {
		conf := "/etc/ld-musl-" + strings.TrimSuffix(arch, ".so.1") + ".path"
		if text := s.text(conf); text != nil {
			s.name(conf)
			return strings.FieldsFunc(string(text), func(r rune) bool { return r == ':' || r == '\n' })
		}
		return []string{"/lib", "/usr/local/lib", "/usr/lib"}
	}
	dirs := []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib"}
	if t := triplets[machine]; t != "" {
		dirs = append([]string{"/lib/" + t, "/usr/lib/" + t}, dirs...)
	}
	return dirs
}

// object is a program or library whose libraries are looked for.
type object struct {
	elf    *elfFile
	dir    string   // it lies in, without links
	rpaths []string // DT_RPATH of it and of those that asked for it
}

// libraries names what loading the program p, without links, reads beside it: ld.so, and the shared libraries in the
// order ld.so opens them. Libraries that are there for some processors only are not looked for.
func (s *starter) libraries(p string) {
	main := s.elf(p)
	if main == nil {
		return
	}
	s.name(main.interpreter)
	if len(main.needed) == 0 {
		return
	}
	cached := s.ldCache()
	standard := s.defaultDirs(main.interpreter, main.machine)
	s.multiarch = standard
	asked := map[string]bool{}
	for queue := []object{{main, path.Dir(p), nil}}; len(queue) > 0; queue = queue[1:] {
		o := queue[0]
		var own, run []string
		if o.elf.runpath == "" {
			own = append(expand(o.elf.rpath, o.dir), o.rpaths...)
		} else {
			run = expand(o.elf.runpath, o.dir)
		}
		for _, name := range o.elf.needed {
			if asked[name] || len(asked) >= elfMaxNeeded {
				continue
			}
			asked[name] = true
			found := s.library(name, main, own, run, cached[name], standard)
			if found == "" {
				continue
			}
			s.name(found)
			queue = append(queue, object{s.elf(found), path.Dir(found), own})
		}
	}
}

// library looks for a library in lists of directories, and of files. It returns its path without links, "" if there is
// none for the program.
func (s *starter) library(name string, program *elfFile, own, run, cached, standard []string) string {
	try := func(p string) string {
		at := s.resolve(p)
		if lib := s.elf(at.path); lib != nil && lib.machine == program.machine && lib.class == program.class {
			return at.path
		}
		return ""
	}
	if strings.Contains(name, "/") {
		return try(name)
	}
	var candidates []string
	for _, dirs := range [][]string{own, s.libs, run} {
		for _, dir := range dirs {
			candidates = append(candidates, path.Join(dir, name))
		}
	}
	candidates = append(candidates, cached...)
	for _, dir := range standard {
		candidates = append(candidates, path.Join(dir, name))
	}
	for _, p := range candidates {
		if found := try(p); found != "" {
			return found
		}
	}
	return ""
}

// expand splits a DT_RPATH of a file in the directory origin.
func expand(rpath, origin string) (dirs []string) {
	for dir := range strings.SplitSeq(rpath, ":") {
		dir = strings.NewReplacer("$ORIGIN", origin, "${ORIGIN}", origin).Replace(dir)
		if strings.HasPrefix(dir, "/") && len(dirs) < 64 {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// elf reads the file p, nil if it is no ELF file.
func (s *starter) elf(p string) *elfFile {
	if f, ok := s.elfs[p]; ok {
		return f
	}
	var e *elfFile
	if f := s.file(p); f != nil && len(s.elfs) < startupFiles {
		e, _ = readELF(f) // what is none is nil
		s.elfs[p] = e
	}
	return e
}

// Numbers of /etc/ld.so.cache (glibc: sysdeps/generic/dl-cache.h). An older header may come before this one.
const (
	ldCache        = "/etc/ld.so.cache"
	ldCacheMagic   = "glibc-ld.so.cache1.1"
	ldCacheHeader  = 48
	ldCacheEntry   = 24
	maxLdCacheSize = 20000 // entries
)

// ldCache reads /etc/ld.so.cache: paths by the name of the library.
func (s *starter) ldCache() map[string][]string {
	if s.cache != nil {
		return s.cache
	}
	s.cache = map[string][]string{}
	s.name(ldCache)
	text := s.text(ldCache)
	at := bytes.Index(text, []byte(ldCacheMagic))
	if at < 0 || len(text)-at < ldCacheHeader {
		return s.cache
	}
	text = text[at:]
	var order binary.ByteOrder = binary.LittleEndian
	if text[len(ldCacheMagic)+8] == 3 {
		order = binary.BigEndian
	}
	entries := text[ldCacheHeader:]
	for n := min(order.Uint32(text[len(ldCacheMagic):]), maxLdCacheSize); n > 0 && len(entries) >= ldCacheEntry; n-- {
		name, p := stringAt(text, order.Uint32(entries[4:])), stringAt(text, order.Uint32(entries[8:]))
		if hardware := order.Uint64(entries[16:]); hardware == 0 && name != "" && strings.HasPrefix(p, "/") {
			s.cache[name] = append(s.cache[name], p)
		}
		entries = entries[ldCacheEntry:]
	}
	return s.cache
}

// stringAt is the string that begins at off in b and ends with a zero.
func stringAt(b []byte, off uint32) string {
	if uint64(off) >= uint64(len(b)) {
		return ""
	}
	b = b[off:]
	return cString(b[:min(len(b), elfMaxString)])
}
