package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sregfs/index"
)

func (a *app) rmCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "rm IMAGE…",
		Aliases: []string{"rmi"},
		Short:   "Remove an image from this machine; Drive keeps it",
		Long: `Remove the copy of IMAGE from the storage, its record, and what the cache holds of
it. Drive keeps the image: 'sregfs delete' removes it there.`,
		Example:           "  sregfs rm vsoch/hello-world:latest",
		Args:              atLeast(1),
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.announce()
			return a.withImages(cmd.Context(), known, args, func(reg registry, img index.Image) error {
				place, err := a.removeHere(cmd.Context(), reg, img)
				if err != nil {
					return fmt.Errorf("rm %s: %w", img, err)
				}
				return a.printRemoved(img, place)
			})
		},
	}
}

// removeHere removes what this machine has of img, and returns the path that was.
func (a *app) removeHere(ctx context.Context, reg registry, img index.Image) (place string, err error) {
	c, copy := a.copyOf(img)
	var held index.Held
	if img.File != "" {
		if held, err = reg.Held(ctx, img); err != nil {
			return "", err
		}
		if held.Bytes > 0 {
			if err := reg.Evict(ctx, img); err != nil {
				return "", err
			}
		}
	}
	noted, err := a.forget(img)
	if err != nil {
		return "", err
	}
	if !copy {
		if !noted && held.Bytes == 0 {
			return "", missing("nothing of it is on this machine; 'sregfs delete' removes it from Drive")
		}
		return a.where(reg, img), nil
	}
	for _, path := range []string{c.path, c.entry} {
		if err := os.Remove(path); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return "", localFile(err)
		}
	}
	a.tidy(filepath.Dir(c.entry))
	return c.path, nil
}

// printRemoved says what was removed: the text, or the image as JSON.
func (a *app) printRemoved(img index.Image, text string) error {
	if a.set.JSON {
		return a.printJSON(struct {
			Removed imageJSON `json:"removed"`
		}{a.imageJSON(img, "")}, "")
	}
	fmt.Fprintln(a.out, printable(text))
	return nil
}

func (a *app) deleteCommand() *cobra.Command {
	var force, forGood bool
	c := &cobra.Command{
		Use:   "delete IMAGE…",
		Short: "Remove an image from Drive",
		Long: `Move IMAGE, one version, to Drive's bin, where it stays for 30 days; with
--for-good it is gone at once. A name without a version means the newest one.
You are asked first, unless --force. A copy on this machine stays: 'sregfs rm'
removes that.`,
		Example:           "  sregfs delete vsoch/hello-world:old\n  sregfs delete -f vsoch/hello-world@846442ecd7487f99fce3b8fb68ae15af",
		Args:              atLeast(1),
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.announce()
			return a.withImages(cmd.Context(), onDrive, args, func(reg registry, img index.Image) error {
				question := "Move %s to Drive's bin?"
				if forGood {
					question = "Remove %s for good?"
				}
				if err := a.confirm(cmd.Context(), force, question, img); err != nil {
					return err
				}
				if err := reg.Remove(cmd.Context(), img, forGood); err != nil {
					return err
				}
				if _, err := a.forget(img); err != nil {
					return err
				}
				return a.printRemoved(img, "[delete] "+img.String())
			})
		},
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	c.Flags().BoolVar(&forGood, "for-good", false, "not to the bin")
	return c
}

// confirm asks whoever sits at the terminal. Where nobody sits, --force is needed.
func (a *app) confirm(ctx context.Context, force bool, format string, args ...any) error {
	if force {
		return nil
	}
	question := printable(fmt.Sprintf(format, args...))
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return usagef("%s There is nobody to ask: --force does it", question)
	}
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() { // ends with the line, or with this program: nothing else takes a reader from a terminal
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case said := <-answer:
		if said == "y" || said == "yes" {
			return nil
		}
		return errors.New("nothing was removed")
	}
}
