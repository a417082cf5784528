package drivetest

import (
	"net/http"
	"slices"
	"strconv"
	"time"
)

// change is one entry of an account's feed: file File was last changed, or lost, at Seq.
type change struct {
	Seq     int64
	File    string
	Removed bool `json:",omitempty"`
	Time    time.Time
}

// feed is the changes of one account in order. Only the newest entry of a file is alive; dead ones are
// passed over, and swept when they are the majority.
type feed struct {
	entries []change
	latest  map[string]int64 // the Seq that is alive, by file id
}

// feed returns the feed of an account. The caller holds mu.
func (s *store) feed(email string) *feed {
	f := s.feeds[email]
	if f == nil {
		f = &feed{latest: map[string]int64{}}
		s.feeds[email] = f
	}
	return f
}

func (f *feed) alive(c *change) bool { return f.latest[c.File] == c.Seq }

// add appends c, which replaces the file's older entry.
func (f *feed) add(c change) {
	f.entries = append(f.entries, c)
	f.latest[c.File] = c.Seq
	if len(f.entries) > 1000 && len(f.entries) > 2*len(f.latest) {
		f.entries = slices.DeleteFunc(f.entries, func(c change) bool { return !f.alive(&c) })
	}
}

// from is the index of the first entry with at least this Seq.
func (f *feed) from(seq int64) int {
	i, _ := slices.BinarySearchFunc(f.entries, seq, func(c change, seq int64) int { return int(c.Seq - seq) })
	return i
}

// horizon is the Seq after the last change an account may see yet, which is all unless changes lag.
func (s *store) horizon(f *feed) int64 {
	if lag := s.quirks.ChangesLag; lag > 0 {
		until := s.clock().Add(-lag)
		for i := len(f.entries); i > 0 && f.entries[i-1].Time.After(until); i-- {
			if i == 1 || !f.entries[i-2].Time.After(until) {
				return f.entries[i-1].Seq
			}
		}
	}
	return s.seq + 1
}

func (a *api) changesStartPageToken(c *call) error {
	var token int64
	_ = a.store.view(func() error {
		token = a.store.horizon(a.store.feedOf(c.acc.email))
		return nil
	})
	c.reply(object{
		{"kind", "drive#startPageToken"},
		{"startPageToken", strconv.FormatInt(token, 10)},
	})
	return nil
}

// feedOf is feed for a caller that may only read: an account nothing happened to has an empty one.
func (s *store) feedOf(email string) *feed {
	if f := s.feeds[email]; f != nil {
		return f
	}
	return &feed{}
}

func (a *api) changesList(c *call) error {
	if c.query.Get("pageToken") == "" {
		return &apiError{
			Status: http.StatusBadRequest, Reason: "required", Message: "Required parameter: pageToken",
			LocationType: "parameter", Location: "pageToken",
		}
	}
	token, err := strconv.ParseInt(c.query.Get("pageToken"), 10, 64)
	if err != nil || token < 1 {
		return errParameter("pageToken", "")
	}
	size, err := c.pageSize(100, 1000)
	if err != nil {
		return err
	}
	removed := c.query.Get("includeRemoved") != "false"
	own := c.query.Get("restrictToMyDrive") == "true"
	elsewhere := c.query.Get("spaces") != "" && c.query.Get("spaces") != "drive"

	return a.store.view(func() error {
		s := a.store
		if token > s.seq+1 {
			return errParameter("pageToken", "")
		}
		f := s.feedOf(c.acc.email)
		end := s.horizon(f)
		page := list{}
		i := f.from(token)
		for ; i < len(f.entries) && f.entries[i].Seq < end; i++ {
			entry := &f.entries[i]
			if !f.alive(entry) || elsewhere || entry.Removed && !removed {
				continue
			}
			now := s.files[entry.File]
			if own && now != nil && !s.inMyDrive(c.acc, now) {
				continue
			}
			if len(page) == size {
				break
			}
			page = append(page, c.change(s, entry, now))
		}
		reply := object{{"kind", "drive#changeList"}}
		if i < len(f.entries) && f.entries[i].Seq < end {
			reply = append(reply, member{"nextPageToken", strconv.FormatInt(f.entries[i].Seq, 10)})
		} else {
			reply = append(reply, member{"newStartPageToken", strconv.FormatInt(max(end, token), 10)})
		}
		c.reply(append(reply, member{"changes", page}))
		return nil
	})
}

// inMyDrive tells whether f hangs below the account's own root.
func (s *store) inMyDrive(acc *account, f *file) bool {
	for up := f; up != nil; up = s.files[up.Parent] {
		if up.ID == acc.rootID {
			return true
		}
	}
	return false
}

// change is one entry as the API shows it: the file as it is now, or that it is gone.
func (c *call) change(s *store, entry *change, f *file) object {
	o := object{
		{"kind", "drive#change"},
		{"removed", entry.Removed || f == nil},
	}
	if !entry.Removed && f != nil {
		o = append(o, member{"file", c.view(s, f)})
	}
	return append(o,
		member{"fileId", entry.File},
		member{"time", entry.Time},
		member{"type", "file"},
		member{"changeType", "file"},
	)
}
