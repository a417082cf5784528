package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"sregfs/index"
)

func (a *app) cacheCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cache VERB",
		Short: "List, verify or clear what is kept of images on this machine",
		Long: `List, verify or clear what is kept of images on this machine. IMAGE is a name or
a Drive file id; without one, all are meant.

The cache can be cleared at any time: what is missing comes from Drive again.`,
		Example: "  sregfs cache ls\n  sregfs cache verify\n  sregfs cache clear vsoch/hello-world:latest",
	}
	c.AddCommand(
		&cobra.Command{
			Use: "ls", Short: "List what is cached, the last used first", Args: none,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return a.withCache(cmd.Context(), nil, func(u upkeep, _ []string) error {
					list, err := u.CachedImages(cmd.Context())
					if err != nil {
						return err
					}
					return a.printCached(list)
				})
			},
		},
		&cobra.Command{
			Use:   "verify [IMAGE...]",
			Short: "Read what is cached and compare it with its checksums",
			Long: `Read what is cached and compare it with its checksums: that of each block, and
Drive's for an image that is whole. What is damaged is forgotten, and fetched
again when it is read. Exit code 7 if anything was damaged.`,
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.withCache(cmd.Context(), args, func(u upkeep, files []string) error {
					list, err := u.VerifyCache(cmd.Context(), files...)
					if err != nil {
						return err
					}
					return a.printVerified(list)
				})
			},
		},
		&cobra.Command{
			Use:   "clear [IMAGE...]",
			Short: "Remove what is cached, but for what is open or pinned",
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.withCache(cmd.Context(), args, func(u upkeep, files []string) error {
					freed, err := u.FreeCache(cmd.Context(), files...)
					if err != nil {
						return err
					}
					if a.set.JSON {
						return a.printJSON(map[string]int64{"freed": freed}, "")
					}
					a.say("%s freed", humanize.Bytes(uint64(freed)))
					return nil
				})
			},
		},
	)
	return c
}

// withCache opens what looks after the cache, for use with the images refs
// mean. Drive is not needed.
func (a *app) withCache(ctx context.Context, refs []string, use func(u upkeep, files []string) error) (err error) {
	u, err := a.openUpkeep(ctx, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.Close()) }()
	files, err := filesOf(ctx, u, refs)
	if err != nil {
		return err
	}
	return use(u, files)
}

// printCached prints what the cache holds, one image a line.
func (a *app) printCached(list []index.Cached) error {
	if a.set.JSON {
		for _, c := range list {
			if err := a.printJSON(c, ""); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	for _, c := range list {
		state := fmt.Sprintf("%d%%", c.Bytes*100/max(c.Size, 1))
		if c.Verified {
			state = "verified"
		}
		if c.Pinned {
			state += ", pinned"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", humanize.Bytes(uint64(c.Bytes)), state, c.Used.Local().Format("2006-01-02 15:04"), nameOf(c))
	}
	return w.Flush()
}

// nameOf names what is cached for people.
func nameOf(c index.Cached) string { return printable(cmp.Or(c.Ref, c.File+" (an earlier content)")) }

// printVerified prints what VerifyCache found; damage is an error.
func (a *app) printVerified(list []index.Cached) error {
	var bytes int64
	wrong := 0
	for _, c := range list {
		bytes += c.Checked
		if c.Problem != "" {
			wrong++
		}
		switch {
		case a.set.JSON:
			if err := a.printJSON(c, ""); err != nil {
				return err
			}
		case c.Problem != "":
			fmt.Fprintf(a.out, "damaged  %s: %s\n", nameOf(c), printable(c.Problem))
		case c.Verified:
			a.say("right    %s: %s, as on Drive", nameOf(c), humanize.Bytes(uint64(c.Checked)))
		default:
			a.say("right    %s: %s of %s, as they came", nameOf(c), humanize.Bytes(uint64(c.Checked)), humanize.Bytes(uint64(c.Size)))
		}
	}
	a.say("%s, %s checked", english.Plural(len(list), "image", "images"), humanize.Bytes(uint64(bytes)))
	if wrong > 0 {
		return &codedError{fmt.Sprintf("%s damaged on disk; what was damaged is fetched again when it is read", english.Plural(wrong, "image was", "images were")), exitIntegrity}
	}
	return nil
}
