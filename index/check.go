package index

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// CheckOptions say how Check goes about it. The zero value looks at everything and changes nothing that is not changed
// at every start.
type CheckOptions struct {
	Repair  bool // put local state right; nothing is ever changed on Drive, and no draft removed
	Offline bool // do not ask Drive
}

// CheckReport is what Check found. Field names are a promise to scripts.
type CheckReport struct {
	V         int       `json:"v"`         // of this schema: 1
	StateDir  string    `json:"stateDir"`  // what was checked
	Remote    bool      `json:"remote"`    // Drive was asked, and answered
	Repair    bool      `json:"repair"`    // it was to be repaired
	Records   int       `json:"records"`   // records read
	Images    int       `json:"images"`    // images on record
	Listed    int       `json:"listed"`    // files of images that Drive listed
	Drafts    int       `json:"drafts"`    // drafts looked at
	Blocks    int64     `json:"blocks"`    // cached blocks read and compared
	Bytes     int64     `json:"bytes"`     // their bytes
	Problems  []Problem `json:"problems"`  // never null
	Remaining int       `json:"remaining"` // problems that are damage and are still there

	DriveError string `json:"driveError,omitempty"` // why Drive could not be compared with, though it was to be
}

// add notes a problem.
func (r *CheckReport) add(p Problem) {
	r.Problems = append(r.Problems, p)
	if p.Remains() {
		r.Remaining++
	}
}

// Check compares the records with the catalogue, the drafts, the blocks on disk and, unless it is to be offline, Drive.
// What was found and put right since the index was opened is in the report too. Cached blocks that are damaged are
// forgotten, to be fetched again, even without Repair: nothing else can be done with them. That Drive does not answer is no
// error: the report says it. With an error the report says how far it came.
func (ix *Index) Check(ctx context.Context, o CheckOptions) (CheckReport, error) {
	r := CheckReport{V: 1, StateDir: ix.dir, Repair: o.Repair, Problems: []Problem{}}
	c := checker{ix: ix, o: o, r: &r}
	if err := c.local(ctx); err != nil {
		return r, fmt.Errorf("check: %w", err)
	}
	if !o.Offline {
		switch err := c.remote(ctx); {
		case ctx.Err() != nil:
			return r, fmt.Errorf("check: %w", ctx.Err())
		case err != nil:
			r.DriveError = Sentence(err)
		default:
			r.Remote = true
		}
	}
	c.catalogue()
	r.Images = len(c.ix.cat.ids(false)) + len(c.ix.cat.ids(true))
	return r, nil
}

// checker is one run of Check.
type checker struct {
	ix *Index
	o  CheckOptions
	r  *CheckReport
}

// local checks everything on this machine.
func (c *checker) local(ctx context.Context) error {
	select {
	case <-c.ix.blocks.looked: // the block files that had no record at start
	case <-ctx.Done():
		return ctx.Err()
	}
	c.ix.findings.mu.Lock()
	met := slices.Clone(c.ix.findings.list)
	c.ix.findings.mu.Unlock()
	for _, p := range met {
		if p.Remains() && c.passed(p) {
			continue
		}
		c.r.add(p)
	}
	if err := c.records(ctx); err != nil {
		return err
	}
	if err := c.drafts(ctx); err != nil {
		return err
	}
	if err := c.blocks(ctx); err != nil {
		return err
	}
	return nil
}

// passed says that a problem met at start is looked at again by Check itself.
func (c *checker) passed(p Problem) bool { return p.Kind == ProblemStray }

// repair carries out do if that is asked for, and notes the problem with what was done.
func (c *checker) repair(p Problem, done string, do func() error) {
	if c.o.Repair {
		if err := do(); err != nil {
			p.Text += fmt.Sprintf("; it cannot be repaired: %v", err)
		} else {
			p.Repaired = done
		}
	}
	c.r.add(p)
}

// catalogue notes what is odd about the images on Drive, by what is known of them. It is for their owner to change.
func (c *checker) catalogue() {
	names := map[string][]Image{}
	for _, img := range c.ix.Images() {
		key := strings.ToLower(img.Space) + "\x00" + img.Ref.Fold().String()
		names[key] = append(names[key], img)
		if isHash(img.Version) && img.MD5 != "" && !strings.EqualFold(img.Version, img.MD5) {
			c.r.add(Problem{
				Kind: ProblemMetadata, Subject: img.File, Note: true,
				Text: fmt.Sprintf("%s: its properties say version %s, and the MD5 of its content is %s", img.Ref.Short(), img.Version, img.MD5),
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		same := names[name]
		if len(same) < 2 {
			continue
		}
		var ids []string
		for _, img := range same {
			ids = append(ids, img.File)
		}
		c.r.add(Problem{
			Kind: ProblemDuplicate, Subject: same[0].Ref.String(), Note: true,
			Text: fmt.Sprintf("%d files on Drive have this name and version: %s; the newest is shown", len(same), strings.Join(ids, ", ")),
		})
	}
	if others := c.ix.remote.get().others; len(others) > 0 {
		c.r.add(Problem{
			Kind: ProblemRoot, Subject: c.ix.rootName(), Note: true,
			Text: fmt.Sprintf("My Drive has other folders of this name, which are not used: %s", strings.Join(others, ", ")),
		})
	}
}

// lasting repeats look while it finds something, for two seconds: what somebody is just bringing in line is no problem.
func lasting[T any](ctx context.Context, look func() ([]T, error)) ([]T, error) {
	for range 10 {
		found, err := look()
		if err != nil || len(found) == 0 {
			return nil, err
		}
		t := time.NewTimer(200 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		}
	}
	return look()
}
