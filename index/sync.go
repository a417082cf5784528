package index

import (
	"context"
	"errors"
	"sync"
	"time"
)

// The catalogue follows Drive by the changes feed, whose token is stored in one transaction with the records it brought:
// a crash repeats a page, and never skips one. A full listing fills the catalogue the first time, repeats every hour
// (the feed was seen to miss deletions and withdrawn shares) and after Drive refuses the token.
const (
	relist     = time.Hour
	settled    = 10 * time.Minute // after a start: a warm one needs no listing, and the listing of a cold one may have lagged
	maxBackoff = 30 * time.Second // between attempts while Drive cannot be reached: it may be back any moment
)

// remote is what is known of Drive's side, and the turn to change it.
type remote struct {
	turn chan struct{} // capacity 1: who sent has the turn to sync

	mu sync.Mutex // guards the rest; a leaf
	s  syncState
}

// syncState is the state of the upkeep.
type syncState struct {
	pin     rootRecord
	ok      bool   // the pinned folder was seen this time
	token   string // changes page token, "" = a full listing is due
	listed  time.Time
	shared  time.Time // of the last listing of what is shared with me
	synced  time.Time // when Drive last told us everything it knows
	err     error     // of the last attempt
	others  []string  // ids of other folders of the registry's name
	recheck map[string]bool
	gone    map[string]time.Time // files that left the registry, while listings may still show them; on record too

	relist, relistShared time.Time // when the listings are due again; zero = now
}

func newRemote() *remote { return &remote{turn: make(chan struct{}, 1)} }

func (r *remote) take(ctx context.Context) error {
	select {
	case r.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *remote) give() { <-r.turn }

func (r *remote) get() syncState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.s
}

func (r *remote) set(f func(*syncState)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.s)
}

// root returns the folder's id; ok is false while it has not been seen by this process.
func (r *remote) root() (id string, ok bool) {
	s := r.get()
	return s.pin.ID, s.ok
}

func (r *remote) pinned() rootRecord { return r.get().pin }

func (r *remote) verified(rec rootRecord) {
	r.set(func(s *syncState) { s.pin, s.ok = rec, rec.ID != "" })
}

// first lists the registry if that was never done. Open waits for it.
func (ix *Index) first(ctx context.Context) error {
	if ix.o.Drive == nil || ix.o.Known || ix.remote.get().token != "" {
		return nil
	}
	err := ix.Refresh(ctx)
	if err != nil && len(ix.cat.ids(false)) > 0 && ctx.Err() == nil {
		ix.log.Warnf("showing what is on record: %s", Sentence(err))
		return nil
	}
	return err
}

// follow keeps the catalogue true until ctx ends.
func (ix *Index) follow(ctx context.Context) {
	var wait time.Duration // the first poll of a warm start is at once
	if !ix.remote.get().synced.IsZero() {
		wait = ix.o.Poll // a cold one has just listed
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	pause := min(ix.o.Poll, maxBackoff)
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		failing := ix.remote.get().err != nil
		switch err := ix.Refresh(ctx); {
		case err == nil:
			ix.drafts.hurry(func(why error) bool { return failing || errors.Is(why, ErrSignIn) })
			pause = min(ix.o.Poll, maxBackoff)
			t.Reset(ix.o.Poll)
		case errors.Is(err, ErrSignIn): // that costs Drive nothing: who is not signed in does not ask
			t.Reset(min(ix.o.Poll, maxBackoff))
		default:
			t.Reset(pause)
			pause = min(2*pause, maxBackoff)
		}
	}
}

// Refresh asks Drive now for what changed, and returns when the catalogue shows it. ctx bounds the waiting and the asking.
func (ix *Index) Refresh(ctx context.Context) error {
	if err := ix.remote.take(ctx); err != nil {
		return err
	}
	defer ix.remote.give()
	err := ix.sync(ctx)
	if ctx.Err() == nil {
		ix.noteSync(err)
	}
	return err
}

// noteSync keeps the outcome for Status, and logs when it turns.
func (ix *Index) noteSync(err error) {
	var before error
	ix.remote.set(func(s *syncState) {
		before, s.err = s.err, err
		if err == nil {
			s.synced = time.Now()
		}
	})
	switch {
	case err != nil && (before == nil || Sentence(before) != Sentence(err)):
		ix.log.Warnf("not in step with Drive: %s", Sentence(err))
	case err == nil && before != nil:
		ix.log.Info("in step with Drive again")
	}
}

// sync does what is due: the feed, then the listings. The caller has the turn.
func (ix *Index) sync(ctx context.Context) error {
	if err := ix.ensureRoot(ctx); err != nil {
		return err
	}
	s := ix.remote.get()
	if s.token != "" {
		err := ix.poll(ctx, s.token)
		if errors.Is(err, ErrToken) {
			ix.log.Debugf("listing afresh: %v", err)
			ix.remote.set(func(s *syncState) { s.token, s.relistShared = "", time.Time{} })
		} else if err != nil {
			return err
		}
		if err := ix.ensureRoot(ctx); err != nil { // the feed may have brought bad news of it
			return err
		}
		s = ix.remote.get()
	}
	if s.token == "" || time.Now().After(s.relist) {
		if s.token != "" {
			if err := ix.yieldRoot(ctx); err != nil {
				return err
			}
		}
		n, err := ix.listMine(ctx)
		if err != nil {
			return err
		}
		if s.token == "" && n > bigRegistry && ix.o.Poll > 0 {
			return nil // shown at once; what is shared with me follows with the first poll
		}
	}
	if time.Now().After(s.relistShared) {
		return ix.listShared(ctx)
	}
	return nil
}

// bigRegistry is the number of images from which on the first listing is not held up by what other people share.
const bigRegistry = 1000

// recheck asks Drive, soon, about one file whose content was found changed or gone.
func (ix *Index) recheck(file string) {
	asked := false
	ix.remote.set(func(s *syncState) {
		if asked = s.recheck[file]; !asked {
			if s.recheck == nil {
				s.recheck = map[string]bool{}
			}
			s.recheck[file] = true
		}
	})
	if asked {
		return
	}
	ix.goes(func(ctx context.Context) {
		defer ix.remote.set(func(s *syncState) { delete(s.recheck, file) })
		if err := ix.remote.take(ctx); err != nil {
			return
		}
		defer ix.remote.give()
		if err := ix.confirm(ctx, []string{file}); err != nil && ctx.Err() == nil {
			ix.log.Debugf("look at %s again: %v", file, err)
		}
	})
}
