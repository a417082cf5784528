package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
)

// begin waits until the local file may be changed and returns it, with io held shared and the write counted. With empty,
// what is in it does not matter.
func (d *Draft) begin(ctx context.Context, empty bool) (*os.File, error) {
	for {
		d.io.RLock()
		d.mu.Lock()
		busy, parked := d.busy, d.rec.State == StateFailed && !d.gone
		if busy == nil && !parked && d.file != nil {
			if d.writers++; d.writers > 1 {
				d.seq = nil
			}
			d.mu.Unlock()
			return d.file, nil
		}
		d.mu.Unlock()
		d.io.RUnlock()
		var err error
		switch {
		case busy != nil:
			select {
			case <-busy:
			case <-ctx.Done():
				err = ctx.Err()
			}
		case parked:
			err = d.unpark(ctx)
		default:
			err = d.ready(ctx, empty)
		}
		if err != nil {
			return nil, err
		}
	}
}

// lockTurn takes the turn.
func (d *Draft) lockTurn(ctx context.Context) error {
	select {
	case d.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *Draft) unlockTurn() { <-d.turn }

// ready makes the local file open: it opens it, or makes it, as a copy of the image the draft was made from, or, with
// empty, of nothing.
func (d *Draft) ready(ctx context.Context, empty bool) error {
	if err := d.lockTurn(ctx); err != nil {
		return err
	}
	defer d.unlockTurn()
	d.io.RLock()
	there := d.file != nil
	d.io.RUnlock()
	if there {
		return nil
	}
	d.mu.Lock()
	onDisk, gone, img, size := d.onDisk, d.gone, d.image, d.size
	d.mu.Unlock()
	var f *os.File
	var err error
	switch {
	case gone:
		return fmt.Errorf("draft %d was removed: %w", d.id, iofs.ErrNotExist)
	case onDisk:
		f, err = os.OpenFile(d.s.path(d.id), os.O_RDWR, 0)
	case empty || img.File == "":
		f, err = d.s.create(d.id, nil)
	default:
		var base *Reader
		if base, err = d.reader(); err == nil {
			f, err = d.s.create(d.id, func(f *os.File) error { return copyImage(ctx, f, base, size) })
		}
	}
	if err != nil {
		return fmt.Errorf("draft %d: %w", d.id, err)
	}
	if !onDisk {
		if err := d.materialised(empty); err != nil {
			return errors.Join(fmt.Errorf("draft %d: %w", d.id, err), f.Close())
		}
	}
	d.io.Lock()
	d.file = f
	d.io.Unlock()
	return nil
}

// unpark makes a draft again of one whose push failed: its content is about to change, so what was to be sent is void.
func (d *Draft) unpark(ctx context.Context) error {
	if err := d.lockTurn(ctx); err != nil {
		return err
	}
	defer d.unlockTurn()
	if d.State() != StateFailed {
		return nil
	}
	return d.save(func(r *draftRecord) {
		*r = draftRecord{Place: r.Place, State: StateDraft, Dirty: r.Dirty, Order: r.Order}
	})
}

// materialised records the draft, now that it has a file of its own.
func (d *Draft) materialised(empty bool) error {
	err := d.save(func(r *draftRecord) { *r = draftRecord{Place: r.Place, State: StateDraft, Order: r.Order} })
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.onDisk, d.err, d.seq = true, nil, nil
	if empty {
		d.size = 0
	}
	if d.size == 0 {
		d.seq = &sequence{hasher: newHasher()}
	}
	d.mu.Unlock()
	d.s.register(d)
	return nil
}

// copyImage copies an image through its Reader, which reads ahead.
func copyImage(ctx context.Context, f *os.File, r *Reader, size int64) error {
	buf := make([]byte, 1<<20)
	for off := int64(0); off < size; {
		n, err := r.ReadAt(ctx, buf, off)
		if _, e := f.WriteAt(buf[:n], off); e != nil {
			return e
		}
		off += int64(n)
		if err != nil && (!errors.Is(err, io.EOF) || off < size) {
			return err
		}
	}
	return nil
}
