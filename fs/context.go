package fs

import (
	"context"
	"errors"

	"bazil.org/fuse"
)

// errUnmounting is why a request ends when the mount does.
var errUnmounting = errors.New("unmounting")

// withContext joins the mount's life to a request (fusefs.Config.WithContext): the server waits for its handlers at
// unmount and does not cancel them.
func (fsys *FS) withContext(ctx context.Context, _ fuse.Request) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(fsys.base, func() { cancel(errUnmounting) })
	context.AfterFunc(ctx, func() { stop() })
	return ctx
}
