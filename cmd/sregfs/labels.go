package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"sregfs/index"
)

// label is one label, and the images that have it.
type label struct {
	Key    string   `json:"key"`
	Value  string   `json:"value"`
	Images []string `json:"images"`
}

func (a *app) labelsCommand() *cobra.Command {
	var key, value string
	var set, unset []string
	c := &cobra.Command{
		Use:   "labels [-k KEY] [-v VALUE] [IMAGE…]",
		Short: "List the labels of the registry, or of images; set and remove them",
		Long: `List the labels of the images of the registry, with the number of images that
have each; with -k or -v, those of this key or value, with the images. Named
images restrict the list to theirs. --set and --unset change the labels of the
images named, on Drive.`,
		Example: "  sregfs labels\n  sregfs labels -k maintainer\n  sregfs labels lab/analysis:1.0\n" +
			"  sregfs labels --set status=final --unset draft lab/analysis:1.0",
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			changes, err := labelChanges(set, unset)
			if err != nil {
				return err
			}
			if len(changes) > 0 && len(args) == 0 {
				return usagef("--set and --unset need an IMAGE")
			}
			if len(changes) > 0 && (key != "" || value != "") {
				return usagef("--set and --unset change labels, -k and -v look for them: one at a time")
			}
			a.announce()
			if len(changes) > 0 {
				return a.withImages(cmd.Context(), onDrive, args, func(reg registry, img index.Image) error {
					now, err := reg.SetLabels(cmd.Context(), img, changes)
					if err != nil {
						return err
					}
					if a.set.JSON {
						return a.printImage(now)
					}
					a.say("%s", now)
					a.printLabels(labelsOf([]index.Image{now}), true)
					return nil
				})
			}
			var of []index.Image
			if len(args) == 0 {
				reg, err := a.openRegistry(cmd.Context())
				if err != nil {
					return err
				}
				defer reg.Close()
				if of, err = reg.Images(cmd.Context()); err != nil {
					return err
				}
			} else if err := a.withImages(cmd.Context(), onDrive, args, func(_ registry, img index.Image) error {
				of = append(of, img)
				return nil
			}); err != nil {
				return err
			}
			list := slices.DeleteFunc(labelsOf(of), func(l label) bool {
				return key != "" && !strings.EqualFold(l.Key, key) || value != "" && !strings.EqualFold(l.Value, value)
			})
			if a.set.JSON {
				return a.printJSON(list, "")
			}
			a.printLabels(list, key != "" || value != "")
			return nil
		},
	}
	c.Flags().StringVarP(&key, "key", "k", "", "labels with this key")
	c.Flags().StringVarP(&value, "value", "v", "", "labels with this value")
	c.Flags().StringArrayVar(&set, "set", nil, "set a label, KEY=VALUE")
	c.Flags().StringArrayVar(&unset, "unset", nil, "remove a label, KEY")
	return c
}

// labelChanges are the changes that flags ask for.
func labelChanges(set, unset []string) (map[string]*string, error) {
	changes := map[string]*string{}
	for _, text := range set {
		k, v, ok := strings.Cut(text, "=")
		if !ok || k == "" {
			return nil, usagef("--set %q is not KEY=VALUE", text)
		}
		changes[k] = &v
	}
	for _, k := range unset {
		if _, both := changes[k]; both || k == "" {
			return nil, usagef("--unset %q: name a label, once", k)
		}
		changes[k] = nil
	}
	return changes, nil
}

// labelsOf collects the labels of images, sorted by key and value.
func labelsOf(images []index.Image) []label {
	type pair struct{ key, value string }
	have := map[pair][]string{}
	for _, img := range images {
		for k, v := range img.Labels {
			have[pair{k, v}] = append(have[pair{k, v}], img.String())
		}
	}
	list := make([]label, 0, len(have))
	for p, uris := range maps.All(have) {
		list = append(list, label{p.key, p.value, uris})
	}
	slices.SortFunc(list, func(x, y label) int { return cmp.Or(cmp.Compare(x.Key, y.Key), cmp.Compare(x.Value, y.Value)) })
	return list
}

func (a *app) printLabels(list []label, withImages bool) {
	if len(list) == 0 {
		fmt.Fprintln(a.out, "No labels found.")
		return
	}
	fmt.Fprintln(a.out, "Labels")
	for _, l := range list {
		text := printable(l.Key + ": " + l.Value)
		if !withImages {
			fmt.Fprintf(a.out, "  %s\t[%s]\n", text, english.Plural(len(l.Images), "image", ""))
			continue
		}
		fmt.Fprintf(a.out, "  %s\n", text)
		for _, uri := range l.Images {
			fmt.Fprintf(a.out, "    %s\n", printable(uri))
		}
	}
}
