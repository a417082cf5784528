package image

import (
	"bytes"
	"encoding/binary"
	"io"
)

// Format is what the first bytes of a file say it is.
type Format int

// The formats an image comes in.
const (
	Unknown  Format = iota
	SIF             // Singularity 3 and Apptainer
	SIMG            // Singularity 2: launcher line, then a squashfs
	Squashfs        // a bare squashfs
	Ext3            // an ext file system, bare or behind a launcher line (Singularity 2 .img)
)

// String is a word for people: "SIF", "squashfs".
func (f Format) String() string {
	switch f {
	case SIF:
		return "SIF"
	case SIMG:
		return "Singularity 2"
	case Squashfs:
		return "squashfs"
	case Ext3:
		return "ext3"
	case Unknown:
	}
	return "unknown"
}

// launcher is in the first line of images of Singularity 2, which is where their file system begins behind; Apptainer
// looks for it in the first 2048 bytes.
const (
	launcher     = " run-singularity"
	launcherLook = 2048
)

// headSize is how much of a file is read in the first place: a SIF's descriptors and the superblock of its partition
// are in it as a rule. Each further read may be a request to Drive.
const headSize = 64 << 10

// source is an image being looked into, with its head in memory.
type source struct {
	r    io.ReaderAt
	size int64
	head []byte
}

func openSource(r io.ReaderAt, size int64) (*source, error) {
	s := &source{r: r, size: size, head: make([]byte, min(size, headSize))}
	return s, readFull(r, s.head, 0)
}

// ReadAt reads from the head where it can.
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	if off >= 0 && off+int64(len(p)) <= int64(len(s.head)) {
		return copy(p, s.head[off:]), nil
	}
	return s.r.ReadAt(p, off)
}

// format tells what the file is, and where its file system begins if it is one.
func (s *source) format() (f Format, base int64) {
	if isSIF(s.head) {
		return SIF, 0
	}
	base = s.launcherEnd()
	rest := s.head[base:]
	switch {
	case bytes.HasPrefix(rest, []byte(squashMagic)) && base > 0:
		return SIMG, base
	case bytes.HasPrefix(rest, []byte(squashMagic)):
		return Squashfs, 0
	case isExt(rest):
		return Ext3, base
	}
	return Unknown, base
}

// launcherEnd is the offset behind the launcher line, 0 if there is none.
func (s *source) launcherEnd() int64 {
	look := s.head[:min(len(s.head), launcherLook)]
	at := bytes.Index(look, []byte(launcher))
	if at < 0 || !bytes.HasPrefix(look, []byte("#!")) {
		return 0
	}
	return min(int64(at+len(launcher)+1), int64(len(s.head)))
}

// The superblock of ext2, 3 and 4 is at offset 1024 (kernel: Documentation/filesystems/ext4/super.rst).
const (
	extSuper     = 1024
	extMagic     = extSuper + 0x38
	extSuperSize = 1024
)

func isExt(head []byte) bool {
	return len(head) >= extSuper+extSuperSize && binary.LittleEndian.Uint16(head[extMagic:]) == 0xef53 &&
		binary.LittleEndian.Uint32(head[extSuper+0x18:]) <= 6 // block sizes end at 64 KiB
}

// extSize is how many bytes the ext file system at the beginning of head says it has.
func extSize(head []byte) int64 {
	blocks := int64(binary.LittleEndian.Uint32(head[extSuper+0x04:]))
	return blocks * 1024 << binary.LittleEndian.Uint32(head[extSuper+0x18:])
}
