package image

import (
	"io"
)

// Span is Len bytes from Off.
type Span struct{ Off, Len int64 }

// maxTail bounds the span of a squashfs's tables. Those of an image with 66,000 files have 1.4 MB; the kernel and
// squashfuse read from the end of each table.
const maxTail = 8 << 20

// HeadTail returns what every start of a container reads first, sorted, not overlapping and within size: the head of the
// file with its headers, and the tables at the end of the squashfs. Files of unknown format have a head only.
func HeadTail(r io.ReaderAt, size int64) ([]Span, error) {
	if size <= 0 {
		return nil, nil
	}
	// Apptainer's own first reads end at 112 KiB.
	const firstReads = 128 << 10
	spans := []Span{{0, min(size, firstReads)}}
	s, err := openSource(r, size)
	if err != nil {
		return nil, err
	}
	base, limit := int64(-1), size
	switch f, at := s.format(); f {
	case SIMG, Squashfs:
		base = at
	case SIF:
		sif, err := readSIF(s, size)
		if err != nil {
			return spans, nil // damaged or cut: the reader will see for itself
		}
		if p := sif.primary(); p != nil && p.fs() == sifFSSquashfs {
			if end, ok := endOf(p.Off, p.Len); ok && end <= size {
				base, limit = p.Off, end
			}
		}
	case Ext3, Unknown:
	}
	if base < 0 {
		return spans, nil
	}
	sq, err := openSquashfs(s, base, limit-base)
	if err != nil {
		return spans, ignoreImage(err)
	}
	defer sq.close()
	from, to := sq.super.Used, int64(sq.super.Used)
	for _, table := range []uint64{sq.super.InodeTable, sq.super.DirTable, sq.super.FragTable, sq.super.IDTable} {
		from = min(from, table)
	}
	first := max(base, base+to-maxTail, base+int64(from))
	if at := (Span{base, squashSuperSize}); at.Off > spans[0].Len {
		spans = append(spans, at)
	}
	last := &spans[len(spans)-1]
	if end := base + to; first <= last.Off+last.Len {
		last.Len = max(last.Len, end-last.Off)
	} else if first < end {
		spans = append(spans, Span{first, end - first})
	}
	return spans, nil
}
