package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"sregfs/index"
)

func (a *app) pullCommand() *cobra.Command {
	var name string
	var force, noCache bool
	c := &cobra.Command{
		Use:   "pull IMAGE…",
		Short: "Fetch an image to this machine, and check it",
		Long: `Fetch IMAGE to STORAGE/collection/image/tag@version.sif, where STORAGE is
SREGISTRY_STORAGE (default ~/.singularity/shub), or to the file given by --name,
or with --no-cache to collection-image:tag.sif in the working directory. The
bytes are checked against Drive's digest before the file gets its name; those
that have arrived when a pull is interrupted are not fetched again by the next.
They go through the cache of 'sregfs cache': on a disk with reflinks (Btrfs, XFS)
it and the file share their blocks, elsewhere the file is a copy.`,
		Example:           "  sregfs pull vsoch/hello-world:latest\n  sregfs pull --name hello.sif vsoch/hello-world",
		Args:              atLeast(1),
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch named := cmd.Flags().Changed("name"); {
			case named && (len(args) > 1 || noCache):
				return usagef("--name is for one image, and without --no-cache")
			case named && name == "":
				return usagef("--name is empty; it is the file to write")
			}
			a.announce()
			return a.withSearched(cmd.Context(), args, func(reg registry, img index.Image) error {
				target := name
				if noCache {
					target = strings.ReplaceAll(img.Dir(), "/", "-") + "-" + img.TagDir() + img.Ext
				}
				return a.pull(cmd.Context(), reg, img, target, force)
			})
		},
	}
	c.Flags().StringVar(&name, "name", "", "file to write")
	c.Flags().BoolVarP(&force, "force", "f", false, "replace a file that is there")
	c.Flags().BoolVar(&noCache, "no-cache", false, "write to the working directory, not to the storage")
	return c
}

// pull brings img to target, or to the storage if that is "".
func (a *app) pull(ctx context.Context, reg registry, img index.Image, target string, force bool) error {
	had := false
	var err error
	if target == "" {
		target, force = a.stored(img), true
		if c, ok := a.copyOf(img); ok {
			if had, err = sameContent(c.path, img); err != nil {
				return err
			}
			if had {
				target = c.path
			}
		}
	}
	if !had {
		if had, err = a.haveAlready(target, img, force); err != nil {
			return err
		}
	}
	if !had {
		if err := a.fetch(ctx, reg, img, target); err != nil {
			return fmt.Errorf("pull %s: %w", img, err)
		}
	}
	if a.set.JSON {
		path, err := filepath.Abs(target)
		if err != nil {
			return err
		}
		return a.printJSON(a.imageJSON(img, path), "")
	}
	a.say("[container][%s] %s", newOrUpdate(!had), img)
	if a.set.Quiet {
		fmt.Fprintln(a.out, target)
		return nil
	}
	fmt.Fprintf(a.out, "Success! %s\n", target)
	return nil
}

// newOrUpdate is how the registry tool tells whether it had a container before.
func newOrUpdate(isNew bool) string {
	if isNew {
		return "new"
	}
	return "update"
}

// haveAlready says whether target holds the image's bytes. Another file there
// is an error unless it may be replaced.
func (a *app) haveAlready(target string, img index.Image, replace bool) (bool, error) {
	fi, err := os.Lstat(target)
	if errors.Is(err, iofs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, localFile(err)
	}
	if fi.Mode().IsRegular() && fi.Size() == img.Size {
		if same, err := sameContent(target, img); same || err != nil {
			return same, err
		}
	}
	if !fi.Mode().IsRegular() {
		return false, &saidError{text: target + " is there already, and is no regular file", err: iofs.ErrExist}
	}
	if !replace {
		return false, fmt.Errorf("%s: %w; --force replaces it", target, iofs.ErrExist)
	}
	return false, nil
}

// sameContent says whether the file at path has the image's bytes.
func sameContent(path string, img index.Image) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, localFile(err)
	}
	defer f.Close()
	sum := newDigest(img)
	if _, err := io.Copy(sum, f); err != nil {
		return false, localFile(err)
	}
	return sum.check() == nil, nil
}
