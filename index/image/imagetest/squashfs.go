package imagetest

import (
	"bytes"
	"fmt"
	"io"
	"math/bits"
	"slices"
)

// Numbers of squashfs 4.0.
const (
	superSize    = 96
	metaSize     = 8192
	blockSize    = 128 << 10
	deviceBlock  = 1 << 10
	stored       = 1 << 24 // in a data block's size: not compressed
	storedMeta   = 1 << 15 // in a metadata block's
	noTable      = ^uint64(0)
	noFragment   = ^uint32(0)
	noXattr      = ^uint32(0)
	flags        = 0x0001 | 0x0002 | 0x0008 | 0x0010 | 0x0200 // nothing compressed, no fragments, no xattrs
	inodeDir     = 1
	inodeFile    = 2
	inodeLink    = 3
	inodeBigFile = 9
)

// squashfs is an uncompressed file system, laid out and ready to be written: superblock, small files, the large file,
// tables, zeros up to the size asked for.
type squashfs struct {
	super  []byte
	seed   Seed
	small  []byte
	noise  int64 // bytes of the large file
	tables []byte
	pad    int64
}

// node is a file, symbolic link or directory of the tree that is written.
type node struct {
	name     string
	number   uint32 // inode number
	text     string // of a file, or the target of a link
	link     bool
	noise    int64 // > 0: the large file
	children []*node
}

// newSquashfs lays out a file system of exactly size bytes.
func newSquashfs(c content, size int64) (*squashfs, error) {
	// The kernel reads whole device blocks only, so what it needs must end before the last of them that is whole.
	usable := size / deviceBlock * deviceBlock
	// Its tables grow with the large file: leave room for those of the largest that could fit.
	biggest := layOut(c, max(0, usable))
	room := usable - (biggest.length() - biggest.noise)
	if room < 1 {
		return nil, fmt.Errorf("%d bytes too small", 1-room)
	}
	fs := layOut(c, room)
	fs.pad = size - fs.length()
	return fs, nil
}

func (fs *squashfs) length() int64 {
	return int64(len(fs.super)) + fs.noise + int64(len(fs.small)) + int64(len(fs.tables))
}

// write writes everything in order.
func (fs *squashfs) write(w io.Writer) error {
	for _, part := range []io.Reader{
		bytes.NewReader(fs.super), bytes.NewReader(fs.small), io.LimitReader(newNoise(fs.seed), fs.noise),
		bytes.NewReader(fs.tables), io.LimitReader(zeros{}, fs.pad),
	} {
		if _, err := io.Copy(w, part); err != nil {
			return err
		}
	}
	return nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// layOut makes the tree and its tables for a large file of n bytes.
func layOut(c content, n int64) *squashfs {
	root := &node{children: []*node{
		{name: ".singularity.d", children: []*node{
			{name: "Singularity", text: deffile},
			{name: "env", children: []*node{{name: "01-base.sh", text: "#!/bin/sh\n"}, {name: "90-environment.sh", text: environment}}},
			{name: "labels.json", text: string(c.labelsJSON())},
			{name: "runscript", text: runscript},
			{name: "runscript.help", text: help},
		}},
		{name: "data", children: []*node{{name: "noise", noise: n}}},
		{name: "singularity", text: ".singularity.d/runscript", link: true},
	}}
	c.files.plant(root)
	l := layout{noiseStart: superSize}
	l.count(root)
	rootRef := l.add(root, l.inodes+1)

	fs := &squashfs{seed: c.seed, noise: n, small: l.small.Bytes()}
	start := uint64(l.noiseStart + n)
	var tables bytes.Buffer
	tables.Write(blocked(l.inodeTable.Bytes()))
	dirTable := start + uint64(tables.Len())
	tables.Write(blocked(l.dirTable.Bytes()))
	ids := start + uint64(tables.Len())
	tables.Write(blocked([]byte{0, 0, 0, 0})) // one id: root
	idTable := start + uint64(tables.Len())
	put(&tables, ids)
	fs.tables = tables.Bytes()

	var super bytes.Buffer
	super.WriteString("hsqs")
	put(&super, l.inodes, uint32(madeAt), uint32(blockSize), uint32(0),
		uint16(1), uint16(bits.Len(blockSize)-1), uint16(flags), uint16(1), uint16(4), uint16(0),
		rootRef, start+uint64(len(fs.tables)), idTable, noTable, start, dirTable, noTable, noTable)
	fs.super = super.Bytes()
	return fs
}

// layout collects the parts of a file system.
type layout struct {
	noiseStart                  int64        // where the small files, which come first, end
	small, inodeTable, dirTable bytes.Buffer // the tables before they are cut into blocks
	inodes                      uint32
}

// count numbers the inodes and sums up the small files.
func (l *layout) count(n *node) {
	if !n.link {
		l.noiseStart += int64(len(n.text))
	}
	l.inodes++
	n.number = l.inodes
	for _, child := range n.children {
		l.count(child)
	}
}

// add writes n's inode, after those of its children, and returns the reference to it.
func (l *layout) add(n *node, parent uint32) (ref uint64) {
	if n.children != nil {
		return l.addDir(n, parent)
	}
	ref = l.ref()
	switch {
	case n.link:
		l.inode(inodeLink, 0o777, n)
		put(&l.inodeTable, uint32(1), uint32(len(n.text)))
		l.inodeTable.WriteString(n.text)
	case n.text != "":
		l.inode(inodeFile, 0o755, n)
		put(&l.inodeTable, uint32(superSize+l.small.Len()), noFragment, uint32(0), uint32(len(n.text)))
		l.blocks(int64(len(n.text)))
		l.small.WriteString(n.text)
	default:
		l.inode(inodeBigFile, 0o644, n)
		put(&l.inodeTable, uint64(l.noiseStart), uint64(n.noise), uint64(0), uint32(1), noFragment, uint32(0), noXattr)
		l.blocks(n.noise)
	}
	return ref
}

func (l *layout) addDir(n *node, parent uint32) (ref uint64) {
	refs := map[*node]uint64{}
	for _, child := range n.children {
		refs[child] = l.add(child, n.number)
	}
	sorted := slices.Clone(n.children)
	slices.SortFunc(sorted, func(a, b *node) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	start := l.dirTable.Len()
	for _, child := range sorted {
		// A header for each entry is allowed, and spares finding runs of inodes in one block.
		put(&l.dirTable, uint32(0), uint32(refs[child]>>16), child.number)
		put(&l.dirTable, uint16(refs[child]), int16(0), child.kind(), uint16(len(child.name)-1))
		l.dirTable.WriteString(child.name)
	}
	ref = l.ref()
	l.inode(inodeDir, 0o755, n)
	put(&l.inodeTable, uint32(start/metaSize*(metaSize+2)), uint32(2), uint16(l.dirTable.Len()-start+3), uint16(start%metaSize), parent)
	return ref
}

// kind is the type in a directory entry: never an extended one.
func (n *node) kind() uint16 {
	switch {
	case n.children != nil:
		return inodeDir
	case n.link:
		return inodeLink
	}
	return inodeFile
}

// ref is the reference to the inode that comes next.
func (l *layout) ref() uint64 {
	at := uint64(l.inodeTable.Len())
	return at/metaSize*(metaSize+2)<<16 | at%metaSize
}

// inode writes what all inodes begin with.
func (l *layout) inode(kind, mode uint16, n *node) {
	put(&l.inodeTable, kind, mode, uint16(0), uint16(0), uint32(madeAt), n.number)
}

// blocks writes the sizes of the blocks of a file of n bytes.
func (l *layout) blocks(n int64) {
	for ; n > 0; n -= blockSize {
		put(&l.inodeTable, uint32(min(n, blockSize))|stored)
	}
}

// blocked cuts a table into metadata blocks.
func blocked(table []byte) []byte {
	var b bytes.Buffer
	for block := range slices.Chunk(table, metaSize) {
		put(&b, uint16(len(block)|storedMeta))
		b.Write(block)
	}
	return b.Bytes()
}
