package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sregfs/drive"
	"sregfs/index"
	"sregfs/index/image"
)

func (a *app) getCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "get IMAGE",
		Short:   "Print where the image is: a path on this machine, else its address",
		Example: "  singularity run $(sregfs get vsoch/hello-world)",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withImage(cmd.Context(), args[0], func(reg registry, img index.Image) error {
				fmt.Fprintln(a.out, a.where(reg, img))
				return nil
			})
		},
	}
}

// withImage opens the registry, finds the one image that text names, and
// hands both to use.
func (a *app) withImage(ctx context.Context, text string, use func(registry, index.Image) error) error {
	reg, err := a.openRegistry(ctx)
	if err != nil {
		return err
	}
	defer reg.Close()
	all, err := reg.Images(ctx)
	if err != nil {
		return err
	}
	img, err := index.Resolve(all, text)
	if err != nil {
		return err
	}
	return use(reg, img)
}

// inspection is what inspect prints, keys in the order of the alphabet.
type inspection struct {
	Client       string     `json:"client"`
	Collection   string     `json:"collection"`
	CollectionID int        `json:"collection_id"`
	CreatedAt    string     `json:"created_at"`
	ID           string     `json:"id"`
	Image        string     `json:"image"`
	Meta         image.Meta `json:"meta"`
	Metrics      metrics    `json:"metrics"`
	Name         string     `json:"name"`
	Tag          string     `json:"tag"`
	URI          string     `json:"uri"`
	URL          string     `json:"url"`
	Version      string     `json:"version"`
}

type metrics struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Properties map[string]string `json:"properties"`
}

func (a *app) inspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Print what Drive knows of an image, and what the image says of itself",
		Long: `Print the image's record and, under "meta", its labels, definition file,
runscript, help, environment and test, read from the image by a few ranged
requests.`,
		Example: "  sregfs inspect vsoch/hello-world:latest",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withImage(cmd.Context(), args[0], func(reg registry, img index.Image) error {
				meta, err := reg.Metafiles(cmd.Context(), img)
				if err != nil {
					return fmt.Errorf("inspect %s: %w", img, err)
				}
				if !a.set.JSON && !a.set.Quiet {
					fmt.Fprintf(a.out, "%s\n%s\n", displayURI(img), a.where(reg, img))
				}
				return a.printJSON(inspection{
					Client: "google-drive", Collection: img.Collection, CollectionID: 1,
					CreatedAt: img.Created.UTC().Format(time.RFC3339), ID: img.File, Image: img.Ref.Image, Meta: meta,
					Metrics: metrics{ID: img.File, Name: img.Name, Properties: img.Properties},
					Name:    img.Name, Tag: img.Tag, URI: img.String(), URL: drive.ContentURL(a.set.URL, img.File), Version: img.Version,
				}, "    ")
			})
		},
	}
}
