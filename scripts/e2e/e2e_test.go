//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// setup is what all tests of a run share; TestMain sets it before the first.
var setup struct {
	sregfs  string // the binary under test, executable by everybody
	scripts string // the repository's scripts directory
	root    string // the Apptainer root's directory
}

// userID is the ordinary user that scripts/apptainer-root makes; it needs no account outside.
const userID = 1000

func TestMain(m *testing.M) {
	if os.Getenv("SREGFS_E2E") == "skip" {
		fmt.Println("e2e: skipped, because SREGFS_E2E=skip: nothing was run with the real Apptainer")
		return
	}
	dir, err := os.MkdirTemp("", "sregfs-e2e-")
	if err == nil {
		err = prepare(dir)
	}
	code := 1
	if err != nil {
		fmt.Println("e2e:", err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// prepare fills setup, or says what this machine lacks. The binary is copied into dir, because an ordinary user may
// have no way into the checkout.
func prepare(dir string) error {
	if os.Getuid() != 0 {
		return fmt.Errorf("entering the Apptainer root needs root; run `sudo make e2e`, or set SREGFS_E2E=skip")
	}
	here, err := os.Getwd() // go test runs in the package's directory
	if err != nil {
		return err
	}
	setup.scripts = filepath.Dir(here)
	setup.root = os.Getenv("SREGFS_APPTAINER_ROOT")
	if setup.root == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return err
		}
		setup.root = filepath.Join(home, ".cache/sregfs/apptainer-root")
	}
	for _, part := range []string{"apptainer", "science.sif"} {
		if _, err := os.Stat(filepath.Join(setup.root, part+".done")); err != nil {
			return fmt.Errorf("no real Apptainer: %w; make it with scripts/setup --e2e, or set SREGFS_E2E=skip", err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	setup.sregfs = filepath.Join(dir, "sregfs")
	if built := os.Getenv("SREGFS_BIN"); built != "" {
		return run("install", "-m", "0755", built, setup.sregfs)
	}
	return run("go", "build", "-o", setup.sregfs, "sregfs/cmd/sregfs")
}

func run(name string, args ...string) error {
	if out, err := exec.CommandContext(context.Background(), name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}
