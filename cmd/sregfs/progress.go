package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// bars shows progress on stderr: a bar with rate and time left on a terminal,
// a line every few seconds in a log, nothing with --quiet or --json.
type bars struct {
	w        io.Writer
	terminal bool
	silent   bool

	name string
	bar  *progressbar.ProgressBar
	next time.Time // when the next line is due
}

const progressEvery = 5 * time.Second

func newBars(a *app) *bars {
	f, isFile := a.err.(*os.File)
	return &bars{
		w: a.err, terminal: isFile && term.IsTerminal(int(f.Fd())),
		silent: a.set.Quiet || a.set.JSON, next: time.Now().Add(progressEvery),
	}
}

// show reports done of total bytes of what name says is being done.
func (b *bars) show(name string, done, total int64) {
	name = printable(name)
	switch {
	case b.silent:
	case !b.terminal:
		if now := time.Now(); now.After(b.next) {
			b.next = now.Add(progressEvery)
			fmt.Fprintf(b.w, "%s: %s of %s\n", name, size(done), size(total))
		}
	default:
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
	}
}

// finish takes the bar off the terminal.
func (b *bars) finish() {
	if b.bar != nil {
		_ = b.bar.Finish()
		b.bar = nil
	}
}
