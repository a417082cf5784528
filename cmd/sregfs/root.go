package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
)

// app is what every verb gets: where to print, and the settings.
type app struct {
	out, err io.Writer
	set      settings
	log      *logrus.Logger
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	results := &output{Writer: out}
	a := &app{out: results, err: errOut, log: logrus.New()}
	a.log.SetOutput(errOut)
	a.log.SetFormatter(&plainLog{})
	a.log.SetLevel(logrus.WarnLevel)
	root := a.command() //nolint:contextcheck // the verbs get ctx by ExecuteContextC
	if asTool(os.Args[0]) {
		a.likeTool(root)
		args = knownFlags(root, args)
	}
	root.SetArgs(args)
	root.SetErr(errOut)

	// What fails before a verb runs (unknown verb or flag, wrong number of
	// arguments) is a mistake in the call.
	started := false
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		started = true
		a.log.SetFormatter(&plainLog{dated: cmd.Name() == "mount" || cmd.Name() == "emulator"})
		if err := a.resolve(root.PersistentFlags(), cmd.Flags()); err != nil {
			return err
		}
		return a.set.check()
	}
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil && results.failed == nil:
		return exitOK
	case err == nil:
		err = results.failed
	case !started:
		a.set.JSON = a.set.JSON || slices.Contains(args, "--json") // the flags may not have been read
		err = miscalled(cmd, err)
	}
	a.complain(err)
	if os.Getenv("SREGFS_COMPAT") == compatStrict {
		return strictCode(cmd.Name(), exitCode(err))
	}
	return exitCode(err)
}

// output is where results are printed. It remembers a write that failed,
// so that no verb has to look: results that got lost are no success.
type output struct {
	io.Writer
	failed error
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if err != nil {
		err = localFile(fmt.Errorf("the results could not be written: %w", err))
		o.failed = err
	}
	return n, err
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "sregfs",
		Short: "A registry of Singularity/Apptainer images in Google Drive, as a file system",
		Long: `sregfs mounts a registry of Singularity/Apptainer images, kept in Google Drive,
as a file system: list it, run images from it as they arrive, copy images in to
push them, share them by e-mail address.

Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 ambiguous name, 5 sign-in,
6 permission or quota, 7 integrity, 8 conflict, 9 incomplete image, 10 network,
12 state in use, 130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	a.set.register(root.PersistentFlags())
	root.AddGroup(
		&cobra.Group{ID: "mount", Title: "The mount:"},
		&cobra.Group{ID: "registry", Title: "The registry:"},
		&cobra.Group{ID: "cache", Title: "What this machine keeps:"},
		&cobra.Group{ID: "account", Title: "Sign-in:"},
		&cobra.Group{ID: "try", Title: "Without an account:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("mount", a.mountCommand(), a.umountCommand(), a.statusCommand(), a.shellCommand(), a.cacheCommand(), a.fsckCommand(), a.doctorCommand())
	add("registry", a.searchCommand(), a.recordCommand(), a.getCommand(), a.inspectCommand(), a.imagesCommand(), a.pullCommand(),
		a.pushCommand(), a.shareCommand(), a.addCommand(), a.mvCommand(), a.renameCommand(), a.rmCommand(), a.labelsCommand(),
		a.deleteCommand(), a.dedupeCommand(), a.importCommand())
	add("cache", a.pinCommand(), a.unpinCommand(), a.prefetchCommand())
	add("account", a.loginCommand(), a.logoutCommand())
	add("try", a.emulatorCommand(), a.demoCommand())
	root.AddCommand(&cobra.Command{
		Use: "version", Short: "Print the version", Args: none,
		Run: func(*cobra.Command, []string) { fmt.Fprintln(a.out, version) },
	})
	root.AddCommand(a.configCommand(), a.jsonCommand())
	root.SetHelpCommand(helpCommand())
	root.SetOut(a.out) // before the completion command, which takes it
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Use, c.Example = "completion SHELL", "  source <(sregfs completion bash)"
		}
		if c.HasSubCommands() && !c.Runnable() {
			group(c)
		}
	}
	root.Version = version
	root.SetVersionTemplate("{{.Version}}\n")
	return root
}

// announce prints the two lines that the registry tool prints before a verb
// that talks to Drive.
func (a *app) announce() {
	if a.set.Quiet || a.set.JSON {
		return
	}
	fmt.Fprintf(a.out, "[client|google-drive] [database|badger://%s]\n[folder][%s]\n", a.set.State, a.set.folder())
}
