package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"sregfs/index"
)

func (a *app) dedupeCommand() *cobra.Command {
	var force, list bool
	c := &cobra.Command{
		Use:   "dedupe [IMAGE…]",
		Short: "Remove what a name has twice in the registry",
		Long: `Find files of one name, version and content, as the registry tool leaves when an
image is pushed twice, and move all but the newest of each to Drive's bin. Who
could see one that goes can see the one that stays. You are asked before each,
unless --force. With names, only those images are looked at.`,
		Example:           "  sregfs dedupe --dry-run\n  sregfs dedupe --force",
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			a.announce()
			reg, err := a.openRegistry(ctx)
			if err != nil {
				return err
			}
			defer reg.Close()
			only := map[string]bool{}
			for _, text := range args {
				img, err := a.find(ctx, reg, onDrive, text)
				if err != nil {
					return err
				}
				only[sameKey(img)] = true
			}
			all, err := reg.Images(ctx)
			if err != nil {
				return err
			}
			kept := map[string]index.Image{}
			gone := 0
			for _, img := range all { // the newest first
				key := sameKey(img)
				stays, twice := kept[key]
				if img.Space != "" || len(only) > 0 && !only[key] {
					continue
				}
				if !twice {
					kept[key] = img
					continue
				}
				gone++
				if !list {
					if err := a.confirm(ctx, force, "Move %s (id %s) to Drive's bin? The same content stays as id %s.", img, img.File, stays.File); err != nil {
						return err
					}
					if err := carryShares(ctx, reg, img, stays); err != nil {
						return err
					}
					if err := reg.Remove(ctx, img, false); err != nil {
						return err
					}
				}
				if err := a.printRemoved(img, fmt.Sprintf("[delete] %s (id %s)", img, img.File)); err != nil {
					return err
				}
			}
			if gone == 0 {
				a.say("Every image is there once.")
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	c.Flags().BoolVarP(&list, "dry-run", "n", false, "only say what would be removed")
	return c
}

// sameKey is equal for files that are one image: name, version and content.
func sameKey(img index.Image) string {
	sum := img.SHA256
	if sum == "" {
		sum = img.MD5
	}
	if sum == "" {
		sum = img.File // Drive tells no checksum: it is like no other
	}
	return fmt.Sprintf("%s %d %s", img.Fold(), img.Size, sum)
}

// carryShares gives those who can see from the same role on to, without a mail.
func carryShares(ctx context.Context, reg registry, from, to index.Image) error {
	lines, err := reg.Shares(ctx, from)
	if err != nil {
		return err
	}
	has, err := reg.Shares(ctx, to)
	if err != nil {
		return err
	}
	already := map[string]bool{}
	for _, line := range has {
		email, _, _ := strings.Cut(line, " ")
		already[email] = true
	}
	for _, line := range lines {
		email, role, _ := strings.Cut(line, " ")
		if already[email] || !strings.Contains(email, "@") || role == "owner" {
			continue
		}
		if _, err := reg.Share(ctx, to, index.Invite{Email: email, Role: role}); err != nil {
			return err
		}
	}
	return nil
}
