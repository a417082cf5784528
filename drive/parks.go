package drive

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// downloadQuota is the reason of the 403 for a file that was downloaded too often. It lasts up to 24 hours, and asking
// again prolongs it, by reports from the field.
const downloadQuota = "downloadQuotaExceeded"

// The pauses of a parked file: the first, which doubles with each refusal, and the longest.
const (
	parkFirst = time.Minute
	parkMost  = time.Hour
)

// Parked is a file that Drive does not hand out for now: its content is not asked for until Until.
type Parked struct {
	File  string    `json:"file"`  // Drive's id
	Until time.Time `json:"until"` // when it is asked for again
}

// parks keeps the files whose download quota is used up.
type parks struct {
	mu    sync.Mutex // guards files
	files map[string]park
}

type park struct {
	until time.Time
	pause time.Duration
	why   Error
}

// check returns the refusal that parked file, while that lasts.
func (p *parks) check(file string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	parked, ok := p.files[file]
	left := time.Until(parked.until)
	if !ok || left <= 0 {
		return nil
	}
	why := parked.why
	why.RetryAfter = left
	return &why
}

// note parks file if err says that its quota is used up. A read that went well ends that.
func (p *parks) note(ctx context.Context, file string, err error) {
	var e *Error
	refused := errors.As(err, &e) && e.Reason == downloadQuota
	if !refused && err != nil || ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	before, known := p.files[file]
	switch {
	case !refused:
		delete(p.files, file)
	case time.Now().Before(before.until): // of several refused together the first counts
	default:
		now := park{pause: parkFirst, why: *e}
		if known {
			now.pause = min(2*before.pause, parkMost)
		}
		now.until = time.Now().Add(max(now.pause, e.RetryAfter))
		if p.files == nil {
			p.files = map[string]park{}
		}
		p.files[file] = now
	}
}

// list says what is parked now, by id.
func (p *parks) list() []Parked {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Parked
	for file, parked := range p.files {
		if time.Now().Before(parked.until) {
			all = append(all, Parked{File: file, Until: parked.until})
		}
	}
	slices.SortFunc(all, func(a, b Parked) int { return strings.Compare(a.File, b.File) })
	return all
}

// Unpark lets the content of file be asked for at once, though Drive refused it a short while ago: for a person who
// wants to know.
func (c *Client) Unpark(file string) {
	c.parked.mu.Lock()
	defer c.parked.mu.Unlock()
	if parked, ok := c.parked.files[file]; ok {
		parked.until = time.Time{}
		c.parked.files[file] = parked
	}
}
