package image

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
)

// What an ELF file may ask for at most. A shared library of this world has 15 segments, and a program 200 libraries.
const (
	elfMaxSegments = 128
	elfMaxDynamic  = 4096 // entries
	elfMaxNeeded   = 256
	elfMaxString   = 4096
	elfMaxName     = 256
)

// elfFile is what the dynamic loader reads of a program or library before it loads others. The standard library's reader
// wants section headers, which a loader does not read, and which lie at the end of the file.
type elfFile struct {
	machine     elf.Machine
	class       elf.Class
	interpreter string
	needed      []string
	rpath       string // DT_RPATH, but only if there is no DT_RUNPATH
	runpath     string
	written     []Span // the segments that are relocated, in the file
}

// elfSegment is a program header of either class.
type elfSegment struct {
	kind            elf.ProgType
	flags           elf.ProgFlag
	off, addr, size uint64
}

// readELF reads the headers of r. ErrUnsupported if it is no ELF file, ErrCorrupt if it makes no sense.
func readELF(r io.ReaderAt) (*elfFile, error) {
	head := make([]byte, 64)
	if n, err := r.ReadAt(head, 0); n < 52 && err != nil || !bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
		return nil, fmt.Errorf("no ELF file: %w", ErrUnsupported)
	}
	f := &elfFile{class: elf.Class(head[elf.EI_CLASS])}
	var order binary.ByteOrder = binary.LittleEndian
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	f.machine = elf.Machine(order.Uint16(head[18:]))
	segments, err := f.segments(r, order, head)
	if err != nil {
		return nil, err
	}
	for _, p := range segments {
		switch {
		case p.kind == elf.PT_INTERP:
			f.interpreter = cString(bytesAt(r, p.off, min(p.size, elfMaxString)))
		case p.kind == elf.PT_DYNAMIC:
			f.dynamic(r, order, p, segments)
		case p.kind == elf.PT_LOAD && p.flags&elf.PF_W != 0 && p.off < 1<<62 && p.size < 1<<62:
			f.written = append(f.written, Span{int64(p.off), int64(p.size)})
		}
	}
	return f, nil
}

// segments reads the program headers.
func (f *elfFile) segments(r io.ReaderAt, order binary.ByteOrder, head []byte) (segments []elfSegment, err error) {
	wide := f.class == elf.ELFCLASS64
	off, each, n := uint64(order.Uint32(head[28:])), 32, int(order.Uint16(head[44:]))
	if wide {
		off, each, n = order.Uint64(head[32:]), 56, int(order.Uint16(head[56:]))
	}
	if n > elfMaxSegments {
		return nil, fmt.Errorf("%w: ELF file with %d segments", ErrCorrupt, n)
	}
	for b := bytesAt(r, off, uint64(n*each)); len(b) >= each; b = b[each:] {
		p := elfSegment{kind: elf.ProgType(order.Uint32(b))}
		if wide {
			p.flags = elf.ProgFlag(order.Uint32(b[4:]))
			p.off, p.addr, p.size = order.Uint64(b[8:]), order.Uint64(b[16:]), order.Uint64(b[32:])
		} else {
			p.off, p.addr, p.size = uint64(order.Uint32(b[4:])), uint64(order.Uint32(b[8:])), uint64(order.Uint32(b[16:]))
			p.flags = elf.ProgFlag(order.Uint32(b[24:]))
		}
		segments = append(segments, p)
	}
	return segments, nil
}

// dynamic reads the dynamic segment and the names it speaks of.
func (f *elfFile) dynamic(r io.ReaderAt, order binary.ByteOrder, p elfSegment, segments []elfSegment) {
	word := 4
	if f.class == elf.ELFCLASS64 {
		word = 8
	}
	number := func(b []byte) uint64 {
		if word == 8 {
			return order.Uint64(b)
		}
		return uint64(order.Uint32(b))
	}
	var needed []uint64
	var strtab, rpath, runpath uint64
	for b := bytesAt(r, p.off, min(p.size, uint64(elfMaxDynamic*2*word))); len(b) >= 2*word; b = b[2*word:] {
		value := number(b[word:])
		switch elf.DynTag(number(b)) { //nolint:exhaustive // the others say nothing about other files
		case elf.DT_NULL:
			b = b[:2*word] // the end
		case elf.DT_NEEDED:
			if len(needed) < elfMaxNeeded {
				needed = append(needed, value)
			}
		case elf.DT_STRTAB:
			strtab = value
		case elf.DT_RPATH:
			rpath = value
		case elf.DT_RUNPATH:
			runpath = value
		}
	}
	for _, s := range segments { // strtab is an address
		if s.kind == elf.PT_LOAD && s.addr <= strtab && strtab-s.addr < s.size {
			strtab = strtab - s.addr + s.off
			break
		}
	}
	text := func(off, longest uint64) string {
		if off == 0 {
			return ""
		}
		b := bytesAt(r, strtab+off, longest)
		if i := bytes.IndexByte(b, 0); i >= 0 {
			return string(b[:i])
		}
		return ""
	}
	for _, off := range needed {
		if name := text(off, elfMaxName); name != "" {
			f.needed = append(f.needed, name)
		}
	}
	if f.runpath = text(runpath, elfMaxString); f.runpath == "" {
		f.rpath = text(rpath, elfMaxString)
	}
}

// bytesAt returns what there is of the n bytes at off; nothing on an error, as nothing more is lost than a library.
func bytesAt(r io.ReaderAt, off, n uint64) []byte {
	if off >= 1<<62 {
		return nil
	}
	b := make([]byte, n)
	got, _ := r.ReadAt(b, int64(off)) // a short one is what there is
	return b[:got]
}
