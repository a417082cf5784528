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

// sumTable holds the checksums of the blocks of one content, in pages that are made when they are needed: most images are
// never read as a whole.
type sumTable struct{ pages []*[sumPage]uint32 }

const sumPage = 256

func newSumTable(n int64) sumTable { return sumTable{make([]*[sumPage]uint32, (n+sumPage-1)/sumPage)} }

func (t sumTable) set(i int64, sum uint32) {
	page := &t.pages[i/sumPage]
	if *page == nil {
		*page = new([sumPage]uint32)
	}
	(*page)[i%sumPage] = sum
}

// get is the checksum of block i, which was set.
func (t sumTable) get(i int64) uint32 {
	if page := t.pages[i/sumPage]; page != nil {
		return page[i%sumPage]
	}
	return 0
}

// sumsOf are the checksums of the blocks p consists of.
func sumsOf(p []byte) []uint32 {
	sums := make([]uint32, 0, blocksOf(int64(len(p))))
	for ; len(p) > 0; p = p[min(len(p), blockSize):] {
		sums = append(sums, blockSum(p[:min(len(p), blockSize)]))
	}
	return sums
}

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
func encodeSums(have *bitmap, sums sumTable) []byte {
	out := make([]byte, 0, 4*have.count())
	for i := range have.n {
		if have.has(i) {
			out = binary.LittleEndian.AppendUint32(out, sums.get(i))
		}
	}
	return out
}

// parseSums reads the stored form; a length that is not that of have is ErrCorrupt.
func parseSums(have *bitmap, data []byte) (sumTable, error) {
	if int64(len(data)) != 4*have.count() {
		return sumTable{}, fmt.Errorf("%d bytes of checksums for %d blocks: %w", len(data), have.count(), ErrCorrupt)
	}
	sums := newSumTable(have.n)
	for i := range have.n {
		if have.has(i) {
			sums.set(i, binary.LittleEndian.Uint32(data))
			data = data[4:]
		}
	}
	return sums, nil
}
