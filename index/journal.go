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
	stall *stall // guarded by mu: the pause the job is in, or the next

	cancel    context.CancelFunc // guarded by mu: nil until it begins
	cancelled bool               // guarded by mu
}

// stall is a pause of a job after a passing error. Who was told of one keeps its reason, though the job may go on at once.
type stall struct {
	begun chan struct{} // closed when the job pauses
	why   error         // written before
}

func newStall() *stall { return &stall{begun: make(chan struct{})} }

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
	j := &job{kick: make(chan struct{}, 1), done: make(chan struct{}), stall: newStall()}
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
		img, err := s.attempt(ctx, d, j)
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

// pause lets those who wait for the job go, with why.
func (j *job) pause(why error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.leave()
	j.stall.why = why
	close(j.stall.begun)
}

func (j *job) resume() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.leave()
}

// leave ends the pause if the job is in one. The caller holds mu.
func (j *job) leave() {
	select {
	case <-j.stall.begun:
		j.stall = newStall()
	default:
	}
}

// stalled is the pause the job is in, or the next.
func (j *job) stalled() *stall {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stall
}

// reason is what the job pauses for, nil if it does not.
func (j *job) reason() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stall.why
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
		stall := front.stalled()
		select {
		case <-turn.turn:
			continue
		case <-ctx.Done():
			return ctx.Err()
		case <-stall.begun:
			j.pause(fmt.Errorf("an earlier push of this name waits: %w", stall.why))
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
func (s *draftStore) attempt(ctx context.Context, d *Draft, j *job) (img Image, err error) {
	s.mu.Lock()
	s.waiting[j] = true
	s.mu.Unlock()
	defer func() { s.heard(j, err) }()
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
	restarts := 0
	for {
		img, done, err := s.step(ctx, d)
		if (errors.Is(err, ErrSession) || errors.Is(err, errSpent)) && restarts < 3 { // step recorded that a new one is needed
			restarts++
			continue
		}
		if done || err != nil {
			return img, err
		}
		s.heard(j, nil)
	}
}

// silentMost is how many attempts in a row that Drive did not answer say that it will not answer the others either.
const silentMost = 2

// heard notes that Drive answered j, or that its attempt ended with err. When Drive is out of reach those who wait for a
// push that it has not answered yet are let go: or each would wait until its own turn came to find out.
func (s *draftStore) heard(j *job, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waited := s.waiting[j]
	delete(s.waiting, j)
	switch {
	case err == nil:
		if s.silent = 0; waited {
			j.resume()
		}
	case errors.Is(err, ErrOffline), errors.Is(err, ErrTimeout), errors.Is(err, ErrSignIn):
		if s.silent++; s.silent >= silentMost {
			for other := range s.waiting {
				other.pause(fmt.Errorf("other pushes wait too: %w", err))
			}
		}
	}
}
