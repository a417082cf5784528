package imagetest

import (
	"maps"
	"slices"
	"strings"
)

// Files are files in the image by their path, beside its own or instead of them. A value that begins with "-> " makes a
// symbolic link. Directories are made as needed.
type Files map[string]string

// linkTo begins the value of a symbolic link.
const linkTo = "-> "

func (f Files) apply(c *content) { c.files = f }

// plant puts the files into the tree below root.
func (f Files) plant(root *node) {
	for _, path := range slices.Sorted(maps.Keys(f)) {
		at := root
		names := strings.Split(strings.Trim(path, "/"), "/")
		for _, name := range names[:len(names)-1] {
			at = at.child(name)
		}
		leaf := at.child(names[len(names)-1])
		target, link := strings.CutPrefix(f[path], linkTo)
		*leaf = node{name: leaf.name, text: target, link: link}
	}
}

// child returns n's child of a name, made if it is not there.
func (n *node) child(name string) *node {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	c := &node{name: name}
	n.children = append(n.children, c)
	return c
}
