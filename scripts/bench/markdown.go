package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// markdown is the report as RESULTS.md.
func (r *report) markdown() string {
	var w strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&w, format+"\n", args...) }
	p("# Results\n")
	by := "`make bench`"
	if o := r.b.o; o.only != "" || o.contenders != "" {
		by = fmt.Sprintf("a part of `make bench` (`-only '%s' -contenders '%s'`)", o.only, o.contenders)
	}
	p("Made by %s on %s in %s: medians of %d (doc.go says what is measured, and how).\n", by, time.Now().Format("2 January 2006"), r.took.Round(time.Minute), r.b.o.count)
	for _, line := range r.machine {
		p("- %s", line)
	}
	p("- The emulated Drive, the mounts and the containers share those processors: with a local start of half a second, what the Drive itself needs to send its bytes is a part of every figure")
	for _, note := range r.notes {
		p("- Note: %s", note)
	}
	if len(r.starts) > 0 {
		r.startTables(p)
	}
	if len(r.rows) > 0 {
		p("\n## Reads and transfers\n\nA ratio is the speed, or the bytes, of the first against those of the third column. A push hashes the file before its first request, because the metadata that open an upload carry the version: `md5sum, then curl` is the most it can reach, and the bare curl is not.\n")
		table(p, []string{"what", "measured", "against", "ratio", "must be"}, func(add func(...string)) {
			for _, o := range r.rows {
				add(o.columns()...)
			}
		})
	}
	if len(r.lists) > 0 {
		r.listTable(p)
	}
	p("\n## Bounds\n")
	table(p, []string{"what", "measured", "against", "must be"}, func(add func(...string)) {
		for _, v := range r.verdicts() {
			add(v.what, fmt.Sprintf("%.2f", v.ratio), v.against, v.bound.String()+mark(v.bound.kept(v.ratio)))
		}
	})
	return w.String()
}

// startTables writes a table for each line and driver.
func (r *report) startTables(p func(string, ...any)) {
	p("\n## Cold starts\n\n![Cold starts by contender](cold-starts.svg)\n")
	p("Seconds from exec to end; in brackets the MB and requests that the Drive sent for it by then. The limit is the start with the blocks on disk, plus one round trip, plus the bytes it reads (second column) at 125 MB/s: who fetches while the start computes can be below it.")
	for _, driver := range drivers {
		for _, latency := range latencies {
			var these []*result
			for _, c := range r.starts {
				if c.driver == driver && c.latency == latency {
					these = append(these, c)
				}
			}
			if len(these) == 0 {
				continue
			}
			p("\n### %d ms, %s\n", latency, driver)
			var present []contender
			for _, k := range contenders {
				if slices.ContainsFunc(these, func(c *result) bool { return c.by[k.name] != nil }) {
					present = append(present, k)
				}
			}
			header := []string{"command", "MB read", "limit"}
			for _, k := range present {
				header = append(header, k.title)
			}
			table(p, header, func(add func(...string)) {
				for _, c := range these {
					line := []string{c.start.name, fmt.Sprintf("%.1f", mb(c.bytes)), fmt.Sprintf("%.2f", c.limit())}
					for _, k := range present {
						line = append(line, c.by[k.name].cell())
					}
					add(line...)
				}
			})
		}
	}
	p("\nThe commands:\n")
	for _, s := range starts {
		p("- %s: `%s` in %s.sif", s.name, s.command, s.image)
	}
	p("- rclone mount: `%s`", strings.Join(rcloneFlags, " "))
}

func (f *figures) cell() string {
	switch {
	case f == nil:
		return ""
	case f.requests == 0:
		return fmt.Sprintf("%.2f", f.seconds)
	default:
		return fmt.Sprintf("%.2f (%.0f MB, %.0f)", f.seconds, f.megabytes, f.requests)
	}
}

// listTable writes the registries of growing size.
func (r *report) listTable(p func(string, ...any)) {
	p("\n## Listings\n\nMilliseconds, on a line without limits. The collection that is listed has up to 10,000 entries; the kernel knows them from the round before.\n")
	table(p, []string{"images", "first mount", "mount again", "entries", "ls", "ls -l", "stat of the half", "search", "MB resident", "at most", "with searches"}, func(add func(...string)) {
		for _, l := range r.lists {
			line := []string{fmt.Sprint(l.images)}
			for _, v := range []float64{l.first, l.again, float64(l.entries), l.ls, l.long, l.stat, l.found, mb(l.usage.now), mb(l.usage.peak), mb(l.searching)} {
				line = append(line, fmt.Sprintf("%.0f", v))
			}
			add(line...)
		}
	})
}

// table writes a table of Markdown.
func table(p func(string, ...any), header []string, rows func(add func(...string))) {
	p("| %s |", strings.Join(header, " | "))
	p("|%s", strings.Repeat(" --- |", len(header)))
	rows(func(columns ...string) { p("| %s |", strings.Join(columns, " | ")) })
}

// median of figures; 0 of none.
func median(of []float64) float64 {
	if len(of) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(of))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
