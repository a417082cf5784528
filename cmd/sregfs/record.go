package main

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"sregfs/index"
	"sregfs/index/image"
)

// A record is a note that an image of the registry concerns this machine: images
// lists those that are recorded and those that are here. It is an empty file
// named by the Drive id, STATE/records/ID, and belongs to the command line
// alone: no mount looks at it.

func (a *app) recordPath(img index.Image) string {
	return filepath.Join(a.set.State, "records", image.EncodeName(img.File))
}

// record notes img, and says whether it was not noted before.
func (a *app) record(img index.Image) (isNew bool, err error) {
	path := a.recordPath(img)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return false, localFile(err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, iofs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, localFile(err)
	}
	return true, localFile(f.Close())
}

// recorded says whether img is noted.
func (a *app) recorded(img index.Image) bool {
	_, err := os.Lstat(a.recordPath(img))
	return img.File != "" && err == nil
}

// forget takes the note of img away, and says whether there was one.
func (a *app) forget(img index.Image) (bool, error) {
	if !a.recorded(img) {
		return false, nil
	}
	err := os.Remove(a.recordPath(img))
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return false, localFile(err)
	}
	return true, nil
}

func (a *app) recordCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "record IMAGE…",
		Short: "Note an image of the registry without fetching it",
		Long: `Note what Drive says of an image now, without fetching it, so that 'sregfs
images' lists it. A copy on this machine stays as it is.`,
		Example:           "  sregfs record vsoch/hello-world:latest\n  sregfs record 1qOVpMmk4nAg0IX0rG_QT_GT5VpV5cKUe",
		Args:              atLeast(1),
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.announce()
			return a.withSearched(cmd.Context(), args, func(_ registry, img index.Image) error {
				isNew, err := a.record(img)
				if err != nil {
					return fmt.Errorf("record %s: %w", img, err)
				}
				if a.set.JSON {
					return a.printImage(img)
				}
				if _, here := a.copyOf(img); here {
					isNew = false
				}
				fmt.Fprintf(a.out, "[container][%s] %s\n", newOrUpdate(isNew), displayURI(img))
				return nil
			})
		},
	}
}

func (a *app) imagesCommand() *cobra.Command {
	var everything bool
	c := &cobra.Command{
		Use:   "images [QUERY…]",
		Short: "List the images of this machine: those that are here, and those that are recorded",
		Long: `List the images that were pulled or added, which are local, and those that were
recorded, which are remote; with queries, those whose name contains one of them.
With --all list whatever is known of the registry. Nobody is asked: this needs
neither the network nor credentials.`,
		Example: "  sregfs images\n  sregfs images hello\n  sregfs images --all",
		RunE: func(cmd *cobra.Command, queries []string) error {
			a.announce()
			reg, err := a.openKnown(cmd.Context())
			if err != nil {
				return err
			}
			defer reg.Close()
			all, err := reg.Images(cmd.Context())
			if err != nil {
				return err
			}
			copies, err := a.copies()
			if err != nil {
				return err
			}
			rows := []imageJSON{}
			show := func(img index.Image, path string) {
				hit := len(queries) == 0 || slices.ContainsFunc(queries, func(q string) bool { return index.Query{Text: q, AnyCase: true}.Finds(img) })
				if hit {
					rows = append(rows, a.imageJSON(img, path))
				}
			}
			for _, img := range all {
				if path := pathAmong(copies, img); path != "" || everything || a.recorded(img) {
					show(img, path)
				}
			}
			for _, c := range copies {
				if !slices.ContainsFunc(all, c.holds) {
					show(c.image(), c.path)
				}
			}
			if a.set.JSON {
				return a.printJSON(rows, "")
			}
			a.printImages(rows)
			return nil
		},
	}
	c.Flags().BoolVarP(&everything, "all", "a", false, "list every image of the registry that is known")
	return c
}

// printImages prints images as the registry tool's page shows them.
func (a *app) printImages(rows []imageJSON) {
	if len(rows) > 0 {
		fmt.Fprint(a.out, "Containers:   [date]   [location]  [client]\t[uri]\n")
	}
	for i, row := range rows {
		fmt.Fprintf(a.out, "%-2d %s\t%-6s\t   [google-drive]\t%s\n", i+1, row.Created.Local().Format("January 02, 2006"), row.Location, printable(row.URI))
	}
}
