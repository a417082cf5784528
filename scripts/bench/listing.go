package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sregfs/drive/drivetest"
)

// collection is how many images a collection of the listings has, at most: each is two entries, its tag's file and its
// tag's directory.
const collection = 5_000

// listings measures registries of growing size, each in a Drive of its own.
func (b *bench) listings() error {
	for _, n := range []int{1_000, 10_000, 100_000} {
		name := fmt.Sprintf("list/%d", n)
		if !b.wants(name) {
			continue
		}
		if err := b.listing(n); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// fill puts n images of one byte into the Drive.
func fill(srv *drivetest.Server, n int) error {
	user := srv.User("")
	root, err := user.Put(drivetest.File{Name: "sregistry", MimeType: folderType}, nil)
	if err != nil {
		return err
	}
	for i := range n {
		lab, name, version := fmt.Sprintf("lab%d", i/collection), fmt.Sprintf("image-%06d", i), fmt.Sprintf("%032x", i)
		uri := lab + "/" + name + ":latest@" + version
		_, err := user.Put(drivetest.File{
			Name: uri + ".sif", MimeType: "application/octet-stream", Parents: []string{root.ID},
			Properties: map[string]string{"type": "container", "uri": uri, "collection": lab, "image": name, "tag": "latest", "version": version,
				"storage": uri + ".sif", "org.label-schema.build-size": "544MB", "maintainer": "ann"},
		}, strings.NewReader("x"))
		if err != nil {
			return err
		}
	}
	return nil
}

// listing measures one registry: the first mount, a mount with the records on disk, and then, warm, ls, ls -l and stat of
// its largest collection, and search.
func (b *bench) listing(n int) (err error) {
	srv, err := b.newDrive()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()
	if err := fill(srv, n); err != nil {
		return err
	}
	state, err := b.fresh("state")
	if err != nil {
		return err
	}
	begin := time.Now()
	m, err := b.mountOn(srv, state)
	if err != nil {
		return err
	}
	first := time.Since(begin)
	if err := m.end(); err != nil {
		return err
	}
	begin = time.Now()
	if m, err = b.mountOn(srv, state); err != nil {
		return err
	}
	again := time.Since(begin)

	dir := filepath.Join(m.dir, "lab0")
	entries := min(n, collection) * 2
	times := map[string][]float64{}
	for range b.o.count + 1 { // the first one warms
		for _, command := range [][]string{{"ls", dir}, {"ls", "-l", dir}, {"sh", "-c", "cd " + dir + " && stat -c %s *.sif"}} {
			begin := time.Now()
			out, err := output(b.command(command[0], command[1:]...))
			if err != nil {
				return err
			}
			times[command[1]] = append(times[command[1]], ms(time.Since(begin)))
			if got := strings.Count(out, "\n") + 1; got < entries/2 || got > entries+1 {
				return fmt.Errorf("%s shows %d lines, there are %d entries", strings.Join(command, " "), got, entries)
			}
		}
	}
	warm := func(command string) float64 { return median(times[command][1:]) }
	u, err := used(m.pid)
	if err != nil {
		return err
	}
	var found []float64
	var requests int
	for range b.o.count {
		took, asked, err := b.searched(srv, state, "image-0000", min(n, 100))
		if err != nil {
			return err
		}
		found, requests = append(found, ms(took)), asked
	}
	after, err := used(m.pid)
	if err != nil {
		return err
	}
	b.report.listing(listed{n, entries, ms(first), ms(again), warm(dir), warm("-l"), warm("-c"), median(found), requests, u, after.peak})
	return errors.Join(m.end(), os.RemoveAll(state))
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

// listed is what was measured of one registry; times are in milliseconds.
type listed struct {
	images, entries       int
	first, again          float64
	ls, long, stat, found float64
	requests              int   // of a search, besides the changes
	usage                 usage // before the searches
	searching             int64 // most bytes resident after them
}
