package image_test

import (
	"path/filepath"
	"strings"
	"testing"

	"sregfs/index/image/imagetest"
)

func TestStartupOfPython(t *testing.T) {
	python := imagetest.ELF{Interpreter: glibc, Needed: []string{"libc.so.6"}}
	// modules puts modules with this source below a directory, compiled, and returns what is read of those that begin
	// with "+".
	modules := func(r rooted, lib, tag string, sources map[string]string) (want []string) {
		for name, source := range sources {
			name, isNeeded := strings.CutPrefix(name, "+")
			r[lib+name+".py"] = source
			compiled := lib + filepath.Dir(name) + "/__pycache__/" + filepath.Base(name) + "." + tag + ".pyc"
			compiled = filepath.Clean(compiled)
			if r[compiled] = program(compiled, imagetest.ELF{}); isNeeded {
				want = append(want, compiled)
			}
		}
		return want
	}
	t.Run("in /usr/bin", func(t *testing.T) {
		r := basics()
		r["/.singularity.d/runscript"], r["/usr/bin/python3"] = "#!/bin/sh\nexec python3 \"$@\"\n", "-> python3.12"
		r.add("/usr/bin/python3.12", python)
		want := modules(r, "/usr/lib/python3.12/", "cpython-312", map[string]string{
			"+encodings/__init__": "import codecs\nfrom . import aliases", "+encodings/aliases": "", "+encodings/utf_8": "", "encodings/utf_16": "",
			"+sitecustomize": "", "os": "", "codecs": "",
		})
		requireNamed(t, r, append(append(want, "/usr/bin/python3.12"), needed...)...)
	})
	t.Run("of an environment, older", func(t *testing.T) {
		r := basics()
		r["/.singularity.d/runscript"], r["/opt/bin/job"] = "#!/bin/sh\n/opt/bin/job\n", "#!/opt/venv/bin/python\n"
		r["/opt/venv/bin/python"], r["/opt/venv/pyvenv.cfg"] = "-> /opt/conda/bin/python3.8", "home = /opt/conda/bin\n"
		r.add("/opt/conda/bin/python3.8", python)
		want := modules(r, "/opt/conda/lib/python3.8/", "cpython-38", map[string]string{"+os": "", "+site": "import os", "json": ""})
		for _, name := range []string{"/opt/conda/lib/python3.8/codecs.py", "/opt/venv/lib/python3.8/site-packages/some.pth"} { // not compiled
			r[name] = program(name, imagetest.ELF{})
			want = append(want, name)
		}
		requireNamed(t, r, append(append(want, "/opt/conda/bin/python3.8"), needed...)...)
	})
	t.Run("with the imports of its program", func(t *testing.T) {
		r := basics()
		r["/.singularity.d/runscript"] = "#!/bin/sh\nexec /opt/main\n"
		r["/opt/main"] = "#!/usr/bin/env python3\n" + `
"""Says
import nothing
"""
import sys, own as o  # import nothing
from pack.sub import (one,
    two, # nothing
    Three)
import missing.module
try:
    import quick
except ImportError:
    import slow
def later():
    import nothing
class C:
    import held
    def m(self):
        import nothing
if TYPE_CHECKING:
    import nothing
if __name__ == "__main__":
    import asprogram
` + "\n"
		r.add("/usr/bin/env", python).add("/usr/bin/python3.12", python)["/usr/bin/python3"] = "-> python3.12"
		want := []string{"/usr/bin/env", "/usr/bin/python3.12"}
		want = append(want, modules(r, "/usr/lib/python3.12/", "cpython-312", map[string]string{
			"+encodings/__init__": "", "+quick": "import none.at.all\nfrom os import path", "+slow": "import slow", "nothing": "", "os": "", "+held": "",
		})...)
		want = append(want, modules(r, "/usr/lib/python3/dist-packages/", "cpython-312", map[string]string{
			"+pack/__init__": "from . import first\nfrom .first import Three", "+pack/first": "if __name__ == '__main__':\n  import nothing",
			"+pack/sub/__init__": "from ..deep import down", "+pack/sub/one": "", "+pack/sub/two": "from .. import first", "pack/sub/four": "",
			"+pack/deep/__init__": "from .down import *", "+pack/deep/down": "from ....nowhere import x\nfrom . import fast",
		})...)
		want = append(want, modules(r, "/opt/", "cpython-312", map[string]string{"+own": "", "+asprogram": ""})...)
		const fast = "/usr/lib/python3/dist-packages/pack/deep/fast.cpython-312-x86_64-linux-gnu.so"
		r.add(fast, imagetest.ELF{Needed: []string{"libfast.so.3"}}).add("/usr/lib64/libfast.so.3", imagetest.ELF{})
		r.add(strings.Replace(fast, "312", "313", 1), imagetest.ELF{})
		requireNamed(t, r, append(append(want, fast, "/usr/lib64/libfast.so.3"), needed...)...)
	})
	t.Run("with a program or module of the runscript", func(t *testing.T) {
		r := basics()
		r["/.singularity.d/runscript"] = "#!/bin/sh\npython3 /opt/first.py && exec python3 -m pack.tool \"$@\"\n"
		r.add("/usr/bin/python3.12", python)["/usr/bin/python3"] = "-> python3.12"
		r["/opt/first.py"] = "import own\n"
		want := modules(r, "/opt/", "cpython-312", map[string]string{"+own": ""})
		want = append(want, modules(r, "/usr/lib/python3/dist-packages/", "cpython-312", map[string]string{
			"+pack/__init__": "", "+pack/tool/__init__": "", "+pack/tool/__main__": "from . import work", "+pack/tool/work": "", "+numpy/__init__": "", "pandas/__init__": "",
		})...)
		requireNamed(t, r, append(append(want, "/usr/bin/python3.12"), needed...)...)
	})
	t.Run("only where it may be what runs", func(t *testing.T) {
		r := basics()
		r.add("/usr/bin/python3", python).add("/usr/bin/tool", python)
		requireNamed(t, r, append([]string{"/usr/bin/tool"}, needed...)...)
		r["/.singularity.d/runscript"] = "#!/bin/sh\nexec /bin/sh \"$@\"\n"
		requireNamed(t, r, append([]string{"/usr/bin/python3"}, needed...)...)
	})
}

func TestStartupOfR(t *testing.T) {
	r := basics()
	r["/.singularity.d/runscript"] = "#!/bin/sh\nRscript /opt/job.R\n"
	r["/usr/bin/R"], r["/usr/lib/R/bin/R"] = "-> ../lib/R/bin/R", "#!/bin/sh\nexec $R_HOME/bin/exec/R\n"
	exe := imagetest.ELF{Interpreter: glibc, Needed: []string{"libR.so", "libc.so.6"}, RunPath: "/usr/lib/R/lib"}
	r.add("/usr/bin/Rscript", imagetest.ELF{Interpreter: glibc, Needed: []string{"libc.so.6"}}).add("/usr/lib/R/bin/exec/R", exe)
	want := []string{"/usr/bin/Rscript", "/usr/lib/R/bin/exec/R"}
	for name, isNeeded := range map[string]bool{
		"lib/libR.so": true, "library/base/R/base.rdb": true, "library/stats/R/stats.rdb": true, "library/stats/libs/stats.so": true,
		"library/stats/libs/other.so": false, "library/stats/help/stats.rdb": false, "library/tcltk/R/tcltk.rdb": false, "etc/Rprofile.site": true,
	} {
		if r.add("/usr/lib/R/"+name, imagetest.ELF{}); isNeeded {
			want = append(want, "/usr/lib/R/"+name)
		}
	}
	for _, name := range []string{"library/base/R/base.rdb", "library/stats/R/stats.rdb", "etc/Rprofile.site"} {
		want = append(want, "/usr/lib/R/"+name+".decoy") // these directories are read as a whole
	}
	requireNamed(t, r, append(want, needed...)...)
}
