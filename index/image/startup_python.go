package image

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// pythonName is what Python's executables are called.
var pythonName = regexp.MustCompile(`^python(3|3\.(\d{1,2}))?$`)

// Modules that Python 3 imports before it runs anything: up to 3.10 all of these are files, from 3.11 on those of the
// second list are part of the executable.
var (
	firstModules  = []string{"encodings", "encodings.aliases", "encodings.utf_8", "sitecustomize", "usercustomize", "linecache"}
	pythonModules = []string{"codecs", "io", "abc", "site", "os", "stat", "posixpath", "genericpath", "_collections_abc", "_sitebuiltins", "_bootlocale"}
)

// frozenSince is the minor version of Python 3 from which on its first modules are part of the executable.
const frozenSince = 11

// python names what Python reads at its start, if real, to which p leads, is one.
func (s *starter) python(p, real string) {
	m := pythonName.FindStringSubmatch(path.Base(real))
	if m == nil {
		return
	}
	prefix := path.Dir(path.Dir(real))
	for _, venv := range []string{path.Dir(path.Dir(p)), path.Dir(p)} {
		s.name(path.Join(venv, "pyvenv.cfg"))
	}
	minor, err := strconv.Atoi(m[2])
	if err != nil {
		if minor = s.pythonMinor(prefix); minor < 0 {
			return
		}
	}
	name := "python3." + strconv.Itoa(minor)
	lib := path.Join(prefix, "lib64", name)
	if s.resolve(path.Join(lib, "encodings")).in == nil {
		lib = path.Join(prefix, "lib", name)
	}
	s.name(path.Join(prefix, "lib", "python3"+strconv.Itoa(minor)+".zip"))
	site := []string{
		path.Join(path.Dir(path.Dir(p)), "lib", name, "site-packages"), path.Join(lib, "site-packages"),
		"/usr/local/lib/" + name + "/dist-packages", path.Join(prefix, "lib/python3/dist-packages"),
	}
	s.snake = newPython(minor, append([]string{lib, path.Join(lib, "lib-dynload")}, site...))
	modules := firstModules
	if minor < frozenSince {
		modules = slices.Concat(firstModules, pythonModules)
	}
	for _, module := range modules {
		s.importModule(s.snake, module, 0)
	}
	for _, dir := range site {
		for _, entry := range s.list(dir) {
			if strings.HasSuffix(entry, ".pth") {
				s.name(path.Join(dir, entry))
			}
		}
	}
	s.locale() // Python sets C.UTF-8 by itself
}

// isPython says whether the program p is a Python.
func (s *starter) isPython(p string) bool {
	return pythonName.MatchString(path.Base(s.resolve(p).path))
}

// pythonProgram names what the Python program p, without links, imports.
func (s *starter) pythonProgram(p string) {
	if s.snake == nil {
		return
	}
	own := *s.snake
	own.path = append([]string{path.Dir(p)}, own.path...)
	s.imports(&own, string(s.text(p)), "", true, 0)
}

// pythonModule names what "python3 -m NAME" imports.
func (s *starter) pythonModule(name string) {
	if s.snake != nil && s.importModule(s.snake, name, 0) {
		s.importModule(s.snake, name+".__main__", 0)
	}
}

// pythonMinor looks for the newest Python 3 below prefix, -1 if there is none.
func (s *starter) pythonMinor(prefix string) int {
	newest := -1
	for _, lib := range []string{"lib", "lib64"} {
		for _, name := range s.list(path.Join(prefix, lib)) {
			if m := pythonName.FindStringSubmatch(name); m != nil && m[2] != "" {
				minor, _ := strconv.Atoi(m[2]) // two digits at most
				newest = max(newest, minor)
			}
		}
	}
	return newest
}
