package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sregfs/drive/drivetest"
)

// transfers measures whole images on their way in and out.
func (b *bench) transfers() error { return b.each(part{"push", b.pushes}, part{"pull", b.pulls}) }

// pushes sends the same bytes by cp into the mount, by sregfs push, and by curl. Each time the Drive has nothing of
// them, or a push would send none.
func (b *bench) pushes() error {
	const size = 242_000_000
	dir, err := b.fresh("push")
	if err != nil {
		return err
	}
	var copied, pushed, bare []float64
	for round := range b.o.count {
		file := filepath.Join(dir, "image.sif")
		if err := writeImage(file, size, 100+round); err != nil {
			return err
		}
		state, err := b.fresh("state")
		if err != nil {
			return err
		}
		m, err := b.mount(state)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(m.dir, "push"), 0o755); err != nil {
			return err
		}
		for i, way := range []struct {
			times *[]float64
			send  func() error
		}{
			{&copied, func() error {
				_, err := output(b.command("cp", file, filepath.Join(m.dir, "push/copied:1.sif")))
				return err
			}},
			{&pushed, func() error {
				_, err := output(b.tool(state+"/other", "push", "--name", "push/pushed:1", file))
				return err
			}},
			{&bare, func() error { return b.curlUpload(file, "bare.sif") }},
		} {
			if i == 1 {
				if err := b.known(state + "/other"); err != nil {
					return err
				}
			}
			b.line(150)
			begin := time.Now()
			if err := way.send(); err != nil {
				return err
			}
			*way.times = append(*way.times, time.Since(begin).Seconds())
			b.fast()
			if err := b.forget("push", "bare.sif"); err != nil {
				return err
			}
		}
		if err := errors.Join(m.end(), os.RemoveAll(state)); err != nil {
			return err
		}
	}
	rate := func(times []float64) string { return fmt.Sprintf("%.1f MB/s", size/1e6/median(times)) }
	b.report.row("cp of 242 MB into the mount, 150 ms", rate(copied), "curl, one PUT", median(bare)/median(copied), atLeast(0.95))
	b.report.row("sregfs push of the same", rate(pushed), "curl, one PUT", median(bare)/median(pushed), atLeast(0.95))
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
	var pulled, ranges []float64
	var share []float64
	for range b.o.count {
		state, err := b.fresh("pull")
		if err != nil {
			return err
		}
		if err := b.known(state); err != nil {
			return err
		}
		b.line(150)
		b.srv.ResetRequests()
		begin := time.Now()
		if _, err := output(b.tool(state, "pull", "--name", filepath.Join(state, "pulled.sif"), img.uri)); err != nil {
			return err
		}
		pulled = append(pulled, time.Since(begin).Seconds())
		share = append(share, float64(b.traffic(b.o.verbose).bytes)/float64(img.size))
		begin = time.Now()
		if err := b.inRanges(img, filepath.Join(state, "ranges.sif"), 8); err != nil {
			return err
		}
		ranges = append(ranges, time.Since(begin).Seconds())
		b.fast()
		if err := os.RemoveAll(state); err != nil {
			return err
		}
	}
	file := b.path("unshaped.sif")
	begin := time.Now()
	if err := b.inRanges(img, file, 8); err != nil {
		return err
	}
	b.report.rowf("the same without a line: what the emulator can serve here", nil, 0, "", "%.0f MB/s", mb(img.size)/time.Since(begin).Seconds())
	if err := os.Remove(file); err != nil {
		return err
	}
	least := float64(img.size) / total
	b.report.row("sregfs pull, 890 MB at 150 ms", fmt.Sprintf("%.1f MB/s, %.3f of the bytes sent", mb(img.size)/median(pulled), median(share)),
		"the line, 125 MB/s", least/median(pulled), atLeast(0.95))
	b.report.row("eight bare ranges of the same", fmt.Sprintf("%.1f MB/s", mb(img.size)/median(ranges)), "the line, 125 MB/s", least/median(ranges), nil)
	return nil
}

// searched is how long `sregfs search` takes, and what it asks of Drive besides the changes.
func (b *bench) searched(srv *drivetest.Server, state, word string, want int) (time.Duration, int, error) {
	srv.ResetRequests()
	begin := time.Now()
	out, err := output(b.toolOn(srv, state, "search", "--json", word))
	took := time.Since(begin)
	if err != nil {
		return 0, 0, err
	}
	var found []json.RawMessage
	if err := json.Unmarshal([]byte(out), &found); err != nil || len(found) != want {
		return 0, 0, fmt.Errorf("search found %d of %d: %w", len(found), want, err)
	}
	requests := 0
	for _, r := range srv.Requests() {
		if r.Op != "changes.list" {
			requests++
		}
	}
	return took, requests, nil
}
