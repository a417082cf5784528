// Package crash kills the real program on a real mount, again and again, and holds what is left against what it had
// promised. The tests have the build tag crash and are run by `make crash`; `make crash KILLS=1000` is the long run.
//
// In: the sregfs binary, built with the tag crash, in which SREGFS_CRASH_AT=point[:n] ends the process at the n-th
// passage of a named point (index/crashpoint_armed.go); a Drive (drive/drivetest), slow enough that kills land in the
// middle of uploads; and workers that push, overwrite, retag, copy, remove and read images through the mount, each on
// names of its own, writing down what was acknowledged.
//
// The oracle, after each kill, once the next mount has emptied its journal:
//   - what was acknowledged (close, rename, unlink, fsync that returned 0) is in Drive, whole, once, under its name;
//   - the one thing each worker had under way is whole or absent, and if a push of it had been written to the end and is
//     not in Drive, its bytes are a draft on this machine;
//   - nothing else is in Drive, nothing is parked, and the mounted tree shows what Drive has, byte for byte;
//   - Drive was not sent again what it had: of an upload cut short, at most the last unfinished 256 KiB.
//
// What a kill does not show is a power cut: the page cache survives the process. That fsync comes before each promise is
// for the tests of package index to show.
package crash
