package image

import (
	"path"
	"strings"
)

// rPackages are what R attaches before it runs anything, in this order (R: ?Startup, option defaultPackages).
var rPackages = []string{"base", "methods", "datasets", "utils", "grDevices", "graphics", "stats"}

// rHomes are where R may live, from the directory above that of R or Rscript.
var rHomes = []string{"lib/R", "lib64/R", "local/lib/R"}

// rLanguage names what R reads at its start, if the program real, without links, is R or Rscript: a script and a program in R's
// own directory, its settings, and its packages, code and data of each in a database that is read as a whole.
func (s *starter) rLanguage(real string) {
	if base := path.Base(real); base != "R" && base != "Rscript" {
		return
	}
	above := path.Dir(path.Dir(real))
	homes := []string{above} // R's script may be in its own directory
	for _, dir := range rHomes {
		homes = append(homes, path.Join(above, dir))
	}
	for _, home := range homes {
		if s.resolve(path.Join(home, "library/base")).in == nil {
			continue
		}
		s.program(path.Join(home, "bin/R"), 1)
		s.nameAll(path.Join(home, "etc"))
		s.program(path.Join(home, "bin/exec/R"), 1)
		for _, pack := range rPackages {
			dir := path.Join(home, "library", pack)
			s.name(path.Join(dir, "DESCRIPTION"))
			for _, file := range []string{"package.rds", "nsInfo.rds", "features.rds"} {
				s.name(path.Join(dir, "Meta", file))
			}
			s.nameAll(path.Join(dir, "R"))
			for _, lib := range s.list(path.Join(dir, "libs")) {
				if strings.TrimSuffix(lib, ".so") == pack {
					s.program(path.Join(dir, "libs", lib), 1)
				}
			}
		}
		return
	}
}

// nameAll names the files in a directory.
func (s *starter) nameAll(dir string) {
	for _, name := range s.list(dir) {
		s.name(path.Join(dir, name))
	}
}
