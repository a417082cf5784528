package image

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz/lzma"
)

// Compressors of squashfs.
const (
	squashGzip = 1
	squashLZMA = 2
	squashLZO  = 3
	squashXZ   = 4
	squashLZ4  = 5
	squashZstd = 6
)

// unpack decompresses src into at most limit bytes; more is ErrCorrupt. LZO is ErrUnsupported: Singularity images are
// gzip or, since 4.x, zstd, and no small maintained reader of LZO exists.
func (s *squashfs) unpack(src []byte, limit int) ([]byte, error) {
	if err := s.spend(int64(limit)); err != nil {
		return nil, err
	}
	data, err := s.unpackWith(src, limit)
	if err != nil {
		return nil, err
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%w: squashfs block unpacks to more than %d bytes", ErrCorrupt, limit)
	}
	return data, nil
}

func (s *squashfs) unpackWith(src []byte, limit int) ([]byte, error) {
	switch s.super.Compression {
	case squashGzip:
		z, err := zlib.NewReader(bytes.NewReader(src))
		return drain(z, err, limit)
	case squashLZMA:
		z, err := lzma.ReaderConfig{DictCap: squashMaxBlock}.NewReader(bytes.NewReader(smallDictionary(src, limit)))
		return drain(z, err, limit)
	case squashXZ:
		payload, err := xzPayload(src)
		if err != nil {
			return nil, err
		}
		z, err := lzma.Reader2Config{DictCap: max(limit, lzma.MinDictCap)}.NewReader2(bytes.NewReader(payload))
		return drain(z, err, limit)
	case squashLZ4:
		data := make([]byte, limit)
		n, err := lz4.UncompressBlock(src, data)
		if err != nil {
			return nil, fmt.Errorf("%w: lz4: %w", ErrCorrupt, err)
		}
		return data[:n], nil
	case squashZstd:
		if s.zstd == nil {
			var err error
			s.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxMemory(squashMaxBlock), zstd.WithDecoderMaxWindow(squashMaxBlock))
			if err != nil {
				return nil, fmt.Errorf("zstd: %w", err)
			}
		}
		data, err := s.zstd.DecodeAll(src, nil)
		if err != nil {
			return nil, fmt.Errorf("%w: zstd: %w", ErrCorrupt, err)
		}
		return data, nil
	case squashLZO:
		return nil, fmt.Errorf("squashfs compressed with lzo: %w", ErrUnsupported)
	}
	return nil, fmt.Errorf("squashfs compressor %d: %w", s.super.Compression, ErrUnsupported)
}

// smallDictionary makes the header of src, an LZMA stream, ask for no more dictionary than it can use to make limit
// bytes: the reader provides what is asked for, for each of the thousands of blocks there may be.
func smallDictionary(src []byte, limit int) []byte {
	if len(src) < lzma.HeaderLen {
		return src
	}
	src = bytes.Clone(src)
	size := src[1:5]
	binary.LittleEndian.PutUint32(size, min(binary.LittleEndian.Uint32(size), uint32(limit)))
	return src
}

// drain reads z, made with err, to its end or to a byte more than limit.
func drain(z io.Reader, err error, limit int) ([]byte, error) {
	if err == nil {
		var data []byte
		if data, err = io.ReadAll(io.LimitReader(z, int64(limit)+1)); err == nil {
			return data, nil
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
}

// xzPayload cuts the LZMA2 data out of an xz stream of one block (file format: tukaani.org/xz/xz-file-format.txt). The
// container is skipped by hand because its header may ask for 4 GiB of dictionary, which an xz reader would provide,
// while nothing needs more than it unpacks to. Its checksum is not looked at: Drive's digests cover the whole image.
func xzPayload(src []byte) ([]byte, error) {
	const streamHeader = 12
	bad := fmt.Errorf("%w: xz block", ErrCorrupt)
	if len(src) < streamHeader+8 || string(src[:6]) != "\xfd7zXZ\x00" {
		return nil, bad
	}
	block := src[streamHeader:]
	size := (int(block[0]) + 1) * 4
	if block[0] == 0 || size > len(block) {
		return nil, bad
	}
	flags, rest := block[1], block[2:size]
	for range (flags >> 6 & 1) + flags>>7 { // packed and unpacked size, if there
		_, n := binary.Uvarint(rest)
		if n <= 0 {
			return nil, bad
		}
		rest = rest[n:]
	}
	const lzma2 = 0x21
	if flags&3 != 0 || len(rest) == 0 || rest[0] != lzma2 {
		return nil, fmt.Errorf("squashfs compressed by xz with filters: %w", ErrUnsupported)
	}
	return block[size:], nil
}
