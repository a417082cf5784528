package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"sregfs/index"
)

func (a *app) pinCommand() *cobra.Command {
	var fetch bool
	c := &cobra.Command{
		Use:   "pin IMAGE…",
		Short: "Keep what the cache has of an image when room is made",
		Long: `Keep what the cache has of IMAGE, and will have, when room is made for others.
With --prefetch the whole image is fetched first.`,
		Example:           "  sregfs pin --prefetch lab/analysis:1.0",
		Args:              atLeast(1),
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withCached(cmd.Context(), args, func(reg registry, img index.Image) error {
				if fetch {
					if err := a.prefetch(cmd.Context(), reg, img); err != nil {
						return err
					}
				}
				return reg.Pin(cmd.Context(), img, true)
			})
		},
	}
	c.Flags().BoolVar(&fetch, "prefetch", false, "fetch the whole image")
	return c
}

func (a *app) unpinCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "unpin IMAGE…",
		Short:             "Let the cache give an image up again",
		Example:           "  sregfs unpin lab/analysis:1.0",
		Args:              atLeast(1),
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withCached(cmd.Context(), args, func(reg registry, img index.Image) error {
				return reg.Pin(cmd.Context(), img, false)
			})
		},
	}
}

func (a *app) prefetchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "prefetch IMAGE…",
		Short: "Bring a whole image into the cache, and check it",
		Long: `Bring the whole of IMAGE into the cache, checked against Drive's digest, so that
it starts at once and without the network. 'sregfs pin' keeps it there.`,
		Example:           "  sregfs prefetch lab/analysis:1.0",
		Args:              atLeast(1),
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withCached(cmd.Context(), args, func(reg registry, img index.Image) error {
				return a.prefetch(cmd.Context(), reg, img)
			})
		},
	}
}

// withCached does something to the cache for each image, and says what the cache
// has of it then.
func (a *app) withCached(ctx context.Context, args []string, do func(registry, index.Image) error) error {
	a.announce()
	return a.withImages(ctx, known, args, func(reg registry, img index.Image) error {
		if err := driveOnly(img); err != nil {
			return err
		}
		if err := do(reg, img); err != nil {
			return err
		}
		held, err := reg.Held(ctx, img)
		if err != nil {
			return err
		}
		if a.set.JSON {
			return a.printJSON(struct {
				URI    string `json:"uri"`
				ID     string `json:"id"`
				Bytes  int64  `json:"bytes"`
				Pinned bool   `json:"pinned"`
			}{img.String(), img.File, held.Bytes, held.Pinned}, "")
		}
		pinned := ""
		if held.Pinned {
			pinned = ", pinned"
		}
		fmt.Fprintf(a.out, "%s: %s of %s in the cache%s\n", img, size(held.Bytes), size(img.Size), pinned)
		return nil
	})
}

// prefetch brings img into the cache, and shows how far it is.
func (a *app) prefetch(ctx context.Context, reg registry, img index.Image) error {
	bars := newBars(a)
	defer bars.finish()
	watching, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-watching.Done():
				return
			case <-tick.C:
			}
			if held, err := reg.Held(watching, img); err == nil {
				bars.show("prefetch "+img.Short(), held.Bytes, img.Size)
			}
		}
	})
	err := reg.Prefetch(ctx, img)
	stop()
	wg.Wait()
	return err
}
