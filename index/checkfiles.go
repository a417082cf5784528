package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// drafts compares the drafts with their files.
func (c *checker) drafts(ctx context.Context) error {
	s := c.ix.drafts
	files := map[uint64]os.FileInfo{}
	extra, err := lasting(ctx, func() (out []string, err error) {
		clear(files)
		entries, err := os.ReadDir(s.dir)
		if err != nil {
			return nil, err
		}
		known := map[uint64]bool{}
		for _, d := range c.ix.AllDrafts() { // after the files were listed: a file comes after its draft
			known[d.id] = true
		}
		for _, e := range entries {
			name, filling := strings.CutSuffix(e.Name(), unfinished)
			id, err := strconv.ParseUint(name, 16, 64)
			if err != nil || len(name) != 16 {
				continue // not ours
			}
			if info, err := e.Info(); err == nil && !filling {
				files[id] = info
			}
			if !known[id] {
				out = append(out, e.Name())
			}
		}
		return out, nil
	})
	if err != nil {
		return err
	}
	for _, name := range extra {
		path := filepath.Join(s.dir, name)
		p := Problem{Kind: ProblemDraft, Subject: path, Text: "the bytes of a draft without a record; the next start brings them back"}
		if strings.HasSuffix(name, unfinished) {
			p.Text = "a copy that was not finished"
			c.repair(p, "removed", func() error { return os.Remove(path) })
			continue
		}
		c.r.add(p)
	}
	broken, err := lasting(ctx, func() (out []Problem, _ error) {
		all := c.ix.AllDrafts()
		c.r.Drafts = len(all)
		for _, d := range all {
			if text := d.fault(files[d.id] != nil); text != "" {
				out = append(out, Problem{Kind: ProblemDraft, Subject: d.Place().String(), Text: fmt.Sprintf("draft %d %s", d.id, text)})
			}
		}
		return out, nil
	})
	if err != nil {
		return err
	}
	for _, p := range broken {
		c.r.add(p)
	}
	for _, d := range c.ix.AllDrafts() {
		if err := d.Err(); err != nil && d.State() == StateFailed {
			c.r.add(Problem{Kind: ProblemDraft, Subject: d.Place().String(), Note: true, Text: fmt.Sprintf("draft %d is kept, its push failed: %s", d.id, Sentence(err))})
		}
	}
	return nil
}

// fault says what is wrong with a draft, "" if nothing; there says that its file was listed.
func (d *Draft) fault(there bool) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.rec
	if !d.onDisk || d.gone || r.late() {
		return "" // it has no file, or may not have it any more
	}
	if !there {
		if _, err := os.Stat(d.s.path(d.id)); errors.Is(err, iofs.ErrNotExist) {
			return "has lost its bytes: somebody removed " + d.s.path(d.id)
		}
	}
	switch r.State {
	case StateDraft, StateFailed:
	case StateSealed, StateSending:
		switch {
		case r.Size != d.size:
			return fmt.Sprintf("was sealed with %d bytes and has %d", r.Size, d.size)
		case r.MD5 == "" || r.SHA256 == "" || r.Image == "":
			return "is sealed without checksums or name"
		case r.State == StateSending && (r.File == "" || r.Session == ""):
			return "is being sent without a session"
		case d.job == nil:
			return "is on its way to Drive, and nobody carries it"
		}
	case StateUploaded, StateCommitted:
	}
	return ""
}

// blocks reads what is cached and compares it with its checksums, and the files with the account.
func (c *checker) blocks(ctx context.Context) error {
	s := c.ix.blocks
	known := map[string]bool{}
	for _, bf := range s.all() {
		known[bf.hash] = true
		if bf.bytes() == 0 {
			continue
		}
		if err := c.blockFile(ctx, bf); err != nil {
			return err
		}
	}
	for _, e := range s.entries() {
		if known[e.Name()] {
			continue
		}
		path := filepath.Join(s.dir, e.Name())
		if bf := s.named(e.Name()); bf != nil {
			continue // opened meanwhile
		}
		if _, err := os.Stat(path); err == nil {
			c.repair(Problem{Kind: ProblemStray, Subject: path, Text: "a block file without a record"}, "removed", func() error { return os.Remove(path) })
		}
	}
	return c.account(ctx)
}

func (s *blockStore) named(hash string) *blockFile {
	for _, bf := range s.all() {
		if bf.hash == hash {
			return bf
		}
	}
	return nil
}

// blockFile checks one revision.
func (c *checker) blockFile(ctx context.Context, bf *blockFile) error {
	found, blocks, err := bf.inspect(ctx)
	if err != nil {
		return err
	}
	c.r.Blocks, c.r.Bytes = c.r.Blocks+blocks, c.r.Bytes+found.Checked
	name := cmp.Or(found.Ref, bf.key.file)
	if found.Problem != "" {
		c.r.add(Problem{Kind: ProblemCache, Subject: name, Text: found.Problem, Repaired: "forgotten; it is fetched again"})
	}
	bf.mu.Lock()
	bad := bf.bad
	bf.mu.Unlock()
	if bad {
		c.r.add(Problem{Kind: ProblemCache, Subject: name, Text: "what Drive sent twice did not match its own checksum; it is not served"})
	}
	if extra := bf.excess(); extra > 0 {
		q := Problem{Kind: ProblemSpace, Subject: bf.path(), Text: fmt.Sprintf("%d bytes more on disk than are in use", extra)}
		c.repair(q, "given back to the disk", bf.trim)
	}
	return nil
}

// ranges writes block numbers short.
func ranges(blocks []int64) string {
	var out []string
	for i := 0; i < len(blocks); {
		j := i
		for j+1 < len(blocks) && blocks[j+1] == blocks[j]+1 {
			j++
		}
		text := strconv.FormatInt(blocks[i], 10)
		if j > i {
			text += "-" + strconv.FormatInt(blocks[j], 10)
		}
		if out = append(out, text); len(out) == 8 {
			out = append(out, "…")
			break
		}
		i = j + 1
	}
	return strings.Join(out, ", ")
}

// slackBytes is what a file may take more on disk than its blocks: for the file system's own units and tables.
const slackBytes = 1 << 20

// excess is how much more the file takes on disk than its blocks account for; 0 while blocks are on their way.
func (bf *blockFile) excess() int64 {
	bf.mu.Lock()
	defer bf.mu.Unlock()
	if len(bf.flights) > 0 || bf.evicting != nil {
		return 0
	}
	return bf.surplus()
}

// surplus is excess, whatever is on its way. The caller holds mu.
func (bf *blockFile) surplus() int64 {
	var st unix.Stat_t
	if unix.Stat(bf.path(), &st) != nil {
		return 0
	}
	if extra := st.Blocks*512 - bf.bytes(); extra > slackBytes {
		return extra
	}
	return 0
}

// empty are the blocks that are not there. The caller holds mu.
func (bf *blockFile) empty() (blocks []int64) {
	for b := range bf.have.n {
		if !bf.have.has(b) {
			blocks = append(blocks, b)
		}
	}
	return blocks
}

// reclaim gives back to the disk what a killed program wrote to f and did not come to record. The caller holds persist, and
// nobody can write to f yet.
func (bf *blockFile) reclaim(f *cacheFile) error {
	bf.mu.Lock()
	var blocks []int64
	if bf.surplus() > 0 {
		blocks = bf.empty()
	}
	bf.mu.Unlock()
	if len(blocks) == 0 {
		return nil
	}
	return bf.punch(f, blocks)
}

// trim gives back to the disk what lies in the file and is no block.
func (bf *blockFile) trim() error {
	bf.persist.Lock()
	defer bf.persist.Unlock()
	bf.mu.Lock()
	if bf.evicting != nil || len(bf.flights) > 0 {
		bf.mu.Unlock()
		return ErrBusy
	}
	gone := make(chan struct{})
	bf.evicting = gone // no flight begins
	empty := bf.empty()
	bf.mu.Unlock()
	err := bf.remove(empty)
	bf.mu.Lock()
	bf.evicting = nil
	bf.mu.Unlock()
	bf.resume()
	close(gone)
	return err
}

// account compares what the cache believes to take with what its blocks are, while nothing is being fetched.
func (c *checker) account(ctx context.Context) error {
	s := c.ix.blocks
	wrong, err := lasting(ctx, func() ([]int64, error) {
		var sum int64
		for _, bf := range s.all() {
			bf.mu.Lock()
			flying := len(bf.flights) > 0 || bf.evicting != nil
			bf.mu.Unlock()
			if flying {
				return nil, nil
			}
			sum += bf.bytes()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.used == sum {
			return nil, nil
		}
		return []int64{s.used - sum}, nil
	})
	if err != nil || len(wrong) == 0 {
		return err
	}
	p := Problem{Kind: ProblemSpace, Subject: s.dir, Text: fmt.Sprintf("the cache's account is wrong by %d bytes", wrong[0])}
	c.repair(p, "corrected", func() error { s.unreserve(wrong[0]); return nil })
	return nil
}
