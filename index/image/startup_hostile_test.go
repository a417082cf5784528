package image_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image"
	"sregfs/index/image/imagetest"
)

// counted counts what is read of an image.
type counted struct {
	data  []byte
	bytes int64
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	n, err := reader(c.data).ReadAt(p, off)
	c.bytes += int64(n)
	return n, err
}

// TestStartupIsBounded: images that ask for endless work get a profile all the same.
func TestStartupIsBounded(t *testing.T) {
	many := func(n int, format string) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprintf(format, i))
		}
		return names
	}
	for name, change := range map[string]func(rooted){
		"a library with thousands of others": func(r rooted) {
			r["/usr/lib64/libc.so.6"] = imagetest.ELF{Needed: many(4000, "libnone-%d.so"), RPath: strings.Join(many(4000, "/opt/%d"), ":")}.String()
		},
		"libraries that all need more": func(r rooted) {
			for i := range 300 {
				r[fmt.Sprintf("/usr/lib64/lib%d.so", i)] = imagetest.ELF{Needed: many(300, "lib%d.so"), RunPath: "$ORIGIN"}.String()
			}
			r["/usr/lib64/libc.so.6"] = imagetest.ELF{Needed: many(300, "lib%d.so")}.String()
		},
		"a runscript of a million words":     func(r rooted) { r["/.singularity.d/runscript"] = strings.Repeat("tool /a/b/c ", 80_000) },
		"a runscript of different words":     func(r rooted) { r["/.singularity.d/runscript"] = strings.Join(many(100_000, "w%d"), " ") },
		"a PATH without end":                 func(r rooted) { r["/.singularity.d/env/90.sh"] = "PATH=" + strings.Join(many(50_000, "/p%d"), ":") },
		"an interpreter without a name":      func(r rooted) { r["/usr/bin/sh"] = "#!\n" },
		"an interpreter that is a directory": func(r rooted) { r["/usr/bin/sh"] = "#!/usr/bin\n" },
		"a chain of interpreters": func(r rooted) {
			r["/usr/bin/sh"] = "#!/i/0\n"
			for i := range 100 {
				r[fmt.Sprintf("/i/%d", i)] = fmt.Sprintf("#!/i/%d\n", i+1)
			}
		},
		"modules that import without end": func(r rooted) {
			r["/usr/bin/python3"] = "-> python3.12"
			r["/usr/bin/python3.12"] = imagetest.ELF{Interpreter: glibc}.String()
			r["/.singularity.d/runscript"] = "#!/bin/sh\npython3 /opt/a.py\n"
			for i := range 300 {
				r[fmt.Sprintf("/opt/m%d.py", i)] = strings.Join(many(300, "import m%d"), "\n")
			}
			r["/opt/a.py"] = strings.Repeat("from . import a, m1, m2\nimport m3, a.b.c.d\n", 20_000)
			r["/opt/m7.py"] = "from " + strings.Repeat(".", 100_000) + "x import (y,\n" + strings.Repeat("z,\n", 100_000)
		},
		"links that grow": func(r rooted) {
			r["/usr/bin/tool"] = "-> /l/0/x"
			for i := range 50 {
				r[fmt.Sprintf("/l/%d", i)] = fmt.Sprintf("-> %s", strings.Repeat(fmt.Sprintf("%d/", i+1), 1000))
			}
		},
		"links to themselves":          func(r rooted) { r["/bin"], r["/etc"], r["/lib64"] = "-> bin", "-> .", "-> lib64/x" },
		"a library cache of noise":     func(r rooted) { r["/etc/ld.so.cache"] = "glibc-ld.so.cache1.1" + string(imagetest.Bytes(5, 900_000)) },
		"a program that is all header": func(r rooted) { r["/usr/bin/sh"] = "\x7fELF\x02\x01" + strings.Repeat("\xff", 5000) },
		"a crowd of Pythons": func(r rooted) {
			delete(r, "/.singularity.d/runscript")
			r["/usr/bin/python3"] = "x"
			for i := range 3000 {
				r[fmt.Sprintf("/usr/lib/python3.%d/x", i)] = "x"
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := basics()
			change(r)
			size := int64(4 << 20)
			for _, text := range r {
				size += int64(len(text))
			}
			c := &counted{data: imagetest.SIF(t, size, imagetest.Files(r))}
			p, err := image.Startup(c, int64(len(c.data)))
			require.NoError(t, err)
			sane(t, p, int64(len(c.data)))
			require.Less(t, c.bytes, int64(300<<20))
		})
	}
}

// FuzzStartupFiles gives a start files of all kinds to follow.
func FuzzStartupFiles(f *testing.F) {
	e := imagetest.ELF{Interpreter: glibc, Needed: []string{"liba.so", "/x/y"}, RunPath: "$ORIGIN:/lib"}
	f.Add("#!/bin/sh\npython3 /bin/tool.py -m b\n", "from . import a\nimport (b,\nc)", "import b", "import a", "")
	f.Add("#!/bin/sh\nexec tool \"$@\"\n", "PATH=/bin:/usr/bin\n", e.String(), "-> sh", ldSoCache("liba.so", "/bin/tool"))
	e.Narrow, e.Big = true, true
	f.Add("#!/usr/bin/env -S A=b python3\n", "export LD_LIBRARY_PATH='/a'", e.String(), "#!/bin/python3", "ld.so-1.7.0\x00")
	f.Fuzz(func(t *testing.T, runscript, environment, program, other, cache string) {
		if len(runscript)+len(environment)+len(program)+len(other)+len(cache) > 300_000 {
			return
		}
		data := imagetest.Simg(t, 1<<20, imagetest.Files{
			"/.singularity.d/runscript": runscript, "/.singularity.d/env/90-environment.sh": environment, "/bin/sh": program, "/bin/tool": other,
			"/usr/bin/python3.9": program, "/usr/bin/python3": "-> python3.9", "/usr/bin/env": other, "/etc/ld.so.cache": cache, "/lib/liba.so": other,
			"/lib64/ld-linux-x86-64.so.2": program, "/usr/lib/python3.9/encodings/aliases.py": other,
			"/usr/lib/python3.9/numpy/__init__.py": environment, "/usr/lib/python3.9/numpy/a.py": other, "/usr/lib/python3.9/b.py": program,
		})
		p, err := image.Startup(reader(data), int64(len(data)))
		require.NoError(t, err)
		sane(t, p, int64(len(data)))
	})
}
