package index

import (
	"context"
	"errors"
	iofs "io/fs"
	"iter"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"sregfs/drive"
)

// listMine lists my registry and returns how many images Drive showed. A new token is taken before the listing, so that
// what happens meanwhile is in the feed; a token still good is kept, for the feed may know what the listing does not yet.
func (ix *Index) listMine(ctx context.Context) (int, error) {
	s := ix.remote.get()
	token := s.token
	if token == "" {
		var err error
		if token, err = ix.drive.StartPageToken(ctx); err != nil {
			return 0, err
		}
	}
	if err := ix.dropOldNotes(); err != nil {
		return 0, err
	}
	root, _ := ix.remote.root()
	n := 0
	if root != "" {
		var err error
		if n, err = ix.walk(ctx, ix.drive.Images(ctx, root), false); err != nil {
			return n, err
		}
	}
	if err := ix.store(nil, nil, news{token: token, listed: time.Now()}); err != nil {
		return n, err
	}
	ix.remote.set(func(now *syncState) { now.relist = again(s.token == "") })
	return n, nil
}

// overdue is when a listing of an earlier process is to be repeated; zero if there was none.
func overdue(listed time.Time) time.Time {
	if listed.IsZero() {
		return time.Time{}
	}
	if due := listed.Add(relist); due.After(again(true)) {
		return due
	}
	return again(true)
}

// listShared lists what other people share with me.
func (ix *Index) listShared(ctx context.Context) error {
	first := ix.remote.get().relistShared.IsZero()
	if _, err := ix.walk(ctx, ix.drive.SharedImages(ctx), true); err != nil {
		return err
	}
	if err := ix.store(nil, nil, news{shared: time.Now()}); err != nil {
		return err
	}
	ix.remote.set(func(now *syncState) { now.relistShared = again(first) })
	return nil
}

// again is when a listing is to be repeated. A first one soon: it lags, and what it did not show yet may be older than
// the feed's token, which was new.
func again(first bool) time.Time {
	if first {
		return time.Now().Add(settled)
	}
	return time.Now().Add(relist)
}

// walk stores what a listing shows, page by page. Listings lag: an image we hold and the listing lacks is asked for by
// its id, and goes only if that says so.
func (ix *Index) walk(ctx context.Context, pages iter.Seq2[[]drive.File, error], shared bool) (int, error) {
	missing := map[string]bool{}
	for _, id := range ix.cat.ids(shared) {
		missing[id] = true
	}
	n := 0
	for files, err := range pages {
		if err != nil {
			return n, err
		}
		n += len(files)
		sure, doubtful := ix.credible(files)
		if err := ix.store(sure, nil, news{}); err != nil {
			return n, err
		}
		for i := range sure {
			delete(missing, sure[i].ID)
		}
		for _, id := range doubtful {
			missing[id] = true
		}
	}
	ids := make([]string, 0, len(missing))
	for id := range missing {
		ids = append(ids, id)
	}
	return n, ix.confirm(ctx, ids)
}

// confirm asks Drive for files by id, which is never behind, and stores the answers.
func (ix *Index) confirm(ctx context.Context, ids []string) error {
	var (
		mu    sync.Mutex // guards files and gone
		files []drive.File
		gone  []string
	)
	asked := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8) // 5 quota units each: far from any limit
	for _, id := range ids {
		g.Go(func() error {
			f, err := ix.drive.Get(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, iofs.ErrNotExist):
				gone = append(gone, id)
			case errors.Is(err, iofs.ErrPermission): // about the sign-in, the API or the domain: what one may not see is not found
				ix.log.Debugf("keeping what is known of %s: %v", id, err)
			case err != nil:
				return err
			default:
				files = append(files, f)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if len(files)+len(gone) == 0 {
		return nil
	}
	return ix.store(files, gone, news{asked: asked})
}

// poll reads the changes feed from token on.
func (ix *Index) poll(ctx context.Context, token string) error {
	changes, next, err := ix.drive.Changes(ctx, token)
	if err != nil {
		return err
	}
	if len(changes) == 0 && next == token {
		return nil
	}
	root, _ := ix.remote.root()
	last := map[string]int{} // a file that changes while the pages are read comes twice
	for i, c := range changes {
		last[c.ID] = i
	}
	var files []drive.File
	var gone []string
	for i, c := range changes {
		removed := c.Removed || c.File == nil
		if c.ID == root && root != "" && (removed || c.File.Trashed) { // of what is in it the feed may not tell
			ix.remote.set(func(s *syncState) { s.ok, s.relist = false, time.Time{} })
			rec := ix.remote.pinned() // the next program has to look too: the feed says this once
			rec.Seen = 0
			if err := ix.pin(rec); err != nil {
				return err
			}
		}
		switch {
		case last[c.ID] != i:
		case removed:
			gone = append(gone, c.ID)
		default:
			files = append(files, *c.File)
		}
	}
	files, doubtful := ix.credible(files)
	if err := ix.confirm(ctx, doubtful); err != nil {
		return err
	}
	return ix.store(files, gone, news{token: next})
}
