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
// Names are resolved in one place (find.go). Verbs that look at or change what is
// on this machine believe what was known before and ask Drive only for a name they
// do not know, so they work without network and credentials; the others bring the
// index up to date first, with one request when a verb went before.
//
// What verbs keep are files that speak for themselves: the images that were
// pulled or added, under STORAGE, with links to those that were moved
// (storage.go); an empty file in STATE/records for each image that was recorded
// (record.go); and the person's config.yaml (origin.go). So a killed verb leaves
// the floors beneath as they promise it: push is in the index's journal as soon as
// its file is sealed, pull and add write beside their target and rename what is
// whole, and what a kill leaves of that is a hidden .part file, which the next takes
// away.
//
// Output is that of the registry tool's page, which testdata/*.golden has as
// transcripts; --json prints what 'sregfs help json' documents (schema.go).
package main
