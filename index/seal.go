package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"sregfs/index/image"
)

// seal closes the draft to writers and makes of it what a push needs: a whole image, on disk for good, with its checksums
// and its name. On error the draft is as it was.
func (d *Draft) seal(ctx context.Context) error {
	ref, ext, ok := d.Place().Ref()
	if !ok {
		return ErrNotImage
	}
	if err := ref.Check(); err != nil {
		return err
	}
	if err := d.ready(ctx, false); err != nil {
		return err
	}
	if err := d.lockTurn(ctx); err != nil {
		return err
	}
	defer d.unlockTurn()
	d.io.Lock() // no write is under way now
	d.mu.Lock()
	if d.busy != nil {
		d.mu.Unlock()
		d.io.Unlock()
		return nil // somebody else sealed it
	}
	if d.gone || d.file == nil {
		d.mu.Unlock()
		d.io.Unlock()
		return ErrBusy // removed, or released, at this moment
	}
	busy := make(chan struct{})
	d.busy = busy
	d.open++
	f, size, seq := d.file, d.size, d.seq
	d.mu.Unlock()
	d.io.Unlock()

	d.sent.Store(0)
	err := d.record(ctx, f, size, seq, ref, ext)
	if err == nil {
		crashpoint("draft.sealed")
		d.s.start(d)
	} else {
		d.mu.Lock()
		d.busy = nil
		d.err = err
		d.mu.Unlock()
		close(busy)
	}
	d.Release()
	return err
}

// record does the work of seal on the quiet file.
func (d *Draft) record(ctx context.Context, f *os.File, size int64, seq *sequence, ref image.Ref, ext string) error {
	if err := d.whole(); err != nil {
		return err
	}
	d.foresee(size)
	if err := f.Sync(); err != nil {
		return err
	}
	if err := syncDir(d.s.dir); err != nil {
		return err
	}
	var sums digests
	if seq != nil && seq.next == size {
		sums = seq.sum()
	} else {
		h := newHasher()
		if _, err := io.CopyBuffer(h, ctxReader{ctx, io.NewSectionReader(f, 0, size)}, make([]byte, 1<<20)); err != nil {
			return err
		}
		sums = h.sum()
	}
	ref.Version = sums.md5
	d.mu.Lock()
	d.blocks = sums.blocks
	d.mu.Unlock()
	crashpoint("draft.synced")
	if _, err := image.Describe(ref, ext, nil, nil); err != nil {
		return err
	}
	order := d.s.number()
	return d.save(func(r *draftRecord) {
		*r = draftRecord{
			Place: r.Place, State: StateSealed, Dirty: true, Order: order,
			Collection: ref.Collection, Image: ref.Image, Tag: ref.Tag, Ext: ext, Size: size, MD5: sums.md5, SHA256: sums.sha256,
		}
	})
}

// whole returns ErrPartial unless the content is a whole image, or of no format that can tell.
func (d *Draft) whole() error {
	d.io.RLock()
	defer d.io.RUnlock()
	if d.file == nil {
		return ErrBusy
	}
	switch err := image.Whole(d.file, d.Size()); {
	case err == nil, errors.Is(err, image.ErrUnsupported):
		return nil
	case errors.Is(err, image.ErrTruncated), errors.Is(err, image.ErrEmpty), errors.Is(err, image.ErrCorrupt):
		return partial(err)
	default:
		return err
	}
}

// partial is ErrPartial with what is missing, an error of package image.
func partial(err error) error { return fmt.Errorf("%w: %w", ErrPartial, err) }

// ref is what the sealed draft publishes as.
func (r draftRecord) ref() image.Ref {
	return image.Ref{Collection: r.Collection, Image: r.Image, Tag: r.Tag, Version: r.MD5}
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	f, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
