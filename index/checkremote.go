package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sync/errgroup"

	"sregfs/drive"
)

// remote compares the records with what Drive lists, and with what it says of each image of which that leaves a doubt.
// What changes meanwhile is in the feed, which is read before and after.
func (c *checker) remote(ctx context.Context) error {
	if err := c.folder(ctx); err != nil {
		return err
	}
	doubtful, err := c.compare(ctx)
	if err != nil {
		return err
	}
	if err := c.ix.Refresh(ctx); err != nil {
		return err
	}
	found, err := c.ask(ctx, doubtful)
	if err != nil || len(found) == 0 {
		return err
	}
	if err := c.ix.Refresh(ctx); err != nil { // somebody may be at work just now
		return err
	}
	var still []string
	for id := range found {
		still = append(still, id)
	}
	if found, err = c.ask(ctx, still); err != nil {
		return err
	}
	slices.Sort(still)
	for _, id := range still {
		if p, ok := found[id]; ok {
			c.repair(p, "recorded as it is on Drive", func() error { return c.ix.recordAfresh(ctx, id) })
		}
	}
	return nil
}

// folder reads the feed, and looks whether the registry's folder is there and the only one of its name.
func (c *checker) folder(ctx context.Context) error {
	err := c.ix.Refresh(ctx)
	root, _ := c.ix.remote.root()
	if err == nil && root != "" {
		err = c.ix.checkFolder(ctx, root)
	}
	if errors.Is(err, iofs.ErrNotExist) || errors.Is(err, iofs.ErrInvalid) {
		c.r.add(Problem{Kind: ProblemRoot, Subject: c.ix.rootName(), Text: Sentence(err)})
	}
	if err != nil || c.ix.o.RootID != "" {
		return err
	}
	first, more, err := c.ix.drive.Folder(ctx, c.ix.o.Root)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil // it is elsewhere, or renamed: it is known by its id
	}
	if err != nil {
		return err
	}
	var others []string
	for _, f := range append(more, first) {
		if f.ID != root {
			others = append(others, f.ID)
		}
	}
	c.ix.remote.set(func(s *syncState) { s.others = others })
	return nil
}

// compare returns the ids of the images that Drive lists and the records lack or have otherwise, and of those that it
// does not list: listings lag, so these are doubts.
func (c *checker) compare(ctx context.Context) (doubtful []string, err error) {
	root, _ := c.ix.remote.root()
	listed := map[string]bool{}
	walks := []iter.Seq2[[]drive.File, error]{c.ix.drive.SharedImages(ctx)}
	if root != "" {
		walks = append(walks, c.ix.drive.Images(ctx, root))
	}
	for _, walk := range walks {
		for files, err := range walk {
			if err != nil {
				return nil, err
			}
			for i := range files {
				if _, err := imageOf(&files[i], root); err != nil {
					continue
				}
				listed[files[i].ID] = true
				if c.ix.differs(&files[i]) {
					doubtful = append(doubtful, files[i].ID)
				}
			}
		}
	}
	c.r.Listed = len(listed)
	for _, id := range append(c.ix.cat.ids(false), c.ix.cat.ids(true)...) {
		if !listed[id] {
			doubtful = append(doubtful, id)
		}
	}
	slices.Sort(doubtful)
	return slices.Compact(doubtful), nil
}

// differs says that what Drive says of a file is not what is on record.
func (ix *Index) differs(f *drive.File) bool {
	want := newFileRecord(f)
	var have fileRecord
	err := ix.db.View(func(txn *badger.Txn) (err error) {
		have, err = getFile(txn, f.ID)
		return err
	})
	return err != nil || !bytes.Equal(want.encode(), have.encode()) // releases write them in different forms
}

// ask asks Drive for files by their ids, which is never behind, and compares the answers with the records.
func (c *checker) ask(ctx context.Context, ids []string) (map[string]Problem, error) {
	var mu sync.Mutex
	found := map[string]Problem{} // guarded by mu
	root, _ := c.ix.remote.root()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8) // as in confirm
	for _, id := range ids {
		g.Go(func() error {
			f, err := c.ix.drive.Get(ctx, id)
			if err != nil && !errors.Is(err, iofs.ErrNotExist) {
				return err
			}
			if err == nil {
				_, err = imageOf(&f, root)
			}
			img, unknown := c.ix.ByID(id)
			p := Problem{Kind: ProblemMissing, Subject: id, Text: fmt.Sprintf("the image %q on Drive is not on record", f.Name)}
			switch {
			case err == nil && !c.ix.differs(&f), err != nil && unknown != nil:
				return nil
			case err != nil:
				p = Problem{Kind: ProblemGone, Subject: id, Text: fmt.Sprintf("the image %q is on record, and not in the registry on Drive any more", img.Name)}
			case unknown == nil:
				p.Text = fmt.Sprintf("the image %q is not on record as it is on Drive", f.Name)
			}
			mu.Lock()
			defer mu.Unlock()
			found[id] = p
			return nil
		})
	}
	return found, g.Wait()
}

// recordAfresh drops what is on record of a file, be it said to be newer than what Drive has, and records what Drive says.
func (ix *Index) recordAfresh(ctx context.Context, id string) error {
	if err := ix.remote.take(ctx); err != nil {
		return err
	}
	defer ix.remote.give()
	var before []byte
	err := ix.db.View(func(txn *badger.Txn) (err error) {
		before, err = getBytes(txn, fileKey(id))
		return err
	})
	if err != nil {
		return err
	}
	asked := time.Now()
	f, err := ix.drive.Get(ctx, id)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	if err == nil {
		_, err = imageOf(&f, ix.remote.pinned().ID)
	}
	if err != nil {
		return ix.store(nil, []string{id}, news{})
	}
	err = ix.writing(func(txn *badger.Txn) error {
		now, err := getBytes(txn, fileKey(id))
		if err != nil || !bytes.Equal(before, now) { // a write of our own has come in between, and knows better
			return err
		}
		return txn.Delete(fileKey(id))
	})
	if err != nil {
		return err
	}
	return ix.store([]drive.File{f}, nil, news{asked: asked})
}
