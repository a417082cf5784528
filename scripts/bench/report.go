package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A bound is what a ratio must keep.
type bound struct {
	atMost bool
	at     float64
}

func atLeast(r float64) *bound { return &bound{false, r} }
func atMost(r float64) *bound  { return &bound{true, r} }

func (b bound) kept(r float64) bool { return b.atMost && r <= b.at || !b.atMost && r >= b.at }

func (b bound) String() string {
	if b.atMost {
		return fmt.Sprintf("≤ %g", b.at)
	}
	return fmt.Sprintf("≥ %g", b.at)
}

// A verdict is a bound, what was measured against it, and what it is about.
type verdict struct {
	what, against string
	ratio         float64
	bound         bound
}

// A row is a figure besides the cold starts.
type row struct {
	what, figure, against string
	ratio                 float64 // 0: none
	bound                 *bound
}

// A report collects what a run finds, prints it as it comes, and writes it down at the end.
type report struct {
	b       *bench
	machine []string // what the figures were measured with
	notes   []string
	starts  []*result
	rows    []row
	lists   []listed
	took    time.Duration
}

// newReport notes what the figures are measured with.
func newReport(b *bench) (*report, error) {
	r := &report{b: b}
	first := func(name string, args ...string) string {
		out, err := exec.CommandContext(b.ctx, name, args...).Output()
		if err != nil {
			return name + ": unknown"
		}
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return line
	}
	cpu, memory := "unknown processor", "unknown memory"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				cpu = strings.Trim(name, "\t\n :")
			}
		}
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kb int64
		if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kb); err == nil {
			memory = fmt.Sprintf("%.0f GB", float64(kb)*1024/1e9)
		}
	}
	rclone := "no rclone"
	if exists(b.o.rclone) {
		rclone = first(b.o.rclone, "version")
	}
	r.machine = []string{
		fmt.Sprintf("%s, %d processors, %s", cpu, runtime.NumCPU(), memory),
		first("uname", "-sr"),
		"sregfs " + first("git", "describe", "--always", "--dirty") + ", " + runtime.Version(),
		rclone + ", " + first("curl", "--version"),
		first(filepath.Join("scripts", "in-apptainer-root"), "--root", b.o.images, "apptainer", "version") + " is the Apptainer",
		fmt.Sprintf("The line: %d MB/s on each connection, %d MB/s in all, 50, 150 or 300 ms to the first byte", perConnection/1_000_000, total/1_000_000),
	}
	return r, nil
}

// note adds a remark, once.
func (r *report) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if slices.Contains(r.notes, text) {
		return
	}
	r.notes = append(r.notes, text)
	fmt.Println("note:", text)
}

// row reports one figure: as text, and as a ratio against something, which is better above 1 unless the bound says at most.
func (r *report) row(what, figure, against string, ratio float64, bound *bound) {
	one := row{what, figure, against, ratio, bound}
	r.rows = append(r.rows, one)
	fmt.Println(strings.Join(one.columns(), " | "))
}

// rowf is row with a figure to be formatted.
func (r *report) rowf(what string, bound *bound, ratio float64, against, format string, args ...any) {
	r.row(what, fmt.Sprintf(format, args...), against, ratio, bound)
}

func (o row) columns() []string {
	ratio, must := "", ""
	if o.ratio > 0 {
		ratio = fmt.Sprintf("%.3f", o.ratio)
	}
	if o.bound != nil {
		must = o.bound.String() + mark(o.bound.kept(o.ratio))
	}
	return []string{o.what, o.figure, o.against, ratio, must}
}

func mark(kept bool) string {
	if kept {
		return " ✓"
	}
	return " **missed**"
}

// printCell prints the contenders of one cell, the fastest first.
func (r *report) printCell(c *result) {
	fmt.Printf("%s: reads %.1f MB, limit %.2f s\n", c.cell, mb(c.bytes), c.limit())
	var present []string
	for name := range c.by {
		present = append(present, name)
	}
	slices.SortFunc(present, func(a, b string) int { return cmp.Compare(c.by[a].seconds, c.by[b].seconds) })
	for _, name := range present {
		f := c.by[name]
		fmt.Printf("  %-8s %6.2f s  %5.2f of the limit  %4.0f requests  %6.1f MB\n", name, f.seconds, f.seconds/c.limit(), f.requests, f.megabytes)
	}
}

// listing reports one registry's listings.
func (r *report) listing(l listed) {
	r.lists = append(r.lists, l)
	fmt.Printf("%d images: first mount %.0f ms, again %.0f ms; %d entries: ls %.0f ms, ls -l %.0f ms, stat %.0f ms; search %.0f ms (%d requests); %.0f MB resident, %.0f at most, %.0f with the searches\n",
		l.images, l.first, l.again, l.entries, l.ls, l.long, l.stat, l.found, l.requests, mb(l.usage.now), mb(l.usage.peak), mb(l.searching))
}

// verdicts are the bounds of the whole run.
func (r *report) verdicts() (all []verdict) {
	for _, c := range r.starts {
		add := func(name, against string, ratio float64, b *bound) {
			all = append(all, verdict{strings.TrimPrefix(c.cell.String(), "cold/") + ", " + name, against, ratio, *b})
		}
		rclone, shared, static, pull := c.by["rclone"], c.by["shared"], c.by["static"], c.by["pull8"]
		if shared != nil {
			add("shared profile", "the limit", shared.seconds/c.limit(), atMost(1.15))
			if rclone != nil && c.latency > 50 {
				add("shared profile", "rclone is slower by", rclone.seconds/shared.seconds, atLeast(4))
				add("shared profile", "rclone's bytes", shared.megabytes/rclone.megabytes, atMost(0.25))
			}
		}
		if static != nil {
			if c.start.name == "true" || c.start.name == "pass" {
				add("first start ever", "the limit", static.seconds/c.limit(), atMost(2))
			}
			if rclone != nil {
				add("first start ever", "rclone's time", static.seconds/rclone.seconds, atMost(1))
			}
			if pull != nil {
				add("first start ever", "a parallel pull's time", static.seconds/pull.seconds, atMost(1))
			}
		}
	}
	for _, o := range r.rows {
		if o.bound != nil {
			all = append(all, verdict{o.what, o.against, o.ratio, *o.bound})
		}
	}
	for _, l := range r.lists {
		name := fmt.Sprintf("%d images", l.images)
		if l.entries == 2*collection {
			all = append(all, verdict{name + ": ls of 10,000 entries, warm", "100 ms", l.ls / 100, *atMost(1)})
		}
		if l.images == 100_000 {
			all = append(all, verdict{name + ": resident memory", "300 MB", mb(l.searching) / 300, *atMost(1)})
		}
		if l.images == 10_000 {
			all = append(all, verdict{name + ": search, warm", "300 ms", l.found / 300, *atMost(1)})
		}
	}
	return all
}

// write ends the report: the bounds on the terminal, and all of it in a directory, unless that is "".
func (r *report) write(dir string) error {
	missed := 0
	for _, v := range r.verdicts() {
		if !v.bound.kept(v.ratio) {
			missed++
			fmt.Printf("missed: %s: %.2f of %s, must be %s\n", v.what, v.ratio, v.against, v.bound)
		}
	}
	fmt.Printf("%d bounds, %d missed; %s\n", len(r.verdicts()), missed, r.took.Round(time.Second))
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "RESULTS.md"), []byte(r.markdown()), 0o644); err != nil {
		return err
	}
	if len(r.starts) == 0 {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, "cold-starts.svg"), []byte(plot(r.starts)), 0o644)
}
