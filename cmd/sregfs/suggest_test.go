package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image/imagetest"
)

// A name that nothing has is answered with what may have been meant.
func TestSuggestions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	w.file("i.sif", imagetest.SIF(t, 100_000))
	for _, name := range []string{"lab/x:1.1", "lab/x:1.10", "vsoch/hello-world", "other/x"} {
		ann.sregfs("push", "--name", name, "i.sif").ok(t)
	}
	ann.sregfs("add", "--copy", "--name", "here/alone", "i.sif").ok(t)
	try := func(t *testing.T) {
		t.Helper()
		for text, said := range map[string]string{
			"lab/x":                   "; did you mean lab/x:1.10, lab/x:1.1, other/x:latest?",
			"LAB/x:1.11":              "; did you mean lab/x:1.10, lab/x:1.1, other/x:latest?",
			"hello-world":             "; did you mean vsoch/hello-world:latest?",
			"vsoch/helo-wrld":         "; did you mean vsoch/hello-world:latest?",
			"vsoch/hello-world@" + no: "; did you mean vsoch/hello-world:latest?",
			"here/alone:2":            "; did you mean here/alone:latest?",
			"lab/y":                   "",
			"something/else":          "",
			no:                        "",
		} {
			r := ann.sregfs("-q", "get", text)
			require.Equal(t, "ERROR image "+text+" does not exist"+said+"\n", r.err)
			require.Equal(t, exitNotFound, r.code)
		}
	}
	t.Run("from the index", try)
	t.Run("without asking anybody but what changed", func(t *testing.T) {
		before := len(w.srv.Requests())
		ann.sregfs("-q", "get", "lab/x")
		require.LessOrEqual(t, len(w.srv.Requests())-before, 1)
	})
	t.Run("not where Drive cannot be asked for want of credentials", func(t *testing.T) {
		none := w.as("ann@uni.edu", "SREGISTRY_GOOGLE_DRIVE_CREDENTIALS=", "SREGFS_TOKEN=")
		none.sregfs("get", "lab/x:1.1").ok(t)
		none.sregfs("get", "here/alone").ok(t)
		for _, verb := range []string{"get", "inspect", "rm"} {
			r := none.sregfs("-q", verb, "lab/x")
			require.Equal(t, exitSignIn, r.code)
			require.Contains(t, r.err, "You must export SREGISTRY_GOOGLE_DRIVE_CREDENTIALS")
			require.NotContains(t, r.err, "does not exist")
		}
	})
	t.Run("from a mount", func(t *testing.T) {
		ann.mount("--poll", "1h")
		try(t)
	})
}

const no = "0123456789abcdef0123456789abcdef" // a checksum that nothing has
