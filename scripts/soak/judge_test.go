//go:build soak

package soak

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// judge holds Drive and what each mount shows against what was acknowledged, when nobody works any more.
func (w *world) judge(t *testing.T) {
	t.Helper()
	w.srv.ClearFaults()
	known := 0
	for _, wr := range w.writers {
		for _, i := range wr.images {
			require.NoError(t, wr.reconcile(i, nil), i.key())
			for _, versions := range i.tags {
				known += len(versions)
			}
		}
	}
	have := 0
	for _, f := range w.srv.User(ann).Files() {
		if !f.Trashed && f.Properties["type"] == "container" {
			have++
		}
	}
	require.Equal(t, known, have, "Drive holds what nobody pushed")
	for _, m := range w.machines {
		eventually(t, func() error { return w.shows(m) })
		s, err := m.status()
		require.NoError(t, err)
		require.Zero(t, s.Drafts, "%s keeps drafts", m.name)
		require.Empty(t, s.Pushes)
		require.Empty(t, s.Cache.Bad)
		entries, err := os.ReadDir(filepath.Join(m.state, "drafts"))
		require.NoError(t, err)
		require.Empty(t, entries, "%s keeps files of drafts", m.name)
	}
}

// shows says whether m shows exactly the versions it should, each with its bytes.
func (w *world) shows(m *machine) error {
	for _, wr := range w.writers {
		for _, i := range wr.images {
			for _, tag := range []string{"a", "b"} {
				var want []string
				for _, v := range i.tags[tag] {
					if m.owner || v.shared {
						want = append(want, v.sum+".sif")
					}
				}
				if err := showsTag(filepath.Join(m.root, i.collection, i.name+":"+tag), want, i.tags[tag]); err != nil {
					return fmt.Errorf("%s: %w", m.name, err)
				}
			}
		}
	}
	return nil
}

// showsTag compares a tag's directory and file with the names of its versions.
func showsTag(dir string, want []string, all []*version) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	newest := ""
	if len(want) > 0 {
		newest = want[len(want)-1]
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s shows %v, want %v", dir, got, want)
	}
	for _, v := range all {
		paths := []string{filepath.Join(dir, v.sum+".sif")}
		if !slices.Contains(want, v.sum+".sif") {
			continue
		}
		if v.sum+".sif" == newest {
			paths = append(paths, dir+".sif")
		}
		for _, path := range paths {
			if err := showsContent(path, v.content); err != nil {
				return err
			}
		}
	}
	return nil
}

func showsContent(path string, c content) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size() != c.size {
		return fmt.Errorf("%s has %d bytes, want %d: %w", path, st.Size(), c.size, err)
	}
	for off := int64(0); off < c.size; off += 1 << 20 {
		if _, err := piece(f, c, off, 1<<20); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}
