package fs

import (
	"sync"
	"time"
)

// failures are the reads of one descriptor that failed a moment ago. When read-ahead fails the kernel asks at once again
// for the page a program waits for: without a memory that program would wait twice for a network that is gone. And the
// kernel asks for several stretches at the same time, of which one line in the log says enough.
type failures struct {
	mu   sync.Mutex
	list []failedRead // guarded by mu: the older ones first
}

// failedRead is a stretch of bytes that could not be read.
type failedRead struct {
	off, end int64
	told     error // what the kernel got
	cause    error
	at       time.Time
}

// moment is how soon after a failure a read of the same bytes is the kernel's own and not a program's.
const moment = time.Second

// recent drops what is older than a moment. The caller holds mu.
func (f *failures) recent() []failedRead {
	for len(f.list) > 0 && time.Since(f.list[0].at) > moment {
		f.list = f.list[1:]
	}
	return f.list
}

// again returns the error of a read that had byte off and failed a moment ago.
func (f *failures) again(off int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.recent() {
		if r.off <= off && off < r.end {
			return r.told
		}
	}
	return nil
}

// note remembers that n bytes at off could not be read for cause, and returns what tell makes of that; but tell is not
// asked, and nothing logged, for what another stretch just failed for.
func (f *failures) note(off int64, n int, cause error, tell func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var told error
	for _, r := range f.recent() {
		if errnoOf(r.cause) == errnoOf(cause) {
			told = &kernelError{err: cause, errno: errnoOf(cause)}
		}
	}
	if told == nil {
		told = tell()
	}
	f.list = append(f.list, failedRead{off, off + int64(n), told, cause, time.Now()})
	return told
}
