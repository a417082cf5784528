package index

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"sregfs/drive"
)

// job is the push of one draft while this program runs. The journal is the draft's record: a job takes it from wherever
// it stands to the end, and one that a crash cut short is started again by the next program.
type job struct {
	kick chan struct{} // ends a pause
	done chan struct{} // closed when img and err are set
	img  Image
	err  error

	mu    sync.Mutex
	stuck chan struct{} // guarded by mu: closed while the job pauses after a passing error
	why   error         // guarded by mu: that error, nil while it does not pause

	cancel    context.CancelFunc // guarded by mu: nil until it begins
	cancelled bool               // guarded by mu
}

// begin gives the job its context, which ends with the index or by stop.
func (j *job) begin(base context.Context) context.Context {
	ctx, cancel := context.WithCancel(base)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cancel = cancel; j.cancelled {
		cancel()
	}
	return ctx
}

// stop ends the job's context; done says when the job has ended.
func (j *job) stop() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cancelled = true; j.cancel != nil {
		j.cancel()
	}
}

// start begins the job of a draft that was made busy, and gives it its place in the queue of its name.
func (s *draftStore) start(d *Draft) {
	j := &job{kick: make(chan struct{}, 1), done: make(chan struct{}), stuck: make(chan struct{})}
	d.mu.Lock()
	d.job, d.err = j, nil
	d.open++
	name := d.rec.ref().Fold().Short()
	d.mu.Unlock()
	turn := s.turns.ticket("name "+name, j)
	s.mu.Lock()
	if s.jobs++; s.jobs == 1 {
		s.quiet = make(chan struct{})
	}
	s.mu.Unlock()
	end := func(img Image, err error) {
		j.stop()
		turn.leave()
		d.finish(j, img, err)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.jobs--; s.jobs == 0 {
			close(s.quiet)
		}
	}
	if !s.ix.goes(func(base context.Context) { end(s.run(j.begin(base), d, j, turn)) }) {
		end(Image{}, errClosed) // it stays in the journal
	}
}

// finish ends the job: writers go on, waiters get the result.
func (d *Draft) finish(j *job, img Image, err error) {
	if err == nil {
		d.s.forget(d) // before a writer that waited makes a draft of it again
	}
	d.mu.Lock()
	j.img, j.err = img, err
	d.job, d.err = nil, err
	busy := d.busy
	d.busy = nil
	d.mu.Unlock()
	close(busy)
	close(j.done)
	d.Release()
	if err != nil {
		d.s.ix.event(Event{Place: d.Place()})
	}
}

// The pauses between attempts; the Drive client's own retries come before each.
const (
	pauseFirst = time.Second
	pauseMost  = time.Minute
)

// run attempts until it is done, or the error is final: then the push is parked. It keeps its turn while it pauses, or a
// later version of the same name would overtake it.
func (s *draftStore) run(ctx context.Context, d *Draft, j *job, turn *ticket) (Image, error) {
	if err := j.queue(ctx, turn); err != nil {
		return Image{}, err
	}
	for pause := pauseFirst; ; pause = min(2*pause, pauseMost) {
		before := d.sent.Load()
		img, err := s.attempt(ctx, d)
		switch {
		case err == nil:
			return img, nil
		case ctx.Err() != nil:
			return Image{}, fmt.Errorf("push %s: it waits in the journal: %w", d.rec.ref().Short(), ctx.Err())
		case !passing(err):
			if e := d.save(func(r *draftRecord) { r.State, r.Error, r.Session = StateFailed, Sentence(err), "" }); e != nil {
				err = errors.Join(err, e)
			}
			return Image{}, err
		}
		if d.sent.Load() > before {
			pause = pauseFirst
		}
		s.log.WithError(err).WithField("draft", d.id).Debug("a push pauses")
		d.mu.Lock()
		d.err = err
		d.mu.Unlock()
		j.pause(err)
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-j.kick:
		case <-ctx.Done():
		}
		t.Stop()
		j.resume()
	}
}

// pause lets those who wait for the job go, with err.
func (j *job) pause(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.why == nil {
		close(j.stuck)
	}
	j.why = err
}

func (j *job) resume() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.why != nil {
		j.stuck, j.why = make(chan struct{}), nil
	}
}

// stalled is closed when the job pauses; why then says for what.
func (j *job) stalled() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stuck
}

func (j *job) reason() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.why
}

// ended says whether img and err are set.
func (j *job) ended() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// hurry ends a pause.
func (j *job) hurry() {
	select {
	case j.kick <- struct{}{}:
	default:
	}
}

// hurry ends the pauses of the pushes that are worth another attempt now, by why they pause.
func (s *draftStore) hurry(worth func(why error) bool) {
	for _, d := range s.ix.AllDrafts() {
		d.mu.Lock()
		j := d.job
		d.mu.Unlock()
		if j == nil {
			continue
		}
		if why := j.reason(); why != nil && worth(why) {
			j.hurry()
		}
	}
}

// queue waits for the job's turn. While the one in front pauses, so does this one.
func (j *job) queue(ctx context.Context, turn *ticket) error {
	defer j.resume()
	for {
		front := turn.front()
		if front == j {
			return nil
		}
		select {
		case <-turn.turn:
			continue
		case <-ctx.Done():
			return ctx.Err()
		case <-front.stalled():
			why := front.reason()
			if why == nil {
				continue
			}
			j.pause(fmt.Errorf("an earlier push of this name waits: %w", why))
		}
		select {
		case <-turn.turn:
		case <-front.done:
		case <-j.kick:
			front.hurry()
			j.resume()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// passing says whether a push that failed with err goes on by itself: the network comes back, somebody signs in, to Drive
// or to the portal of the network, which answers in Drive's place until then.
func passing(err error) bool {
	return drive.Retryable(err) || errors.Is(err, ErrSignIn) || errors.Is(err, ErrSession) || errors.Is(err, ErrProtocol) ||
		errors.Is(err, syscall.ENOSPC) // of this machine's disk, which somebody makes room on
}

// attempt steps the draft until it is committed. Pushes of the same content wait for each other, so that the second finds
// what the first made.
func (s *draftStore) attempt(ctx context.Context, d *Draft) (Image, error) {
	content := s.turns.ticket("content "+d.rec.SHA256, nil)
	defer content.leave()
	if err := content.wait(ctx); err != nil {
		return Image{}, err
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return Image{}, ctx.Err()
	}
	if err := d.ready(ctx, false); err != nil {
		return Image{}, err
	}
	deaths := 0
	for {
		img, done, err := s.step(ctx, d)
		if errors.Is(err, ErrSession) && deaths < 3 { // step recorded that a new one is needed
			deaths++
			continue
		}
		if done || err != nil {
			return img, err
		}
	}
}
