// Command bench measures sregfs against its peers and against what the line allows, in one run on one machine: every
// figure of a comparison comes from the same emulated Drive with the same shaping, and contenders take turns within each
// round, so that whatever else the machine does falls on all of them.
//
// # In
//
// The images and the real Apptainer of scripts/apptainer-root and scripts/bench-image, rclone and curl (scripts/setup
// --bench), and root's rights, for the mounts and namespaces. The Drive is package drivetest, in this process and in
// memory: on a small machine a second program's copies would be taken from what is measured. The line is 40 MB/s on each
// connection and 125 MB/s in all, with 50, 150 or 300 ms to the first byte.
//
// # What is measured
//
// Cold starts (starts.go): a command in a container, from its exec to its end, with nothing of the image on the machine.
// The contenders are sregfs without a profile, with the one made at push ("static"), with one recorded on another machine
// and shared through the image's properties, and with one recorded from all of the image's commands; sregfs with the blocks
// on disk and with the pages in memory; the image fetched whole on one connection (curl) and on eight, then run; rclone
// mount in full mode, on its own Drive backend (rclone.go). Mounting and the first listing are outside of the time, for
// everybody: they happen once a day, the start happens each time.
//
// The limit of a start is what fetching exactly what it reads, and then starting, would take: the start with the blocks on
// disk, one round trip, and those bytes at full bandwidth. They are counted by a bare file system (passthrough.go) in pages
// of 4 KiB, each once, with what the kernel reads ahead. Who fetches while the start computes can be below the limit.
//
// Reads (reads.go), transfers (transfers.go) and listings (listing.go) have their own sections, each next to its peer.
//
// # Out
//
// Progress and tables on standard output; for a whole run RESULTS.md and cold-starts.svg in this directory, for any run in
// that of -out. Requests and
// bytes are the emulator's own log, up to the moment a start ended. A bound that was missed is reported as missed; the
// exit code does not depend on it.
//
// # Running a part
//
//	scripts/bench.sh -count 1 -only 'cold/scipy@150/loop' -contenders static,shared
//	scripts/bench.sh -count 3 -only 'seq|readers' -v
//
// -only is a regular expression; `-list` prints the names it is matched with. -v shows the requests of each start.
package main
