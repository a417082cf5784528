package image

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// maxLinkDepth is how many symbolic links a path may go through, as in the kernel.
const maxLinkDepth = 40

// resolve finds p through symbolic links. There is nothing where p is no absolute path: what it would start from is not
// known.
func (s *starter) resolve(p string) place {
	if !path.IsAbs(p) {
		return place{}
	}
	return s.follow(path.Clean(p), 0)
}

// follow is resolve for a clean absolute path, links links deep. What was found is remembered: most paths begin alike.
func (s *starter) follow(p string, links int) (at place) {
	if at, ok := s.found[p]; ok {
		return at
	}
	if s.err != nil || links > maxLinkDepth || len(s.found) >= startupLooks || len(p) > 4096 {
		return place{}
	}
	defer func() { s.found[p] = at }()
	if p == "/" {
		in, err := s.fs.inode(s.fs.super.Root)
		if err != nil {
			return place{}
		}
		return place{p, in}
	}
	dir := s.follow(path.Dir(p), links)
	if dir.in == nil || dir.in.kind != inodeDir {
		return place{}
	}
	in, err := s.fs.child(dir.in, path.Base(p))
	switch {
	case err != nil:
		return place{}
	case in.kind != inodeSymlink:
		return place{path.Join(dir.path, path.Base(p)), in}
	case strings.HasPrefix(in.target, "/"):
		return s.follow(path.Clean(in.target), links+1)
	}
	return s.follow(path.Join(dir.path, in.target), links+1)
}

// list returns the names in the directory p, sorted; nil if there is none.
func (s *starter) list(p string) []string {
	return slices.Sorted(maps.Keys(s.names(p)))
}

// names returns the names in the directory p, nil if there is none.
func (s *starter) names(p string) map[string]bool {
	if names, ok := s.listed[p]; ok {
		return names
	}
	dir := s.resolve(p)
	if dir.in == nil || dir.in.kind != inodeDir || len(s.listed) >= startupLists {
		return nil
	}
	names := map[string]bool{}
	_ = s.fs.entries(dir.in, "", func(e dirEntry) bool { // the names before an error are good
		names[e.name] = true
		return len(names) < startupNames
	})
	s.listed[p] = names
	return names
}

// touch notes that a start reads this part of the image.
func (s *starter) touch(span Span) { s.rec.Read(span.Off, span.Len) }

// file is the regular file that p leads to, nil if there is none.
func (s *starter) file(p string) *squashFile {
	at := s.resolve(p)
	if at.in == nil || at.in.kind != inodeFile || s.err != nil {
		return nil
	}
	f, err := s.fs.content(at.in)
	if err != nil {
		return nil
	}
	return f
}

// name notes that a start reads the file p, if there is one. It returns the file the first time only.
func (s *starter) name(p string) *squashFile {
	f := s.file(p)
	if f == nil {
		return nil
	}
	in := s.resolve(p).in
	id := fileID{in.start, in.fragment, in.fragOff}
	if s.named[id] || len(s.named) >= startupFiles {
		return nil
	}
	s.named[id] = true
	n := f.size
	if n > startupWhole {
		n = startupHead
	}
	last := Span{}
	if f.size > startupWhole {
		s.relocated(p, f)
	}
	f.spans(0, n, func(span Span) {
		s.touch(span)
		last = span
	})
	ahead := int64(kernelReadAhead)
	if n > int64(s.fs.super.BlockSize) {
		ahead *= 2 // it is read in sequence, and the kernel begins the next one before it comes to the end
	}
	s.touch(Span{last.end(), ahead})
	return f
}

// text returns the content of a small file, nil if there is none.
func (s *starter) text(p string) []byte {
	at := s.resolve(p)
	if at.in == nil || at.in.kind != inodeFile || at.in.size > squashMaxFile || s.err != nil {
		return nil
	}
	text, err := s.fs.readAll(at.in)
	if err != nil {
		return nil
	}
	return text
}

// relocated notes that the loader writes into parts of a large library all over.
func (s *starter) relocated(p string, f *squashFile) {
	if e := s.elf(s.resolve(p).path); e != nil {
		for _, span := range e.written {
			f.spans(span.Off, min(span.Len, startupHead), s.touch)
		}
	}
}
