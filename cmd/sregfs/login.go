package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"sregfs/drive"
)

func (a *app) loginCommand() *cobra.Command {
	var noBrowser bool
	c := &cobra.Command{
		Use:   "login",
		Short: "Sign in to Google Drive",
		Long: `Open the browser to let sregfs use your Drive, and keep the sign-in for later
commands. Where this machine has no browser, --noauth_local_webserver prints the
address to open elsewhere, and takes the address the browser ends on.`,
		Example: "  sregfs login\n  sregfs login --noauth_local_webserver",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			auth, err := a.auth()
			if err != nil {
				return err
			}
			if auth.Kind() == drive.KindServiceAccount {
				fmt.Fprintln(a.out, "The credentials are a service account's key: no sign-in is needed.")
				return nil
			}
			l := drive.Login{Prompt: a.prompt(cmd.Context(), noBrowser)}
			if noBrowser {
				l.Paste = a.paste
			}
			if err := auth.Login(cmd.Context(), l); exitCode(err) == exitError {
				return &codedError{text: sentence(err), code: exitSignIn} // whatever it was, nobody is signed in
			} else if err != nil {
				return err
			}
			fmt.Fprintln(a.out, "Authentication successful.")
			return nil
		},
	}
	c.Flags().BoolVar(&noBrowser, "noauth_local_webserver", false, "open no browser; take the pasted address")
	return c
}

// prompt shows the address to visit, and opens it where there is a browser.
func (a *app) prompt(ctx context.Context, noBrowser bool) func(url string) error {
	return func(url string) error {
		if noBrowser {
			fmt.Fprintf(a.out, "Go to the following address in a browser:\n\n    %s\n\n", url)
			fmt.Fprintln(a.out, "It ends on an address that begins with http://127.0.0.1 and may not load. Paste that address here:")
			return nil
		}
		fmt.Fprintf(a.out, "Your browser has been opened to visit:\n\n    %s\n\n", url)
		fmt.Fprintln(a.out, "If your browser is on another machine, run this again with --noauth_local_webserver.")
		if opener, err := exec.LookPath("xdg-open"); err == nil {
			browser := exec.CommandContext(context.WithoutCancel(ctx), opener, url)
			if err := browser.Start(); err != nil {
				a.log.Debugf("open the browser: %v", err)
				return nil
			}
			return browser.Process.Release()
		}
		return nil
	}
}

// paste reads the address the browser ended on. The read of a terminal can't
// be interrupted, so it is left behind when ctx ends: the process ends then.
func (a *app) paste(ctx context.Context) (string, error) {
	type answer struct {
		line string
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if err == io.EOF && line != "" {
			err = nil
		}
		read <- answer{strings.TrimSpace(line), err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case got := <-read:
		return got.line, got.err
	}
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "End the sign-in and forget it", Args: cobra.NoArgs, Example: "  sregfs logout",
		RunE: func(cmd *cobra.Command, _ []string) error {
			auth, err := a.auth()
			if err != nil {
				return err
			}
			if err := auth.Logout(cmd.Context()); err != nil {
				return err
			}
			a.say("Signed out.")
			return nil
		},
	}
}
