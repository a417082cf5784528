package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// transfers measures whole images on their way in and out.
func (b *bench) transfers() error { return b.each(part{"push", b.pushes}, part{"pull", b.pulls}) }

// A transfer is one way to move an image, and how long it took each time.
type transfer struct {
	move  func() error
	times []float64 // seconds
}

func (t *transfer) median() float64 { return median(t.times) }

// inTurn makes each transfer once on the line of 150 ms, in each round another one first, and calls after behind each.
func (b *bench) inTurn(round int, all []*transfer, after func() error) error {
	for i := range all {
		t := all[(i+round)%len(all)]
		b.line(150)
		begin := time.Now()
		if err := t.move(); err != nil {
			return err
		}
		t.times = append(t.times, time.Since(begin).Seconds())
		b.fast()
		if err := after(); err != nil {
			return err
		}
	}
	return nil
}

// pushes sends the same bytes by cp into the mount, by sregfs push, by curl, and by curl after md5sum: no push can be
// faster than that, since the metadata that open an upload carry the version, a digest of the whole file. Each time the
// Drive has nothing of the bytes, or a push would send none.
func (b *bench) pushes() error {
	const size = 242_000_000
	dir, err := b.fresh("push")
	if err != nil {
		return err
	}
	var file, state, mnt string // of the round
	bare := func() error { return b.curlUpload(file, "bare.sif") }
	copied := &transfer{move: func() error {
		_, err := output(b.command("cp", file, filepath.Join(mnt, "push/copied:1.sif")))
		return err
	}}
	pushed := &transfer{move: func() error {
		_, err := output(b.tool(state+"/other", "push", "--name", "push/pushed:1", file))
		return err
	}}
	curl := &transfer{move: bare}
	hashed := &transfer{move: func() error {
		if _, err := output(b.command("md5sum", file)); err != nil {
			return err
		}
		return bare()
	}}
	for round := range b.o.count {
		file = filepath.Join(dir, "image.sif")
		if err := writeImage(file, size, 100+round); err != nil {
			return err
		}
		if state, err = b.fresh("state"); err != nil {
			return err
		}
		m, err := b.mount(state)
		if err != nil {
			return err
		}
		mnt = m.dir
		if err := os.MkdirAll(filepath.Join(mnt, "push"), 0o755); err != nil {
			return err
		}
		if err := b.known(state + "/other"); err != nil {
			return err
		}
		if err := b.inTurn(round, []*transfer{copied, pushed, curl, hashed}, func() error { return b.forget("push", "bare.sif") }); err != nil {
			return err
		}
		if err := errors.Join(m.end(), os.RemoveAll(state)); err != nil {
			return err
		}
	}
	row := func(what string, t *transfer) {
		rate := fmt.Sprintf("%.1f MB/s", size/1e6/t.median())
		b.report.row(what, rate, "curl, one PUT", curl.median()/t.median(), atLeast(0.95))
		b.report.row("the same", rate, "md5sum, then curl", hashed.median()/t.median(), nil)
	}
	row("cp of 242 MB into the mount, 150 ms", copied)
	row("sregfs push of 242 MB, 150 ms", pushed)
	return os.RemoveAll(dir)
}

// known lists the registry for the first time into a state directory: a transfer is not measured with it.
func (b *bench) known(state string) error {
	if err := os.MkdirAll(state, 0o755); err != nil {
		return err
	}
	_, err := output(b.tool(state, "search", "--json"))
	return err
}

// forget deletes for good what a push left: the files of a collection, and one by its name.
func (b *bench) forget(collection, name string) error {
	for _, f := range b.user.Files() {
		if f.Properties["collection"] == collection || f.Name == name {
			if err := b.user.Delete(f.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// pulls fetches the big image by sregfs pull, and on eight connections without any care.
func (b *bench) pulls() error {
	img, err := b.image("workbench")
	if err != nil {
		return err
	}
	var state string // of the round
	var share []float64
	pulled := &transfer{move: func() error {
		_, err := output(b.tool(state, "pull", "--name", filepath.Join(state, "image.sif"), img.uri))
		return err
	}}
	ranges := &transfer{move: func() error { return b.inRanges(img, filepath.Join(state, "ranges.sif"), 8) }}
	for round := range b.o.count {
		if state, err = b.fresh("pull"); err != nil {
			return err
		}
		if err := b.known(state); err != nil {
			return err
		}
		b.srv.ResetRequests()
		err := b.inTurn(round, []*transfer{pulled, ranges}, func() error { return nil })
		if err != nil {
			return err
		}
		// What the eight ranges brought is the image once.
		share = append(share, float64(b.traffic(b.o.verbose).bytes-img.size)/float64(img.size))
		if err := os.RemoveAll(state); err != nil {
			return err
		}
	}
	file := b.path("unshaped.sif")
	begin := time.Now()
	if err := b.inRanges(img, file, 8); err != nil {
		return err
	}
	unshaped := time.Since(begin)
	if err := os.Remove(file); err != nil {
		return err
	}
	least := float64(img.size) / total
	b.report.row("sregfs pull, "+img.label(), fmt.Sprintf("%.1f MB/s, %.3f of the bytes sent", mb(img.size)/pulled.median(), median(share)),
		"the line, 125 MB/s", least/pulled.median(), atLeast(0.95))
	b.report.row("eight bare ranges of the same", fmt.Sprintf("%.1f MB/s", mb(img.size)/ranges.median()), "the line, 125 MB/s", least/ranges.median(), nil)
	b.report.rowf("the same without a line: what the emulator can serve here", nil, 0, "", "%.0f MB/s", mb(img.size)/unshaped.Seconds())
	return nil
}
