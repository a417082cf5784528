package image

import (
	"fmt"
	iofs "io/fs"
	"strings"
)

// Kinds of inodes; the extended ones are these plus 7.
const (
	inodeDir      = 1
	inodeFile     = 2
	inodeSymlink  = 3
	inodeExtended = 7
)

// maxSymlinks is how many links one path may go through, and maxEntries how many names a listing returns.
const (
	maxSymlinks = 8
	maxEntries  = 1000
)

// inode is a directory, file or symbolic link; of other kinds only kind is set.
type inode struct {
	kind uint16 // without extension

	size int64 // of a file, or of a directory's table entries plus 3

	dirBlock uint32 // where the entries begin: block in the directory table,
	dirOff   uint16 // and offset in it
	dirIndex []dirIndex

	start    int64  // position of a file's first block
	list     cursor // where the size words of its blocks are
	fragment uint32
	fragOff  uint32

	target string // of a symbolic link
}

// dirIndex says where in a long directory the entries from name on are.
type dirIndex struct {
	off   uint32 // in the unpacked entries
	block uint32 // in the directory table
	name  string
}

// dirEntry is a name in a directory and where its inode is.
type dirEntry struct {
	name string
	ref  uint64
}

// inode reads the inode at ref: the block's offset in the inode table in the upper bits, the offset in it in the lower 16.
func (s *squashfs) inode(ref uint64) (*inode, error) {
	pos, err := s.position(s.super.InodeTable, int64(ref>>16&(1<<40-1)))
	if err != nil {
		return nil, err
	}
	c := &cursor{s, pos, int(ref & 0xffff)}
	var head struct {
		Kind, Mode, UID, GID uint16
		ModTime, Number      uint32
	}
	if err := c.decode(&head); err != nil {
		return nil, err
	}
	in := &inode{kind: head.Kind}
	extended := head.Kind > inodeExtended
	if extended {
		in.kind -= inodeExtended
	}
	switch {
	case in.kind == inodeDir && extended:
		return in, in.readLongDir(c)
	case in.kind == inodeDir:
		var d struct {
			Block, Links uint32
			Size, Off    uint16
			Parent       uint32
		}
		err = c.decode(&d)
		in.size, in.dirBlock, in.dirOff = int64(d.Size), d.Block, d.Off
		return in, err
	case in.kind == inodeFile && extended:
		var f struct {
			Start, Size, Sparse         uint64
			Links, Fragment, Off, Xattr uint32
		}
		if err := c.decode(&f); err != nil {
			return nil, err
		}
		in.start, in.size, in.fragment, in.fragOff = int64(f.Start&(1<<62-1)), int64(f.Size&(1<<62-1)), f.Fragment, f.Off
		in.list = *c
		return in, nil
	case in.kind == inodeFile:
		var f struct{ Start, Fragment, Off, Size uint32 }
		if err := c.decode(&f); err != nil {
			return nil, err
		}
		in.start, in.size, in.fragment, in.fragOff = int64(f.Start), int64(f.Size), f.Fragment, f.Off
		in.list = *c
		return in, nil
	case in.kind == inodeSymlink:
		var l struct{ Links, Size uint32 }
		if err := c.decode(&l); err != nil {
			return nil, err
		}
		if l.Size > 4096 {
			return nil, fmt.Errorf("%w: symbolic link of %d bytes", ErrCorrupt, l.Size)
		}
		target := make([]byte, l.Size)
		err := c.read(target)
		in.target = string(target)
		return in, err
	}
	return in, nil
}

// readLongDir reads an extended directory inode and its index.
func (in *inode) readLongDir(c *cursor) error {
	var d struct {
		Links, Size, Block, Parent uint32
		Indexes, Off               uint16
		Xattr                      uint32
	}
	if err := c.decode(&d); err != nil {
		return err
	}
	in.size, in.dirBlock, in.dirOff = int64(d.Size), d.Block, d.Off
	for range d.Indexes {
		var x struct{ Off, Block, NameLen uint32 }
		if err := c.decode(&x); err != nil {
			return err
		}
		if x.NameLen > 255 {
			return fmt.Errorf("%w: squashfs directory index", ErrCorrupt)
		}
		name := make([]byte, x.NameLen+1)
		if err := c.read(name); err != nil {
			return err
		}
		in.dirIndex = append(in.dirIndex, dirIndex{x.Off, x.Block, string(name)})
	}
	return nil
}

// entries calls yield for the entries of dir, sorted by name, beginning not after from, until it returns false.
func (s *squashfs) entries(dir *inode, from string, yield func(dirEntry) bool) error {
	if dir.kind != inodeDir {
		return fmt.Errorf("not a directory: %w", iofs.ErrNotExist)
	}
	left := dir.size - 3 // the size counts "." and ".." as three bytes
	block, skip := dir.dirBlock, int64(0)
	for _, x := range dir.dirIndex {
		if x.name > from || int64(x.off) >= left {
			break
		}
		block, skip = x.block, int64(x.off)
	}
	left -= skip
	if left <= 0 {
		return nil
	}
	pos, err := s.position(s.super.DirTable, int64(block))
	if err != nil {
		return err
	}
	c := &cursor{s, pos, int((int64(dir.dirOff) + skip) % squashMetaSize)}
	for left > 0 {
		var head struct{ Count, Start, Inode uint32 }
		if err := c.decode(&head); err != nil {
			return err
		}
		left -= 12
		if head.Count > 255 {
			return fmt.Errorf("%w: squashfs directory", ErrCorrupt)
		}
		for range head.Count + 1 {
			var e struct {
				Off     uint16
				Inode   int16
				Kind    uint16
				NameLen uint16
			}
			if err := c.decode(&e); err != nil {
				return err
			}
			if e.NameLen > 255 {
				return fmt.Errorf("%w: squashfs directory", ErrCorrupt)
			}
			name := make([]byte, int(e.NameLen)+1)
			if err := c.read(name); err != nil {
				return err
			}
			left -= int64(8 + len(name))
			if !yield(dirEntry{string(name), uint64(head.Start)<<16 | uint64(e.Off)}) {
				return nil
			}
		}
	}
	return nil
}

// list returns the first names of the directory at path.
func (s *squashfs) list(path string) ([]string, error) {
	dir, err := s.walk(path)
	if err != nil {
		return nil, err
	}
	var names []string
	err = s.entries(dir, "", func(e dirEntry) bool {
		names = append(names, e.name)
		return len(names) < maxEntries
	})
	return names, err
}

// child finds name in dir; io/fs.ErrNotExist if it is not there.
func (s *squashfs) child(dir *inode, name string) (*inode, error) {
	var ref uint64
	found := false
	err := s.entries(dir, name, func(e dirEntry) bool {
		if e.name == name {
			ref, found = e.ref, true
		}
		return e.name < name // sorted: beyond it there is nothing to find
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("%s: %w", name, iofs.ErrNotExist)
	}
	return s.inode(ref)
}

// walk finds the inode at path, from the root, through symbolic links.
func (s *squashfs) walk(path string) (*inode, error) {
	root, err := s.inode(s.super.Root)
	if err != nil {
		return nil, err
	}
	dirs := []*inode{root} // the way down to where we are
	links := 0
	for todo := strings.Split(path, "/"); len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		at := dirs[len(dirs)-1]
		switch name {
		case "", ".":
			continue
		case "..":
			dirs = dirs[:max(1, len(dirs)-1)]
			continue
		}
		in, err := s.child(at, name)
		if err != nil {
			return nil, err
		}
		if in.kind != inodeSymlink {
			dirs = append(dirs, in)
			continue
		}
		if links++; links > maxSymlinks {
			return nil, fmt.Errorf("%w: more than %d symbolic links on the way to %s", ErrCorrupt, maxSymlinks, path)
		}
		if strings.HasPrefix(in.target, "/") {
			dirs = dirs[:1]
		}
		todo = append(strings.Split(in.target, "/"), todo...)
	}
	return dirs[len(dirs)-1], nil
}
