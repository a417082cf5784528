package index_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// Readers that come and go, prefetches that are given up, evictions, cuts and refusals, all at once, in a cache that is too
// small: every byte read is right, and in the end every connection and every byte of the budget is accounted for.
func TestTheAccountsBalance(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	content := map[string][]byte{}
	var ids []string
	for i, size := range []int64{1, 128<<10 - 1, 128 << 10, 128<<10 + 1, block, block + 1, 5*block + 3, 20*block + 77} {
		c := imagetest.Bytes(uint64(i+1), size)
		id := put(t, srv, fmt.Sprintf("c/i%d:t", i), c)
		content[id], ids = c, append(ids, id)
	}
	ix := indextest.Open(t, srv, index.Options{CacheSize: 16 * block, CacheMinFree: 1})
	var all sync.WaitGroup
	for worker := range 6 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 12 {
				img, err := ix.ByID(ids[random.IntN(len(ids))])
				if err == nil {
					err = disturb(t.Context(), srv, ix, img, random)
				}
				if err == nil {
					err = readAbout(t.Context(), ix, img, content[img.File], random)
				}
				if err != nil {
					t.Errorf("worker %d: %v", worker, err)
					return
				}
			}
		})
	}
	all.Wait()
	srv.ClearFaults()
	var wrong []string
	require.Eventually(t, func() bool {
		wrong = index.Imbalance(ix)
		return len(wrong) == 0
	}, 60*time.Second, 20*time.Millisecond, "%v", &wrong)
}

// readAbout reads img here and there or in sequence, and sometimes gives up.
func readAbout(ctx context.Context, ix *index.Index, img index.Image, content []byte, random *rand.Rand) error {
	r, err := ix.OpenImage(img)
	if err != nil {
		return err
	}
	defer r.Close()
	p := make([]byte, 1+random.IntN(300<<10))
	inSequence := random.IntN(2) == 0
	off := random.Int64N(r.Size())
	for range 1 + random.IntN(30) {
		within, cancel := context.WithCancel(ctx)
		if random.IntN(10) == 0 {
			within, cancel = context.WithTimeout(ctx, time.Duration(random.IntN(5))*time.Millisecond)
		}
		n, err := r.ReadAt(within, p, off)
		cancel()
		if err := unless(err); err != nil {
			return err
		}
		if !bytes.Equal(p[:n], content[off:off+int64(n)]) {
			return fmt.Errorf("wrong bytes at %d", off)
		}
		if off += int64(n); !inSequence || off >= r.Size() {
			off = random.Int64N(r.Size())
		}
	}
	return nil
}

// disturb does what others may do to img meanwhile.
func disturb(ctx context.Context, srv *drivetest.Server, ix *index.Index, img index.Image, random *rand.Rand) error {
	content := drivetest.On("GET", "/drive/v3/files/*").Query("alt", "media")
	switch random.IntN(6) {
	case 0, 1:
		within, cancel := context.WithTimeout(ctx, time.Duration(random.IntN(500))*time.Millisecond)
		defer cancel()
		return unless(ix.Prefetch(within, img))
	case 2:
		if err := ix.Evict(img); !errors.Is(err, index.ErrBusy) {
			return err
		}
	case 3:
		srv.Fault(content.Cut(random.Int64N(2 * block)).Times(2))
	case 4:
		srv.Fault(content.Status(403, "cannotDownloadAbusiveFile").Times(1))
	case 5:
		index.Idle(ix)
	}
	return nil
}

// unless is err, if it is none of what disturb may lead to.
func unless(err error) error {
	for _, may := range []error{io.EOF, context.DeadlineExceeded, syscall.ENOSPC, index.ErrAbusive} {
		if errors.Is(err, may) {
			return nil
		}
	}
	return err
}
