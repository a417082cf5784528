//go:build soak

package soak

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"sregfs/fs/fstest"
)

var (
	duration = flag.Duration("for", 2*time.Minute, "how long to work")
	seed     = flag.Uint64("seed", 0, "of the dice; 0 = the time")

	program string // the binary under test; TestMain sets it before the test
)

func TestMain(m *testing.M) {
	if text := os.Getenv(readerVariable); text != "" {
		os.Exit(readerMain(text))
	}
	if err := fstest.Private(); err != nil { // killed, it leaves no mount behind
		panic(err)
	}
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	dir, err := os.MkdirTemp("", "sregfs-soak-")
	if err == nil {
		program = filepath.Join(dir, "sregfs")
		if built := os.Getenv("SREGFS_BIN"); built != "" {
			err = run("install", "-m", "0755", built, program)
		} else {
			err = run("go", "build", "-o", program, "sregfs/cmd/sregfs")
		}
	}
	code := 1
	if err != nil {
		fmt.Println("soak:", err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func run(name string, args ...string) error {
	if out, err := exec.CommandContext(context.Background(), name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}
