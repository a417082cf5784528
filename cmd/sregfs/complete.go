package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// completeWait bounds what a press of the tab key may cost.
const completeWait = 2 * time.Second

// completeImages completes image names from what is known of the registry, for
// the shells' completion scripts. It asks nobody.
func (a *app) completeImages(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if a.resolve(cmd.Root().PersistentFlags(), cmd.Flags()) != nil || a.set.check() != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWait)
	defer cancel()
	reg, err := a.openKnown(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer reg.Close()
	all, err := reg.Images(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if here, err := a.onlyHere(all); err == nil {
		all = append(all, here...)
	}
	given := map[string]bool{}
	for _, text := range args {
		given[text] = true
	}
	var names []string
	for _, img := range all {
		name := img.Short()
		if strings.Contains(begun, "@") {
			name = img.String()
		}
		if strings.HasPrefix(name, strings.ToLower(begun)) && !given[name] {
			given[name] = true
			names = append(names, name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeFirst completes the first argument, and leaves the others to files.
func (a *app) completeFirst(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return complete(cmd, args, begun)
	}
}
