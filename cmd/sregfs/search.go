package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"sregfs/index"
)

func (a *app) searchCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "search [QUERY…]",
		Short:   "List the images, or those whose id, name or properties contain QUERY",
		Example: "  sregfs search\n  sregfs search hello",
		RunE: func(cmd *cobra.Command, queries []string) error {
			a.announce()
			reg, err := a.openRegistry(cmd.Context())
			if err != nil {
				return err
			}
			defer reg.Close()
			all, err := reg.Images(cmd.Context())
			if err != nil {
				return err
			}
			if a.set.JSON {
				return a.searchJSON(all, queries)
			}
			if len(queries) == 0 {
				a.listImages(all)
			}
			for _, q := range queries {
				a.showHits(index.Search(all, q))
			}
			return nil
		},
	}
}

func (a *app) searchJSON(all []index.Image, queries []string) error {
	hits := all
	if len(queries) > 0 {
		hits = nil
		for _, q := range queries {
			hits = append(hits, index.Search(all, q)...)
		}
	}
	if hits == nil {
		hits = []index.Image{}
	}
	return a.printJSON(hits, "")
}

// listImages prints the registry as the tool's own page shows it.
func (a *app) listImages(all []index.Image) {
	if len(all) == 0 {
		fmt.Fprintln(a.out, "No containers found, based on properties type:container")
		return
	}
	fmt.Fprintf(a.out, "[drive://%s] Containers\n", a.set.folder())
	fmt.Fprintf(a.out, "   [drive://%s] \t\t[id]\t[uri]\n", a.set.folder())
	for i, img := range all {
		fmt.Fprintf(a.out, "%-2d %s\t%s\n", i+1, printable(img.File), displayURI(img))
	}
}

// showHits prints what is known of each image, shortest field first.
func (a *app) showHits(hits []index.Image) {
	fmt.Fprintf(a.out, "[drive://%s] Found %d containers\n", a.set.folder(), len(hits))
	for _, img := range hits {
		fmt.Fprintln(a.out, displayURI(img))
		fields := imageFields(img)
		keys := make([]string, 0, len(fields))
		for k := range fields {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		slices.SortStableFunc(keys, func(x, y string) int { return len(x) - len(y) })
		for _, k := range keys {
			fmt.Fprintf(a.out, "%-10s %s\n", printable(k), printable(fields[k]))
		}
		fmt.Fprintln(a.out)
	}
}
