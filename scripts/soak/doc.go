// Package soak lets the real program work for minutes or hours on a Drive that is slow and fails, with everything going
// on at once, and holds every byte read against what it must be. The tests have the build tag soak and are run by
// `make soak`, which takes two minutes; `make soak FOR=2h` is the long run.
//
// In: the sregfs binary (SREGFS_BIN, else it is built); a Drive (drive/drivetest) that answers after 50 to 300 ms and lets one request in twenty fail,
// in the ways the service does; two machines of one person (mounts with a state of their own) and one of another person
// to whom images are shared; caches far too small for the images.
//
//	4 writers    push, overwrite, retag, remove and share, on names of their own
//	16 readers   in processes of their own, read random ranges, from front to back, through mappings, and open and close
//	3 watchers   list the whole tree, read the status, again and again
//	1 operator   unmounts and mounts again, or kills a mount and mounts over what it left
//
// An image is known by its seed: each of its bytes follows from seed and offset (content_test.go), so any range of any
// version can be checked by who has never seen the file. A reader says which version it met under which name, and the
// test knows which it may have been (history_test.go). No error is let pass but those that a kill, a removal or a file
// that is just being written explains, and each of these only at its time and place.
//
// At the end Drive must hold exactly what was acknowledged, every mount must show it, no draft, process or mount may be
// left; and the first machine, whose mount lived through it all, must not have grown: memory, descriptors and goroutines
// are compared, with nobody at work, after the first fifth and at the end.
package soak
