package imagetest

import (
	"debug/elf"
	"encoding/binary"
)

// ELF describes a program or shared library as a dynamic loader sees it; it cannot be run.
type ELF struct {
	Interpreter string // of a program: the loader's path
	Needed      []string
	RPath       string
	RunPath     string
	Machine     elf.Machine // EM_X86_64 by default
	Narrow      bool        // of 32 bits
	Big         bool        // big-endian
	Size        int64       // filled up with noise
	Seed        Seed        // of the noise
}

// elfBase is the address the file is loaded at, so that no address in it is an offset.
const elfBase = 0x10000

// String is the file.
func (e ELF) String() string {
	var order binary.AppendByteOrder = binary.LittleEndian
	data := elf.ELFDATA2LSB
	if e.Big {
		order, data = binary.BigEndian, elf.ELFDATA2MSB
	}
	class, headSize, segmentSize, word := elf.ELFCLASS64, 64, 56, 8
	if e.Narrow {
		class, headSize, segmentSize, word = elf.ELFCLASS32, 52, 32, 4
	}
	number := func(b []byte, n int) []byte {
		if e.Narrow {
			return order.AppendUint32(b, uint32(n))
		}
		return order.AppendUint64(b, uint64(n))
	}
	if e.Machine == elf.EM_NONE {
		e.Machine = elf.EM_X86_64
	}

	strings := []byte{0}
	text := func(s string) int {
		at := len(strings)
		strings = append(append(strings, s...), 0)
		return at
	}
	var dynamic []byte
	tag := func(t elf.DynTag, value int) { dynamic = number(number(dynamic, int(t)), value) }
	for _, name := range e.Needed {
		tag(elf.DT_NEEDED, text(name))
	}
	if e.RPath != "" {
		tag(elf.DT_RPATH, text(e.RPath))
	}
	if e.RunPath != "" {
		tag(elf.DT_RUNPATH, text(e.RunPath))
	}
	interpreter := len(zeroEnded(e.Interpreter))
	const segments = 3
	interpreterAt := headSize + segments*segmentSize
	stringsAt := interpreterAt + interpreter
	dynamicAt := stringsAt + len(strings)
	tag(elf.DT_STRTAB, elfBase+stringsAt)
	tag(elf.DT_NULL, 0)
	size := max(dynamicAt+len(dynamic), int(e.Size))

	b := append([]byte(elf.ELFMAG), byte(class), byte(data), byte(elf.EV_CURRENT))
	b = append(b, make([]byte, 16-len(b))...)
	b = order.AppendUint16(b, uint16(elf.ET_DYN))
	b = order.AppendUint16(b, uint16(e.Machine))
	b = order.AppendUint32(b, uint32(elf.EV_CURRENT))
	b = number(number(number(b, 0), headSize), 0) // entry, program headers, section headers
	b = order.AppendUint32(b, 0)
	for _, n := range []int{headSize, segmentSize, segments, 0, 0, 0} {
		b = order.AppendUint16(b, uint16(n))
	}
	segment := func(kind elf.ProgType, flags elf.ProgFlag, off, n int) {
		b = order.AppendUint32(b, uint32(kind))
		if !e.Narrow {
			b = order.AppendUint32(b, uint32(flags))
		}
		b = number(number(number(number(number(b, off), elfBase+off), elfBase+off), n), n)
		if e.Narrow {
			b = order.AppendUint32(b, uint32(flags))
		}
		b = number(b, word)
	}
	kind := elf.PT_INTERP
	if e.Interpreter == "" {
		kind = elf.PT_NULL
	}
	segment(kind, elf.PF_R, interpreterAt, interpreter)
	segment(elf.PT_LOAD, elf.PF_R|elf.PF_W, 0, size)
	segment(elf.PT_DYNAMIC, elf.PF_R, dynamicAt, len(dynamic))
	b = append(append(append(b, zeroEnded(e.Interpreter)...), strings...), dynamic...)
	return string(append(b, Bytes(uint64(e.Seed), int64(size-len(b)))...))
}

// zeroEnded is s with the zero that ends it.
func zeroEnded(s string) []byte { return append([]byte(s), 0) }
