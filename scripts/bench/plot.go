package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// marks are how the plot shows the contenders, in the order of its legend.
var marks = []struct{ name, color, shape string }{
	{"shared", "#0b6e4f", "disc"},
	{"static", "#3fa34d", "disc"},
	{"none", "#9bc59d", "disc"},
	{"rclone", "#c1121f", "square"},
	{"pull8", "#1d4e89", "diamond"},
	{"pull1", "#7fa7d6", "diamond"},
}

// plot draws the cold starts of the loop driver as SVG: a panel for each latency, a line for each command, time on a
// logarithmic axis, a mark for each contender, and a bar where the limit is.
func plot(all []*result) string {
	const (
		left, width, right = 70.0, 620.0, 30.0
		lineHeight         = 26.0
		top, bottom, gap   = 78.0, 34.0, 30.0
	)
	var panels [][]*result
	lowest, highest := math.Inf(1), 0.0
	for _, latency := range latencies {
		var panel []*result
		for _, c := range all {
			if c.latency != latency || c.driver != drivers[0] {
				continue
			}
			panel = append(panel, c)
			lowest, highest = min(lowest, c.limit()), max(highest, c.limit())
			for _, m := range marks {
				if f := c.by[m.name]; f != nil {
					lowest, highest = min(lowest, f.seconds), max(highest, f.seconds)
				}
			}
		}
		if len(panel) > 0 {
			panels = append(panels, panel)
		}
	}
	lowest, highest = lowest/1.2, highest*1.2
	x := func(seconds float64) float64 {
		return left + width*math.Log(seconds/lowest)/math.Log(highest/lowest)
	}
	height := top
	for _, panel := range panels {
		height += gap + lineHeight*float64(len(panel)) + bottom
	}
	var w strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&w, format+"\n", args...) }
	text := func(x, y float64, style, s string) {
		p(`<text x="%.1f" y="%.1f" %s>%s</text>`, x, y, style, html.EscapeString(s))
	}
	p(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="12" fill="#222">`, left+width+right, height)
	p(`<rect width="100%%" height="100%%" fill="#fff"/>`)
	text(left, 22, `font-size="15" font-weight="bold"`, "Cold starts from Drive, by contender: seconds until the command is done")
	at := left
	for _, m := range marks {
		if !slices.ContainsFunc(all, func(c *result) bool { return c.by[m.name] != nil }) {
			continue
		}
		i := slices.IndexFunc(contenders, func(k contender) bool { return k.name == m.name })
		if at > left+width-150 {
			at = left
		}
		y := 44.0
		if m.shape != "disc" {
			y = 64
			if at > left && m.name == "rclone" {
				at = left
			}
		}
		p("%s", shape(m.shape, m.color, at, y-4))
		text(at+10, y, "", contenders[i].title)
		at += 24 + 6.8*float64(len(contenders[i].title))
	}
	p(`<rect x="%.1f" y="52" width="3" height="16" fill="#222"/>`, at-1)
	text(at+10, 64, "", "the limit")

	y := top
	for _, panel := range panels {
		y += gap
		end := y + lineHeight*float64(len(panel))
		text(left, y-8, `font-weight="bold"`, fmt.Sprintf("%d ms to the first byte", panel[0].latency))
		for _, tick := range []float64{0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100} {
			if tick > lowest && tick < highest {
				p(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#ddd"/>`, x(tick), y, x(tick), end)
				text(x(tick), end+16, `text-anchor="middle" fill="#666"`, fmt.Sprintf("%g s", tick))
			}
		}
		for i, c := range panel {
			middle := y + lineHeight*(float64(i)+0.5)
			text(left-10, middle+4, `text-anchor="end"`, c.start.name)
			p(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#eee"/>`, left, middle, left+width, middle)
			p(`<rect x="%.1f" y="%.1f" width="3" height="18" fill="#222"/>`, x(c.limit())-1.5, middle-9)
			for _, m := range slices.Backward(marks) { // ours on top
				if f := c.by[m.name]; f != nil {
					p("%s", shape(m.shape, m.color, x(f.seconds), middle))
				}
			}
		}
		y = end + bottom
	}
	p(`</svg>`)
	return w.String()
}

// shape is a mark at a place.
func shape(kind, color string, x, y float64) string {
	const r = 5.0
	switch kind {
	case "square":
		return fmt.Sprintf(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, x-r+0.5, y-r+0.5, 2*r-1, 2*r-1, color)
	case "diamond":
		return fmt.Sprintf(`<path d="M%.1f %.1fl%.1f %.1fl%.1f %.1fl%.1f %.1fz" fill="%s"/>`, x-r-1, y, r+1, -r-1, r+1, r+1, -r-1, r+1, color)
	default:
		return fmt.Sprintf(`<circle cx="%.1f" cy="%.1f" r="%.1f" fill="%s"/>`, x, y, r, color)
	}
}
