package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// bars shows progress on stderr: a bar with rate and time left on a terminal,
// a line every few seconds in a log, with --json a line of JSON a second;
// --progress chooses otherwise.
type bars struct {
	w     io.Writer
	style string

	name  string
	bar   *progressbar.ProgressBar
	start time.Time
	next  time.Time // when the next line is due
}

// The styles of progress.
const (
	progressAuto  = "auto"
	progressBar   = "bar"
	progressPlain = "plain"
	progressJSON  = "json"
	progressNone  = "none"
)

// How often there is a line for people, and one for programs.
const (
	progressEvery     = 5 * time.Second
	progressJSONEvery = time.Second
)

func newBars(a *app) *bars {
	b := &bars{w: a.err, style: a.set.Progress, start: time.Now()}
	if b.style == progressAuto {
		b.style = a.progressStyle()
	}
	b.next = b.start.Add(b.every())
	return b
}

// progressStyle is the style that suits where stderr goes.
func (a *app) progressStyle() string {
	f, isFile := a.err.(*os.File)
	switch {
	case a.set.JSON:
		return progressJSON
	case a.set.Quiet:
		return progressNone
	case isFile && term.IsTerminal(int(f.Fd())):
		return progressBar
	}
	return progressPlain
}

func (b *bars) every() time.Duration {
	if b.style == progressJSON {
		return progressJSONEvery
	}
	return progressEvery
}

// show reports done of total bytes of what name says is being done.
func (b *bars) show(name string, done, total int64) {
	name = printable(name)
	switch b.style {
	case progressBar:
		if b.bar == nil || b.name != name {
			b.finish()
			b.name = name
			b.bar = progressbar.NewOptions64(total,
				progressbar.OptionSetWriter(b.w), progressbar.OptionSetDescription(name),
				progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true),
				progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionFullWidth(),
				progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
		}
		_ = b.bar.Set64(min(done, total))
	case progressPlain, progressJSON:
		now := time.Now()
		if now.Before(b.next) {
			return
		}
		b.next = now.Add(b.every())
		if b.style == progressPlain {
			fmt.Fprintf(b.w, "%s: %s of %s\n", name, size(done), size(total))
			return
		}
		_ = json.NewEncoder(b.w).Encode(struct {
			Type    string  `json:"type"`
			What    string  `json:"what"`
			Done    int64   `json:"done"`
			Total   int64   `json:"total"`
			Seconds float64 `json:"seconds"`
		}{"progress", name, done, total, now.Sub(b.start).Seconds()})
	}
}

// finish takes the bar off the terminal.
func (b *bars) finish() {
	if b.bar != nil {
		_ = b.bar.Finish()
		b.bar = nil
	}
}
