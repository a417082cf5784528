package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// toolName is the registry tool's name. Called by it, through a link or a copy,
// or with SREGFS_COMPAT set, the program takes what that tool takes.
const toolName = "sregistry"

// compatStrict is the value of SREGFS_COMPAT that asks for the tool's exit codes, too.
const compatStrict = "strict"

// strictCode is the exit code that release 0.2.39 of the tool has for what ours
// has code for: 1 for whatever goes wrong in a verb, and 0 where it prints what went
// wrong and goes on: a share that Drive refuses or that finds no image, a mv of
// none. A command line that is wrong stays 2.
func strictCode(verb string, code int) int {
	switch {
	case code == exitOK, code == exitUsage:
		return code
	case verb == "mv" && code == exitNotFound, verb == "share" && code != exitSignIn && code != exitNetwork:
		return exitOK
	}
	return exitError
}

// asTool says whether the program stands in for the registry tool.
func asTool(argv0 string) bool {
	v := os.Getenv("SREGFS_COMPAT")
	return filepath.Base(argv0) == toolName || truthy(v) || v == compatStrict
}

// knownFlags drops the flags of a command line that its verb does not have.
func knownFlags(root *cobra.Command, args []string) []string {
	verb, _, err := root.Find(args)
	if err != nil {
		return args // cobra says what is wrong
	}
	var kept []string
	for i, arg := range args {
		if arg == "--" {
			return append(kept, args[i:]...)
		}
		name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		switch {
		case strings.HasPrefix(arg, "--") && name != "help" && name != "version" && verb.Flag(name) == nil:
		case len(arg) == 2 && arg[0] == '-' && arg != "-h" && shorthand(verb, name) == nil:
		default:
			kept = append(kept, arg)
		}
	}
	return kept
}

func shorthand(verb *cobra.Command, letter string) *pflag.Flag {
	if f := verb.Flags().ShorthandLookup(letter); f != nil {
		return f
	}
	return verb.InheritedFlags().ShorthandLookup(letter)
}

// likeTool makes the command line as forgiving as the registry tool's: flags it
// does not know are passed over, and without a verb the help is shown under that
// tool's heading.
func (a *app) likeTool(root *cobra.Command) {
	root.Use = toolName
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usagef("unknown command %q for %q", args[0], toolName)
		}
		fmt.Fprintf(a.out, "\nSingularity Registry Global Client v%s\n", version)
		return cmd.Help()
	}
	root.AddCommand(
		&cobra.Command{
			Use: "build", Short: "Not offered for Google Drive", Hidden: true, DisableFlagParsing: true,
			RunE: func(*cobra.Command, []string) error {
				return errors.New("build is not implemented for google-drive; 'apptainer build' writes an image that 'push' sends")
			},
		},
		&cobra.Command{
			Use: "backend", Short: "Say which storage is used", Hidden: true, DisableFlagParsing: true,
			RunE: func(_ *cobra.Command, args []string) error {
				if len(args) > 0 && args[0] != "ls" && args[0] != "status" {
					return errors.New("there is one backend, google-drive, and it is active")
				}
				fmt.Fprintln(a.out, "[activated] google-drive")
				return nil
			},
		})
}
