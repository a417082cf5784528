package fs

import (
	"context"
	"errors"
	"time"

	"bazil.org/fuse"
)

// errUnmounting is why a request ends when the mount does.
var errUnmounting = errors.New("unmounting")

// grace is how long a read that was interrupted goes on. Signals that a program merely handles (a timer, a child) reach
// us as interrupts too, and a read that fails for one of them may end a container.
const grace = 2 * time.Second

// withContext joins the mount's life to a request (fusefs.Config.WithContext): the server waits for its handlers at
// unmount and does not cancel them.
func (fsys *FS) withContext(ctx context.Context, _ fuse.Request) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(fsys.base, func() { cancel(errUnmounting) })
	context.AfterFunc(ctx, func() { stop() })
	return ctx
}

// patient returns a context that outlives an interrupt of ctx by grace, and a function that releases it.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(context.Cause(ctx), errUnmounting) {
			cancel()
			return
		}
		time.AfterFunc(grace, cancel)
	})
	return late, func() {
		stop()
		cancel()
	}
}
