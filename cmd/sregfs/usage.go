package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// none, exactly, atLeast and atMost say how many arguments a verb takes, in words for people. None may be empty: "" is
// what an unset variable of a script becomes, and as a path it would mean the working directory.
var none = exactly(0)

func exactly(n int) cobra.PositionalArgs { return between(n, n) }
func atLeast(n int) cobra.PositionalArgs { return between(n, -1) }
func atMost(n int) cobra.PositionalArgs  { return between(0, n) }

// between takes from least to most arguments; most < 0: any number.
func between(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) > 0 && most == 0:
			return fmt.Errorf("%s takes no arguments, and got %q", cmd.Name(), args[0])
		case most >= 0 && len(args) > most:
			return fmt.Errorf("%s got one argument too many, %q", cmd.Name(), args[most])
		case len(args) < least:
			return fmt.Errorf("%s lacks an argument", cmd.Name())
		case slices.Contains(args, ""):
			return errors.New("an argument is empty")
		}
		return nil
	}
}

// group is a command that is only a name for those beneath it.
func group(c *cobra.Command) *cobra.Command {
	c.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownVerb(cmd, args[0])
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var verbs []string
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				verbs = append(verbs, sub.Name())
			}
		}
		return usagef("%s needs a verb: %s; '%s --help' says what they do", cmd.Name(), strings.Join(verbs, ", "), cmd.CommandPath())
	}
	return c
}

// unknownVerb says that cmd has no verb of that name, and which ones look like it.
func unknownVerb(cmd *cobra.Command, name string) error {
	cmd.SuggestionsMinimumDistance = 2
	text := fmt.Sprintf("unknown command %q for %q", name, cmd.CommandPath())
	if like := cmd.SuggestionsFor(name); len(like) > 0 {
		text += "; did you mean " + strings.Join(like, ", ") + "?"
	}
	return errors.New(text)
}

// miscalled is err, a mistake in how cmd was called, with how to call it.
func miscalled(cmd *cobra.Command, err error) error {
	if !cmd.HasParent() {
		return usageError{fmt.Errorf("%s; '%s --help' lists the verbs", oneLiner.Replace(err.Error()), cmd.CommandPath())}
	}
	return usageError{fmt.Errorf("%w; call it like '%s', or see '%s --help'", err, cmd.UseLine(), cmd.CommandPath())}
}

// oneLiner brings the lines in which cobra suggests verbs into one.
var oneLiner = strings.NewReplacer("\n\nDid you mean this?\n\t", "; did you mean ", "\n\t", ", ", "\n", "?")

// helpCommand is cobra's own, but for a verb that there is not, which is a mistake.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [VERB]", Short: "Say how a verb is used", Example: "  sregfs help mount",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			var verbs []string
			if of, rest, err := cmd.Root().Find(args); err == nil && len(rest) == 0 {
				for _, sub := range of.Commands() {
					if (sub.IsAvailableCommand() || sub.IsAdditionalHelpTopicCommand()) && strings.HasPrefix(sub.Name(), begun) {
						verbs = append(verbs, sub.Name())
					}
				}
			}
			return verbs, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			of := cmd.Root()
			for _, name := range args {
				i := slices.IndexFunc(of.Commands(), func(sub *cobra.Command) bool { return sub.Name() == name || sub.HasAlias(name) })
				if i < 0 {
					return miscalled(of, unknownVerb(of, name))
				}
				of = of.Commands()[i]
			}
			of.InitDefaultHelpFlag()
			return of.Help()
		},
	}
}
