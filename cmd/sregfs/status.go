package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	sregfs "sregfs/fs"
	"sregfs/index"
	"sregfs/index/image"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "status [DIR]",
		Short:   "Say how the mounts are: account, cache, pushes, errors",
		Example: "  sregfs status\n  sregfs status --json ~/reg",
		Args:    atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dirs := args
			if len(args) == 0 {
				var err error
				if dirs, err = mountPoints(); err != nil {
					return err
				}
			}
			others := 0      // mounts of other users, which are theirs to look at
			var failed error // of the last mount that does not answer; it must not hide the others
			for _, dir := range dirs {
				s, err := readStatus(cmd.Context(), dir)
				if err != nil {
					if now, e := mountPoints(); len(args) == 0 && e == nil && !slices.Contains(now, dir) {
						continue // unmounted since we looked
					}
					if len(args) == 0 && errors.Is(err, iofs.ErrPermission) {
						others++
						continue
					}
					if failed != nil {
						a.log.Warn(failed)
					}
					if failed = fmt.Errorf("the mount at %s does not answer: %w", dir, err); errors.Is(err, iofs.ErrNotExist) {
						failed = missing("no registry is mounted at %s; 'sregfs mount' mounts it, and 'sregfs status' finds what is mounted", dir)
					}
					continue
				}
				if a.set.JSON {
					if err := a.printJSON(s, ""); err != nil {
						return err
					}
					continue
				}
				printStatus(a.out, dir, s)
			}
			if len(dirs) == others && !a.set.JSON {
				fmt.Fprintln(a.out, "nothing is mounted; 'sregfs mount DIR' mounts the registry")
			}
			return failed
		},
	}
}

// mountPoints lists where registries are mounted.
func mountPoints() ([]string, error) {
	mounts, err := sregfs.Mounts()
	dirs := make([]string, len(mounts))
	for i, m := range mounts {
		dirs[i] = m.Dir
	}
	return dirs, err
}

func printStatus(w io.Writer, dir string, s index.Status) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-9s %s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	fmt.Fprintln(w, printable(dir))
	row("account", "%s", cmp.Or(s.Account, "-"))
	row("folder", "%s, %s, %s shared with me", s.Root, english.Plural(s.Images, "image", ""), humanize.Comma(int64(s.Shared)))
	if s.Synced == nil {
		row("drive", "%s", s.State)
	} else {
		row("drive", "%s, changes asked for %s", s.State, humanize.RelTime(*s.Synced, time.Now(), "ago", "from now"))
	}
	if s.Error != "" {
		row("error", "%s", s.Error)
	}
	for _, other := range s.OtherRoots {
		row("note", "another folder of this name is not used: %s", other)
	}
	if other := s.Drafts - len(s.Pushes); other > 0 {
		row("drafts", "%s on this machine alone, all listed in %s/%s/drafts", english.Plural(other, "file", ""), dir, image.ControlDir)
	}
	row("cache", "%s of %s, %s", size(s.Cache.Used), size(s.Cache.Limit), english.Plural(s.Cache.Images, "image", ""))
	if len(s.Cache.Fetched) > 0 {
		row("fetched", "%s", fetched(s.Cache.Fetched))
	}
	for _, r := range s.Cache.Open {
		row("open", "%s, %s of %s here; %s", cmp.Or(r.Ref, r.File), size(r.Bytes), size(r.Size), fetched(r.Fetched))
	}
	if s.Quota != nil && s.Quota.Limit > 0 {
		row("quota", "%s of %s used", size(s.Quota.Usage), size(s.Quota.Limit))
	}
	for _, p := range s.Pushes {
		why := ""
		if p.Error != "" {
			why = ": " + p.Error
		}
		row("push", "%s %s, %s of %s%s", p.Ref, p.State, size(p.Done), size(p.Total), why)
	}
}

// fetched says how much was asked of Drive's content, and for what, most first: the names are those of index.CacheStats.
func fetched(by map[string]index.Traffic) string {
	var all index.Traffic
	for _, t := range by {
		all.Requests += t.Requests
		all.Bytes += t.Bytes
	}
	var parts []string
	for _, name := range slices.SortedFunc(maps.Keys(by), func(a, b string) int {
		return cmp.Or(cmp.Compare(by[b].Bytes, by[a].Bytes), cmp.Compare(a, b))
	}) {
		parts = append(parts, name+" "+size(by[name].Bytes))
	}
	text := fmt.Sprintf("%s, %s", english.Plural(int(all.Requests), "request", ""), size(all.Bytes))
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	return text
}

// size shows a number of bytes to people.
func size(n int64) string { return humanize.IBytes(uint64(max(0, n))) }
