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
			err = d.still(ctx, busy)
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

// still waits until the draft is no longer being pushed. While its push pauses for an error, that is the answer: it may be
// a long time.
func (d *Draft) still(ctx context.Context, busy <-chan struct{}) error {
	d.mu.Lock()
	j := d.job
	d.mu.Unlock()
	if j != nil {
		if _, err := d.await(ctx, j); err != nil && !j.ended() {
			return fmt.Errorf("an earlier push of it waits: %w", err)
		}
	}
	select { // finish is about to, or it is just being sealed
	case <-busy:
		return nil
	case <-ctx.Done():
		return ctx.Err()
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
	return d.prepare(ctx, empty)
}

// prepare is ready for a caller that has the turn.
func (d *Draft) prepare(ctx context.Context, empty bool) error {
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
		f, err = d.materialise(true, nil)
	default:
		var base *Reader
		if base, err = d.reader(); err == nil {
			f, err = d.materialise(false, func(f *os.File) error {
				if err := d.s.roomFor(size); err != nil {
					return err
				}
				return copyImage(ctx, f, base, size)
			})
		}
	}
	if err != nil {
		return fmt.Errorf("draft %d: %w", d.id, err)
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

// materialise gives the draft a record and a file of its own, into which fill, if not nil, puts its first content. The
// file gets its name last: one without a record would come back as something nobody wrote.
func (d *Draft) materialise(empty bool, fill func(*os.File) error) (*os.File, error) {
	path := d.s.path(d.id)
	f, err := os.OpenFile(path+unfinished, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if fill != nil {
		err = fill(f)
	}
	if err == nil {
		err = d.save(func(r *draftRecord) { *r = draftRecord{Place: r.Place, State: StateDraft, Order: r.Order} })
	}
	if err == nil {
		d.s.notePlace(path+unfinished, d.Place())
		crashpoint("draft.created")
		err = os.Rename(path+unfinished, path)
	}
	if err != nil { // a record without a file is dropped at the next start
		return nil, errors.Join(err, f.Close(), os.Remove(path+unfinished))
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
	return f, nil
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
