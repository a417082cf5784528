package fs

import (
	"context"
	"errors"
	"sync"
	"time"

	"bazil.org/fuse"
)

// errUnmounting is why a request ends when the mount does.
var errUnmounting = errors.New("unmounting")

// withContext joins the mount's life to a request (fusefs.Config.WithContext): the server waits for its handlers at
// unmount and does not cancel them.
func (fsys *FS) withContext(ctx context.Context, _ fuse.Request) context.Context {
	fsys.requests.Add(1)
	return &lateContext{start: func() context.Context {
		ctx, cancel := context.WithCancelCause(ctx)
		stop := context.AfterFunc(fsys.base, func() { cancel(errUnmounting) })
		context.AfterFunc(ctx, func() { stop() })
		return ctx
	}}
}

// lateContext is a context that begins when somebody first asks it anything. Most requests are answered from memory or
// from the disk and never wait; joining two lives for each of them was a fifth of what a look-up costs.
type lateContext struct {
	start func() context.Context
	once  sync.Once
	ctx   context.Context //nolint:containedctx // it is one
}

func (c *lateContext) get() context.Context {
	c.once.Do(func() { c.ctx = c.start() })
	return c.ctx
}

// skip keeps a context that nobody asked so far from beginning, and says whether it did: then it has ended, for who may
// still ask.
func (c *lateContext) skip() (skipped bool) {
	c.once.Do(func() { c.ctx, skipped = ended, true })
	return skipped
}

// ended is a context that is over.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // it belongs to no caller
	cancel()
	return ctx
}()

// Deadline is that of the context which begins now, if it has not.
func (c *lateContext) Deadline() (time.Time, bool) { return c.get().Deadline() }

// Done is that of the context which begins now, if it has not.
func (c *lateContext) Done() <-chan struct{} { return c.get().Done() }

// Err is that of the context which begins now, if it has not.
func (c *lateContext) Err() error { return c.get().Err() }

// Value is that of the context which begins now, if it has not.
func (c *lateContext) Value(key any) any { return c.get().Value(key) }
