package fs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index"
	"sregfs/index/indextest"
)

// The files of a search give what the index finds, to those who read them in whatever pieces.
func TestSearchFiles(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	for i := range 600 { // more than is read at once
		indextest.Put(t, srv.User(""), fmt.Sprintf("lab/number-%03d:1", i), []byte{byte(i), byte(i >> 8)}, map[string]string{"Maintainer": "ann 100%", "n": fmt.Sprint(i % 3)})
	}
	m := fstest.Mount(t, srv, fstest.Options{})
	count := func(file string) string { return m.Sh("cat '.sregfs/" + file + "' | wc -l") }

	require.Equal(t, "600", count("images"))
	require.Equal(t, "600", count("search/number"))
	require.Equal(t, "1", count("search/number-017"))
	require.Equal(t, "0", count("search/Number"))
	require.Equal(t, "600", count("search-i/Number"))
	require.Equal(t, "600", count("search/ann 100%25"), "a label's value, percent-encoded")
	require.Equal(t, "100", count("search/lab%2Fnumber-0"))
	require.Equal(t, "600", count("search/%2E"), "the file names have one")
	require.Equal(t, "0", count("search/no such thing"))
	require.Contains(t, m.Fail("cat .sregfs/search/50%"), "No such file or directory")
	require.Contains(t, m.Fail("echo > .sregfs/search/number"), "Operation not permitted")
	require.Contains(t, m.Fail("echo > .sregfs/images"), "Operation not permitted")
	require.Empty(t, m.Sh("ls -A .sregfs/search"))

	want := []byte(m.Sh("cat .sregfs/search/number") + "\n")
	require.Equal(t, m.Sh("cat .sregfs/images")+"\n", string(want), "in one order")
	names := map[string]bool{}
	for dec := json.NewDecoder(bytes.NewReader(want)); dec.More(); {
		var img index.Image
		require.NoError(t, dec.Decode(&img))
		require.Equal(t, "ann 100%", img.Labels["Maintainer"])
		require.Equal(t, "container", img.Properties["type"])
		names[img.Short()] = true
	}
	require.Len(t, names, 600)

	t.Run("from anywhere", func(t *testing.T) {
		f := open(t, filepath.Join(m.Dir(), ".sregfs/search/number"))
		for _, off := range []int{len(want) / 2, len(want) - 10, 0, 100, 99, len(want), len(want) + 5000} {
			p := make([]byte, 5000)
			n, err := f.ReadAt(p, int64(off))
			part := want[min(off, len(want)):min(off+len(p), len(want))]
			require.Equal(t, string(part), string(p[:n]), "at %d", off)
			require.Equal(t, len(part) < len(p), err == io.EOF)
		}
	})
	t.Run("by many at once", func(t *testing.T) {
		f := open(t, filepath.Join(m.Dir(), ".sregfs/search/number"))
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				off := i * len(want) / 8
				p := make([]byte, len(want)/8)
				_, err := f.ReadAt(p, int64(off))
				assert.NoError(t, err)
				assert.Equal(t, string(want[off:off+len(p)]), string(p))
			})
		}
		all.Wait()
	})
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}
