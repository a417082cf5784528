//go:build crash

package crash

import (
	"fmt"
	"sync/atomic"
)

// tally counts what a run did.
type tally struct {
	kills, cuts, driveKills, lineCuts atomic.Int64
	operations, images, bytes         atomic.Int64
}

// total is of all the tests of a run.
var total tally

func (c *tally) String() string {
	return fmt.Sprintf("%d kills, %d power cuts, %d kills of the Drive, %d cuts of the line; %d operations acknowledged, %d images, %d bytes",
		c.kills.Load(), c.cuts.Load(), c.driveKills.Load(), c.lineCuts.Load(), c.operations.Load(), c.images.Load(), c.bytes.Load())
}
