package index

import "sync"

// A ProblemKind says what a Problem is about, for programs.
type ProblemKind string

// The kinds of problems.
const (
	ProblemIndex     ProblemKind = "index"     // the records as a whole cannot be read
	ProblemRecord    ProblemKind = "record"    // a record that is damaged, or does not agree with the catalogue
	ProblemRoot      ProblemKind = "root"      // the registry's folder
	ProblemMissing   ProblemKind = "missing"   // an image on Drive that the index lacks, or has otherwise
	ProblemGone      ProblemKind = "gone"      // an image in the index that Drive has no more
	ProblemDuplicate ProblemKind = "duplicate" // more than one file on Drive of one name and version
	ProblemMetadata  ProblemKind = "metadata"  // properties on Drive that do not agree with the content
	ProblemDraft     ProblemKind = "draft"     // a draft's record, its file, or its push
	ProblemCache     ProblemKind = "cache"     // blocks on disk that are not as recorded
	ProblemStray     ProblemKind = "stray"     // a file that no record knows
	ProblemSpace     ProblemKind = "space"     // the account of the cache's disk
)

// Problem is one thing that is not as it should be, or was not.
type Problem struct {
	Kind     ProblemKind `json:"kind"`
	Subject  string      `json:"subject"`            // a path, a name in the tree or a Drive file id
	Text     string      `json:"text"`               // what is wrong, for people
	Repaired string      `json:"repaired,omitempty"` // what was done about it; "" if nothing
	Note     bool        `json:"note,omitempty"`     // worth knowing, and no damage: it does not count as a problem that remains
}

// Remains says whether p is damage that is still there.
func (p Problem) Remains() bool { return p.Repaired == "" && !p.Note }

// maxFindings bounds what is kept of what was found by the way.
const maxFindings = 1000

// findings are the problems that were met, and dealt with, by the way.
type findings struct {
	mu   sync.Mutex
	list []Problem // guarded by mu
}

// found notes a problem that was met by the way, for the log and for Check.
func (ix *Index) found(p Problem) {
	log := ix.log.WithField("kind", p.Kind).WithField("subject", p.Subject)
	if p.Repaired != "" {
		log.Debugf("%s: %s", p.Text, p.Repaired)
	} else {
		log.Warn(p.Text)
	}
	ix.findings.mu.Lock()
	defer ix.findings.mu.Unlock()
	if len(ix.findings.list) < maxFindings {
		ix.findings.list = append(ix.findings.list, p)
	}
}
