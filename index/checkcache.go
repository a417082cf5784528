package index

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// Cached is what the cache holds of one revision of an image. Field names are a promise to scripts.
type Cached struct {
	File     string    `json:"file"`          // Drive file id
	Ref      string    `json:"ref,omitempty"` // "" when the revision is no longer in the registry
	Size     int64     `json:"size"`          // bytes of the image
	Bytes    int64     `json:"bytes"`         // of them on disk
	Verified bool      `json:"verified"`      // whole, and its checksum was compared with Drive's
	Pinned   bool      `json:"pinned,omitempty"`
	Used     time.Time `json:"used"`

	// What VerifyCache found; zero in CachedImages.
	Checked int64   `json:"checked,omitempty"` // bytes read and compared
	Damaged []int64 `json:"damaged,omitempty"` // numbers of blocks of 128 KiB that were not as written; they are fetched again
	Problem string  `json:"problem,omitempty"` // what was wrong, for people
}

// CachedImages lists what the cache holds, the last used first.
func (ix *Index) CachedImages() []Cached {
	var out []Cached
	for _, bf := range ix.blocks.all() {
		if bf.bytes() > 0 {
			out = append(out, bf.describe())
		}
	}
	slices.SortFunc(out, func(a, b Cached) int { return cmp.Or(b.Used.Compare(a.Used), cmp.Compare(a.File, b.File)) })
	return out
}

// ref is the name of the image, "" when the revision is no longer in the registry.
func (bf *blockFile) ref() string {
	if img, err := bf.s.ix.ByID(bf.key.file); err == nil && keyOf(img) == bf.key {
		return img.Ref.String()
	}
	return ""
}

func (bf *blockFile) describe() Cached {
	c := Cached{File: bf.key.file, Ref: bf.ref(), Size: bf.size, Bytes: bf.bytes(), Used: time.Unix(0, bf.lastUse.Load()).UTC()}
	bf.mu.Lock()
	defer bf.mu.Unlock()
	c.Verified, c.Pinned = bf.verified, bf.pinned
	return c
}

// VerifyCache reads everything that is cached of the files, of all if none is named, and compares it with its checksums:
// that of each block, and Drive's when the image is whole. What is damaged is forgotten, and fetched again when it is read.
func (ix *Index) VerifyCache(ctx context.Context, files ...string) ([]Cached, error) {
	var out []Cached
	for _, bf := range ix.blocks.all() {
		if bf.bytes() == 0 || len(files) > 0 && !slices.Contains(files, bf.key.file) {
			continue
		}
		c, _, err := bf.inspect(ctx)
		if err != nil {
			return out, fmt.Errorf("verify the cache: %w", err)
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Cached) int { return cmp.Compare(a.Ref+a.File, b.Ref+b.File) })
	return out, nil
}

// inspect audits the revision, removes what is wrong as a whole, and says in words what was wrong. An error is that of ctx.
func (bf *blockFile) inspect(ctx context.Context) (c Cached, blocks int64, err error) {
	bf.use()
	defer bf.release()
	had := blocksOf(bf.bytes())
	result, err := bf.audit(ctx, false)
	if ctx.Err() != nil {
		return Cached{}, 0, ctx.Err()
	}
	var problem string
	switch {
	case err != nil:
		problem = "what is cached cannot be read: " + err.Error()
	case len(result.damaged) > 0:
		problem = fmt.Sprintf("%d of %d cached blocks are not as they were written (%s)", len(result.damaged), had, ranges(result.damaged))
		if err := bf.trim(); err != nil {
			bf.s.log.WithError(err).Debug("block cache: give damaged blocks back to the disk")
		}
	case result.whole && !result.right:
		problem = "the cached content does not match Drive's checksum"
		if _, err := bf.drop(bf.size); err != nil {
			problem += "; it cannot be removed: " + err.Error()
		}
	case result.whole:
		bf.mu.Lock()
		bf.dirty = bf.dirty || !bf.verified
		bf.verified = bf.complete.Load()
		bf.mu.Unlock()
	}
	c = bf.describe()
	c.Checked, c.Damaged, c.Problem = result.bytes, result.damaged, problem
	return c, result.blocks, nil
}
