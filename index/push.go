package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sync/errgroup"

	"sregfs/index/image"
)

// Push makes an image of the draft: sealed, sent, checked and in the catalogue when it returns; in background mode,
// sealed and in the journal, and the Image has no File yet. ctx bounds the wait only: the journal goes on. So it does
// after a passing error (ErrOffline, ErrSignIn, …), which is returned when the Drive client gave up repeating it. A
// final error (ErrFull, ErrQuota, io/fs.ErrPermission, ErrDigest, …) parks the push; the draft stays, and RetryPush starts
// it again. A draft without changes is not sent: what it was made from, or became, is returned.
//
// ErrNotImage: the draft's name is no image name. ErrPartial: it is half an image, or empty. Neither changes the draft.
func (d *Draft) Push(ctx context.Context) (Image, error) {
	img, err := d.push(ctx)
	if err != nil {
		return Image{}, fmt.Errorf("push %s: %w", d.Place(), err)
	}
	return img, nil
}

func (d *Draft) push(ctx context.Context) (Image, error) {
	if d.s.ix.o.ReadOnly {
		return Image{}, ErrReadOnly
	}
	d.mu.Lock()
	pushing, dirty, img := d.busy != nil, d.rec.Dirty && !d.gone, d.image
	d.mu.Unlock()
	switch {
	case pushing: // sealed, or about to be
		if err := d.lockTurn(ctx); err != nil {
			return Image{}, err
		}
		d.unlockTurn()
	case !dirty && img.File != "":
		return img, nil
	case !dirty:
		return Image{}, partial(image.ErrEmpty)
	default:
		if err := d.seal(ctx); err != nil {
			return Image{}, err
		}
	}
	d.mu.Lock()
	j, rec := d.job, d.rec
	d.mu.Unlock()
	if d.s.ix.o.Background {
		return Image{Ref: rec.ref(), Ext: rec.Ext, Size: rec.Size, MD5: rec.MD5, SHA256: rec.SHA256}, nil
	}
	return d.await(ctx, j)
}

// await waits for the job, which may have ended already.
func (d *Draft) await(ctx context.Context, j *job) (Image, error) {
	if j == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.image, d.err
	}
	stall := j.stalled()
	select {
	case <-stall.begun: // somebody wants it now: no use in pausing
		j.hurry()
		j.resume()
		stall = j.stalled()
	default:
	}
	select {
	case <-j.done:
		return j.img, j.err
	case <-stall.begun:
		return Image{}, stall.why
	case <-ctx.Done():
		return Image{}, ctx.Err()
	}
}

// Wait returns when Drive has what Push sealed, or with the error that keeps it from it; at once if nothing is under way.
func (d *Draft) Wait(ctx context.Context) error {
	d.mu.Lock()
	j, err, place := d.job, d.err, d.rec.Place
	d.mu.Unlock()
	if j != nil {
		_, err = d.await(ctx, j)
	}
	if err != nil {
		return fmt.Errorf("push %s: %w", place, err)
	}
	return nil
}

// WaitPushes returns when no push is under way, or ctx ends. Parked ones count as done; those that wait for the network do
// not.
func (ix *Index) WaitPushes(ctx context.Context) error {
	ix.drafts.mu.Lock()
	quiet := ix.drafts.quiet
	ix.drafts.mu.Unlock()
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// WaitName returns when what is on its way to the name of ref, whatever its version, has arrived: what gets or loses the
// name afterwards comes after it. A push that cannot arrive any more is not waited for; a passing error is returned.
func (ix *Index) WaitName(ctx context.Context, ref image.Ref) error {
	return ix.drafts.arrived(ctx, ref)
}

// arrived is WaitName.
func (s *draftStore) arrived(ctx context.Context, ref image.Ref) error {
	name := ref.Fold().Short()
	for _, d := range s.ix.AllDrafts() {
		d.mu.Lock()
		j, same := d.job, d.rec.ref().Fold().Short() == name
		d.mu.Unlock()
		if j == nil || !same {
			continue
		}
		if _, err := d.await(ctx, j); err != nil && (ctx.Err() != nil || passing(err)) {
			return fmt.Errorf("an earlier push of this name waits: %w", err)
		}
	}
	return nil
}

// PushStatus is one push as Status shows it.
type PushStatus struct {
	ID    uint64 `json:"id"`  // of the draft
	Ref   string `json:"ref"` // what it publishes as
	Place Place  `json:"place"`
	State State  `json:"state"`
	Done  int64  `json:"done"`  // bytes Drive has
	Total int64  `json:"total"` // bytes
	Error string `json:"error,omitempty"`
	Final bool   `json:"final,omitempty"` // it does not go on by itself: RetryPush or RemoveDraft
}

// Pushes lists the pushes that are under way or parked, oldest first.
func (ix *Index) Pushes() []PushStatus {
	var out []PushStatus
	for _, d := range ix.AllDrafts() {
		d.mu.Lock()
		if d.job != nil || d.rec.State == StateFailed {
			p := PushStatus{
				ID: d.id, Ref: d.rec.ref().String(), Place: d.rec.Place, State: d.rec.State,
				Done: d.sent.Load(), Total: d.rec.Size, Final: d.rec.State == StateFailed,
			}
			if d.err != nil {
				p.Error = Sentence(d.err)
			}
			out = append(out, p)
		}
		d.mu.Unlock()
	}
	return out
}

// RetryPush starts a parked push again, or ends the pause of one under way. io/fs.ErrNotExist: there is none of that id.
func (ix *Index) RetryPush(id uint64) error {
	for _, d := range ix.AllDrafts() {
		if d.id == id {
			if err := d.retry(); err != nil {
				return fmt.Errorf("retry push %d: %w", id, err)
			}
			return nil
		}
	}
	return fmt.Errorf("retry push %d: %w", id, os.ErrNotExist)
}

func (d *Draft) retry() error {
	d.Acquire()
	defer d.Release()
	if err := d.ready(d.s.ix.base, false); err != nil {
		return err
	}
	if err := d.lockTurn(d.s.ix.base); err != nil {
		return err
	}
	defer d.unlockTurn()
	d.io.Lock() // no write is under way now
	d.mu.Lock()
	j, state, gone := d.job, d.rec.State, d.gone
	if j == nil && state == StateFailed && !gone {
		d.busy = make(chan struct{})
	}
	d.mu.Unlock()
	d.io.Unlock()
	switch {
	case j != nil:
		j.hurry()
		return nil
	case state != StateFailed || gone:
		return os.ErrNotExist
	}
	order := d.s.number()
	if err := d.save(func(r *draftRecord) { r.State, r.Error, r.Order = StateSealed, "", order }); err != nil {
		d.mu.Lock()
		busy := d.busy
		d.busy = nil
		d.mu.Unlock()
		close(busy)
		return err
	}
	d.s.start(d)
	return nil
}

// PushFile pushes a local file, through a draft and the journal. progress, if not nil, is called with the bytes Drive has.
// The file is copied first, by reference where the disk can; an index that does not poll (Options.Poll) asks Drive
// meanwhile what changed. A push of the same name that waits in the journal goes first, and leaves nothing to send if it
// was the same content. Errors as of Push; after a final one nothing is left behind: the file is the user's.
func (ix *Index) PushFile(ctx context.Context, path string, ref image.Ref, ext string, progress func(done, total int64)) (Image, error) {
	img, err := ix.pushFile(ctx, path, ref, ext, progress)
	if err != nil {
		return Image{}, fmt.Errorf("push %s as %s: %w", path, ref.Short(), err)
	}
	return img, nil
}

func (ix *Index) pushFile(ctx context.Context, path string, ref image.Ref, ext string, progress func(done, total int64)) (Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return Image{}, err
	}
	defer f.Close()
	place := Place{Collection: ref.Collection, Name: ref.TagFile(ext)}
	if err := ix.makeRoom(place); err != nil {
		return Image{}, err
	}
	d, err := ix.CreateDraft(place)
	if err != nil {
		return Image{}, err
	}
	d.Acquire()
	defer d.Release()
	var g errgroup.Group
	g.Go(func() error { return ix.hear(ctx) }) // what changed decides what is sent; meanwhile
	if err := errors.Join(d.fill(ctx, f), g.Wait()); err != nil {
		return Image{}, errors.Join(err, ix.RemoveDraft(d))
	}
	d.mu.Lock()
	d.progress = progress
	d.mu.Unlock()
	img, err := d.push(ctx)
	if err != nil && !d.pushing() {
		err = errors.Join(err, ix.RemoveDraft(d))
	}
	return img, err
}

// hear asks Drive what changed, if nobody else does and it was not asked yet. A passing fault is the push's own to meet.
func (ix *Index) hear(ctx context.Context) error {
	if ix.o.Poll >= 0 || !ix.remote.get().synced.IsZero() {
		return nil
	}
	if err := ix.Refresh(ctx); err != nil && !passing(err) {
		return err
	}
	return nil
}

// makeRoom removes a parked push from the place of a new one: a copy of an earlier PushFile, which its user repeats.
func (ix *Index) makeRoom(place Place) error {
	d, ok := ix.Draft(place)
	if !ok || d.pushing() || d.State() != StateFailed {
		return nil
	}
	return ix.RemoveDraft(d)
}

// fill copies the whole of f into the empty draft, and hashes the copy while it grows.
func (d *Draft) fill(ctx context.Context, f *os.File) error {
	to, err := d.begin(ctx, true)
	if err != nil {
		return err
	}
	defer d.io.RUnlock()
	info, err := f.Stat()
	if err == nil {
		err = d.s.roomFor(info.Size())
	}
	var n int64
	seq := &sequence{hasher: newHasher()}
	if err == nil {
		copied := make(chan int64)
		var g errgroup.Group
		g.Go(func() error { return seq.follow(to, copied) })
		n, err = copyFile(ctx, to, f, copied)
		close(copied)
		err = errors.Join(err, g.Wait())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writers--
	d.seq = nil
	if err == nil {
		d.seq = seq
	}
	d.size, d.rec.Dirty = n, n > 0
	return err
}

// follow adds what of f is there, which ends says as it grows.
func (s *sequence) follow(f *os.File, ends <-chan int64) (err error) {
	buf := make([]byte, 1<<20)
	for end := range ends {
		if err == nil {
			_, err = io.CopyBuffer(s.hasher, io.NewSectionReader(f, s.next, end-s.next), buf)
			s.next = end
		}
	}
	return err
}

// copyFile copies all of f, inside the kernel where it can, in pieces between which ctx is looked at and copied is told
// how far it is.
func copyFile(ctx context.Context, to, f *os.File, copied chan<- int64) (n int64, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		m, err := io.CopyN(to, f, 4*flushStep)
		if m > 0 {
			flush(to, n, n+m)
			n += m
			copied <- n
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
