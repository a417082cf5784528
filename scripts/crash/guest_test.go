//go:build crash

package crash

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// guests is the collection of the images that another client put into the Drive. Who reads them reads them cold.
const guests = "guests"

type guest struct {
	image   string
	content []byte
}

// newGuest puts an image into the Drive.
func newGuest(r *remote, k *maker, image string, size int64) (*guest, error) {
	b, _, err := k.content(size)
	if err != nil {
		return nil, err
	}
	return &guest{image, b}, r.put(guests, image, b)
}

func (g *guest) path(m *mount) string { return filepath.Join(m.dir, guests, g.image+":latest.sif") }

// readSome reads some pieces of it, anywhere.
func (g *guest) readSome(m *mount, dice *rand.Rand) error {
	f, err := os.Open(g.path(m))
	if err != nil {
		return err
	}
	defer f.Close()
	for range 1 + dice.IntN(4) {
		off := dice.Int64N(int64(len(g.content)))
		p := make([]byte, 1+dice.IntN(600_000))
		n, err := f.ReadAt(p, off)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read %s at %d: %w", g.image, off, err)
		}
		if want := g.content[off:min(int64(len(g.content)), off+int64(len(p)))]; !slices.Equal(p[:n], want) {
			return fmt.Errorf("%s has wrong bytes at %d (%d of %d read)", g.image, off, n, len(want))
		}
	}
	return nil
}

// readAll reads the whole of it.
func (g *guest) readAll(m *mount) error {
	b, err := os.ReadFile(g.path(m))
	if err != nil {
		return err
	}
	if !slices.Equal(b, g.content) {
		return fmt.Errorf("%s reads as %d wrong bytes, it has %d", g.image, len(b), len(g.content))
	}
	return nil
}
