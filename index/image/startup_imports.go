package image

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// What following imports takes at most. Importing matplotlib.pyplot is 700 modules.
const (
	maxModules     = 2000
	maxImports     = 20_000
	maxImportDepth = 100
)

// abiFlags are letters that may stand behind the version in the names of shared libraries (PEP 3149, PEP 703).
const abiFlags = "dmut"

// python is one Python of an image, and what of its modules is named already.
type python struct {
	tag  string   // of its compiled files: "cpython-312"
	path []string // sys.path
	seen map[string]bool
}

// newPython makes the Python of a minor version whose modules are in the directories dirs.
func newPython(minor int, dirs []string) *python {
	py := &python{tag: "cpython-3" + strconv.Itoa(minor), path: dirs, seen: map[string]bool{}}
	if minor >= frozenSince {
		for _, name := range frozenModules {
			py.seen[name] = true
		}
	}
	return py
}

// module is where a module is: a file of source, or a shared library, or a package, which is a directory with a file.
type module struct {
	file string // "" if there is none
	dir  string // of a package
}

// importModule names what importing a module by its full name reads, with its parents and what they import. It returns
// false if the module is not a file of the image.
func (s *starter) importModule(py *python, name string, depth int) bool {
	if s.imported++; s.imported > maxImports {
		return false
	}
	m := module{}
	for i := range strings.Count(name, ".") + 1 {
		words := strings.SplitN(name, ".", i+2)
		dirs := []string{m.dir}
		if i == 0 {
			dirs = py.path
		}
		if m = s.findModule(py, dirs, words[i]); m.file == "" && m.dir == "" {
			return false
		}
		s.load(py, strings.Join(words[:i+1], "."), m, depth)
	}
	return true
}

// findModule looks for a module as Python's importer does: package, shared library, source.
func (s *starter) findModule(py *python, dirs []string, name string) module {
	for _, dir := range dirs {
		names := s.names(dir)
		if dir == "" || names == nil {
			continue
		}
		if names[name] {
			if inside := s.names(path.Join(dir, name)); inside["__init__.py"] {
				return module{path.Join(dir, name, "__init__.py"), path.Join(dir, name)}
			} else if inside != nil {
				return module{"", path.Join(dir, name)} // a namespace
			}
		}
		for _, suffix := range []string{".abi3.so", ".so", ".py"} {
			if names[name+suffix] {
				return module{file: path.Join(dir, name+suffix)}
			}
		}
		for other := range names { // the rest of the name is the machine's, of which an image has one
			rest, ours := strings.CutPrefix(other, name+"."+py.tag)
			if ours && strings.HasPrefix(strings.TrimLeft(rest, abiFlags), "-") && strings.HasSuffix(rest, ".so") {
				return module{file: path.Join(dir, other)}
			}
		}
	}
	return module{}
}

// load names what loading the module m called name reads, and follows what it imports.
func (s *starter) load(py *python, name string, m module, depth int) {
	if py.seen[name] || m.file == "" || len(py.seen) >= maxModules || depth > maxImportDepth {
		return
	}
	py.seen[name] = true
	if strings.HasSuffix(m.file, ".so") {
		s.name(m.file)
		s.libraries(s.resolve(m.file).path)
		return
	}
	compiled := path.Join(path.Dir(m.file), "__pycache__", strings.TrimSuffix(path.Base(m.file), "py")+py.tag+".pyc")
	if s.names(path.Dir(compiled))[path.Base(compiled)] {
		s.name(compiled)
	} else {
		s.name(m.file)
	}
	within := name
	if m.dir == "" {
		within, _ = cutLast(name, ".")
	}
	s.imports(py, s.source(m.file), within, false, depth)
}

// source is the text of a file that Python does not read, because there is a compiled one.
func (s *starter) source(p string) string {
	s.quiet = true
	defer func() { s.quiet = false }()
	return string(s.text(p))
}

// imports follows the imports of the program text, of a module in the package within.
func (s *starter) imports(py *python, text, within string, main bool, depth int) {
	for _, i := range importsOf(text, main) {
		from, ok := absolute(i.from, within)
		if !ok {
			continue
		}
		if from != "" && !s.importModule(py, from, depth+1) {
			continue
		}
		for _, name := range i.names {
			if from != "" {
				name = from + "." + name // may be a module, or something in one
			}
			s.importModule(py, name, depth+1)
		}
	}
}

// absolute is the name of the module that "from NAME import" means inside a package.
func absolute(name, within string) (string, bool) {
	rest := strings.TrimLeft(name, ".")
	for range len(name) - len(rest) - 1 {
		if within == "" {
			return "", false
		}
		within, _ = cutLast(within, ".")
	}
	switch {
	case rest == name:
		return name, true
	case rest == "" || within == "":
		return within + rest, within+rest != ""
	}
	return within + "." + rest, true
}

// cutLast cuts s around the last sep; before is "" if there is none.
func cutLast(s, sep string) (before, after string) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", s
	}
	return s[:i], s[i+len(sep):]
}

// importLine is `from FROM import NAMES`, or `import NAMES` where from is "".
type importLine struct {
	from  string
	names []string
}

var (
	importWords = regexp.MustCompile(`^import\s+([\w., \t]+)`)
	fromWords   = regexp.MustCompile(`^from\s+([\w.]+)\s+import\s+(.*)`)
	nameWords   = regexp.MustCompile(`^\(?\s*([\w.]+)`)
	// laterBlocks begin what does not run when the module is imported.
	laterBlocks = regexp.MustCompile(`^(async\s+def|def)\s|^if\s+(typing\.)?TYPE_CHECKING\b`)
	mainBlock   = regexp.MustCompile(`^if\s+__name__\s*==`)
)

// importsOf finds the imports that run when Python source is loaded, of the program itself if main is set. It is no
// parser: lines inside strings and functions are left out as far as indentation and quotes tell.
func importsOf(text string, main bool) (found []importLine) {
	skip, quoted, open := -1, "", false // a block to skip, by its indentation; an open string; an open parenthesis
	for line := range strings.Lines(text) {
		code := strings.TrimSpace(line)
		if quoted != "" {
			if strings.Contains(code, quoted) {
				quoted = ""
			}
			continue
		}
		if open {
			last := &found[len(found)-1]
			last.names = append(last.names, importedNames(code)...)
			open = !strings.Contains(code, ")")
			continue
		}
		if code == "" || code[0] == '#' {
			continue
		}
		indent := len(line) - len(strings.TrimLeft(line, " \t"))
		if skip >= 0 && indent > skip {
			quoted = opensString(code)
			continue
		}
		skip = -1
		if laterBlocks.MatchString(code) || !main && mainBlock.MatchString(code) {
			skip = indent
			continue
		}
		if m := fromWords.FindStringSubmatch(code); m != nil {
			found = append(found, importLine{m[1], importedNames(m[2])})
			open = strings.Contains(m[2], "(") && !strings.Contains(m[2], ")")
			continue
		}
		if m := importWords.FindStringSubmatch(code); m != nil {
			found = append(found, importLine{"", importedNames(m[1])})
			continue
		}
		quoted = opensString(code)
	}
	return found
}

// importedNames are the names in the list of an import, without what they are called from then on.
func importedNames(list string) (names []string) {
	list, _, _ = strings.Cut(list, "#")
	for word := range strings.SplitSeq(list, ",") {
		if m := nameWords.FindStringSubmatch(strings.TrimSpace(word)); m != nil {
			names = append(names, m[1])
		}
	}
	return names
}

// opensString is the quote of a string over several lines that begins in code and does not end in it, or "".
func opensString(code string) string {
	for _, quote := range []string{`"""`, `'''`} {
		if strings.Count(code, quote)%2 == 1 {
			return quote
		}
	}
	return ""
}

// likelyModules are what programs of an image import most often if it has them.
var likelyModules = []string{"numpy"}

// frozenModules are in the executable of later Pythons, with all they import.
var frozenModules = slices.Concat(pythonModules, []string{"ntpath", "runpy", "zipimport", "importlib.util", "importlib.machinery", "importlib._abc"})
