// Package crash kills the real program on a real mount, again and again, and holds what is left against what it had
// promised. The tests have the build tag crash and are run by `make crash`; `make crash KILLS=1000` is the long run.
//
// # The world
//
// The sregfs binary, built with the tag crash, in which SREGFS_CRASH_AT=point[:n] ends the process at the n-th passage of
// a named point (index/crashpoint_armed.go). A Drive, the same binary as `sregfs emulator`, a process of its own and slow
// enough that kills land in the middle of uploads. Between the two a line that can be cut. Workers that push, overwrite,
// edit, retag, copy, remove and read images through the mount, keep notes in drafts, and read cold what another client put
// into the Drive; each writes down what was acknowledged. The cache is smaller than what they read, so it evicts.
//
// # What ends a life
//
//   - a SIGKILL of the mount, at a named point or at any moment;
//   - a power cut: the mount's state and cache are on a file system of their own, in an image mounted by loop. The ioctl
//     EXT4_IOC_SHUTDOWN with NOLOGFLUSH (fs/ext4/ioctl.c of the kernel; XFS has the same under XFS_IOC_GOINGDOWN, and
//     xfstests' src/godown.c uses both) stops it as it stands: nothing that is still in memory, neither data nor journal,
//     reaches the image any more. Then the mount is killed, the file system unmounted and mounted again, which replays the
//     journal: what is there then is what had been synced, and whatever else the kernel had happened to write. It writes
//     little by itself in the seconds a life takes. There are three: ext4 as it comes, ext4 with data=writeback, where a
//     file can have its new length and not its new bytes, and XFS, which orders nothing but what is synced.
//
// Meanwhile the Drive's process is killed and started again, and connections are reset or swallow what is sent.
//
// # The oracle
//
// After each end, once the next mount has emptied its journal:
//   - what was acknowledged (close, rename, unlink, fsync that returned 0) is in Drive, whole, once, under its name;
//   - the one thing each worker had under way is whole or absent, and if a push of it had been written to the end (before
//     a power cut: synced) and is not in Drive, its bytes are a draft on this machine;
//   - nothing else is in Drive, nothing is parked, and the mounted tree shows what Drive has, byte for byte;
//   - a note is one of its versions, whole, and none older than the last that was acknowledged;
//   - Drive was not sent again what it had: of an upload cut short, at most the last unfinished 256 KiB;
//   - the state directory holds nothing that nobody wrote: no draft without an owner, no file of an unfinished step, and
//     the sign-in is whole;
//   - `sregfs fsck` finds nothing.
//
// Drive itself keeps what it acknowledged: it is the package drivetest that promises it, and each kill of its process
// that is followed by an acknowledged image being there shows it.
package crash
