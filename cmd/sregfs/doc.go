// Command sregfs mounts a registry of Singularity/Apptainer images kept in
// Google Drive, and works on it from the command line.
//
// This is the human's face of the program: it reads flags and the environment
// (config.go), opens the floors beneath, prints what the verbs of the Python
// tool sregistry print, and turns every error into one line and an exit code
// (exit.go). What a verb does is done by package index; nothing here talks to
// Drive or to Badger by itself.
//
// A verb reaches the registry in one of two ways (registry.go). Where no mount
// owns the state directory it opens the index itself. Where one does, it goes
// through that mount: images are its files, sharing is its control file. So a
// verb never works beside a running mount, and gives the same answer either
// way.
//
// sregfs mount starts a child that owns the mount and returns when the root
// answers (mount.go, background.go). The child lives until it is unmounted or
// gets SIGTERM; pushes that have not reached Drive by then are in the journal,
// and the next mount goes on with them.
//
// A verb keeps nothing of its own, so a killed one leaves the floors beneath as
// they promise it: push is in the index's journal as soon as its file is
// sealed, pull writes beside its target and renames what it has checked, and
// what a kill leaves of that is a hidden .part file.
package main
