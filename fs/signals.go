package fs

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// lookAgain is how often the signals of an interrupted program are looked at: the kernel tells of the first one only.
const lookAgain = 200 * time.Millisecond

// stopping are the signals by which somebody ends a program, as bits of /proc/PID/status. SIGKILL stands there for
// every signal that will kill the program, because the kernel then adds it to the set of each of its threads.
const stopping = 1<<(unix.SIGHUP-1) | 1<<(unix.SIGINT-1) | 1<<(unix.SIGQUIT-1) | 1<<(unix.SIGKILL-1) | 1<<(unix.SIGTERM-1)

// grace is how long a read goes on after somebody began to end its program. A program that handles SIGTERM may read on
// for a while, and a read that fails may end a container.
const grace = 2 * time.Second

// steadfast returns a context for a wait on behalf of thread, which a signal ends only if it is one of stopping, and a
// function that releases it. The kernel interrupts a request for any signal that the program handles, be it SIGALRM or
// the SIGURG by which Go's runtime preempts itself; a push that failed for one of those would fail at random.
func (fsys *FS) steadfast(ctx context.Context, thread uint32) (context.Context, context.CancelFunc) {
	return fsys.outlast(ctx, thread, 0)
}

// patient is steadfast for reads and writes of content, which go on for grace.
func (fsys *FS) patient(ctx context.Context, thread uint32) (context.Context, context.CancelFunc) {
	return fsys.outlast(ctx, thread, grace)
}

func (fsys *FS) outlast(ctx context.Context, thread uint32, grace time.Duration) (context.Context, context.CancelFunc) {
	var done func()
	late := &lateContext{start: func() (steady context.Context) {
		steady, done = fsys.watched(ctx, thread, grace)
		return steady
	}}
	return late, func() {
		if !late.skip() {
			done()
		}
	}
}

func (fsys *FS) watched(ctx context.Context, thread uint32, grace time.Duration) (steady context.Context, done func()) {
	steady, cancel := context.WithCancel(context.WithoutCancel(ctx))
	interrupted := context.AfterFunc(ctx, func() { // also at unmount, see withContext
		defer cancel()
		again := time.NewTicker(lookAgain)
		defer again.Stop()
		for fsys.base.Err() == nil && !stopped(thread) {
			select {
			case <-steady.Done():
				return
			case <-fsys.base.Done():
			case <-again.C:
			}
		}
		late := time.NewTimer(grace)
		defer late.Stop()
		select {
		case <-steady.Done():
		case <-fsys.base.Done():
		case <-late.C:
		}
	})
	return steady, func() {
		interrupted()
		cancel()
	}
}

// stopped says whether a signal waits for thread that is meant to end its program. A thread that cannot be looked at,
// in another PID namespace, gets the benefit of the doubt: its user must not be stuck.
func stopped(thread uint32) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return true
	}
	pending := signals(status, "SigPnd:") | signals(status, "ShdPnd:")
	return pending&^signals(status, "SigBlk:")&stopping != 0
}

// signals reads one set of signals of /proc/PID/status.
func signals(status []byte, field string) uint64 {
	set, err := strconv.ParseUint(statusField(status, field), 16, 64)
	if err != nil {
		return 0
	}
	return set
}
