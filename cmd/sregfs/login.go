package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sregfs/drive"
)

func (a *app) loginCommand() *cobra.Command {
	var noBrowser bool
	var wait time.Duration
	c := &cobra.Command{
		Use:   "login",
		Short: "Sign in to Google Drive",
		Long: `Open the browser ($BROWSER, or the desktop's own) to let sregfs use your Drive,
and keep the sign-in for later commands. Where this machine has no browser,
--noauth_local_webserver prints the address to open elsewhere, and takes the
address the browser ends on. A mount that is running goes on with the new sign-in.
Where nobody answers for --wait, the sign-in is as it was, and the exit code 5.`,
		Example: "  sregfs login\n  sregfs login --noauth_local_webserver",
		Args:    none,
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
				l.Paste = a.pasted()
			}
			if wait <= 0 {
				return usagef("--wait must be more than zero")
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), wait)
			defer cancel()
			err = auth.Login(ctx, l)
			if err != nil && cmd.Context().Err() == nil && ctx.Err() != nil {
				return &codedError{text: fmt.Sprintf("nobody allowed it within %v; the sign-in is as it was, and 'sregfs login' asks again", wait), code: exitSignIn}
			}
			switch code := exitCode(err); code {
			case exitOK:
			case exitError: // whatever it was, nobody is signed in
				return &codedError{text: sentence(err), code: exitSignIn}
			case exitInterrupted:
				return &codedError{text: "interrupted; the sign-in is as it was", code: code}
			default:
				return err
			}
			fmt.Fprintln(a.out, "Authentication successful.")
			return nil
		},
	}
	c.Flags().BoolVar(&noBrowser, "noauth_local_webserver", false, "open no browser; take the pasted address")
	c.Flags().DurationVar(&wait, "wait", 15*time.Minute, "how long to wait for the answer")
	return c
}

// prompt shows the address to visit, and opens it where there is a browser.
func (a *app) prompt(ctx context.Context, noBrowser bool) func(address string) error {
	return func(address string) error {
		if noBrowser {
			fmt.Fprintf(a.out, "Go to the following address in a browser:\n\n    %s\n\n", address)
			to, port := redirectOf(address)
			if port != "" {
				fmt.Fprintf(a.out, "If that browser is on another machine, run this there first, and you are done when you have allowed it:\n\n    %s\n\n", tunnel(port))
			}
			fmt.Fprintf(a.out, "Or let it end on an address that begins with %s and may not load. Paste that address here:\n", to)
			return nil
		}
		if !a.openBrowser(ctx, address) {
			fmt.Fprintf(a.out, "No browser was found on this machine. Where you have one on it, visit:\n\n    %s\n\n"+
				"If your browser is on another machine, run this again with --noauth_local_webserver.\n", address)
			return nil
		}
		fmt.Fprintf(a.out, "Your browser has been opened to visit:\n\n    %s\n\n"+
			"If none has opened, visit that address yourself. If your browser is on another machine,\n"+
			"run this again with --noauth_local_webserver.\n", address)
		return nil
	}
}

// redirectOf is where the consent page at address sends the browser in the end, and the port of this machine that this
// leads to, "" if it does not lead here.
func redirectOf(address string) (to, port string) {
	u, err := url.Parse(address)
	if err != nil {
		return "", ""
	}
	back, err := url.Parse(u.Query().Get("redirect_uri"))
	if err != nil {
		return "", ""
	}
	if back.Scheme == "http" {
		port = cmp.Or(back.Port(), "80")
	}
	return back.String(), port
}

// tunnel is the command that makes port of this machine the same port of the one it is run on.
func tunnel(port string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "THIS_MACHINE"
	}
	if who, err := user.Current(); err == nil {
		host = who.Username + "@" + host
	}
	return fmt.Sprintf("ssh -N -L %[1]s:127.0.0.1:%[1]s %[2]s", port, host)
}

// openBrowser opens the person's browser at address, and says whether it found one. BROWSER is a list of commands,
// separated by colons, of which the first that is there is taken; %s in one stands for the address, which is its last
// argument otherwise (https://docs.python.org/3/library/webbrowser.html, xdg-open(1)).
func (a *app) openBrowser(ctx context.Context, address string) bool {
	for _, command := range append(strings.Split(os.Getenv("BROWSER"), ":"), "xdg-open") {
		words := strings.Fields(command)
		if len(words) == 0 {
			continue
		}
		path, err := exec.LookPath(words[0])
		if err != nil {
			continue
		}
		if !strings.Contains(command, "%s") {
			words = append(words, "%s")
		}
		for i := range words {
			words[i] = strings.ReplaceAll(words[i], "%s", address)
		}
		browser := exec.CommandContext(context.WithoutCancel(ctx), path, words[1:]...)
		browser.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // ^C ends the sign-in, not the browser
		if err := browser.Start(); err != nil {
			a.log.Debugf("open the browser: %v", err)
			continue
		}
		_ = browser.Process.Release()
		return true
	}
	return false
}

// pasted gives the lines the person types, and tells what was wrong with the last one.
func (a *app) pasted() func(ctx context.Context, problem error) (string, error) {
	in := bufio.NewReader(os.Stdin)
	type answer struct {
		line string
		err  error
	}
	return func(ctx context.Context, problem error) (string, error) {
		if problem != nil {
			fmt.Fprintf(a.out, "No, %v:\n", problem)
		}
		read := make(chan answer, 1)
		// The read of a terminal can't be interrupted, so it is left behind when ctx ends: the process ends then.
		go func() {
			line, err := in.ReadString('\n')
			if errors.Is(err, io.EOF) && line != "" {
				err = nil
			}
			read <- answer{line, err}
		}()
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case got := <-read:
			return got.line, got.err
		}
	}
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "End the sign-in and forget it", Args: none, Example: "  sregfs logout",
		RunE: func(cmd *cobra.Command, _ []string) error {
			auth, err := a.auth()
			if err != nil {
				return err
			}
			if auth.Kind() == drive.KindServiceAccount {
				a.say("The credentials are a service account's key: there is no sign-in to end.")
				return nil
			}
			if err := auth.Logout(cmd.Context()); err != nil {
				return err
			}
			a.say("Signed out.")
			return nil
		},
	}
}
