package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// warmMount mounts with the image's blocks on disk, all of them, checked.
func (b *bench) warmMount(img *hosted) (*mounted, error) {
	state := b.warm[img.plain]
	if state == "" {
		var err error
		if state, err = b.fresh("warm"); err != nil {
			return nil, err
		}
		m, err := b.mount(state, "--read-only")
		if err != nil {
			return nil, err
		}
		if _, err := whole(filepath.Join(m.dir, img.path)); err != nil {
			return nil, err
		}
		if err := m.end(); err != nil {
			return nil, err
		}
		b.warm[img.plain] = state
	}
	return b.mount(state, "--read-only")
}

// A way is one of several ways to the same bytes.
type way struct {
	path  string
	times []float64 // seconds
}

// cachedReads measures reads of what is on this machine: through sregfs, through a bare file system of the same library,
// and of a plain file. The block file's own pages are in memory for everybody, so that it is the way that is measured and
// not the disk.
func (b *bench) cachedReads() (err error) {
	img, err := b.image("science")
	if err != nil {
		return err
	}
	m, err := b.warmMount(img)
	if err != nil {
		return err
	}
	var read int64
	bare, err := b.passed(img.local, &read)
	if err != nil {
		return err
	}
	sregfs, passthrough, native := filepath.Join(m.dir, img.path), filepath.Join(bare.dir, "image.sif"), img.local
	if b.wants("disk") {
		before, err := used(m.pid)
		if err != nil {
			return err
		}
		s, p, n := way{path: sregfs}, way{path: passthrough}, way{path: native}
		rounds := 3 * b.o.count
		if err := b.race(rounds, []*way{&s, &p}, true, whole); err != nil {
			return err
		}
		after, err := used(m.pid)
		if err != nil {
			return err
		}
		if err := b.race(rounds, []*way{&n}, false, whole); err != nil {
			return err
		}
		rate := mb(img.size) / median(s.times)
		b.report.rowf(fmt.Sprintf("cached on disk, %.0f MB from front to back", mb(img.size)), atLeast(0.95), median(p.times)/median(s.times), "a bare passthrough", "%.0f MB/s", rate)
		b.report.rowf("the same", nil, median(n.times)/median(s.times), "a plain file, in memory", "%.0f MB/s", rate)
		gb := float64(rounds+1) * mb(img.size) / 1e3 // and the round that does not count
		b.report.rowf("the mount meanwhile: processor", nil, 0, "", "%.2f s per GB", (after.cpu-before.cpu).Seconds()/gb)
		b.report.rowf("the mount meanwhile: most memory", nil, 0, "", "%.0f MB resident", mb(after.peak))
	}
	if b.wants("disk4k") {
		const pieces = 10_000
		s, p := way{path: sregfs}, way{path: passthrough}
		random := func(path string) (time.Duration, error) { return readRandom(path, pieces) }
		if err := b.race(b.o.count, []*way{&s, &p}, true, random); err != nil {
			return err
		}
		b.report.rowf("cached on disk, random 4 KiB", nil, median(p.times)/median(s.times), "a bare passthrough", "%.0f reads a second", pieces/median(s.times))
	}
	if b.wants("pages") {
		s, p, n := way{path: sregfs}, way{path: passthrough}, way{path: native}
		if err := b.race(3*b.o.count, []*way{&s, &p, &n}, false, whole); err != nil {
			return err
		}
		b.report.rowf(fmt.Sprintf("in the page cache, %.0f MB from front to back", mb(img.size)), atLeast(0.95), median(n.times)/median(s.times), "a plain file, in memory", "%.0f MB/s", mb(img.size)/median(s.times))
		b.report.rowf("the same", nil, median(p.times)/median(s.times), "a bare passthrough's pages", "%.0f MB/s", mb(img.size)/median(s.times))
	}
	return errors.Join(bare.end(), m.end())
}

// whole is readWhole for race.
func whole(path string) (time.Duration, error) {
	took, _, err := readWhole(path)
	return took, err
}

// race times read by each way in turn, after a round that does not count; forget drops the ways' pages before each.
func (b *bench) race(rounds int, ways []*way, forget bool, read func(string) (time.Duration, error)) error {
	for round := range rounds + 1 {
		for _, w := range ways {
			if forget {
				if err := forgetPages(w.path); err != nil {
					return err
				}
			}
			took, err := read(w.path)
			if err != nil {
				return err
			}
			if round > 0 {
				w.times = append(w.times, took.Seconds())
			}
			if b.ctx.Err() != nil {
				return b.ctx.Err()
			}
		}
	}
	return nil
}
