package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"sregfs/index"
)

// upkeep looks after what is on this machine: the index, or the mount that
// owns the state directory.
type upkeep interface {
	Images(ctx context.Context) ([]index.Image, error)
	Check(ctx context.Context, o index.CheckOptions) (index.CheckReport, error)
	CachedImages(ctx context.Context) ([]index.Cached, error)
	VerifyCache(ctx context.Context, files ...string) ([]index.Cached, error)
	FreeCache(ctx context.Context, files ...string) (int64, error)
	Close() error
}

// openUpkeep chooses the way. Without a mount Drive is left alone if offline.
func (a *app) openUpkeep(ctx context.Context, offline bool) (upkeep, error) {
	if holder, held := index.Holder(a.set.State); held {
		if holder.Mount == "" {
			return nil, &holder
		}
		return &mounted{dir: holder.Mount, log: a.log}, nil
	}
	if offline {
		ix, err := index.Open(ctx, index.Options{Dir: a.set.State, CacheDir: a.set.Cache, Root: a.set.Root, RootID: a.set.RootID, Log: a.log})
		if err != nil {
			return nil, err
		}
		return &direct{ix: ix, close: ix.Close}, nil
	}
	ix, closeIndex, err := a.openIndex(ctx, index.Options{Poll: -1})
	if err != nil {
		return nil, err
	}
	return &direct{ix: ix, close: closeIndex}, nil
}

func (d *direct) Check(ctx context.Context, o index.CheckOptions) (index.CheckReport, error) {
	return d.ix.Check(ctx, o)
}

func (d *direct) CachedImages(context.Context) ([]index.Cached, error) {
	return d.ix.CachedImages(), nil
}

func (d *direct) VerifyCache(ctx context.Context, files ...string) ([]index.Cached, error) {
	return d.ix.VerifyCache(ctx, files...)
}

func (d *direct) FreeCache(_ context.Context, files ...string) (int64, error) {
	return d.ix.FreeCache(files...)
}

func (m *mounted) Check(ctx context.Context, o index.CheckOptions) (r index.CheckReport, err error) {
	line := "check"
	if o.Repair {
		line += " repair"
	}
	if o.Offline {
		line += " offline"
	}
	return r, m.ask(ctx, "fsck", line, &r)
}

func (m *mounted) CachedImages(ctx context.Context) (list []index.Cached, err error) {
	return list, m.ask(ctx, "cache", "ls", &list)
}

func (m *mounted) VerifyCache(ctx context.Context, files ...string) ([]index.Cached, error) {
	if len(files) == 0 {
		files = []string{""}
	}
	var all []index.Cached
	for _, file := range files {
		var list []index.Cached
		if err := m.ask(ctx, "cache", "verify "+file, &list); err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

func (m *mounted) FreeCache(ctx context.Context, files ...string) (freed int64, err error) {
	if len(files) == 0 {
		files = []string{""}
	}
	for _, file := range files {
		var n int64
		if err := m.ask(ctx, "cache", "clear "+file, &n); err != nil {
			return freed, err
		}
		freed += n
	}
	return freed, nil
}

// ask has the mount do what may take long, and reads its answer, JSON, into
// v. When ctx ends we leave; the mount sees our process go, and stops.
func (m *mounted) ask(ctx context.Context, file, line string, v any) error {
	type answer struct {
		text string
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		text, err := m.command(file, line)
		done <- answer{text, err}
	}()
	select {
	case a := <-done:
		if a.err != nil {
			return a.err
		}
		if err := json.Unmarshal([]byte(a.text), v); err != nil {
			return fmt.Errorf("the mount at %s answers %s: %w", m.dir, strconv.Quote(strings.ToValidUTF8(fmt.Sprintf("%.80s", a.text), "?")), err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// filesOf are the Drive ids of the images that refs mean.
func filesOf(ctx context.Context, u upkeep, refs []string) ([]string, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	all, err := u.Images(ctx)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, ref := range refs {
		img, err := index.Resolve(all, ref)
		if err != nil {
			return nil, err
		}
		files = append(files, img.File)
	}
	return files, nil
}
