package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the Makefile, to the tag of a release or to the commit.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
