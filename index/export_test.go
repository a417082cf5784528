package index

import (
	"context"
	"fmt"
)

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
