package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sregfs/drive"
	"sregfs/index"
	"sregfs/index/image"
)

func (a *app) getCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "get IMAGE…",
		Short: "Print where an image is: a path on this machine, else its address",
		Long: `Print the path of the image's copy on this machine, or of its file in the
running mount, else its address on Drive. What is known of the registry is
believed; Drive is asked only for a name that is not known.`,
		Example:           "  singularity run $(sregfs get vsoch/hello-world)",
		Args:              atLeast(1),
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withImages(cmd.Context(), known, args, func(reg registry, img index.Image) error {
				place := a.where(reg, img)
				if !a.set.JSON {
					fmt.Fprintln(a.out, place)
					return nil
				}
				where := struct {
					URI  string `json:"uri"`
					Path string `json:"path,omitempty"`
					URL  string `json:"url,omitempty"`
				}{URI: img.String()}
				if where.Path = place; place == drive.ContentURL(a.set.URL, img.File) {
					where.Path, where.URL = "", place
				}
				return a.printJSON(where, "")
			})
		},
	}
}

// inspection is what inspect prints: the registry tool's record of an image,
// keys in the order of the alphabet, and what the image says of itself.
type inspection struct {
	Client       string      `json:"client"`
	Collection   string      `json:"collection"`
	CollectionID int         `json:"collection_id"`
	CreatedAt    string      `json:"created_at"`
	ID           string      `json:"id"`
	Image        *string     `json:"image"` // the path on this machine; null without one
	Meta         *image.Meta `json:"meta,omitempty"`
	Metrics      metrics     `json:"metrics"`
	Name         string      `json:"name"`
	Tag          string      `json:"tag"`
	URI          string      `json:"uri"`
	URL          string      `json:"url"`
	Version      string      `json:"version"`
}

type metrics struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Properties map[string]string `json:"properties"`
}

func (a *app) inspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect IMAGE…",
		Short: "Print what Drive knows of an image, and what the image says of itself",
		Long: `Print the image's record and, under "meta", its labels, definition file,
runscript, help, environment and test, read from the copy on this machine or
from Drive by a few ranged requests. Without the network the record of an image
that is not here is printed all the same, and the exit code is 10; of an
encrypted image what can be read is, and the exit code is 1 if that is not all.`,
		Example:           "  sregfs inspect vsoch/hello-world:latest\n  sregfs inspect --json vsoch/hello-world | jq .meta.labels",
		Args:              atLeast(1),
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.announce()
			return a.withImages(cmd.Context(), known, args, func(reg registry, img index.Image) error {
				out := inspection{
					Client: "google-drive", Collection: img.Collection, CollectionID: 1,
					CreatedAt: img.Created.UTC().Format(time.RFC3339), ID: img.File,
					Metrics: metrics{ID: img.File, Name: img.Name, Properties: img.Properties},
					Name:    img.Ref.Image, Tag: img.Tag, URI: img.String(), Version: img.Version,
				}
				if img.File != "" {
					out.URL = drive.ContentURL(a.set.URL, img.File)
				}
				if out.Metrics.Properties == nil {
					out.Metrics.Properties = map[string]string{}
				}
				var meta image.Meta
				var err error
				if c, ok := a.copyOf(img); ok {
					out.Image = &c.path
					meta, err = metaOf(c.path)
				} else {
					meta, err = reg.Metafiles(cmd.Context(), img)
				}
				if err == nil || errors.Is(err, image.ErrUnsupported) { // what can be read without its file system is there
					out.Meta = &meta
				}
				if !a.set.JSON && !a.set.Quiet {
					fmt.Fprintf(a.out, "%s\n%s\n", displayURI(img), a.where(reg, img))
				}
				if err != nil {
					err = fmt.Errorf("inspect %s: its metadata cannot all be read: %w", img, err)
				}
				return errors.Join(a.printJSON(out, "    "), err)
			})
		},
	}
}

// metaOf reads what the image file at path says of itself.
func metaOf(path string) (image.Meta, error) {
	f, err := os.Open(path)
	if err != nil {
		return image.Meta{}, localFile(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return image.Meta{}, localFile(err)
	}
	return image.Metafiles(f, fi.Size())
}
