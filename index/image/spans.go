package image

import "io"

// Span is Len bytes from Off.
type Span struct{ Off, Len int64 }

// end is the offset behind the span.
func (s Span) end() int64 { return s.Off + s.Len }

const (
	// firstReads is how much of the head HeadTail asks for: Apptainer's own first reads end at 112 KiB.
	firstReads = 128 << 10
	// maxTail bounds the span of a squashfs's tables. Those of an image with 66,000 files have 1.4 MB; the kernel and
	// squashfuse read the end of each table first.
	maxTail = 8 << 20
)

// HeadTail returns what every start of a container reads first, sorted, not overlapping and within size: the head of the
// file with its headers, and superblock and tables of the squashfs. A file that has none we can read has a head only.
// Errors are those of r.
func HeadTail(r io.ReaderAt, size int64) ([]Span, error) {
	if size <= 0 {
		return nil, nil
	}
	im, err := open(r, size)
	if im == nil {
		return nil, err
	}
	defer im.close()
	spans := []Span{{0, min(size, firstReads)}}
	if im.fs == nil {
		return spans, ignoreImage(err)
	}
	sb, base := &im.fs.super, im.fs.base
	tables := sb.Used
	for _, table := range []uint64{sb.InodeTable, sb.DirTable, sb.FragTable, sb.IDTable} {
		tables = min(tables, table)
	}
	end := base + int64(sb.Used)
	tail := max(base+int64(tables), end-maxTail)
	for _, s := range []Span{{base, squashSuperSize}, {tail, end - tail}} {
		last := &spans[len(spans)-1]
		if s.Off <= last.end() {
			last.Len = max(last.Len, s.end()-last.Off)
		} else if s.Len > 0 {
			spans = append(spans, s)
		}
	}
	return spans, nil
}
