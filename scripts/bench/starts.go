package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A start is a command in a container.
type start struct{ name, image, command string }

var starts = []start{
	{"true", "science", "true"},
	{"pass", "science", "python3 -c pass"},
	{"scipy", "science", "python3 -c 'import numpy, scipy.linalg'"},
	{"R", "workbench", "Rscript /opt/bench/hello.R"},
	{"cc", "workbench", "gcc -o /tmp/hello /opt/bench/hello.c"},
	{"latex", "workbench", "sh -c 'cd /tmp && pdflatex -interaction=batchmode /opt/bench/hello.tex'"},
}

// drivers are the two ways an image starts.
var drivers = []string{"loop", "squashfuse_ll"}

// A cell is one start on one line by one driver: what the contenders are compared in.
type cell struct {
	start   start
	latency int // milliseconds
	driver  string
}

func (c cell) String() string { return fmt.Sprintf("cold/%s@%d/%s", c.start.name, c.latency, c.driver) }

func cells() (all []cell) {
	for _, d := range drivers {
		for _, l := range latencies {
			for _, s := range starts {
				all = append(all, cell{s, l, d})
			}
		}
	}
	return all
}

func coldNames() (names []string) {
	for _, c := range cells() {
		names = append(names, c.String())
	}
	return names
}

// A sample is one measured start.
type sample struct {
	took time.Duration
	traffic
}

// figures is what is known of one contender in one cell.
type figures struct {
	samples []sample
	seconds float64 // the median
	requests,
	megabytes float64 // medians
}

func (f *figures) settle() {
	took, requests, bytes := []float64{}, []float64{}, []float64{}
	for _, s := range f.samples {
		took, requests, bytes = append(took, s.took.Seconds()), append(requests, float64(s.requests)), append(bytes, mb(s.bytes))
	}
	f.seconds, f.requests, f.megabytes = median(took), median(requests), median(bytes)
}

// result is one cell with its contenders and its limit.
type result struct {
	cell
	by    map[string]*figures // by contender
	bytes int64               // that the start reads
}

// limit is the seconds of fetching exactly what the start reads at full speed, and then starting. A contender that
// fetches while the start computes can be below it.
func (r *result) limit() float64 {
	return r.by["warm"].seconds + float64(r.latency)/1e3 + float64(r.bytes)/total
}

// A field is where cold starts are measured: a session for each driver, and what is prepared once.
type field struct {
	*bench
	sessions map[string]*session
	read     map[string]int64 // bytes that a start reads, by start and driver
	rclone   *rclone
}

// coldStarts measures all cells that are wanted, in rounds: each round has every contender once.
func (b *bench) coldStarts() error {
	f := &field{bench: b, sessions: map[string]*session{}, read: map[string]int64{}}
	for _, c := range cells() {
		if !b.wants(c.String()) || !b.o.full && c.driver == "squashfuse_ll" && c.latency != 150 && b.o.only == "" {
			continue
		}
		r, err := f.measure(c)
		if err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
		b.report.starts = append(b.report.starts, r)
		b.report.printCell(r)
	}
	return nil
}

// measure measures one cell.
func (f *field) measure(c cell) (*result, error) {
	img, err := f.image(c.start.image)
	if err != nil {
		return nil, err
	}
	if f.sessions[c.driver] == nil {
		if f.sessions[c.driver], err = f.session(c.driver); err != nil {
			return nil, err
		}
	}
	r := &result{cell: c, by: map[string]*figures{}}
	if r.bytes, err = f.bytesOf(c, img); err != nil {
		return nil, err
	}
	var taking []contender
	for _, k := range contenders {
		if f.takes(k, c) {
			taking = append(taking, k)
			r.by[k.name] = &figures{}
		}
	}
	for round := range f.o.count {
		for i := range taking {
			k := taking[(i+round)%len(taking)] // nobody is always the one after the big download
			s, err := k.start(f, c, img)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k.name, err)
			}
			if f.o.verbose {
				fmt.Printf("  %s %s: %.2f s, %d requests, %.1f MB\n", c, k.name, s.took.Seconds(), s.requests, mb(s.bytes))
			}
			r.by[k.name].samples = append(r.by[k.name].samples, s)
		}
	}
	for _, figures := range r.by {
		figures.settle()
	}
	return r, nil
}

// takes tells whether a contender takes part in a cell. The warm start always does: it is half of the limit.
func (f *field) takes(k contender, c cell) bool {
	if f.o.contenders != "" {
		return k.name == "warm" || slices.Contains(strings.Split(f.o.contenders, ","), k.name)
	}
	return f.o.full || k.where == nil || k.where(c)
}

// bytesOf counts what the start reads, once for each driver.
func (f *field) bytesOf(c cell, img *hosted) (int64, error) {
	key := c.start.name + "/" + c.driver
	if f.read[key] == 0 {
		var read int64
		m, err := f.passed(img.local, &read)
		if err != nil {
			return 0, err
		}
		if _, err := f.sessions[c.driver].run(m.dir+"/image.sif", c.start.command); err != nil {
			return 0, err
		}
		if err := m.end(); err != nil {
			return 0, err
		}
		f.read[key] = read
	}
	return f.read[key], nil
}
