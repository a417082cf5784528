package image

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"time"

	"github.com/klauspost/compress/zstd"
)

// This file and squashfs_inode.go read squashfs 4.0 as far as it takes to find a path and read a small file: no
// maintained Go library reads it from an io.ReaderAt with bounds on what a hostile image may cost. Layout as in the
// kernel's Documentation/filesystems/squashfs.rst and fs/squashfs/squashfs_fs.h.
const (
	squashMagic      = "hsqs"
	squashSuperSize  = 96
	squashMetaSize   = 8192 // of a metadata block, unpacked
	squashMinBlock   = 4 << 10
	squashMaxBlock   = 1 << 20
	squashNoFragment = 0xffffffff
	squashNoTable    = ^uint64(0)
	// squashBudget bounds the bytes one squashfs may make us read and unpack: any real image's metadata files take a
	// hundredth of it.
	squashBudget = 64 << 20
	// squashMaxMeta is how many metadata blocks are kept unpacked: 16 MiB.
	squashMaxMeta = 2048
	// squashMaxFile bounds the files that are read whole.
	squashMaxFile = 1 << 20
)

// squashSuper is the superblock as it lies in the file. Positions count from it.
type squashSuper struct {
	Magic                                                             [4]byte
	Inodes, ModTime, BlockSize, Fragments                             uint32
	Compression, BlockLog, Flags, IDs, Major, Minor                   uint16
	Root, Used                                                        uint64
	IDTable, XattrTable, InodeTable, DirTable, FragTable, ExportTable uint64
}

// squashfs reads one file system. It is not safe for concurrent use.
type squashfs struct {
	r       io.ReaderAt
	base    int64 // of the superblock in r
	super   squashSuper
	budget  int64
	meta    map[int64]metaBlock // by position; at most squashMaxMeta
	kept    map[int64][]byte    // unpacked data blocks, by position
	keeping int64               // bytes of kept; at most squashKept
	zstd    *zstd.Decoder       // made when first needed
}

// metaBlock is an unpacked block of a metadata table.
type metaBlock struct {
	data []byte
	next int64 // position of the block behind it
}

// openSquashfs reads the superblock at base; the file system has size bytes to live in. ErrTruncated if it needs more,
// ErrUnsupported if it is of another version.
func openSquashfs(r io.ReaderAt, base, size int64) (*squashfs, error) {
	s := &squashfs{r: r, base: base, budget: squashBudget, meta: map[int64]metaBlock{}, kept: map[int64][]byte{}}
	if size < squashSuperSize {
		return nil, missing(squashSuperSize, size)
	}
	if err := readStruct(r, base, squashSuperSize, &s.super); err != nil {
		return nil, err
	}
	switch sb := &s.super; {
	case string(sb.Magic[:]) != squashMagic:
		return nil, fmt.Errorf("%w: no squashfs at offset %d", ErrCorrupt, base)
	case sb.Major != 4 || sb.Minor != 0:
		return nil, fmt.Errorf("squashfs %d.%d: %w", sb.Major, sb.Minor, ErrUnsupported)
	case sb.BlockSize < squashMinBlock || sb.BlockSize > squashMaxBlock || bits.OnesCount32(sb.BlockSize) != 1:
		return nil, fmt.Errorf("%w: squashfs block size %d", ErrCorrupt, sb.BlockSize)
	case sb.Used < squashSuperSize || sb.Used > 1<<62:
		return nil, fmt.Errorf("%w: squashfs of %d bytes", ErrCorrupt, sb.Used)
	case int64(sb.Used) > size:
		return nil, missing(int64(sb.Used), size)
	}
	return s, nil
}

// close frees what decompression holds.
func (s *squashfs) close() {
	if s.zstd != nil {
		s.zstd.Close()
	}
}

func (s *squashfs) made() time.Time {
	if s.super.ModTime == 0 {
		return time.Time{}
	}
	return time.Unix(int64(s.super.ModTime), 0).UTC()
}

// spend takes n bytes off the budget.
func (s *squashfs) spend(n int64) error {
	if s.budget -= n; s.budget < 0 {
		return fmt.Errorf("%w: squashfs takes too many bytes to look into", ErrCorrupt)
	}
	return nil
}

// position returns table+off if that lies inside the file system.
func (s *squashfs) position(table uint64, off int64) (int64, error) {
	if table >= s.super.Used || off < 0 || off >= int64(s.super.Used-table) {
		return 0, fmt.Errorf("%w: squashfs points outside itself", ErrCorrupt)
	}
	return int64(table) + off, nil
}

// read returns n bytes from position pos.
func (s *squashfs) read(pos, n int64) ([]byte, error) {
	if pos < 0 || n < 0 || pos > int64(s.super.Used)-n {
		return nil, fmt.Errorf("%w: squashfs points outside itself", ErrCorrupt)
	}
	if err := s.spend(n); err != nil {
		return nil, err
	}
	p := make([]byte, n)
	return p, readFull(s.r, p, s.base+pos)
}

// block returns the metadata block at position pos.
func (s *squashfs) block(pos int64) (metaBlock, error) {
	if m, ok := s.meta[pos]; ok {
		return m, nil
	}
	// One read for header and data: each may be a request to Drive.
	raw, err := s.read(pos, min(2+squashMetaSize, int64(s.super.Used)-pos))
	if err != nil {
		return metaBlock{}, err
	}
	if len(raw) < 2 {
		return metaBlock{}, fmt.Errorf("%w: squashfs metadata at its very end", ErrCorrupt)
	}
	head := binary.LittleEndian.Uint16(raw)
	size, packed := int(head&0x7fff), head&0x8000 == 0
	if size == 0 || size > len(raw)-2 {
		return metaBlock{}, fmt.Errorf("%w: squashfs metadata block of %d bytes", ErrCorrupt, size)
	}
	m := metaBlock{data: raw[2 : 2+size], next: pos + 2 + int64(size)}
	if packed {
		if m.data, err = s.unpack(m.data, squashMetaSize); err != nil {
			return metaBlock{}, err
		}
	}
	if len(m.data) == 0 {
		return metaBlock{}, fmt.Errorf("%w: squashfs metadata block with nothing in it", ErrCorrupt)
	}
	if len(s.meta) >= squashMaxMeta {
		clear(s.meta)
	}
	s.meta[pos] = m
	return m, nil
}

// cursor reads a metadata table from a place on.
type cursor struct {
	s   *squashfs
	pos int64 // of the block
	off int   // in the unpacked block
}

// read fills p.
func (c *cursor) read(p []byte) error {
	if err := c.s.spend(int64(len(p))); err != nil {
		return err
	}
	for len(p) > 0 {
		m, err := c.s.block(c.pos)
		if err != nil {
			return err
		}
		if c.off >= len(m.data) {
			// Only exactly at the end does a table go on in the next block.
			if c.off > len(m.data) {
				return fmt.Errorf("%w: squashfs points outside a metadata block", ErrCorrupt)
			}
			c.pos, c.off = m.next, 0
			continue
		}
		n := copy(p, m.data[c.off:])
		p, c.off = p[n:], c.off+n
	}
	return nil
}

// decode reads a little-endian structure.
func (c *cursor) decode(v any) error {
	buf := make([]byte, binary.Size(v))
	if err := c.read(buf); err != nil {
		return err
	}
	if _, err := binary.Decode(buf, binary.LittleEndian, v); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}
