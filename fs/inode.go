package fs

import (
	"encoding/binary"
	"hash/fnv"
)

// Inode numbers are hashes of what a node is, so that they are the same on every mount and are never given to another
// content: a loop device is shared by device, inode and offset.

// What a node is, in its hash.
const (
	kindDir     = "dir"
	kindImage   = "image"
	kindDraft   = "draft"
	kindControl = "control"
	kindGone    = "gone"
)

// inodeOf hashes kind and parts. It is never 0 (none) or 1 (the root).
func inodeOf(kind string, parts ...string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(kind))
	for _, p := range parts {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(p))) // so that ("ab","c") is not ("a","bc")
		_, _ = h.Write(n[:])
		_, _ = h.Write([]byte(p))
	}
	return max(h.Sum64(), 2)
}
