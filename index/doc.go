// Package index is the local state of one registry: what Drive holds, which bytes of it are on this disk, and what is on
// its way there. The floor above (fs, and the command) sees images, collections, drafts and errors; the floor below
// (drive) sees files, byte ranges and HTTP.
//
// # In
//
// Drive's listing and changes feed come in through sync.go: the first time a full listing, then the feed, whose token is
// stored in one transaction with the records it brought; every hour, and when Drive refuses the token, a full listing
// again. What Drive answers to writes of our own comes in by adopt. Records carry Drive's version number of the file,
// and news older than the record is ignored, so a listing or a feed that lags behind takes nothing back; an image that a
// listing lacks goes only when files.get says that it is gone.
//
// Content comes in by blocks of 128 KiB, each fetched once however many ask for it, into one sparse file for each revision
// (blocks.go, flight.go); one request brings a run of them, and each is readable as soon as it has arrived. One scheduler
// has the connections (scheduler.go): readers who wait go first; then start-up profiles, headers and tables (order.go),
// what lies around a miss (around.go), what a sequential reader comes to (ahead.go), images asked for by name, the rest of
// an image whose start no profile names, while that start leaves the line idle, and the rest of any image in use
// (complete.go). What nobody waits for is bounded, dropped with the last reader, and stops when Drive
// refuses. What a start reads is recorded for the next one (profile.go, launch.go, plan.go). A reader holds one revision
// and never sees bytes of two. Drafts come in by writes in any order to a local file (draft.go).
//
// # Kept
//
//	DIR/holder       locked by the owner of the state; names its process and mount point
//	DIR/index/       Badger: the key space is the table in schema.go, the records are in record.go beside their users
//	DIR/drafts/      one file for each draft
//	DIR/blocks/      one sparse file for each cached revision (or in the cache directory of its own)
//	DIR/reserve      room kept for the records on a full disk (space.go)
//
// In memory the catalogue is a copy of the file records, without labels and properties: a tree of collections and tags
// for each space, my own ("") and one for each person who shares with me. It changes only by publish, which reads the
// records back, so memory follows the disk whoever wrote last. Directory listings and look-ups are answered from it and
// never wait for Drive or the disk.
//
// # Out
//
// Reads are answered from blocks. Pushes go through the journal, a state machine in the draft's record
// (draft → sealed → sending → uploaded → committed) stepped by the same code at work and at start (journal.go). Retag,
// Remove, SetLabel and Share are one request each (verbs.go, share.go). Events tell subscribers which names changed, before
// the change is acknowledged to anybody (events.go).
//
// # After a crash
//
// A commit is on disk when writing returns (SyncWrites). What was acknowledged is there: drafts with their bytes as of
// the last Sync or Push, journal states, directories, records. What was not is whole or absent: a block whose bit is not set
// is fetched again, a page of the feed whose token was not stored is asked for again, a reply of Drive's that was not
// recorded is found again by the reserved id. The catalogue and the blocks can be thrown away at any time and come back
// from Drive; drafts cannot, and nothing but a committed push or their owner removes them.
//
// What the disk gives back is not taken for granted: each block has a checksum, looked at when it is first read (trust.go);
// a block file or a draft without a record is taken in or set aside, never believed (adopt.go, draftrecord.go); records
// that cannot be read are refused, and SetAside makes room for new ones (damage.go). Check compares all of it.
//
// # Goroutines and locks
//
// A goroutine that outlives a call is started by goes and joined by Close; its context is the index's life, not the
// caller's. Who waits may leave, and what is waited for goes on. Each mutex says what it guards where it is declared; the
// order is on Index (index.go), on blockStore and on draftStore. Those who look at the catalogue wait for no Drive, disk or
// subscriber; only the next change of it does.
package index
