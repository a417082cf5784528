package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// This file reads the SIF container format (Singularity 3, Apptainer). The maintained library for it,
// github.com/sylabs/sif/v2, wants a writable file and allocates whatever the header's counts say, so a hostile image
// could take all memory; this reader needs an io.ReaderAt and about a hundred lines. Layout and numbers as in that
// library's pkg/sif: a header of 128 bytes, then a table of descriptors of 585 bytes, all little-endian.
const (
	sifHeaderSize     = 128
	sifDescriptorSize = 585
	sifMagicOffset    = 32
	sifMagic          = "SIF_MAGIC\x00"
	// sifMaxDescriptors bounds the table; Apptainer makes 48 and has no command to add more.
	sifMaxDescriptors = 4096
	// sifTableOffset and sifDataOffset are where Apptainer puts the table and the first data object.
	sifTableOffset = 4096
	sifDataOffset  = sifTableOffset + 48*sifDescriptorSize
)

// Kinds of data objects.
const (
	sifDeffile     = 0x4001
	sifLabels      = 0x4003
	sifPartition   = 0x4004
	sifSignature   = 0x4005
	sifGenericJSON = 0x4006
	sifLastKind    = 0x400b
)

// File systems and roles of partitions.
const (
	sifFSSquashfs     = 1
	sifFSExt3         = 2
	sifFSEncrypted    = 5
	sifFSGocryptfs    = 6
	sifPartSystem     = 1
	sifPartPrimarySys = 2
)

// inspectName is the name of the JSON object into which Apptainer and Singularity ≥ 3.6 put what `inspect` shows.
const inspectName = "inspect-metadata.json"

// sifArchs are the architecture codes of headers and partitions, as GOARCH.
var sifArchs = map[string]string{
	"01": "386", "02": "amd64", "03": "arm", "04": "arm64", "05": "ppc64", "06": "ppc64le", "07": "mips", "08": "mipsle",
	"09": "mips64", "10": "mips64le", "11": "s390x", "12": "riscv64", "13": "loong64",
}

// sifHeader and sifDescriptor are the structures as they lie in the file.
type sifHeader struct {
	Launch             [32]byte
	Magic              [10]byte
	Version            [3]byte
	Arch               [3]byte
	ID                 [16]byte
	Created, Modified  int64 // Unix seconds
	Free, Total        int64 // descriptors
	TableOff, TableLen int64
	DataOff, DataLen   int64
}

type sifDescriptor struct {
	Kind              int32
	Used              bool
	ID, Group, Link   uint32
	Off, Len          int64
	Stored            int64 // Len with padding
	Created, Modified int64
	UID, GID          int64
	Name              [128]byte
	Extra             [384]byte // of partitions: file system, role (int32 each), architecture (3 bytes)
}

func (d *sifDescriptor) name() string { return cString(d.Name[:]) }
func (d *sifDescriptor) fs() int32    { return int32(binary.LittleEndian.Uint32(d.Extra[0:])) }
func (d *sifDescriptor) role() int32  { return int32(binary.LittleEndian.Uint32(d.Extra[4:])) }
func (d *sifDescriptor) arch() string { return sifArchs[cString(d.Extra[8:11])] }
func cString(b []byte) string         { s, _, _ := bytes.Cut(b, []byte{0}); return string(s) }

// sifFile is a SIF's header and the descriptors in use.
type sifFile struct {
	header  sifHeader
	objects []sifDescriptor
}

// isSIF tells whether head, the beginning of a file, is that of a SIF.
func isSIF(head []byte) bool {
	return len(head) > sifMagicOffset && bytes.HasPrefix(head[sifMagicOffset:], []byte(sifMagic))
}

// readSIF reads header and descriptors; the file must be one by isSIF. ErrTruncated if they go beyond size, ErrCorrupt
// if they make no sense.
func readSIF(r io.ReaderAt, size int64) (*sifFile, error) {
	if size < sifHeaderSize {
		return nil, missing(sifHeaderSize, size)
	}
	var f sifFile
	h := &f.header
	if err := readStruct(r, 0, sifHeaderSize, h); err != nil {
		return nil, err
	}
	switch end, ok := endOf(h.TableOff, h.Total*sifDescriptorSize); {
	case h.Total < 0 || h.Total > sifMaxDescriptors || !ok:
		return nil, fmt.Errorf("%w: SIF with %d descriptors at offset %d", ErrCorrupt, h.Total, h.TableOff)
	case end > size:
		return nil, missing(end, size)
	}
	table := make([]sifDescriptor, h.Total)
	if err := readStruct(r, h.TableOff, h.Total*sifDescriptorSize, table); err != nil {
		return nil, err
	}
	for _, d := range table {
		if d.Used {
			f.objects = append(f.objects, d)
		}
	}
	return &f, nil
}

// end is the offset behind the last byte the SIF says it has, and whether all it says makes sense.
func (f *sifFile) end() (end int64, ok bool) {
	end, ok = endOf(f.header.TableOff, f.header.Total*sifDescriptorSize)
	for _, d := range f.objects {
		e, sane := endOf(d.Off, d.Len)
		end, ok = max(end, e), ok && sane
	}
	return end, ok
}

// primary is the partition a container starts from: the primary system partition, else the first system partition.
func (f *sifFile) primary() *sifDescriptor {
	for _, role := range []int32{sifPartPrimarySys, sifPartSystem} {
		for i := range f.objects {
			if d := &f.objects[i]; d.Kind == sifPartition && d.role() == role {
				return d
			}
		}
	}
	return nil
}

// find returns the first object of a kind, and of a name unless that is "".
func (f *sifFile) find(kind int32, name string) *sifDescriptor {
	for i := range f.objects {
		if d := &f.objects[i]; d.Kind == kind && (name == "" || d.name() == name) {
			return d
		}
	}
	return nil
}

// info is what the descriptors say.
func (f *sifFile) info() Info {
	in := Info{Format: SIF, Arch: sifArchs[cString(f.header.Arch[:])], Signed: f.find(sifSignature, "") != nil}
	if p := f.primary(); p != nil {
		if arch := p.arch(); arch != "" {
			in.Arch = arch
		}
		in.Encrypted = p.fs() == sifFSEncrypted || p.fs() == sifFSGocryptfs
	}
	if s := f.header.Created; 0 < s && s < math.MaxUint32 {
		in.Created = time.Unix(s, 0).UTC()
	}
	return in
}

// headerWritten returns ErrTruncated for a file that looks like a SIF whose header is still to come: Apptainer writes the
// data first, then the descriptors, the header last. A file of zeros is not meant.
func headerWritten(r io.ReaderAt, size int64) error {
	const look = 16
	if size < sifDataOffset+look {
		return nil
	}
	buf := make([]byte, sifDataOffset+look)
	if err := readFull(r, buf, 0); err != nil {
		return err
	}
	var d sifDescriptor
	if _, err := binary.Decode(buf[sifTableOffset:], binary.LittleEndian, &d); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	described := d.Used && sifDeffile <= d.Kind && d.Kind <= sifLastKind && d.Off >= sifDataOffset
	dataOnly := allZero(buf[sifTableOffset:sifDataOffset]) && !allZero(buf[sifDataOffset:])
	if allZero(buf[:sifTableOffset]) && (described || dataOnly) {
		return fmt.Errorf("%w: a SIF without its header, which is written last", ErrTruncated)
	}
	return nil
}

func allZero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// endOf is off+n; ok is false if either is negative or the sum overflows, and then end is not to be used.
func endOf(off, n int64) (end int64, ok bool) {
	if off < 0 || n < 0 || off > math.MaxInt64-n {
		return 0, false
	}
	return off + n, true
}

// missing is ErrTruncated with the figures.
func missing(want, have int64) error {
	return fmt.Errorf("%w: %d of its %d bytes are missing", ErrTruncated, want-have, want)
}

// readStruct reads the little-endian structure of n bytes at off into v.
func readStruct(r io.ReaderAt, off, n int64, v any) error {
	buf := make([]byte, n)
	if err := readFull(r, buf, off); err != nil {
		return err
	}
	if _, err := binary.Decode(buf, binary.LittleEndian, v); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

// readFull fills p from off. An end of file inside it is ErrTruncated, as callers ask only for what size promised.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return missing(off+int64(len(p)), off+int64(n))
	}
	return fmt.Errorf("read image at %d: %w", off, err)
}
