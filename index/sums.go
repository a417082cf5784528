package index

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Each block on disk has a checksum of its own, taken from the bytes as they came: disks lose and change what they were
// given. CRC-32C finds what goes wrong by itself, and processors have an instruction for it; against malice the whole
// content is hashed (verify.go).
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func blockSum(block []byte) uint32 { return crc32.Checksum(block, castagnoli) }

// blockSums takes the checksums of the blocks of a content that is written from its beginning in order.
type blockSums struct {
	whole []uint32 // of the blocks that are complete
	sum   uint32   // of the one that is not
	fill  int      // bytes in that
}

// Write adds p. It never fails.
func (s *blockSums) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		part := p[:min(len(p), blockSize-s.fill)]
		s.sum = crc32.Update(s.sum, castagnoli, part)
		if s.fill += len(part); s.fill == blockSize {
			s.whole = append(s.whole, s.sum)
			s.sum, s.fill = 0, 0
		}
		p = p[len(part):]
	}
	return n, nil
}

// all are the checksums of what was written so far, that of the last, shorter block included.
func (s *blockSums) all() []uint32 {
	if s.fill == 0 {
		return s.whole
	}
	return append(s.whole[:len(s.whole):len(s.whole)], s.sum)
}

// encodeSums is the stored form of the checksums of the blocks in have, in order, four bytes each.
func encodeSums(have *bitmap, sums []uint32) []byte {
	var out []byte
	for i, sum := range sums {
		if have.has(int64(i)) {
			out = binary.LittleEndian.AppendUint32(out, sum)
		}
	}
	return out
}

// parseSums reads the stored form; a length that is not that of have is ErrCorrupt.
func parseSums(have *bitmap, data []byte) ([]uint32, error) {
	if int64(len(data)) != 4*have.count() {
		return nil, fmt.Errorf("%d bytes of checksums for %d blocks: %w", len(data), have.count(), ErrCorrupt)
	}
	sums := make([]uint32, have.n)
	for i := range have.n {
		if have.has(i) {
			sums[i], data = binary.LittleEndian.Uint32(data), data[4:]
		}
	}
	return sums, nil
}
