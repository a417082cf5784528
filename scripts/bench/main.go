package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// options of a run.
type options struct {
	count      int    // measurements of each figure; what is printed is their median
	full       bool   // every contender in every cell
	list       bool   // print the names and stop
	verbose    bool   // show the requests of each start
	only       string // regular expression on names
	contenders string // of cold starts, comma separated
	images     string // where apptainer/, science.sif and workbench.sif are
	sregfs     string // the command; "" = built from the working tree
	rclone     string // the command
	temp       string // where everything temporary goes: a disk, not a tmpfs
	out        string // directory of RESULTS.md and the plot; "" = the whole run writes them here, a part does not
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "passthrough" {
		exit(servePassthrough(os.Args[2], os.Args[3]))
	}
	home, err := os.UserHomeDir()
	if err != nil {
		exit(err)
	}
	cache := filepath.Join(home, ".cache/sregfs")
	var o options
	flag.IntVar(&o.count, "count", 5, "measurements of each figure; the median counts")
	flag.BoolVar(&o.full, "full", false, "every contender in every cell (an hour)")
	flag.BoolVar(&o.list, "list", false, "print the names that -only is matched with")
	flag.BoolVar(&o.verbose, "v", false, "show the requests of each start")
	flag.StringVar(&o.only, "only", "", "measure only what matches this `regexp`")
	flag.StringVar(&o.contenders, "contenders", "", "of cold starts: a comma separated part of "+strings.Join(contenderNames(), ","))
	flag.StringVar(&o.images, "images", envOr("SREGFS_APPTAINER_ROOT", filepath.Join(cache, "apptainer-root")), "`directory` of the images and the Apptainer root")
	flag.StringVar(&o.sregfs, "sregfs", "", "the command to measure (default: built from this tree)")
	flag.StringVar(&o.rclone, "rclone", filepath.Join(cache, "bin/rclone"), "the rclone command")
	flag.StringVar(&o.temp, "temp", "/var/tmp", "`directory` for everything temporary, on a disk")
	flag.StringVar(&o.out, "out", "", "`directory` for RESULTS.md and the plot (default: scripts/bench, if nothing is left out)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) //nolint:forbidigo // main makes the first one
	defer stop()
	err = run(ctx, o)
	stop()
	exit(err)
}

// exit ends the program, with err's text if there is one.
func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:forbidigo // a command of its own
	}
	os.Exit(0) //nolint:forbidigo // a command of its own
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// A section is a part of the run: named measurements that are reported together. It measures those of its names that
// the bench wants.
type section struct {
	names []string
	run   func(*bench) error
}

// A part is a measurement of its own and its name.
type part struct {
	name string
	run  func() error
}

// each measures those of the parts that are wanted.
func (b *bench) each(parts ...part) error {
	for _, p := range parts {
		if !b.wants(p.name) {
			continue
		}
		if err := p.run(); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// sections in the order of the report.
func sections() []section {
	return []section{
		{coldNames(), (*bench).coldStarts},
		{[]string{"seq", "random", "readers/1", "readers/16"}, (*bench).coldReads},
		{[]string{"disk", "pages", "disk4k"}, (*bench).cachedReads},
		{[]string{"push", "pull"}, (*bench).transfers},
		{[]string{"list/1000", "list/10000", "list/100000"}, (*bench).listings},
	}
}

// run measures what o wants and writes the report. Nothing it started or mounted is left when it returns.
func run(ctx context.Context, o options) (err error) {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	if o.list {
		for _, s := range sections() {
			fmt.Println(strings.Join(s.names, "\n"))
		}
		return nil
	}
	if o.count < 1 {
		return errors.New("-count is at least 1")
	}
	if o.out == "" && o.only == "" && o.contenders == "" {
		o.out = "scripts/bench"
	}
	begin := time.Now()
	b, err := newBench(ctx, o, only)
	if b != nil {
		defer func() { err = errors.Join(err, b.close()) }()
	}
	if err != nil {
		return err
	}
	for _, s := range sections() {
		wanted := false
		for _, name := range s.names {
			wanted = wanted || b.wants(name)
		}
		if !wanted {
			continue
		}
		if err := s.run(b); err != nil {
			return fmt.Errorf("%w%s", err, b.lastWords())
		}
	}
	b.report.took = time.Since(begin)
	return b.report.write(o.out)
}
