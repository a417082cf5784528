package fs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	statement = regexp.MustCompile(`^\s*(\d+)\. `)
	heading   = regexp.MustCompile(`^Promise (\d+), `)
	promised  = regexp.MustCompile(`(?m)^(\d+)\. `)
	named     = regexp.MustCompile(`\[([^\]]*)\]`)
)

// TestSemantics: every statement of the package's section "Semantics" is numbered without a gap and names tests, the
// tests are there, and each promise of the README has statements.
func TestSemantics(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "semantics.go", nil, parser.ParseComments)
	require.NoError(t, err)
	var statements []string
	var promises []string
	for line := range strings.Lines(file.Doc.Text()) {
		line = strings.TrimRight(line, "\n")
		switch m := heading.FindStringSubmatch(line); {
		case m != nil:
			promises = append(promises, m[1])
		case statement.MatchString(line):
			statements = append(statements, line)
			require.Equal(t, strconv.Itoa(len(statements)), statement.FindStringSubmatch(line)[1], "numbered without a gap")
		case strings.HasPrefix(line, " ") && len(statements) > 0:
			statements[len(statements)-1] += " " + strings.TrimSpace(line)
		}
	}
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(readme), "\n## Promises\n")
	require.True(t, ok, "the README has its promises")
	section, _, _ = strings.Cut(section, "\n## ")
	var want []string
	for _, m := range promised.FindAllStringSubmatch(section, -1) {
		want = append(want, m[1])
	}
	require.NotEmpty(t, want)
	require.Equal(t, want, promises, "the promises of the README, in their order")
	require.Greater(t, len(statements), len(promises))

	tests := map[string][]string{} // by directory
	for _, s := range statements {
		list := named.FindStringSubmatch(s)
		require.NotNil(t, list, "no test is named: %s", s)
		for name := range strings.SplitSeq(list[1], ",") {
			name = strings.TrimSpace(name)
			dot := strings.LastIndex(name, ".")
			require.Positive(t, dot, "%q in: %s", name, s)
			dir, test := name[:dot], name[dot+1:]
			if tests[dir] == nil {
				tests[dir] = testsIn(t, filepath.Join("..", dir))
			}
			require.True(t, slices.Contains(tests[dir], test), "there is no test %s in %s, which is to hold: %s", test, dir, s)
		}
	}
}

// testsIn lists the tests of the package in dir, whatever their build tags.
func testsIn(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	var names []string
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names
}
