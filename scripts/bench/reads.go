package main

import (
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sregfs/index/image/imagetest"
)

// readWhole reads a file from front to back in pieces of 1 MiB, as cp does, and returns the time and the bytes.
func readWhole(path string) (time.Duration, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	begin := time.Now()
	var n int64
	for buf := make([]byte, 1<<20); ; {
		m, err := f.Read(buf)
		n += int64(m)
		if errors.Is(err, io.EOF) {
			return time.Since(begin), n, nil
		}
		if err != nil {
			return 0, n, err
		}
	}
}

// forgetPages drops the kernel's pages of one file, and of no other.
func forgetPages(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// readRandom reads so many pieces of 4 KiB, one after the other, at places that are the same for every contender.
func readRandom(path string, pieces int) (time.Duration, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	places := mathrand.New(mathrand.NewPCG(1, 2))
	buf := make([]byte, page)
	begin := time.Now()
	for range pieces {
		if _, err := f.ReadAt(buf, places.Int64N(st.Size()/page)*page); err != nil {
			return 0, err
		}
	}
	return time.Since(begin), nil
}

// onCold runs read on a fresh mount with an empty state on the line of 150 ms, and returns what the Drive sent by the
// time it returned, and what the mount used for it.
func (b *bench) onCold(read func(mnt string) error) (t traffic, u usage, err error) {
	state, err := b.fresh("state")
	if err != nil {
		return t, u, err
	}
	m, err := b.mount(state, "--read-only")
	if err != nil {
		return t, u, err
	}
	before, err := used(m.pid)
	if err != nil {
		return t, u, err
	}
	b.line(150)
	b.srv.ResetRequests()
	if err := read(m.dir); err != nil {
		return t, u, err
	}
	t = b.traffic(b.o.verbose)
	if u, err = used(m.pid); err != nil {
		return t, u, err
	}
	u.cpu -= before.cpu
	b.fast()
	return t, u, errors.Join(m.end(), os.RemoveAll(state))
}

// coldReads measures reads of images that are not on the machine.
func (b *bench) coldReads() error {
	return b.each(part{"seq", b.sequential}, part{"random", b.random}, part{"readers/1", b.readersOfOne}, part{"readers/16", b.readersOfMany})
}

// sequential reads the big image from front to back, and counts what the mount needs for it.
func (b *bench) sequential() error {
	img, err := b.image("workbench")
	if err != nil {
		return err
	}
	var ratio, rate, peak, cpu []float64
	for range b.o.count {
		var took time.Duration
		_, u, err := b.onCold(func(mnt string) (err error) {
			took, _, err = readWhole(filepath.Join(mnt, img.path))
			return err
		})
		if err != nil {
			return err
		}
		rate = append(rate, mb(img.size)/took.Seconds())
		ratio = append(ratio, float64(img.size)/took.Seconds()/total)
		peak = append(peak, mb(u.peak))
		cpu = append(cpu, u.cpu.Seconds()/mb(img.size)*1e3)
	}
	b.report.row("sequential cold read, "+img.label(), fmt.Sprintf("%.1f MB/s", median(rate)), "the line, 125 MB/s", median(ratio), atLeast(0.95))
	b.report.row("the mount meanwhile: most memory", fmt.Sprintf("%.0f MB resident", median(peak)), "", 0, nil)
	b.report.row("the mount meanwhile: processor", fmt.Sprintf("%.2f s per GB", median(cpu)), "", 0, nil)
	return nil
}

// random reads pieces of 4 KiB from a cold image.
func (b *bench) random() error {
	img, err := b.image("science")
	if err != nil {
		return err
	}
	const pieces = 100
	var each, sent []float64
	for range b.o.count {
		var took time.Duration
		t, _, err := b.onCold(func(mnt string) (err error) {
			took, err = readRandom(filepath.Join(mnt, img.path), pieces)
			return err
		})
		if err != nil {
			return err
		}
		each = append(each, ms(took)/pieces)
		sent = append(sent, mb(t.bytes))
	}
	b.report.row(fmt.Sprintf("%d random reads of 4 KiB, cold, %s", pieces, img.label()), fmt.Sprintf("%.0f ms each, %.0f MB sent", median(each), median(sent)),
		"a round trip each", median(each)/150, atMost(1))
	return nil
}

// readAll reads files at the same time and returns how long it took until the last was done.
func readAll(paths []string) (time.Duration, error) {
	errs := make([]error, len(paths))
	var wg sync.WaitGroup
	begin := time.Now()
	for i, path := range paths {
		wg.Go(func() { _, _, errs[i] = readWhole(path) })
	}
	wg.Wait()
	return time.Since(begin), errors.Join(errs...)
}

// readersOfOne has 16 readers of one cold image.
func (b *bench) readersOfOne() error {
	img, err := b.image("science")
	if err != nil {
		return err
	}
	var share, rate []float64
	for range b.o.count {
		var took time.Duration
		t, _, err := b.onCold(func(mnt string) (err error) {
			paths := make([]string, 16)
			for i := range paths {
				paths[i] = filepath.Join(mnt, img.path)
			}
			took, err = readAll(paths)
			return err
		})
		if err != nil {
			return err
		}
		share = append(share, float64(t.bytes)/float64(img.size))
		rate = append(rate, float64(img.size)/took.Seconds()/total)
	}
	b.report.row("16 readers of one image, "+img.label(), fmt.Sprintf("%.3f of its bytes sent", median(share)), "each byte once", median(share), atMost(1.02))
	b.report.row("the same: rate", fmt.Sprintf("%.0f MB/s of the image", median(rate)*mb(total)), "the line", median(rate), nil)
	return nil
}

// readersOfMany has 16 readers of 16 cold images of 32 MB.
func (b *bench) readersOfMany() error {
	const size = 32_000_000
	dir, err := b.fresh("noise")
	if err != nil {
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
	if err := os.MkdirAll(filepath.Join(m.dir, "noise"), 0o755); err != nil {
		return err
	}
	var names []string
	for i := range 16 {
		local, name := filepath.Join(dir, fmt.Sprint(i)), fmt.Sprintf("noise/n%d:1.sif", i)
		if err := writeImage(local, size, i); err != nil {
			return err
		}
		if _, err := output(b.command("cp", local, filepath.Join(m.dir, name))); err != nil {
			return err
		}
		names = append(names, name)
	}
	if err := errors.Join(m.end(), os.RemoveAll(state), os.RemoveAll(dir)); err != nil {
		return err
	}
	var share, rate []float64
	for range b.o.count {
		var took time.Duration
		t, _, err := b.onCold(func(mnt string) (err error) {
			var paths []string
			for _, name := range names {
				paths = append(paths, filepath.Join(mnt, name))
			}
			took, err = readAll(paths)
			return err
		})
		if err != nil {
			return err
		}
		share = append(share, float64(t.bytes)/(16*size))
		rate = append(rate, 16*size/took.Seconds()/total)
	}
	b.report.row("16 readers of 16 images, 512 MB at 150 ms", fmt.Sprintf("%.0f MB/s, %.3f of the bytes sent", median(rate)*mb(total), median(share)), "the line", median(rate), nil)
	return nil
}

// writeImage makes an image of noise, which is on disk when it returns: whoever is measured next has no writing beside it.
func writeImage(path string, size int64, seed int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := imagetest.WriteSIF(f, size, imagetest.Seed(seed)); err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
