// Package fs shows a registry to the kernel as a file system, by FUSE. It is a thin face: names, images, drafts, pushes
// and sharing are the index's (package index); here they get paths, inode numbers, errnos and extended attributes.
//
// # In
//
// Mount takes an open index and an empty directory. The tree is
//
//	COLLECTION/                        collections nest
//	  IMAGE:TAG.sif                    the tag's newest version: run it, or write to it to push
//	  IMAGE:TAG/VERSION.sif            every version, immutable
//	shared-with-me/OWNER/COLLECTION/…  read-only
//	.sregfs/                           control files; found, not listed
//
// and every text form of a name resolves: upper case, IMAGE.sif for the tag latest, IMAGE:TAG@VERSION.sif. A file at the
// top under an image's name belongs to the collection "library". Names that a directory cannot hold are percent-encoded
// (package image).
//
// # Nodes
//
// A node is an address, a small comparable value (entry.go makes them); equal values are one inode. An image's node is
// one revision of one Drive file, and its bytes never change: the kernel keeps its pages and attributes.
//
// # What the kernel keeps
//
// What is published the kernel is given for keeps, and it is taken back before the change is acknowledged to anybody
// (lasting.go): a name that was looked at once costs no request any more, and the next call after a change sees the change.
// This needs Linux 6.16; an older kernel asks for each name each time. Measured with BenchmarkRegistry on two cores that
// others used too: a stat(2) of 1,000 images by absolute path took 85 µs each when the kernel asked, and 2–3 µs now.
//
//   - Taken back are all names at once, and only when one that was given means something else. What costs is that the kernel
//     then lets go of the pages of a file which nobody has open when its name is looked up next; it reads them again from
//     our disk. A file that is open keeps its pages, and /proc/PID/fd shows it as deleted from then on, though it is not.
//   - Drafts, and names that mean something for one process only, are asked for each time. So are names that are not there:
//     the FUSE library cannot give them.
//   - Attributes of directories are taken back one by one. Those of the top are not given: stat(2) of it is how people and
//     programs tell a mount whose process died.
//   - With allow_other the kernel checks permissions, and asks for the top's attributes on the way to each name.
//   - Pages are read from the kernel's memory at the speed of FUSE files, whoever serves them: 0.5–0.6 of a file on ext4,
//     whose pages the kernel keeps in larger pieces, as much as a bare passthrough of the FUSE library has (BenchmarkRead).
//   - What is prefetched is not pushed into the page cache (FUSE_NOTIFY_STORE): the kernel would wait for the lock of a page
//     that a read holds until we answer it, not to be killed. It would save a request of 128 KiB where one is made, 0.1–0.2 ms
//     of a start that reads a few hundred.
//
// # Writing
//
// Nothing is ever written to an image's node. Who opens a tag's file for writing is answered ESTALE after a draft was
// prepared: the kernel resolves the name once more within the same open(2), and now it is the draft (drafts.go). So those
// who had the image open keep their bytes and their pages. close(2) of a changed draft under an image's name pushes it
// and returns when Drive has it, or with the error; then the name is the new image. Half an image is an error of close,
// EINVAL, and stays as a draft, unless the process that closes got the descriptor from another, which may have more to
// write. A file nobody wrote to is no error, and no image. Any other name is a draft until it is renamed to an image's.
//
// # Limits
//
//   - rename(2) of a draft to an image's name returns when Drive has it, and the kernel holds the directory meanwhile.
//   - rename(2) never answers EINVAL, which mv(1) explains in its own way: a name that cannot be is EPERM there, half an
//     image and what Drive finds wrong with a request is ENODATA.
//   - Renaming a directory is a change on Drive per image: if one fails, the others have moved and mv can be repeated.
//   - rm of a tag's file removes the newest version; the one before it is then the newest.
//   - Hard links, symbolic links, special files and O_TMPFILE are refused; modes, owners and times are accepted and not
//     kept; a draft has no extended attributes to set. posix_test.go has each deviation from POSIX with its errno.
//   - A directory is its path: a descriptor of one that was renamed or removed is stale, ESTALE.
//   - A name shows what is being written to it. Who had the image open before keeps it; who opens it for reading just then
//     reads a file that changes, as on any file system.
//   - A program that writes an image and closes a copy of its descriptor in between publishes what it has written so far,
//     if that is whole. A process that was forked meanwhile and never wrote publishes nothing.
//   - rename(2) of a draft that Drive refuses, or does not answer, fails; but the draft has its new name by then, with its
//     bytes: a failed draft, or one whose push goes on. mv finds the old name gone, and says so; sync(1) of the new
//     one waits anew.
//   - What a shell's own commands write (echo … > FILE) is lost on no account, but the shell looks at no error of close(2).
//   - An editor that compares inode numbers before and after opening (vim) refuses to save into a published image.
//   - Changes are told to nobody: inotify sees what programs of this machine do.
//   - Locks are the kernel's own, among the processes of one machine.
//   - Without allow_other only the user who mounted can look; with it others can read images, and only the owner and root
//     change anything or see .sregfs.
//
// # Promises after a crash
//
// This package keeps nothing: what a killed mount had acknowledged is in the index, which continues the pushes, and the
// next mount at the same place takes the dead one away. Inode numbers are the same on every mount.
//
// # Deadlocks
//
// The kernel is told nothing, but in answer to a request, for which it needs a lock. To make it forget an entry would wait,
// in the kernel and not to be killed, for the lock of the directory, which it holds for a rename that is being pushed: a
// program killed in that moment would never end, nor release its mount and its state. What it is told, that all names are
// old (FUSE_NOTIFY_INC_EPOCH) and that the attributes of a directory are (FUSE_NOTIFY_INVAL_INODE without pages), takes no
// lock that a request can hold. Serve waits for its handlers at unmount, so every request's context ends with the mount
// (context.go). A process must not read its own mount; the tests use another (package fstest).
package fs
