package image

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// What Startup takes at most, whatever the image holds. A start with a big Python takes a tenth of each.
const (
	startupBudget = 256 << 20 // bytes read and unpacked
	startupLooks  = 16384     // paths looked up
	startupNames  = 16384     // names listed of a directory
	startupLists  = 1024      // directories listed
	startupFiles  = 4096      // files named, of which at most
	startupWhole  = 32 << 20  // bytes are named whole,
	startupHead   = 4 << 20   // of longer ones so many bytes of the head
	// startupTables is how much of a squashfs's tables is named whole, from its end: those of 40,000 files. Of longer ones
	// it is the blocks on the way to the files that are named.
	startupTables = 1 << 20
	// kernelReadAhead is what the kernel reads beyond the end of what it is asked for in sequence.
	kernelReadAhead = 128 << 10
)

// Startup says what a container's first start will probably read, in this order, from the image alone; nothing in it is
// run. It follows a start as far as it can be seen from outside: the headers and tables, what Apptainer looks at in every
// container, the programs that the runscript names with their interpreters and shared libraries, what Python and R load
// of their own, what a Python program imports, then a shell and other programs that are often run instead of the
// runscript. An image that has no squashfs we can read gets a profile of its head.
//
// It reads the headers, the squashfs metadata on the way to those files, scripts and the heads of programs: 5 MB in some
// 500 reads for a Python with numpy, in 0.2 s; at most 256 MiB, read and unpacked. Memory and time are bounded too. Errors
// are those of r, and come with what was found before.
func Startup(r io.ReaderAt, size int64) (Profile, error) {
	if size <= 0 {
		return nil, nil
	}
	t := &tracer{r: r, rec: NewRecording(size)}
	t.rec.Read(0, firstReads)
	im, _ := open(t, size)
	if im != nil {
		defer im.close()
		if im.fs != nil {
			im.fs.budget = startupBudget
			s := &starter{fs: im.fs, tracer: t, found: map[string]place{}, named: map[fileID]bool{}, elfs: map[string]*elfFile{},
				listed: map[string]map[string]bool{}}
			s.tables()
			s.container()
			s.programs()
		}
	}
	return t.rec.Profile(), t.err
}

// tracer notes what is read.
type tracer struct {
	r     io.ReaderAt
	rec   *Recording
	quiet bool  // what is read now a start does not read
	err   error // the first error of r, after which nothing more is read
}

func (t *tracer) ReadAt(p []byte, off int64) (n int, err error) {
	if t.err != nil {
		return 0, t.err
	}
	n, err = t.r.ReadAt(p, off)
	if !t.quiet {
		t.rec.Read(off, int64(n))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		t.err = fmt.Errorf("read image at %d: %w", off, err)
	}
	return n, err
}

// starter follows a start through one image. What it reads on its way is noted by its tracer, what the start would read
// by touch and name. Whatever is wrong with the image ends one look only.
type starter struct {
	*tracer
	fs    *squashfs
	found map[string]place    // by path; at most startupLooks
	named map[fileID]bool     // at most startupFiles
	paths []string            // $PATH
	libs  []string            // $LD_LIBRARY_PATH
	elfs  map[string]*elfFile // by path, nil for what is none; at most startupFiles
	cache map[string][]string // /etc/ld.so.cache, when it has been read

	listed   map[string]map[string]bool // directories; at most startupLists of them
	snake    *python                    // the last Python that was named
	imported int                        // imports followed; at most maxImports

	multiarch []string // where the last program's libraries are by default
}

// place is where a path leads.
type place struct {
	path string // without links
	in   *inode // nil if there is nothing
}

// fileID tells the contents of files from each other.
type fileID struct {
	start             int64
	fragment, fragOff uint32
}

// tables names the tables of the squashfs. The kernel reads the last ones when it mounts, and needs blocks of the others
// for every path, each after the one before.
func (s *starter) tables() {
	sb := &s.fs.super
	end := int64(sb.Used)
	start := int64(min(sb.InodeTable, sb.Used))
	start = max(start, end-startupTables)
	s.touch(Span{s.fs.base, squashSuperSize})
	s.touch(Span{s.fs.base + start, end - start})
}

// Paths in a container that Apptainer looks at before it runs anything: it makes its working directories and binds the
// host's files over those of the image.
var (
	containerDirs = []string{"/dev", "/proc", "/sys", "/tmp", "/var/tmp", "/root", "/home", "/run", metaDir + "/libs", "/.singularity.d/actions"}
	containerFile = []string{"/etc/passwd", "/etc/group", "/etc/hosts", "/etc/resolv.conf", "/etc/localtime", "/etc/nsswitch.conf"}
)

// container names what every start reads.
func (s *starter) container() {
	for _, dir := range containerDirs {
		s.resolve(dir)
	}
	s.nameAll(metaDir + "/actions")
	for _, script := range s.environment() {
		s.name(script)
	}
	s.name(metaDir + "/runscript")
	for _, name := range containerFile {
		s.name(name)
	}
}

// Programs that are run in containers whatever their runscript says. They are small, or lie in the same blocks; those of
// the first list are so small that the runscript's own may wait for them.
var (
	smallPrograms = []string{"sh", "env", "true"}
	oftenRun      = []string{"bash", "cat", "ls"}
)

// programs names the programs that a start runs, most probable first.
func (s *starter) programs() {
	s.paths, s.libs = append(s.assigned("PATH"), defaultPath...), s.assigned("LD_LIBRARY_PATH")
	for _, name := range smallPrograms {
		s.program(s.which(name), 0)
	}
	main := s.script(metaDir + "/runscript")
	s.script(metaDir + "/startscript")
	for _, name := range oftenRun {
		s.program(s.which(name), 0)
	}
	s.locale()
	if !main {
		s.program(s.which("python3"), 0)
	}
	if s.snake != nil {
		for _, name := range likelyModules {
			s.importModule(s.snake, name, 0)
		}
	}
}

// locale names what setting the locale C.UTF-8 reads: its files, and glibc's table of character sets.
func (s *starter) locale() {
	for _, dir := range []string{"/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8"} {
		s.nameAll(dir)
		s.name(path.Join(dir, "LC_MESSAGES/SYS_LC_MESSAGES"))
	}
	for _, dir := range s.multiarch {
		s.name(path.Join(dir, "gconv/gconv-modules.cache"))
	}
}

// defaultPath is $PATH in a container whose image says nothing else.
var defaultPath = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// environment is the scripts that set the environment, in the order in which they are run.
func (s *starter) environment() (scripts []string) {
	for _, name := range s.list(metaDir + "/env") {
		if strings.HasSuffix(name, ".sh") {
			scripts = append(scripts, path.Join(metaDir, "env", name))
		}
	}
	return scripts
}

// assigned returns the directories that the image's environment scripts give to the variable name last.
func (s *starter) assigned(name string) (dirs []string) {
	for _, script := range s.environment() {
		for line := range strings.Lines(string(s.text(script))) {
			line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
			value, ok := strings.CutPrefix(line, name+"=")
			if !ok {
				continue
			}
			var set []string
			for _, dir := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(`:"'{}; `, r) }) {
				if strings.HasPrefix(dir, "/") && len(set) < 32 {
					set = append(set, dir)
				}
			}
			if len(set) > 0 {
				dirs = set
			}
		}
	}
	return dirs
}
