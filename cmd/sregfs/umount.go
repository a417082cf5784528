package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	sregfs "sregfs/fs"
	"sregfs/index"
)

func (a *app) umountCommand() *cobra.Command {
	var noWait, lazy bool
	c := &cobra.Command{
		Use:     "umount DIR",
		Aliases: []string{"unmount"},
		Short:   "Unmount the registry, after its pushes are done",
		Long: `Unmount the registry at DIR. Pushes under way are waited for, with their
progress; with --no-wait they stay in the journal and the next mount goes on
with them. Nothing is lost either way.`,
		Example: "  sregfs umount ~/reg",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			status, err := readStatus(cmd.Context(), dir)
			if err == nil && !noWait {
				if err := a.waitPushes(cmd.Context(), dir); err != nil {
					return err
				}
			}
			err = sregfs.Unmount(cmd.Context(), dir, lazy)
			if errors.Is(err, syscall.EBUSY) {
				return fmt.Errorf("%w: a program has a file in it open, or works in it; --lazy unmounts all the same", err)
			}
			if err != nil {
				return localFile(err)
			}
			if lazy {
				return nil // it serves what is open until that is closed
			}
			return waitReleased(cmd.Context(), status.StateDir)
		},
	}
	c.Flags().BoolVar(&noWait, "no-wait", false, "leave pushes to the next mount")
	c.Flags().BoolVarP(&lazy, "lazy", "z", false, "detach now, even if files are open")
	return c
}

// waitPushes waits until no push of the mount can make progress any more.
func (a *app) waitPushes(ctx context.Context, dir string) error {
	bars := newBars(a)
	defer bars.finish()
	said := map[string]string{} // why each push does not go on, as the user was told
	for {
		status, err := readStatus(ctx, dir)
		if err != nil {
			return nil // it is no longer there: nothing to wait for
		}
		waiting := 0
		for _, p := range status.Pushes {
			switch {
			case p.Final:
				a.log.Warnf("%s is not in Drive, and kept: %s", p.Ref, p.Error)
			default:
				waiting++
				if p.Error != said[p.Ref] && p.Error != "" {
					said[p.Ref] = p.Error
					a.log.Warnf("waiting for the push of %s (--no-wait leaves it to the next mount): %s", p.Ref, p.Error)
				}
				bars.show("push "+p.Ref, p.Done, p.Total)
			}
		}
		if waiting == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// waitReleased returns when the process behind the mount has let go of its
// state directory, so that another mount can follow at once.
func waitReleased(ctx context.Context, state string) error {
	if state == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		holder, held := index.Holder(state)
		if !held {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("unmounted, but process %d has not ended yet: %w", holder.PID, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
