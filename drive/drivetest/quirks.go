package drivetest

import "time"

// Quirks are the ways in which deployments of the service differ, lag, or are simply not documented. The
// zero value is the strict and prompt server; a test switches on what its client must survive.
type Quirks struct {
	// NameLag hides a new or renamed file from name predicates of files.list for this long. Folder and
	// property predicates see it at once, as reported of the service.
	NameLag time.Duration
	// ListLag hides a new file from every files.list for this long; files.get sees it at once.
	ListLag time.Duration
	// ChangesLag delays entries of changes.list.
	ChangesLag time.Duration
	// QuietChildren leaves out the changes entries of files inside a folder that was shared, unshared,
	// trashed or restored, as documented of shared drives.
	QuietChildren bool
	// LoseMultiParent answers a query with two or more "in parents" terms with no files, a known defect.
	LoseMultiParent bool
	// LoseGrants keeps of changes of one file's permissions only the last, if their requests overlap, as documented.
	LoseGrants bool

	// PersistAtMost keeps no more than this many bytes of each chunk that is not the last, rounded down to
	// 256 KiB but at least that. 0 keeps all.
	PersistAtMost int64
	// MoveSession answers each 308 with a new Location, and 404 at the old one.
	MoveSession bool
	// StatusStarOnly answers 500 to a status query that names the total, as some deployments did.
	StatusStarOnly bool
	// Unaligned decides on a chunk that is neither last nor a multiple of 256 KiB.
	Unaligned Unaligned
	// GapStatus is the answer to a chunk that begins after the bytes persisted; 0 = 400.
	GapStatus int
	// OrphanOnProperty leaves an empty file behind when a create fails on the limits of properties; two
	// reports disagree about it.
	OrphanOnProperty bool

	// MultiRange decides on a Range header with several ranges.
	MultiRange MultiRange
	// RetryAfter is the Retry-After header of errors 403, 429 and 503 that name a rate; 0 = none.
	RetryAfter time.Duration
}

// Unaligned says what becomes of a chunk that is neither the last one nor a multiple of 256 KiB.
type Unaligned int

// The answers to an unaligned chunk.
const (
	UnalignedReject Unaligned = iota // 400, nothing kept
	UnalignedFloor                   // 308, kept down to a multiple of 256 KiB
	UnalignedKeep                    // 308, kept whole
)

// MultiRange says how a Range header of several ranges is answered.
type MultiRange int

// The answers to several ranges.
const (
	MultiRangeWhole MultiRange = iota // 200 and the whole file
	MultiRangeFirst                   // 206 and the first range
)
