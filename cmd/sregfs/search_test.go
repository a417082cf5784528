package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image/imagetest"
)

// A search says the same through a mount, which only answers what is asked, and
// without one.
func TestSearchThroughAMount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	for _, name := range []string{"lab/one:1", "lab/two:1.0", "other/one:2"} {
		w.file("i.sif", imagetest.SIF(t, 100_000, imagetest.Labels{"maintainer": "Ann 100% <ann@uni.edu>"}))
		ann.sregfs("push", "--name", name, "i.sif").ok(t)
	}
	searches := [][]string{
		{}, {"one"}, {"One"}, {"-i", "ONE"}, {"lab/"}, {"."}, {".."}, {"%2F"}, {"100%"}, {"Ann 100% <"}, {""}, {"-i", "ann@UNI", "two"}, {"one", "two", "one"},
		{"a\nb"}, {strings.Repeat("x", 300)}, {strings.Repeat("é", 100)}, {"--json"}, {"--json", "one", "lab"}, {"--json", "-i", "NONE"}, {"--", "-i"},
	}
	answers := make([]string, len(searches))
	for i, args := range searches {
		answers[i] = ann.sregfs(append([]string{"search"}, args...)...).ok(t)
	}
	require.Contains(t, answers[1], "Found 2 containers")
	require.Contains(t, answers[2], "Found 0 containers")
	require.Contains(t, answers[3], "Found 2 containers")
	require.Contains(t, answers[4], "Found 2 containers")
	require.Contains(t, answers[8], "Found 3 containers")
	ann.mount()
	for i, args := range searches {
		require.Equal(t, answers[i], ann.sregfs(append([]string{"search"}, args...)...).ok(t), "search %q", args)
	}
}
