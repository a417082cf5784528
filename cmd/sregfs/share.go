package main

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"sregfs/index"
)

func (a *app) shareCommand() *cobra.Command {
	var in index.Invite
	var quietly bool
	c := &cobra.Command{
		Use:   "share --email ADDRESS IMAGE…",
		Short: "Let somebody read an image, by e-mail address",
		Long: `Let somebody see an image, by e-mail address: Drive sends a mail unless
--no-notify, and the image appears in that person's registry. Sharing again
changes nothing, or the role.`,
		Example:           "  sregfs share --email ann@uni.edu vsoch/hello-world:latest\n  sregfs share ls vsoch/hello-world\n  sregfs share rm --email ann@uni.edu vsoch/hello-world",
		Args:              atLeast(1),
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			if in.Email = strings.TrimSpace(in.Email); in.Email == "" {
				return usagef("share needs --email ADDRESS")
			}
			if err := oneWord(in.Email, in.Role); err != nil {
				return err
			}
			in.Notify = !quietly
			a.announce()
			return a.withImages(cmd.Context(), onDrive, args, func(reg registry, img index.Image) error {
				answer, err := reg.Share(cmd.Context(), img, in)
				if err != nil {
					return err
				}
				if a.set.JSON {
					return a.printJSON(struct {
						URI     string `json:"uri"`
						ID      string `json:"id"`
						Email   string `json:"email"`
						Message string `json:"message"`
					}{img.String(), img.File, in.Email, answer}, "")
				}
				a.say("%s", img.Short())
				fmt.Fprintln(a.out, printable(answer))
				return nil
			})
		},
	}
	c.Flags().StringVar(&in.Email, "email", "", "who to share with")
	c.Flags().StringVar(&in.Role, "role", "reader", "reader, commenter or writer")
	c.Flags().StringVar(&in.Message, "message", "", "text for the notification mail")
	c.Flags().BoolVar(&quietly, "no-notify", false, "send no notification mail")

	c.AddCommand(&cobra.Command{
		Use: "ls IMAGE", Short: "List who may see an image", Args: exactly(1),
		Example: "  sregfs share ls vsoch/hello-world", ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withImages(cmd.Context(), onDrive, args, func(reg registry, img index.Image) error {
				lines, err := reg.Shares(cmd.Context(), img)
				if err != nil {
					return err
				}
				if a.set.JSON {
					return a.printJSON(lines, "")
				}
				for _, line := range lines {
					fmt.Fprintln(a.out, printable(line))
				}
				return nil
			})
		},
	})
	var email string
	rm := &cobra.Command{
		Use: "rm --email ADDRESS IMAGE", Short: "Take somebody's access to an image away", Args: atLeast(1),
		Example: "  sregfs share rm --email ann@uni.edu vsoch/hello-world", ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			if email = strings.TrimSpace(email); email == "" {
				return usagef("share rm needs --email ADDRESS")
			}
			if err := oneWord(email); err != nil {
				return err
			}
			return a.withImages(cmd.Context(), onDrive, args, func(reg registry, img index.Image) error {
				if err := reg.Unshare(cmd.Context(), img, email); err != nil {
					return err
				}
				a.say("%s is no longer shared with %s", img.Short(), email)
				return nil
			})
		},
	}
	rm.Flags().StringVar(&email, "email", "", "whose access ends")
	c.AddCommand(rm)
	return c
}

// oneWord refuses what no address and no role can be, and what a mount's control file would take for several words.
func oneWord(texts ...string) error {
	for _, text := range texts {
		if strings.ContainsFunc(text, unicode.IsSpace) {
			return fmt.Errorf("%q holds a space: it is no e-mail address, and no role", text)
		}
	}
	return nil
}
