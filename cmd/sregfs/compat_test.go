package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// With SREGFS_COMPAT=strict the exit codes are those of release 0.2.39 of the Python
// tool; without it they say what went wrong.
func TestStrictExitCodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, strict := w.as("ann@uni.edu"), w.as("ann@uni.edu", "SREGFS_COMPAT=strict")
	f := indextest.Put(t, w.srv.User("ann@uni.edu"), "lab/a:1", imagetest.SIF(t, 100_000), nil)
	w.file("i.sif", imagetest.SIF(t, 100_000))
	w.srv.Fault(drivetest.On("POST", "/drive/v3/files/"+f.ID+"/permissions").Status(403, "sharingRateLimitExceeded"))
	for args, want := range map[string]struct{ ours, tools int }{
		"search none":                         {exitOK, 0},
		"pull none/none":                      {exitNotFound, 1},
		"get none/none":                       {exitNotFound, 1},
		"inspect none/none":                   {exitNotFound, 1},
		"rm none/none":                        {exitNotFound, 1},
		"mv none/none x":                      {exitNotFound, 0},
		"share --email bob@uni.edu none/none": {exitNotFound, 0},
		"share --email bob@uni.edu lab/a:1":   {exitPermission, 0},
		"push --name lab/b:1 none.sif":        {exitError, 1},
		"push i.sif":                          {exitUsage, 2},
		"pull":                                {exitUsage, 2},
		"frobnicate":                          {exitUsage, 2},
	} {
		require.Equal(t, want.ours, ann.sregfs(strings.Fields(args)...).code, args)
		r := strict.sregfs(strings.Fields(args)...)
		require.Equal(t, want.tools, r.code, "%s: %s", args, r.err)
		require.Equal(t, want.ours != exitOK, strings.Contains(r.err, "ERROR "), "%s: %s", args, r.err)
	}
}
