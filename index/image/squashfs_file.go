package image

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	// squashStored marks a block's size word: it is not compressed.
	squashStored = 1 << 24
	// squashMaxBlocks bounds the list of a file's blocks that is read: 8 GiB in blocks of 128 KiB.
	squashMaxBlocks = 64 << 10
	// squashKept is how many bytes of unpacked data blocks are kept: many small files lie in one fragment block.
	squashKept = 8 << 20
)

// squashFile is the content of a regular file, as an io.ReaderAt, and where it lies. It is not safe for concurrent use.
type squashFile struct {
	s     *squashfs
	size  int64
	words []uint32 // sizes of the blocks that are the file's own
	at    []int64  // their positions
	tail  Span     // the fragment block that holds the rest, by position; Len 0 if there is no rest
	word  uint32   // the fragment block's size
	skip  int64    // where in it the rest begins
}

// content looks up where the blocks of a regular file are: ErrUnsupported if it is none, or has too many.
func (s *squashfs) content(in *inode) (*squashFile, error) {
	bs := int64(s.super.BlockSize)
	n := in.size / bs
	if in.fragment == squashNoFragment && in.size%bs != 0 {
		n++
	}
	if in.kind != inodeFile || n > squashMaxBlocks {
		return nil, fmt.Errorf("no regular file, or one of %d blocks: %w", n, ErrUnsupported)
	}
	f := &squashFile{s: s, size: in.size, words: make([]uint32, n), at: make([]int64, n)}
	list := in.list
	if err := list.decode(f.words); err != nil {
		return nil, err
	}
	pos := in.start
	for i, word := range f.words {
		size := int64(word &^ squashStored)
		if size > bs {
			return nil, fmt.Errorf("%w: squashfs block of %d bytes", ErrCorrupt, size)
		}
		f.at[i] = pos
		pos += size
	}
	if in.size <= n*bs {
		return f, nil
	}
	var err error
	f.tail, f.word, err = s.fragment(in.fragment)
	f.skip = int64(in.fragOff)
	return f, err
}

// ReadAt reads and unpacks the blocks that p lies in.
func (f *squashFile) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off >= f.size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > f.size-off {
		p, end = p[:f.size-off], io.EOF
	}
	bs := int64(f.s.super.BlockSize)
	for n < len(p) {
		i := (off + int64(n)) / bs
		want := min(bs, f.size-i*bs)
		var data []byte
		switch {
		case i < int64(len(f.words)):
			data, err = f.s.dataBlock(f.at[i], f.words[i], want)
		default:
			if data, err = f.s.dataBlock(f.tail.Off, f.word, f.skip+want); err == nil {
				data = data[f.skip:]
			}
		}
		if err != nil {
			return n, err
		}
		n += copy(p[n:], data[off+int64(n)-i*bs:want])
	}
	return n, end
}

// spans calls touch with where the blocks that hold n bytes from off lie in the image.
func (f *squashFile) spans(off, n int64, touch func(Span)) {
	bs := int64(f.s.super.BlockSize)
	stop := min(off+n, f.size)
	for i := off / bs; i*bs < stop; i++ {
		where := f.tail
		if i < int64(len(f.words)) {
			where = Span{f.at[i], int64(f.words[i] &^ squashStored)}
		}
		if where.Len > 0 {
			touch(Span{f.s.base + where.Off, where.Len})
		}
	}
}

// readFile returns the content of the file at path: io/fs.ErrNotExist if there is none, ErrUnsupported if it is larger
// than squashMaxFile or no regular file.
func (s *squashfs) readFile(path string) ([]byte, error) {
	in, err := s.walk(path)
	if err != nil {
		return nil, err
	}
	data, err := s.readAll(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

// readAll returns the content of a regular file of at most squashMaxFile bytes.
func (s *squashfs) readAll(in *inode) ([]byte, error) {
	switch {
	case in.kind != inodeFile:
		return nil, fmt.Errorf("no regular file: %w", ErrUnsupported)
	case in.size > squashMaxFile:
		return nil, fmt.Errorf("%d bytes: %w", in.size, ErrUnsupported)
	}
	f, err := s.content(in)
	if err != nil {
		return nil, err
	}
	data := make([]byte, in.size)
	_, err = io.ReadFull(io.NewSectionReader(f, 0, in.size), data)
	return data, err
}

// dataBlock reads and unpacks the block at position pos whose size word is word. It is at least want bytes long
// unpacked, or ErrCorrupt.
func (s *squashfs) dataBlock(pos int64, word uint32, want int64) ([]byte, error) {
	n := int64(word &^ squashStored)
	if n == 0 { // a hole
		return make([]byte, want), s.spend(want)
	}
	if n > int64(s.super.BlockSize) {
		return nil, fmt.Errorf("%w: squashfs block of %d bytes", ErrCorrupt, n)
	}
	data := s.kept[pos]
	if data == nil {
		var err error
		if data, err = s.read(pos, n); err != nil {
			return nil, err
		}
		if word&squashStored == 0 {
			if data, err = s.unpack(data, int(s.super.BlockSize)); err != nil {
				return nil, err
			}
		}
		if s.keeping += int64(len(data)); s.keeping > squashKept {
			clear(s.kept)
			s.keeping = int64(len(data))
		}
		s.kept[pos] = data
	}
	if int64(len(data)) < want {
		return nil, fmt.Errorf("%w: squashfs block with %d of %d bytes", ErrCorrupt, len(data), want)
	}
	return data, nil
}

// fragment returns the position and the size word of the block of file tails number i.
func (s *squashfs) fragment(i uint32) (Span, uint32, error) {
	if i >= s.super.Fragments {
		return Span{}, 0, fmt.Errorf("%w: squashfs fragment %d of %d", ErrCorrupt, i, s.super.Fragments)
	}
	const perBlock = squashMetaSize / 16
	pos, err := s.position(s.super.FragTable, int64(i/perBlock)*8)
	if err != nil {
		return Span{}, 0, err
	}
	at, err := s.read(pos, 8)
	if err != nil {
		return Span{}, 0, err
	}
	if pos, err = s.position(binary.LittleEndian.Uint64(at), 0); err != nil {
		return Span{}, 0, err
	}
	var f struct {
		Start      uint64
		Size, Zero uint32
	}
	c := &cursor{s, pos, int(i%perBlock) * 16}
	if err := c.decode(&f); err != nil {
		return Span{}, 0, err
	}
	return Span{int64(f.Start & (1<<62 - 1)), int64(f.Size &^ squashStored)}, f.Size, nil
}
