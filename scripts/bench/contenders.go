package main

import (
	"os"
	"path/filepath"
	"time"
)

// A contender is one way to have the image of a start.
type contender struct {
	name  string
	title string // in the report
	// start makes one cold start and returns the time from the exec to the end.
	start func(*field, cell, *hosted) (sample, error)
	where func(cell) bool // cells of a run that is not -full; nil = all
}

var contenders = []contender{
	{name: "page", title: "sregfs, page cache", start: (*field).pageStart, where: on150},
	{name: "warm", title: "sregfs, blocks on disk", start: (*field).warmStart},
	{name: "shared", title: "sregfs, shared profile", start: profileStart("shared")},
	{name: "merged", title: "sregfs, profile of all commands", start: profileStart("merged"), where: on150},
	{name: "static", title: "sregfs, first start ever", start: profileStart("static")},
	{name: "none", title: "sregfs, no profile", start: profileStart("none"), where: on150},
	{name: "rclone", title: "rclone mount", start: (*field).rcloneStart},
	{name: "pull8", title: "pull, 8 connections, run", start: pullStart(8)},
	{name: "pull1", title: "pull, 1 connection, run", start: pullStart(1), where: on150},
}

func contenderNames() (names []string) {
	for _, k := range contenders {
		names = append(names, k.name)
	}
	return names
}

// on150 is where the contenders are that need not be on every line to be placed.
func on150(c cell) bool { return c.latency == 150 && c.driver == "loop" }

// timed runs the cell's start on its line from an image file, lets stop end the mount, and counts what the Drive sent.
func (f *field) timed(c cell, path string, stop func() error) (s sample, err error) {
	f.line(c.latency)
	f.srv.ResetRequests()
	if s.took, err = f.sessions[c.driver].run(path, c.start.command); err != nil {
		return s, err
	}
	if err := stop(); err != nil {
		return s, err
	}
	s.traffic = f.traffic(f.o.verbose)
	f.fast()
	return s, nil
}

// cold makes a start on a mount with an empty state. The mount is killed when the start is over, so that what it would
// have fetched for later starts is not counted.
func (f *field) cold(c cell, img *hosted, flags ...string) (s sample, err error) {
	state, err := f.fresh("state")
	if err != nil {
		return s, err
	}
	m, err := f.mount(state, flags...)
	if err != nil {
		return s, err
	}
	if s, err = f.timed(c, filepath.Join(m.dir, img.path), m.kill); err != nil {
		return s, err
	}
	return s, os.RemoveAll(state)
}

// profileStart is a start with this profile in the image's properties, made where it is missing. The mount reads only,
// so that each start finds the same.
func profileStart(name string) func(*field, cell, *hosted) (sample, error) {
	return func(f *field, c cell, img *hosted) (sample, error) {
		flags, key := []string{"--read-only"}, name
		switch name {
		case "none":
			flags = append(flags, "--profile=off")
		case "shared":
			key = c.start.name
			if err := f.recorded(c, img, key, c.start); err != nil {
				return sample{}, err
			}
		case "merged":
			var all []start
			for _, s := range starts {
				if s.image == c.start.image {
					all = append(all, s)
				}
			}
			if err := f.recorded(c, img, key, all...); err != nil {
				return sample{}, err
			}
		}
		if err := f.setProfile(img, key); err != nil {
			return sample{}, err
		}
		return f.cold(c, img, flags...)
	}
}

// recorded has another machine record these starts under a name, once: with an empty state and what a push left in the
// properties, on a fast line, through a mount that may write. What is published when it ends is kept.
func (f *field) recorded(c cell, img *hosted, name string, all ...start) error {
	if img.profiles[name] != nil {
		return nil
	}
	if err := f.setProfile(img, "static"); err != nil {
		return err
	}
	state, err := f.fresh("state")
	if err != nil {
		return err
	}
	m, err := f.mount(state)
	if err != nil {
		return err
	}
	for _, s := range all {
		if _, err := f.sessions[c.driver].run(filepath.Join(m.dir, img.path), s.command); err != nil {
			return err
		}
	}
	if err := m.end(); err != nil {
		return err
	}
	img.profiles[name] = f.profile(img)
	if same(img.profiles[name], img.profiles["static"]) {
		f.report.note("recording %q of %s published nothing: its starts have the static profile", name, img.plain)
	}
	return os.RemoveAll(state)
}

func same(a, b map[string]string) bool {
	for key, value := range a {
		if b[key] != value {
			return false
		}
	}
	return len(a) == len(b)
}

// warmStart is the first start on a fresh mount with the blocks on disk.
func (f *field) warmStart(c cell, img *hosted) (s sample, err error) {
	m, err := f.warmMount(img)
	if err != nil {
		return s, err
	}
	return f.timed(c, filepath.Join(m.dir, img.path), m.end)
}

// pageStart is the second start on a mount.
func (f *field) pageStart(c cell, img *hosted) (s sample, err error) {
	m, err := f.warmMount(img)
	if err != nil {
		return s, err
	}
	path := filepath.Join(m.dir, img.path)
	if _, err := f.sessions[c.driver].run(path, c.start.command); err != nil {
		return s, err
	}
	return f.timed(c, path, m.end)
}

// pullStart fetches the image whole, then runs it from the file.
func pullStart(connections int) func(*field, cell, *hosted) (sample, error) {
	return func(f *field, c cell, img *hosted) (s sample, err error) {
		dir, err := f.fresh("pull")
		if err != nil {
			return s, err
		}
		file := filepath.Join(dir, img.plain)
		f.line(c.latency)
		f.srv.ResetRequests()
		begin := time.Now()
		if connections == 1 {
			err = f.curl(img, file)
		} else {
			err = f.inRanges(img, file, connections)
		}
		if err != nil {
			return s, err
		}
		if _, err := f.sessions[c.driver].run(file, c.start.command); err != nil {
			return s, err
		}
		s.took, s.traffic = time.Since(begin), f.traffic(f.o.verbose)
		f.fast()
		return s, os.RemoveAll(dir)
	}
}
