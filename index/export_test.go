package index

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Soon is how long after a first listing the next one is due, at most.
const Soon = settled

// Later makes the listings due that are due d from now.
func Later(ix *Index, d time.Duration) {
	ix.remote.set(func(s *syncState) { s.relist, s.relistShared = s.relist.Add(-d), s.relistShared.Add(-d) })
}

// DraftFile is the path of d's bytes, for tests that change them behind its back.
func DraftFile(ix *Index, d *Draft) string { return ix.drafts.path(d.id) }

// StepTo seals d and steps its push by hand until it is in state: what a crash there leaves behind. d is of no use
// afterwards, in this Index.
func StepTo(ctx context.Context, d *Draft, state State) error {
	ref, ext, ok := d.Place().Ref()
	if !ok {
		return ErrNotImage
	}
	if err := d.record(ctx, d.file, d.Size(), nil, ref, ext); err != nil {
		return err
	}
	for range 10 {
		if d.State() == state {
			return nil
		}
		if _, _, err := d.s.step(ctx, d); err != nil {
			return err
		}
	}
	return fmt.Errorf("it is %s and not %s", d.State(), state)
}

// HoldCatalogue keeps the catalogue as it is until release is called: what happens is on record, and not yet to be seen.
func HoldCatalogue(ix *Index) (release func()) {
	ix.cat.order.Lock()
	return sync.OnceFunc(ix.cat.order.Unlock)
}
