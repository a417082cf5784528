package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sregfs/index"
	"sregfs/index/image"
)

// readStatus asks the mount at dir how it is.
func readStatus(ctx context.Context, dir string) (index.Status, error) {
	type answer struct {
		data []byte
		err  error
	}
	read := make(chan answer, 1)
	go func() { // ends with the mount or with this program: nothing else takes a reader from a mount that hangs
		data, err := os.ReadFile(filepath.Join(dir, image.ControlDir, "status"))
		read <- answer{data, err}
	}()
	timer := time.NewTimer(statusWait)
	defer timer.Stop()
	var s index.Status
	select {
	case <-ctx.Done():
		return s, ctx.Err()
	case <-timer.C:
		return s, fmt.Errorf("no answer in %s", statusWait)
	case a := <-read:
		if a.err != nil {
			return s, a.err
		}
		if err := json.Unmarshal(a.data, &s); err != nil {
			return s, fmt.Errorf("status of %s: %w", dir, err)
		}
		return s, nil
	}
}

// statusWait is how long a mount may take to say how it is, which it knows.
const statusWait = 5 * time.Second

// watchPush reports the progress of ref's push from the mount's status until
// stop is called, which waits for the last report.
func (m *mounted) watchPush(ctx context.Context, ref image.Ref, progress func(done, total int64)) (stop func()) {
	if progress == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if p, ok := m.push(ctx, ref); ok {
				progress(p.Done, p.Total)
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// push finds ref among the mount's pushes.
func (m *mounted) push(ctx context.Context, ref image.Ref) (index.PushStatus, bool) {
	s, err := readStatus(ctx, m.dir)
	if err != nil {
		m.log.Debugf("progress of %s: %v", ref, err)
		return index.PushStatus{}, false
	}
	for _, p := range s.Pushes {
		if got, err := image.Parse(p.Ref); err == nil && got.Short() == ref.Short() {
			return p, true
		}
	}
	return index.PushStatus{}, false
}

// explain adds the mount's own sentence to an errno from a push.
func (m *mounted) explain(ctx context.Context, ref image.Ref, err error) error {
	if p, ok := m.push(ctx, ref); ok && p.Error != "" {
		return &saidError{text: p.Error, err: err}
	}
	return err
}
