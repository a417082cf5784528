package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"sregfs/drive/drivetest"
)

func (a *app) emulatorCommand() *cobra.Command {
	var o drivetest.Options
	var listen, perConnection, total, logFile string
	var faults []string
	var latency time.Duration
	c := &cobra.Command{
		Use:   "emulator --dir DIR",
		Short: "Serve a Google Drive of your own on this machine",
		Long: `Serve a Drive with the given users, kept in DIR. For each user it writes
DIR/users/ADDRESS/{client_secrets.json,token.json,env}; 'source' the env file and
sregfs uses that Drive. /debug/requests shows each request, POST to
/debug/faults sets faults.`,
		Example: "  sregfs emulator --listen 127.0.0.1:0 --dir /tmp/drive --user ann@uni.edu --latency 200ms --bandwidth 40MB",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Dir == "" {
				return usagef("emulator needs --dir DIR")
			}
			if latency < 0 {
				return usagef("--latency %s is less than nothing", latency)
			}
			o.Shape.Latency = latency
			var err error
			if o.Shape.PerConnection, err = parseSize("bandwidth", perConnection); err != nil {
				return err
			}
			if o.Shape.Total, err = parseSize("total-bandwidth", total); err != nil {
				return err
			}
			if logFile != "" {
				f, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
				if err != nil {
					return err
				}
				defer f.Close()
				o.Log = f
			}
			return serveDrive(cmd.Context(), o, listen, faults, a.out)
		},
	}
	f := c.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:0", "address to listen on")
	f.StringVar(&o.Dir, "dir", "", "where the Drive is kept")
	f.StringArrayVar(&o.Users, "user", []string{"ann@uni.edu"}, "a user's e-mail address (repeatable)")
	f.DurationVar(&latency, "latency", 0, "time before the first byte of each reply")
	f.StringVar(&perConnection, "bandwidth", "", "bytes per second of one connection, like 40MB")
	f.StringVar(&total, "total-bandwidth", "", "bytes per second in all")
	f.StringArrayVar(&faults, "fault", nil, "a fault rule, like 'GET /drive/v3/files/* alt=media status=503 times=2' (repeatable)")
	f.StringVar(&logFile, "log", "", "request log, a JSON line each")
	return c
}

// serveDrive runs a Drive until ctx ends.
func serveDrive(ctx context.Context, o drivetest.Options, listen string, faults []string, out io.Writer) error {
	srv, err := drivetest.Open(o)
	switch {
	case errors.Is(err, drivetest.ErrAddress):
		return usagef("--user: %v", err)
	case err != nil:
		return fmt.Errorf("emulator: %w", err)
	}
	for _, text := range faults {
		rule, err := drivetest.ParseRule(text)
		if err != nil {
			return errors.Join(usagef("--fault %q: %v", text, err), srv.Close())
		}
		srv.Fault(rule)
	}
	if err := srv.Listen(listen); err != nil {
		return errors.Join(fmt.Errorf("emulator: %w", err), srv.Close())
	}
	for _, user := range o.Users {
		if err := srv.User(user).WriteCredentials(filepath.Join(o.Dir, "users", user)); err != nil {
			return errors.Join(err, srv.Close())
		}
	}
	fmt.Fprintf(out, "listening on %s\n", srv.URL())
	<-ctx.Done()
	return srv.Close()
}
