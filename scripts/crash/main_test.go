//go:build crash

package crash

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

const longRun = 500 // kills, from which on every combination is tried

var (
	kills = flag.Int("kills", 100, "how often to kill at random, over all the modes")
	seed  = flag.Uint64("seed", 0, "of the dice; 0 = the time")

	program string // the binary under test; TestMain sets it before the first test
)

func TestMain(m *testing.M) {
	if err := fstest.Private(); err != nil { // killed, it leaves no mount behind
		panic(err)
	}
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	dir, err := os.MkdirTemp("", "sregfs-crash-")
	if err == nil {
		program = filepath.Join(dir, "sregfs")
		err = run("go", "build", "-tags", "crash", "-o", program, "sregfs/cmd/sregfs")
	}
	code := 1
	if err != nil {
		fmt.Println("crash:", err)
	} else {
		code = m.Run()
		fmt.Printf("crash: seed %d: %s\n", *seed, &total)
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
