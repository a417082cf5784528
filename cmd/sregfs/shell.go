package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"sregfs/drive"
	sregfs "sregfs/fs"
	"sregfs/index"
)

func (a *app) shellCommand() *cobra.Command {
	var command string
	c := &cobra.Command{
		Use:   "shell [IMAGE]",
		Short: "Mount the registry for as long as a shell runs in it",
		Long: `Mount the registry at a directory of its own, run $SREGISTRY_SHELL or $SHELL in
it, and unmount when that ends, after its pushes are done. With IMAGE the shell
starts in the image's collection, and $IMAGE is the path of the image. Where the
registry is mounted already, the shell runs there. The exit code is the shell's.`,
		Example:           "  sregfs shell\n  sregfs shell -c 'apptainer run \"$IMAGE\"' vsoch/hello-world",
		Args:              atMost(1),
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := a.auth(); errors.Is(err, drive.ErrNoCredentials) {
				if _, held := index.Holder(a.set.State); !held {
					return err
				}
			}
			a.announce()
			return a.inMount(cmd.Context(), func(dir string, reg registry) error {
				env := append(os.Environ(), "SREGFS_MOUNT="+dir)
				if len(args) == 1 {
					img, err := a.find(cmd.Context(), reg, onDrive, args[0])
					if err != nil {
						return err
					}
					path := (&mounted{dir: dir}).Path(img)
					env = append(env, "IMAGE="+path)
					dir = filepath.Dir(filepath.Dir(path))
				}
				return a.runShell(cmd.Context(), dir, command, env)
			})
		},
	}
	c.Flags().StringVarP(&command, "command", "c", "", "run this instead of an interactive shell")
	return c
}

// inMount calls use with the directory of a mount, and the registry in it: the
// mount that has the state, or one that lasts as long as use. A process must not
// look into a mount of its own: the registry is then the index itself.
func (a *app) inMount(ctx context.Context, use func(dir string, reg registry) error) (err error) {
	if holder, held := index.Holder(a.set.State); held {
		if holder.Mount == "" {
			return &holder
		}
		return use(holder.Mount, &mounted{dir: holder.Mount, log: a.log})
	}
	dir, err := os.MkdirTemp("", "sregfs-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	ix, closeIndex, err := a.openIndex(ctx, index.Options{Mount: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeIndex()) }()
	mnt, err := sregfs.Mount(ctx, dir, ix, sregfs.Options{Log: a.log})
	if err != nil {
		return err
	}
	err = use(dir, &direct{ix: ix})
	if e := ix.WaitPushes(ctx); e != nil {
		a.log.Warn("pushes under way go on with the next mount")
	}
	// ^C was for the shell's programs, or ends the waiting: it must not leave the mount behind.
	after := context.WithoutCancel(ctx)
	if e := mnt.Unmount(after); errors.Is(e, syscall.EBUSY) {
		a.log.Warnf("a program still works in %s: it is detached", dir)
		e = sregfs.Unmount(after, dir, true)
		return errors.Join(err, e, mnt.Wait())
	} else if e != nil {
		return errors.Join(err, e)
	}
	return errors.Join(err, mnt.Wait())
}

// runShell runs the person's shell in dir. Its exit code is ours.
func (a *app) runShell(ctx context.Context, dir, command string, env []string) error {
	shell := cmp.Or(os.Getenv("SREGISTRY_SHELL"), os.Getenv("SHELL"), "/bin/sh")
	// It is /bin/sh that enters the mount: to start a process there, Go's runtime would wait for the mount's own answer.
	args := []string{"-c", `cd "$1" && shift && exec "$@"`, "sh", dir, shell}
	if command != "" {
		args = append(args, "-c", command)
	}
	// The terminal's ^C goes to the shell and its programs, who know what to do with it; it does not end the mount.
	child := exec.CommandContext(context.WithoutCancel(ctx), "/bin/sh", args...)
	child.Env = env
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, a.out, a.err
	if err := child.Start(); err != nil {
		return localFile(fmt.Errorf("start the shell: %w", err))
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(term)
	done := make(chan error, 1)
	go func() { done <- child.Wait() }()
	for {
		select {
		case sig := <-term:
			_ = child.Process.Signal(sig)
		case err := <-done:
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				return &codedError{code: max(exit.ExitCode(), exitError)} // the shell said what it had to say
			}
			return err
		}
	}
}
