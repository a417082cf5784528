package image

import (
	"errors"
	"fmt"
	"io"
)

// Whole returns nil if the file is all there: what its own header says it has is not more than size, or it is of a
// format that does not say. ErrEmpty if size is 0. ErrTruncated, with the number of missing bytes where it is known, if
// it is cut short, or is a SIF whose header its builder has not written yet. ErrCorrupt if a SIF's header makes no
// sense. Any other error is one of reading r.
func Whole(r io.ReaderAt, size int64) error {
	if size <= 0 {
		return ErrEmpty
	}
	s, err := openSource(r, size)
	if err != nil {
		return err
	}
	switch f, base := s.format(); f {
	case SIF:
		return wholeSIF(s)
	case SIMG, Squashfs:
		sq, err := openSquashfs(s, base, size-base)
		if errors.Is(err, ErrUnsupported) || errors.Is(err, ErrCorrupt) {
			return nil // it has the magic and says nothing we can rely on
		}
		if err == nil {
			sq.close()
		}
		return err
	case Ext3:
		if want := base + extSize(s.head[base:]); want > size {
			return missing(want, size)
		}
	case Unknown:
		if base > 0 && size-base < int64(len(squashMagic)) {
			return fmt.Errorf("%w: it ends behind its first line", ErrTruncated)
		}
		return headerWritten(s, size)
	}
	return nil
}

func wholeSIF(s *source) error {
	f, err := readSIF(s, s.size)
	if err != nil {
		return err
	}
	end, ok := f.end()
	switch {
	case !ok:
		return fmt.Errorf("%w: a SIF object lies outside every file", ErrCorrupt)
	case end > s.size:
		return missing(end, s.size)
	}
	return nil
}
