package main

import (
	"bufio"
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"sregfs/index"
)

func (a *app) searchCommand() *cobra.Command {
	var ignoreCase bool
	c := &cobra.Command{
		Use:   "search [QUERY…]",
		Short: "List the images, or those whose id, name or properties contain QUERY",
		Long: `List the images of the registry, and those that others share with me. With
queries, show for each what is known of the images whose Drive id, file name or
one of whose properties contains it, as it is written.

To find none is no error: the exit code is 0.`,
		Example: "  sregfs search\n  sregfs search hello\n  sregfs search -i Ubuntu debian\n  sregfs search --json | jq -r '.[].uri'",
		RunE: func(cmd *cobra.Command, queries []string) error {
			a.announce()
			reg, err := a.openRegistry(cmd.Context())
			if err != nil {
				return err
			}
			defer reg.Close()
			if len(queries) == 0 && !a.set.JSON {
				all, err := reg.Images(cmd.Context())
				if err == nil {
					a.listImages(all)
				}
				return err
			}
			if len(queries) == 0 {
				queries = []string{""}
			}
			var hits []index.Image
			for _, text := range queries {
				found, err := reg.Search(cmd.Context(), index.Query{Text: text, AnyCase: ignoreCase})
				if err != nil {
					return err
				}
				if a.set.JSON {
					hits = append(hits, found...)
				} else {
					a.showHits(found)
				}
			}
			if a.set.JSON {
				index.Sort(hits) // those of several queries
				out, err := a.imagesJSON(slices.CompactFunc(hits, func(a, b index.Image) bool { return a.File == b.File }))
				if err != nil {
					return err
				}
				return a.printJSON(out, "")
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&ignoreCase, "ignore-case", "i", false, "find QUERY in upper and lower case")
	c.Flags().String("endpoint", "", "accepted for scripts of the registry tool, and ignored as there")
	return c
}

// listImages prints the registry as the tool's own page shows it.
func (a *app) listImages(all []index.Image) {
	if len(all) == 0 {
		fmt.Fprintln(a.out, "No containers found, based on properties type:container")
		return
	}
	out := bufio.NewWriter(a.out)
	defer out.Flush()
	fmt.Fprintf(out, "[drive://%s] Containers\n", a.set.folder())
	fmt.Fprintf(out, "   [drive://%s] \t\t[id]\t[uri]\n", a.set.folder())
	for i, img := range all {
		fmt.Fprintf(out, "%-2d %s\t%s\n", i+1, printable(img.File), displayURI(img))
	}
}

// showHits prints what is known of each image, shortest field first.
func (a *app) showHits(hits []index.Image) {
	fmt.Fprintf(a.out, "[drive://%s] Found %d containers\n", a.set.folder(), len(hits))
	for _, img := range hits {
		fmt.Fprintln(a.out, displayURI(img))
		fields := imageFields(img)
		for _, k := range fieldOrder(fields) {
			fmt.Fprintf(a.out, "%-10s %s\n", printable(k), printable(fields[k]))
		}
		fmt.Fprintln(a.out)
	}
}

// firstFields is the order of the page's example among keys of one length.
var firstFields = []string{"id", "tag", "uri", "type", "name", "image", "version", "storage", "collection"}

// fieldOrder is the keys of fields, the shortest first.
func fieldOrder(fields map[string]string) []string {
	rank := func(key string) int {
		if i := slices.Index(firstFields, key); i >= 0 {
			return i
		}
		return len(firstFields)
	}
	return slices.SortedFunc(maps.Keys(fields), func(x, y string) int {
		return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(rank(x), rank(y)), cmp.Compare(x, y))
	})
}
