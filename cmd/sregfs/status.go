package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	sregfs "sregfs/fs"
	"sregfs/index"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "status [DIR]",
		Short:   "Say how the mounts are: account, cache, pushes, errors",
		Example: "  sregfs status\n  sregfs status --json ~/reg",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dirs := args
			if len(dirs) == 0 {
				mounts, err := sregfs.Mounts()
				if err != nil {
					return err
				}
				for _, m := range mounts {
					dirs = append(dirs, m.Dir)
				}
			}
			if len(dirs) == 0 && !a.set.JSON {
				fmt.Fprintln(a.out, "nothing is mounted; 'sregfs mount DIR' mounts the registry")
			}
			for _, dir := range dirs {
				s, err := readStatus(dir)
				if err != nil {
					return fmt.Errorf("%s does not answer as a mount of sregfs: %w", dir, err)
				}
				if a.set.JSON {
					if err := json.NewEncoder(a.out).Encode(s); err != nil {
						return err
					}
					continue
				}
				printStatus(a.out, dir, s)
			}
			return nil
		},
	}
}

func printStatus(w io.Writer, dir string, s index.Status) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-9s "+format+"\n", append([]any{name}, args...)...)
	}
	fmt.Fprintln(w, dir)
	row("account", "%s", orDash(s.Account))
	row("folder", "%s, %s images", s.Root, humanize.Comma(int64(s.Images)))
	if s.Synced.IsZero() {
		row("drive", "%s", s.Sync)
	} else {
		row("drive", "%s, changes asked for %s", s.Sync, humanize.RelTime(s.Synced, time.Now(), "ago", "from now"))
	}
	row("cache", "%s of %s", humanize.IBytes(uint64(max(0, s.Cache.Used))), humanize.IBytes(uint64(max(0, s.Cache.Size))))
	if s.Quota.Total > 0 {
		row("quota", "%s of %s free", humanize.IBytes(uint64(max(0, s.Quota.Free))), humanize.IBytes(uint64(s.Quota.Total)))
	}
	for _, p := range s.Pushes {
		row("push", "%s %s, %s of %s %s", p.Ref, p.State, humanize.IBytes(uint64(max(0, p.Done))), humanize.IBytes(uint64(max(0, p.Total))), p.Error)
	}
	for _, e := range s.Errors {
		row("error", "%s %s", e.Time.Local().Format(time.DateTime), e.Text)
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
