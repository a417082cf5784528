package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/sirupsen/logrus"

	"sregfs/drive"
)

// Removal is what Remove does to an image.
type Removal string

// The ways of removal.
const (
	RemoveTrash  Removal = "trash"  // into Drive's bin, for 30 days; the default
	RemoveDelete Removal = "delete" // for good
	RemoveDeny   Removal = "deny"   // not at all: Remove is ErrReadOnly
)

// Options of an Index. Dir is required; the zero value of everything else is the default.
type Options struct {
	Dir          string        // state directory, made if absent (0700)
	CacheDir     string        // blocks; default Dir/blocks
	Drive        *drive.Client // nil: no Drive; what is on record is all there is
	Root         string        // name of the registry's folder in My Drive, default "sregistry"
	RootID       string        // id of the registry's folder, of whomever; overrides Root
	ReadOnly     bool          // change nothing on Drive
	Remove       Removal       // default RemoveTrash
	Background   bool          // a push returns when journalled
	CacheSize    int64         // bytes; 0 = default
	CacheMinFree int64         // bytes; 0 = default
	Complete     Completion    // default CompleteIdle
	Poll         time.Duration // between polls of the changes feed; default 10 s, less than 0 = never (Refresh still works)
	Known        bool          // Open lists nothing, not even the first time: what is on record is all there is until Refresh
	Mount        string        // mount point, recorded for whoever finds the state in use
	NoProfiles   bool          // starts are not recorded, and what is known of them is neither used nor published
	Thumbnail    []byte        // PNG, JPEG or GIF sent with each push; nil = none
	Log          logrus.FieldLogger
}

// DefaultRoot is the name of the registry's folder unless Options say otherwise.
const DefaultRoot = "sregistry"

// defaultPoll is short because a poll is cheap: 100 quota units, so six a minute are 600 of 325,000.
const defaultPoll = 10 * time.Second

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("no state directory")
	}
	var err error
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return o, err
	}
	if o.CacheDir == "" {
		o.CacheDir = filepath.Join(o.Dir, "blocks")
	}
	if o.Root == "" {
		o.Root = DefaultRoot
	}
	switch o.Remove {
	case "":
		o.Remove = RemoveTrash
	case RemoveTrash, RemoveDelete, RemoveDeny:
	default:
		return o, fmt.Errorf("removal %q is none of trash, delete, deny", o.Remove)
	}
	if o.Complete, err = ParseCompletion(string(o.Complete)); err != nil {
		return o, err
	}
	if o.Poll == 0 {
		o.Poll = defaultPoll
	}
	if o.Log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		o.Log = silent
	}
	return o, nil
}

// Index is the local state of one registry. Make it with Open.
type Index struct {
	o     Options
	dir   string // = o.Dir
	log   logrus.FieldLogger
	drive *drive.Client
	lock  *os.File // holds the state directory, see lock.go
	db    *badger.DB
	room  int64 // bytes of its disk that are kept for it

	base   context.Context //nolint:containedctx // the index's life: what goes starts ends with Close, not with a caller
	stop   context.CancelFunc
	life   sync.Mutex // guards closed, so that nothing joins wg after Close began to wait
	closed bool
	wg     sync.WaitGroup
	ended  func() error // Close, once

	// Lock order: remote's turn, catalog.order, write or events.mu; then the leaves catalog.mu, remote.mu, about.mu.
	write   sync.Mutex // held for one Badger transaction that writes, so that they never conflict
	cat     *catalog
	patches turns // by file: who changes its metadata, see alone
	remote  *remote
	events  *events
	about   aboutCache
	blocks  *blockStore
	drafts  *draftStore

	profiles *profiles

	findings findings
}

// Open opens the state in o.Dir and starts its upkeep. With records from an earlier time it returns without waiting for
// Drive; without any, it lists the registry first, and ctx and Drive's errors (ErrOffline, ErrSignIn, …) apply.
// ErrInUse (an *InUseError) means another process has this state; ErrSchema that a newer release wrote it.
func Open(ctx context.Context, o Options) (*Index, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	ix := &Index{o: o, dir: o.Dir, log: o.Log, drive: o.Drive, cat: newCatalog(), remote: newRemote(), events: newEvents()}
	ix.profiles = newProfiles(ix)
	ix.ended = sync.OnceValue(ix.close)
	ix.base, ix.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := ix.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open index in %s: %w", o.Dir, err), ix.Close())
	}
	return ix, nil
}

func (ix *Index) open(ctx context.Context) (err error) {
	if err := Private(ix.dir); err != nil {
		return sayReadOnly(ix.dir, err)
	}
	warnNFS(ix.dir, ix.log)
	if ix.lock, err = lockState(ix.dir, ix.o.Mount); err != nil {
		return err
	}
	ix.room = recordsRoom(ix.dir)
	if err := useRoom(ix.dir, ix.room); err != nil {
		return err
	}
	if ix.db, err = openDB(ix.dir, ix.log); err != nil {
		return err
	}
	if err := keepRoom(ix.dir, ix.room); err != nil {
		ix.log.Warnf("no room is kept for the records on a full disk: %v", err)
	}
	if ix.drive == nil { // every call answers ErrSignIn
		if ix.drive, err = drive.New(drive.Options{Log: ix.log}); err != nil { //nolint:contextcheck // a client lives as long as the index
			return err
		}
	}
	if err := errors.Join(ix.load(), ix.loadAbout()); err != nil {
		return err
	}
	if err := ix.first(ctx); err != nil {
		return err
	}
	if ix.blocks, err = openBlocks(ix); err != nil {
		return err
	}
	if ix.drafts, err = openDrafts(ix); err != nil {
		return err
	}
	if ix.o.Drive != nil && ix.o.Poll > 0 {
		ix.goes(ix.follow)
	}
	ix.goes(ix.collectGarbage)
	return nil
}

// Close stops and joins everything the index started and releases the state directory. Uploads under way stop and stay
// in the journal; drafts and records are on disk. A second Close does nothing and answers the same.
func (ix *Index) Close() error { return ix.ended() }

func (ix *Index) close() error {
	ix.life.Lock()
	ix.closed = true
	ix.life.Unlock()
	ix.profiles.close()
	ix.stop()
	ix.wg.Wait()
	var errs []error
	if ix.drafts != nil {
		errs = append(errs, ix.drafts.close())
	}
	if ix.blocks != nil {
		errs = append(errs, ix.blocks.close())
	}
	if ix.db != nil {
		errs = append(errs, ix.closeRecords())
	}
	if ix.lock != nil {
		errs = append(errs, unlockState(ix.lock))
	}
	return errors.Join(errs...)
}

// goes runs f until Close, which cancels its context and waits for it. After Close it does nothing, and says so.
func (ix *Index) goes(f func(context.Context)) bool {
	ix.life.Lock()
	defer ix.life.Unlock()
	if !ix.closed {
		ix.wg.Go(func() { f(ix.base) })
	}
	return !ix.closed
}

// writing runs f in a Badger transaction that writes. One runs at a time, so f runs once and never meets a conflict; it
// must not call writing. The commit is on disk when writing returns nil. syscall.ENOSPC: the disk is full, see space.go.
func (ix *Index) writing(f func(txn *badger.Txn) error) error {
	ix.write.Lock()
	defer ix.write.Unlock()
	if err := roomFor(ix.dir, 0, ix.room); err != nil {
		return err
	}
	return ix.db.Update(f)
}

// collectGarbage gives Badger's value log back to the disk now and then, as Badger leaves to its users.
func (ix *Index) collectGarbage(ctx context.Context) {
	t := time.NewTicker(time.Hour)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			for ctx.Err() == nil && ix.db.RunValueLogGC(0.5) == nil {
			}
		}
	}
}
