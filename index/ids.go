package index

import "context"

// reservation is the id of the file a draft is to become, asked for while it is being written: when it is closed that would
// cost a round trip.
type reservation struct {
	signIn string        // whose id it is: another account cannot use it
	done   chan struct{} // closed when id is set
	id     string        // "" if Drive gave none
}

// reserve asks for the draft's id. That it gets none, its push will find out.
func (d *Draft) reserve() {
	r := &reservation{signIn: d.s.ix.drive.SignIn(), done: make(chan struct{})}
	if r.signIn == "" {
		return
	}
	started := d.s.ix.goes(func(ctx context.Context) {
		defer close(r.done)
		ids, err := d.s.ix.drive.GenerateIDs(ctx, 1)
		if err != nil {
			d.s.log.WithError(err).WithField("draft", d.id).Debug("no id in advance")
			return
		}
		r.id = ids[0]
	})
	if !started {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reserved = r
}

// reservedID returns the id for the draft's next push.
func (d *Draft) reservedID(ctx context.Context) (string, error) {
	d.mu.Lock()
	r := d.reserved
	d.reserved = nil
	d.mu.Unlock()
	if r != nil && r.signIn == d.s.ix.drive.SignIn() {
		select {
		case <-r.done:
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if r.id != "" {
			return r.id, nil
		}
	}
	ids, err := d.s.ix.drive.GenerateIDs(ctx, 1)
	if err != nil {
		return "", err
	}
	return ids[0], nil
}
