package index

import (
	"context"
	"errors"
	"time"

	"sregfs/index/image"
)

var errSkeleton = errors.New("index: not written yet")

// State is how far a draft has come on its way to Drive.
type State string

// The states of a draft, in order; failed can follow each of them but the last.
const (
	StateDraft     State = "draft"     // open for writing
	StateSealed    State = "sealed"    // whole, on disk, digests known; not yet begun
	StateSending   State = "sending"   // an id is reserved; bytes are on their way
	StateUploaded  State = "uploaded"  // Drive has it and the digest agrees
	StateCommitted State = "committed" // in the catalogue
	StateFailed    State = "failed"    // parked with a final error; the bytes are kept
)

// Draft is one local file on its way to become an image.
type Draft struct{}

// ID is the draft's number, unique in this state directory.
func (d *Draft) ID() uint64 { return 0 }

// Place is where the draft stands in the tree.
func (d *Draft) Place() Place { return Place{} }

// Size is the length in bytes.
func (d *Draft) Size() int64 { return 0 }

// Modified is the time of the last change.
func (d *Draft) Modified() time.Time { return time.Time{} }

// Dirty says whether there are changes Push has not taken.
func (d *Draft) Dirty() bool { return false }

// State says how far the draft is.
func (d *Draft) State() State { return StateDraft }

// Err is the last error of its push, nil if none.
func (d *Draft) Err() error { return nil }

// ReadAt reads from the draft.
func (d *Draft) ReadAt(ctx context.Context, p []byte, off int64) (int, error) { return 0, errSkeleton }

// WriteAt writes to the draft.
func (d *Draft) WriteAt(ctx context.Context, p []byte, off int64) (int, error) { return 0, errSkeleton }

// Truncate sets the length.
func (d *Draft) Truncate(ctx context.Context, size int64) error { return errSkeleton }

// Sync makes the draft durable on this machine.
func (d *Draft) Sync() error { return errSkeleton }

// Acquire counts an open handle.
func (d *Draft) Acquire() {}

// Release undoes Acquire.
func (d *Draft) Release() {}

// Push seals, sends and commits the draft.
func (d *Draft) Push(ctx context.Context) (Image, error) { return Image{}, errSkeleton }

// Wait returns when Drive has the draft.
func (d *Draft) Wait(ctx context.Context) error { return errSkeleton }

// CreateDraft makes an empty draft.
func (ix *Index) CreateDraft(p Place) (*Draft, error) { return nil, errSkeleton }

// EditDraft opens a published image for change.
func (ix *Index) EditDraft(img Image, p Place) (*Draft, error) { return nil, errSkeleton }

// Draft finds the draft at a place.
func (ix *Index) Draft(p Place) (*Draft, bool) { return nil, false }

// Drafts lists the drafts of a directory.
func (ix *Index) Drafts(collection, tag string) []*Draft { return nil }

// AllDrafts lists all drafts.
func (ix *Index) AllDrafts() []*Draft { return nil }

// MoveDraft renames a draft.
func (ix *Index) MoveDraft(ctx context.Context, d *Draft, to Place) error { return errSkeleton }

// RemoveDraft deletes a draft.
func (ix *Index) RemoveDraft(d *Draft) error { return errSkeleton }

// PushFile pushes a local file.
func (ix *Index) PushFile(ctx context.Context, path string, ref image.Ref, ext string, progress func(done, total int64)) (Image, error) {
	return Image{}, errSkeleton
}

// WaitPushes returns when no push is under way.
func (ix *Index) WaitPushes(ctx context.Context) error { return errSkeleton }

// PushStatus is one push as Status shows it.
type PushStatus struct {
	ID    uint64 `json:"id"`
	Ref   string `json:"ref"`
	Place Place  `json:"place"`
	State State  `json:"state"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
	Error string `json:"error,omitempty"`
	Final bool   `json:"final,omitempty"` // Error is final: RetryPush or RemoveDraft
}

// Pushes lists the pushes that are under way or parked.
func (ix *Index) Pushes() []PushStatus { return nil }

// RetryPush starts a parked push again.
func (ix *Index) RetryPush(id uint64) error { return errSkeleton }

type draftStore struct{}

func openDrafts(ix *Index) (*draftStore, error) { return &draftStore{}, nil }

func (s *draftStore) close() error { return nil }
