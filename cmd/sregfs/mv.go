package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"sregfs/index"
)

func (a *app) mvCommand() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "mv IMAGE PATH",
		Short: "Move an image's copy on this machine to another place",
		Long: `Move the copy of IMAGE out of the storage to PATH, a file or a directory. The
storage keeps a link to it, so that get and images still find it. What Drive
has stays as it is; 'sregfs rename' gives an image another name.`,
		Example:           "  sregfs mv vsoch/hello-world:latest ~/images/hello.sif",
		Args:              exactly(2),
		ValidArgsFunction: a.completeFirst(a.completeImages),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.announce()
			return a.withImages(cmd.Context(), known, args[:1], func(_ registry, img index.Image) error {
				c, ok := a.copyOf(img)
				if !ok {
					return noCopy(img)
				}
				to, err := a.moveTarget(c, args[1], force)
				if err != nil {
					return localFile(fmt.Errorf("mv %s: %w", img, err))
				}
				if err := a.move(cmd.Context(), c, to); err != nil {
					return localFile(fmt.Errorf("mv %s: %w", img, err))
				}
				if a.set.JSON {
					return a.printJSON(a.imageJSON(img, to), "")
				}
				fmt.Fprintf(a.out, "[move] %s => %s\n", img, to)
				return nil
			})
		},
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "replace a file that is there")
	return c
}

func noCopy(img index.Image) error {
	return missing("%s: no copy of it is on this machine; 'sregfs pull' fetches one", img)
}

// moveTarget is the file that c is to be, given what the caller said.
func (a *app) moveTarget(c copied, said string, force bool) (string, error) {
	to, err := filepath.Abs(said)
	if err != nil {
		return "", err
	}
	fi, err := os.Stat(to)
	if err == nil && fi.IsDir() {
		to = filepath.Join(to, filepath.Base(c.path))
		fi, err = os.Lstat(to)
	}
	switch {
	case errors.Is(err, iofs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(to)); err != nil {
			return "", err
		}
		return to, nil
	case err != nil:
		return "", err
	case !fi.Mode().IsRegular() || !force && to != c.path:
		return "", &saidError{text: to + " is there already; --force replaces a file", err: iofs.ErrExist}
	}
	return to, nil
}

// move moves c to the file to, and leaves a link to it in the storage.
func (a *app) move(ctx context.Context, c copied, to string) error {
	if to == c.path {
		return nil
	}
	if err := moveFile(ctx, c.path, to); err != nil {
		return err
	}
	if to == c.entry {
		return nil
	}
	if c.entry != c.path {
		if err := os.Remove(c.entry); err != nil {
			return err
		}
	}
	return os.Symlink(to, c.entry)
}

func (a *app) renameCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rename IMAGE NEWNAME",
		Short: "Give an image another name, in the registry and here",
		Long: `Give IMAGE the name NEWNAME, collection/image:tag, on Drive, where no bytes move,
and to its copy on this machine. If NEWNAME has images already, this one becomes
its newest version. An image of this machine alone is renamed here.`,
		Example:           "  sregfs rename vsoch/hello-world:latest vsoch/hello-world:1.0",
		Args:              exactly(2),
		ValidArgsFunction: a.completeFirst(a.completeImages),
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := pushRef(args[1], "")
			if err != nil {
				return err
			}
			a.announce()
			return a.withImages(cmd.Context(), known, args[:1], func(reg registry, img index.Image) error {
				was, here := a.copyOf(img)
				now := img
				to.Version = img.Version
				now.Ref = to
				if img.File != "" {
					if now, err = reg.Retag(cmd.Context(), img, to); err != nil {
						return err
					}
				}
				if here {
					if err := a.restore(was, a.stored(now)); err != nil {
						return localFile(fmt.Errorf("rename %s, its copy here: %w", img, err))
					}
				}
				if a.set.JSON {
					return a.printImage(now)
				}
				fmt.Fprintf(a.out, "[rename] %s => %s\n", img.Short(), now.Short())
				return nil
			})
		},
	}
}

// restore gives a copy, or the link to it, another place in the storage.
func (a *app) restore(c copied, place string) error {
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return err
	}
	if err := os.Rename(c.entry, place); err != nil {
		return err
	}
	a.tidy(filepath.Dir(c.entry))
	return nil
}

// tidy removes directories of the storage that hold nothing any more.
func (a *app) tidy(dir string) {
	for dir != a.set.Storage && len(dir) > len(a.set.Storage) && os.Remove(dir) == nil {
		dir = filepath.Dir(dir)
	}
}
