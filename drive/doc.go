// Package drive is the client of Google Drive, and the only one that knows HTTP, OAuth and Google's
// library. It speaks of files, folders, properties and byte ranges; what an image, a tag or a block is, the
// floor above knows.
//
// # In
//
// A [Client] is made of the address of the API and an [Auth], which is made of two files: the OAuth client
// (or the key of a service account) and the token. Nothing is asked of anybody until the first call.
//
// # Out
//
// Metadata: [Client.Get], [Client.Images], [Client.Changes], [Client.Update], [Client.Share] and the like.
// Each is one call of the API, or a few; each asks for exactly the fields [File] has. Content comes by
// [Client.ReadRange], one bounded request into the caller's memory, which says what has come while the rest
// comes, and goes up by [Client.BeginUpload] and [Client.Upload], which continue where Drive says it stopped.
//
// # What every call promises
//
//   - It ends when its context ends, whatever it was doing.
//   - Passing faults are repeated (call.go): cuts, silence, server errors, rate limits, a token that ended
//     early. Pauses double, and the whole Client slows down when Drive asks for it (pace.go). After
//     Options.Timeout without progress the last error is returned. What cannot pass is returned at once.
//   - A repeated call does not do things twice: what creates carries an id reserved before (GenerateIDs), or
//     looks first (Share); what removes takes "gone already" for done when it was sent before.
//   - Its errors match exactly one of [Errors] by errors.Is, and [Sentence] says them to a person. Neither
//     they nor the log hold a secret: tokens, codes, the addresses of upload sessions.
//   - An answer is checked, not trusted: a range must be the one asked for, of the same size and hash as
//     before; a page token may be refused; an uploaded file must have a checksum,
//     which the caller compares.
//
// # Connections
//
// HTTP/1.1 only: over HTTP/2 all requests share one connection. Content has up to Options.Connections each
// way, all other calls have connections of their own, so a listing never waits behind an image. A request
// on which no byte moves is given up (wire.go): a laptop that slept has connections that never end.
//
// # After a crash
//
// The package keeps nothing but the token file, which is replaced by rename, so it is the old one or the
// new one. An upload can be continued by another process that was told its session's address: for a week,
// from the last byte Drive has. Until its last byte has arrived no file exists; if the reply to that was
// lost, Upload on the same session returns the file, and a create with the same id is refused with
// io/fs.ErrExist. A cut sign-in leaves nothing.
//
// # Limits
//
// Links that need a resource key (shared before 2021) and shortcuts are not followed. The feed of changes
// is the account's: of a shared drive it tells what this account has opened, so its folders are listed anew
// now and then by the floor above.
package drive
