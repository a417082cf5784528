package image

import (
	"bytes"
	"io"
	"path"
	"strings"
)

const (
	// maxInterpreters is how many interpreters a script may go through; the kernel allows five.
	maxInterpreters = 5
	// maxScriptWords is how many words of a runscript are looked at.
	maxScriptWords = 1000
)

// which finds the program name in $PATH, as it is if it has a slash; "" if there is none.
func (s *starter) which(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	for _, dir := range s.paths {
		p := path.Join(dir, name)
		if at := s.resolve(p); at.in != nil && at.in.kind == inodeFile {
			return p
		}
	}
	return ""
}

// program names what running the program p reads: it and its interpreters, and the shared libraries of the last.
func (s *starter) program(p string, depth int) {
	if p == "" || depth > maxInterpreters {
		return
	}
	f := s.name(p)
	if f == nil {
		return // nothing, or named already
	}
	interpreter, args, ok := shebang(f)
	if ok {
		s.program(interpreter, depth+1)
		if path.Base(interpreter) == "env" {
			interpreter = s.which(envProgram(args))
			s.program(interpreter, depth+1)
		}
	}
	real := s.resolve(p).path
	if s.isPython(interpreter) || !ok && path.Ext(real) == ".py" {
		s.pythonProgram(real)
		return
	}
	s.libraries(real)
	s.python(p, real)
	s.rLanguage(real)
}

// shebang reads the first line of a script.
func shebang(f *squashFile) (interpreter string, args []string, ok bool) {
	head := make([]byte, min(f.size, 256)) // the kernel reads no more
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, f.size), head); err != nil || !bytes.HasPrefix(head, []byte("#!")) {
		return "", nil, false
	}
	line, _, _ := bytes.Cut(head[2:], []byte("\n"))
	words := strings.Fields(string(line))
	if len(words) == 0 {
		return "", nil, false
	}
	return words[0], words[1:], true
}

// envProgram is the program that `env ARGS` runs, "" if there is none.
func envProgram(args []string) string {
	for _, arg := range args {
		if !strings.HasPrefix(arg, "-") && !strings.Contains(arg, "=") {
			return arg
		}
	}
	return ""
}

// shellWords are words of shell scripts that name no program, though there are programs of some of these names.
var shellWords = wordSet(`. : [ alias bg bind break builtin case cd command continue declare do done echo elif else esac
	eval exec exit export false fg fi for function getopts hash if in jobs kill let local popd printf pushd pwd read readonly
	return select set shift source test then time times trap true type typeset ulimit umask unalias unset until wait while`)

func wordSet(text string) map[string]bool {
	set := map[string]bool{}
	for _, word := range strings.Fields(text) {
		set[word] = true
	}
	return set
}

// script names what the shell script p reads: its interpreter, and every program that a word of it names. It says
// whether there is one beside shells.
func (s *starter) script(p string) (main bool) {
	text := s.text(p)
	if text == nil {
		return false
	}
	s.name(p)
	if f := s.file(p); f != nil {
		if interpreter, _, ok := shebang(f); ok {
			s.program(interpreter, 1)
		}
	}
	words, last := 0, ""
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, word := range strings.FieldsFunc(line, notOfProgram) {
			if words++; words > maxScriptWords {
				return main
			}
			if last == "-m" {
				s.pythonModule(word)
			}
			last = word
			if shellWords[word] || strings.HasSuffix(word, "/") {
				continue
			}
			p := s.which(word)
			if at := s.resolve(p); at.in == nil || at.in.kind != inodeFile {
				continue
			}
			s.program(p, 0)
			main = main || !isShell(path.Base(word))
		}
	}
	return main
}

// notOfProgram tells whether r ends a word that may be a program.
func notOfProgram(r rune) bool {
	return !strings.ContainsRune("/._-+[:@", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r < 0x80
}

func isShell(name string) bool {
	switch name {
	case "sh", "bash", "dash", "ash", "zsh", "ksh":
		return true
	}
	return false
}
