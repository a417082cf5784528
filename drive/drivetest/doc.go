/*
Package drivetest is a Google Drive to test against: the Drive v3 API, its sign-in and its consent page, on
real HTTP, as strict as the service is known to be. Clients nobody here wrote, Google's Go and Python
libraries among them, work with it unchanged.

# In

A test writes

	srv := drivetest.NewServer(t, drivetest.Options{})
	ann := srv.User("ann@uni.edu")
	file, err := ann.Put(drivetest.File{Name: "a.sif"}, content)

and points its client at srv.URL() with ann.AccessToken(), or with the files of ann.WriteCredentials. The
methods of User look at the store and change it behind the client's back, by the same rules. A Rule makes a
request fail in one of the ways the service does, Shape slows the server down, Quirks switches on what is
reported of some deployments, or not documented, and Requests tells what was asked of it.

With Options.Dir the Drive lives in a directory; that is the emulator of the command and of the demo.

# Out

Served are files list, get, create, update, copy, delete, generateIds, emptyTrash; alt=media with ranges;
uploads by media, multipart and resumable in both chunk dialects; permissions, revisions (list, get),
changes, about, batch, the discovery document, OAuth. There are no shared drives, comments, labels, exports
or push notifications, and a file has one parent. A method that is not served is 404.

Where the service is lenient so is this, where it refuses this refuses with its reason: a client that passes
here has met trashed files in listings, names that are not unique, properties of 124 bytes, merge patches,
parents that can not be patched, 308 without a Range header, 416 on an empty file, tokens that expire.

# Inside

A request passes the log, the shaper, the faults and the sign-in, and reaches the api with its account in the
context. The api finds its method in one table, routes, from which the discovery document is made as well.
A handler reads or changes the store in one transaction and encodes its reply inside it; bytes go to the
network when no lock is held.

The store keeps immutable records in maps, contents under keys of their own. A transaction stages records; its
commit compares what each account could see before and can see after, and writes the feeds of changes from
that: this is the one place they are made.

# After a crash

In a directory, metadata is an append-only journal, one line for a transaction, on disk before the reply; a
content is on disk before the line that refers to it. So after a kill every acknowledged write is there, every
other one is whole or absent, tokens and upload sessions go on where they were, an upload at the last whole
256 KiB that reached the disk. Only one Server may use a directory at a time.
*/
package drivetest
