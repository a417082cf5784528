package fs_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
)

// The fault matrix: each way in which Drive and the network fail, in each operation of a mount, once and for good. A
// program that meets one gets the right result or the errno of this table, in time; the log says once what happened;
// when the fault is over everything works, and nothing was lost or doubled.

// fault is one way to fail.
type fault struct {
	name   string
	dress  func(*drivetest.Rule) *drivetest.Rule
	lasts  string // the outcome while it lasts, "" = none of its own: it is known for some operations only
	says   string // part of the sentence in the log
	final  bool   // it is not repeated
	only   string // the operations it can befall, "" = all
	except string // operations it has another name for
	once   bool   // it only makes sense once

	requests int // that it may cost though it is final, if more than one
}

func status(code int, reason string) func(*drivetest.Rule) *drivetest.Rule {
	return func(r *drivetest.Rule) *drivetest.Rule { return r.Status(code, reason) }
}

// The operations by what they have in common.
const (
	onReads  = " read "
	onPushes = " ids begin chunk last "
	onWrites = onPushes + "retag label trash copy share "
	onToken  = " token "
	// What befalls a chunk by the same lines of code as the last one is tried with that: here a chunk is 16 MiB (fstest).
	sameAsLast = " chunk "
	onAPI      = " list changes get read" + onWrites + "grants about "
)

var faults = []fault{
	{name: "403 userRateLimitExceeded", dress: status(403, "userRateLimitExceeded"), lasts: "EBUSY", says: "fewer requests", only: onAPI},
	{name: "403 rateLimitExceeded", dress: status(403, "rateLimitExceeded"), lasts: "EBUSY", says: "fewer requests", only: onAPI, except: sameAsLast},
	{name: "429", dress: status(429, "rateLimitExceeded"), lasts: "EBUSY", says: "fewer requests", except: sameAsLast},
	{name: "401 once", dress: status(401, "authError"), once: true, only: onAPI},
	{name: "401 always", dress: status(401, "authError"), lasts: "EKEYEXPIRED", says: "sregfs login", final: true, requests: 2, only: onAPI},
	{name: "408", dress: status(408, ""), lasts: "ETIMEDOUT", says: "did not answer in time", except: sameAsLast},
	{name: "500", dress: status(500, "internalError"), lasts: "ETIMEDOUT", says: "did not answer in time"},
	{name: "502 HTML", dress: func(r *drivetest.Rule) *drivetest.Rule { return r.Status(502, "").HTML() }, lasts: "ETIMEDOUT", says: "did not answer in time", except: sameAsLast},
	{name: "503 array", dress: func(r *drivetest.Rule) *drivetest.Rule { return r.Status(503, "backendError").Array() }, lasts: "ETIMEDOUT", says: "did not answer in time", except: sameAsLast},
	{name: "5xx after it was done", dress: func(r *drivetest.Rule) *drivetest.Rule { return r.Status(500, "backendError").After() }, lasts: "ETIMEDOUT", says: "did not answer in time"},
	{name: "cut before the reply", dress: func(r *drivetest.Rule) *drivetest.Rule { return r.Cut(0) }, lasts: "ENETUNREACH", says: "cannot be reached"},
	{name: "cut in the reply", dress: func(r *drivetest.Rule) *drivetest.Rule { return r.Cut(10) }, lasts: "ENETUNREACH", says: "cannot be reached"},
	{name: "cut in the request", dress: func(r *drivetest.Rule) *drivetest.Rule { return r.CutRequest(100) }, lasts: "ENETUNREACH", says: "cannot be reached", only: onWrites + onToken},
	{name: "reply lost", dress: (*drivetest.Rule).DropReply, lasts: "ENETUNREACH", says: "cannot be reached"},
	{name: "short body", dress: (*drivetest.Rule).ShortBody, lasts: "EPROTO", says: "proxy", except: onReads + " chunk last token "},
	{name: "short body of bytes", dress: (*drivetest.Rule).ShortBody, lasts: "EREMOTEIO", says: "keeps breaking", only: onReads + " chunk last "},
	{name: "short body of a token", dress: (*drivetest.Rule).ShortBody, lasts: "ENETUNREACH", says: "cannot be reached", only: onToken},
	{name: "black hole", dress: (*drivetest.Rule).Stall, lasts: "ETIMEDOUT", says: "did not answer in time"},
	{name: "trickle", dress: func(r *drivetest.Rule) *drivetest.Rule { return r.Trickle(10) }, lasts: "ETIMEDOUT", says: "did not answer in time"},

	{name: "400 badRequest", dress: status(400, "badRequest"), lasts: "EINVAL", says: "refused the request", final: true, only: onAPI},
	{name: "403 insufficientFilePermissions", dress: status(403, "insufficientFilePermissions"), lasts: "EACCES", says: "does not allow", final: true, only: onAPI},
	{name: "403 insufficientPermissions", dress: status(403, "insufficientPermissions"), lasts: "EACCES", says: "sregfs login", final: true, only: onAPI, except: sameAsLast},
	{name: "403 accessNotConfigured", dress: status(403, "accessNotConfigured"), lasts: "EACCES", says: "switched off", final: true, only: onAPI, except: sameAsLast},
	{name: "403 domainPolicy", dress: status(403, "domainPolicy"), lasts: "EACCES", says: "does not allow", final: true, only: onAPI, except: sameAsLast},
	{name: "403 dailyLimitExceeded", dress: status(403, "dailyLimitExceeded"), lasts: "EDQUOT", says: "day's requests", final: true, only: onAPI},
	{name: "404 notFound", dress: status(404, "notFound"), lasts: "ENOENT", final: true, only: onAPI, except: " chunk last "},

	{name: "403 downloadQuotaExceeded", dress: status(403, "downloadQuotaExceeded"), lasts: "EDQUOT", says: "downloaded too often", final: true, only: onReads},
	{name: "403 cannotDownloadAbusiveFile", dress: status(403, "cannotDownloadAbusiveFile"), lasts: "EACCES", says: "malware", final: true, only: onReads},
	{name: "416", dress: status(416, "requestedRangeNotSatisfiable"), lasts: "EPROTO", says: "proxy", final: true, only: onReads}, // though the file is as it was
	{name: "200 instead of 206", dress: (*drivetest.Rule).IgnoreRange, lasts: "EPROTO", says: "proxy", only: onReads},
	{name: "wrong range", dress: (*drivetest.Rule).WrongRange, lasts: "EPROTO", says: "proxy", only: onReads},
	{name: "wrong bytes", dress: (*drivetest.Rule).Corrupt, lasts: "EBADMSG", says: "checksum", only: onReads},

	{name: "403 the day's uploads", dress: func(r *drivetest.Rule) *drivetest.Rule {
		return r.Status(403, "userRateLimitExceeded").Message("User rate limit exceeded.")
	}, lasts: "EDQUOT", says: "750 GB", final: true, only: " begin chunk last copy "},
	{name: "403 storageQuotaExceeded", dress: status(403, "storageQuotaExceeded"), lasts: "ENOSPC", says: "no room left", final: true, only: " begin chunk last copy "},
	{name: "403 numChildrenInNonRootLimit", dress: status(403, "numChildrenInNonRootLimitExceeded"), lasts: "ENOSPC", says: "no room left", final: true, only: " begin last copy "},
	{name: "403 propertyLengthLimit", dress: status(403, "propertyLengthLimitExceeded"), lasts: "EINVAL", says: "124 bytes", final: true, only: " begin last retag label copy "},
	{name: "403 propertyCountLimit", dress: status(403, "propertyCountLimitExceeded"), lasts: "EINVAL", says: "may have 30", final: true, only: " begin last retag label copy "},
	{name: "409 fileIdInUse", dress: status(409, "fileIdInUse"), lasts: "EPROTO", says: "proxy", only: " begin last copy "}, // though nothing is there
	{name: "409 after it was done", dress: func(r *drivetest.Rule) *drivetest.Rule { return r.Status(409, "fileIdInUse").After() }, lasts: "ok", only: " last copy "},
	{name: "404 session", dress: status(404, "notFound"), lasts: "EREMOTEIO", says: "start over", only: " chunk last "},
	{name: "410 session", dress: status(410, "backendError"), lasts: "EREMOTEIO", says: "start over", only: " chunk last "},
	{name: "499 session", dress: status(499, "uploadCancelled"), lasts: "EREMOTEIO", says: "start over", only: " chunk last "},
	{name: "403 sharingRateLimitExceeded", dress: status(403, "sharingRateLimitExceeded"), lasts: "EDQUOT", says: "invitations", final: true, only: " share "},
	{name: "400 invalidSharingRequest", dress: status(400, "invalidSharingRequest"), lasts: "EINVAL", says: "did not share", final: true, only: " share "},
	{name: "400 shared, but no mail sent", dress: func(r *drivetest.Rule) *drivetest.Rule {
		return r.Status(400, "invalidSharingRequest").After()
	}, lasts: "ok", final: true, only: " share "},

	{name: "401 invalid_client", dress: status(401, "invalid_client"), lasts: "EKEYEXPIRED", says: "client file", final: true, only: onToken},
	{name: "400 invalid_grant", dress: status(400, "invalid_grant"), lasts: "EKEYEXPIRED", says: "sregfs login", final: true, only: onToken},
}

// operation is something that asks Drive one kind of question, by real system calls. Its command finds $IMG, $NEW and $SRC.
type operation struct {
	name      string
	on        func() *drivetest.Rule // the requests that fail
	do        string                 // the command
	published bool                   // $IMG is on Drive
	size      int64                  // least bytes of $SRC and $IMG
	requests  int                    // that a final error may cost, if more than one
	lasts     map[string]string      // outcomes of lasting faults that differ from the fault's own; "*" = all
	before    func(*cell)
	during    func(*cell)       // while the fault lasts and the command has failed
	after     func(*cell, bool) // when it is over; the flag tells whether the command went well
}

// expect is the outcome of f in o.
func (o operation) expect(f fault, lasting bool) string {
	if !lasting {
		return "ok"
	}
	for _, name := range []string{f.name, "*"} {
		if want, ok := o.lasts[name]; ok {
			return want
		}
	}
	return f.lasts
}

func (o operation) meets(f fault) bool {
	in := func(list string) bool { return strings.Contains(list, " "+o.name+" ") }
	return (f.only == "" || in(f.only)) && !in(f.except)
}

// Faults by what they have in common, "_" for blanks.
const (
	noBody   = " cut_before_the_reply cut_in_the_reply short_body trickle "
	done     = " 5xx_after_it_was_done cut_before_the_reply cut_in_the_reply cut_in_the_request reply_lost short_body trickle "
	refusals = " 400_badRequest 403_insufficientFilePermissions 403_insufficientPermissions 403_accessNotConfigured 403_domainPolicy " +
		"403_dailyLimitExceeded 404_notFound 403_the_day's_uploads 403_storageQuotaExceeded 403_numChildrenInNonRootLimit " +
		"403_propertyLengthLimit 403_propertyCountLimit 409_fileIdInUse "
)

// outcomesOf is a table with one outcome for all these faults.
func outcomesOf(outcome, faults string) map[string]string {
	all := map[string]string{}
	for _, name := range strings.Fields(faults) {
		all[strings.ReplaceAll(name, "_", " ")] = outcome
	}
	return all
}

const query = "/drive/v3/files/*"

func patches() *drivetest.Rule  { return drivetest.On("PATCH", query) }
func contents() *drivetest.Rule { return drivetest.On("GET", query).Query("alt", "media") }
func chunks() *drivetest.Rule   { return drivetest.On("PUT", "/upload/*") }

var operations = []operation{
	{name: "list", on: func() *drivetest.Rule { return drivetest.On("GET", "/drive/v3/files") }, do: `echo > .sregfs/refresh`, published: true, before: relist, during: stillThere, after: refreshed},
	{name: "changes", on: func() *drivetest.Rule { return drivetest.On("GET", "/drive/v3/changes") }, do: `echo > .sregfs/refresh`, published: true, during: stillThere, after: refreshed,
		lasts: map[string]string{"400 badRequest": "ok", "404 notFound": "ok"}}, // the token is refused: it lists instead
	{name: "get", on: func() *drivetest.Rule { return drivetest.On("GET", query).Query("fields", "*") }, do: `sha256sum "$IMG"`, published: true, requests: 4, after: backAndReadable},
	{name: "read", on: contents, do: `sha256sum "$IMG"`, published: true, requests: 3, after: readable},
	{name: "ids", on: func() *drivetest.Rule { return drivetest.On("GET", query+"generateIds") }, do: `cp "$SRC" "$IMG"`, requests: 4, during: kept, after: pushed}, // it is asked early, and again; each may cost two
	{name: "begin", on: func() *drivetest.Rule { return drivetest.On("POST", "/upload/*") }, do: `cp "$SRC" "$IMG"`, during: kept, after: pushed,
		lasts: outcomesOf("ok", noBody)}, // its answer is a header
	{name: "chunk", on: chunks, do: `cp "$SRC" "$IMG"`, size: 17 << 20, during: kept, after: pushed},
	{name: "last", on: chunks, do: `cp "$SRC" "$IMG"`, during: kept, after: pushed},
	{name: "retag", on: patches, do: `mv "$IMG" "$NEW"`, published: true, after: renamed,
		lasts: outcomesOf("ENODATA", " 400_badRequest 403_propertyLengthLimit 403_propertyCountLimit ")}, // mv explains EINVAL in its own way
	{name: "label", on: patches, do: `setfattr -n user.sregfs.label.x -v y "$IMG"`, published: true, after: labelled},
	{name: "trash", on: patches, do: `rm "$IMG"`, published: true, after: trashed, lasts: map[string]string{"404 notFound": "ok"}},
	{name: "copy", on: func() *drivetest.Rule { return drivetest.On("POST", query+"/copy") }, do: `cp "$SRC" "$NEW"`, published: true, during: keptNew, after: copied,
		// Its id tells that it was made; and what cannot be copied is sent.
		lasts: outcomesOf("ok", noBody+refusals)},
	{name: "share", on: func() *drivetest.Rule { return drivetest.On("POST", query+"/permissions") }, do: `setfattr -n user.sregfs.share -v bob@uni.edu "$IMG"`, published: true, after: shared,
		lasts: outcomesOf("ok", done)}, // who looks before he repeats finds that it is shared
	{name: "grants", on: func() *drivetest.Rule { return drivetest.On("GET", query+"/permissions") }, do: `getfattr -n user.sregfs.shared "$IMG"`, published: true, after: func(c *cell, _ bool) {
		require.Contains(c.t, c.sh(`getfattr -n user.sregfs.shared "$IMG"`), "ann@uni.edu owner")
	}},
	{name: "about", on: func() *drivetest.Rule { return drivetest.On("GET", "/drive/v3/about") }, do: `stat -f .`, before: func(c *cell) { c.m.Unmount(); c.m.Remount() },
		lasts: map[string]string{"*": "ok"}, after: func(c *cell, _ bool) { c.sh(`stat -f .`) }},
	{name: "token", on: func() *drivetest.Rule { return drivetest.On("POST", "/token") }, do: `sha256sum "$IMG"`, published: true, requests: 3, before: func(c *cell) { // as many as read
		c.srv.Fault(contents().Status(401, "authError").Times(1))
	}, after: func(c *cell, ok bool) {
		if c.fault.name == "400 invalid_grant" {
			c.m.SignIn(c.user)
		}
		readable(c, ok)
	}},
}

func TestFaultMatrix(t *testing.T) {
	t.Parallel()
	once, forGood := &table{cells: map[string]map[string]string{}}, &table{cells: map[string]map[string]string{}}
	var rows sync.WaitGroup
	for _, o := range operations {
		rows.Go(func() {
			t.Run(o.name, func(t *testing.T) {
				row := o.start(t, 2*len(faults))
				for i, f := range faults {
					if !o.meets(f) {
						continue
					}
					if !f.final {
						t.Run("once/"+f.name, func(t *testing.T) { once.set(f.name, o.name, row.run(t, 2*i, f, false)) })
					}
					if !f.once {
						t.Run("for good/"+f.name, func(t *testing.T) { forGood.set(f.name, o.name, row.run(t, 2*i+1, f, true)) })
					}
				}
			})
		})
	}
	rows.Wait()
	names := make([]string, 0, len(faults))
	for _, f := range faults {
		names = append(names, f.name)
	}
	once.print(t, "once", names)
	forGood.print(t, "for good", names)
}

// relist makes the next refresh list everything.
func relist(c *cell) {
	c.srv.Fault(drivetest.On("GET", "/drive/v3/changes").Status(400, "invalid").Times(1))
}

// stillThere: what was known is shown.
func stillThere(c *cell) { require.NotEmpty(c.t, c.sh(`ls c; stat "$IMG"`)) }

func refreshed(c *cell, _ bool) {
	before := images(c.user)
	c.sh(`echo > .sregfs/refresh; test -f "$IMG"`)
	require.Equal(c.t, before, strings.Count(c.sh("cat .sregfs/images"), "\n")+1, "none is dropped")
}

// readable: the bytes are those on Drive. Asking for the image by name ends what Drive's quota made it wait for.
func readable(c *cell, _ bool) {
	c.sh(`setfattr -n user.sregfs.prefetch -v 1 "$IMG"`)
	require.Equal(c.t, sha(c.content), strings.Fields(c.sh(`sha256sum "$IMG"`))[0])
}

// backAndReadable is readable after Drive said, perhaps, that there is no such file: a listing brings it back. Each of two
// blocks asks Drive about the file, and then whether it is gone.
func backAndReadable(c *cell, ok bool) {
	if !ok {
		relist(c)
		c.sh("echo > .sregfs/refresh")
	}
	readable(c, ok)
}

// kept: the bytes of a push that failed are there.
func kept(c *cell) { c.sh(`cmp "$SRC" "$IMG"`) }

func keptNew(c *cell) { c.sh(`cmp "$SRC" "$NEW"`) }

// pushed: the image is on Drive, once, whole, and no draft is left. What failed for good is taken up again by its number.
func pushed(c *cell, ok bool) {
	if !ok {
		c.sh(`for id in $(jq 'select(.final) | .id' .sregfs/transfers); do echo "retry $id" > .sregfs/push; done; sync "$IMG"`)
	}
	requireOnDrive(c.t, c.user, c.name, c.content)
	require.Equal(c.t, sha(c.content), strings.Fields(c.sh(`sha256sum "$IMG"`))[0])
	c.sh(`! grep "$IMG\|$NEW" .sregfs/transfers`)
}

func copied(c *cell, ok bool) {
	if !ok {
		c.sh(`for id in $(jq 'select(.final) | .id' .sregfs/transfers); do echo "retry $id" > .sregfs/push; done; sync "$NEW"`)
	}
	requireOnDrive(c.t, c.user, strings.Replace(c.name, "x", "y", 1), c.content)
	requireOnDrive(c.t, c.user, c.name, c.content)
	c.sh(`! grep "$IMG\|$NEW" .sregfs/transfers`)
}

func renamed(c *cell, _ bool) {
	c.sh(`echo > .sregfs/refresh; test -e "$NEW" || mv "$IMG" "$NEW"; ! test -e "$IMG"`)
	requireOnDrive(c.t, c.user, strings.Replace(c.name, "x", "y", 1), c.content)
}

func labelled(c *cell, ok bool) {
	if !ok {
		c.sh(`setfattr -n user.sregfs.label.x -v y "$IMG"`)
	}
	f := requireOnDrive(c.t, c.user, c.name, c.content)
	require.Equal(c.t, "y", f.Properties["x"])
}

func trashed(c *cell, ok bool) {
	c.sh(`echo > .sregfs/refresh`)
	if !ok {
		c.sh(`! test -e "$IMG" || rm "$IMG"`)
	}
	c.sh(`! test -e "$IMG"`)
	require.True(c.t, slices.ContainsFunc(c.user.Files(), func(f drivetest.File) bool {
		return f.Trashed == (c.fault.name != "404 notFound") && strings.HasPrefix(f.Properties["uri"], c.name+"@")
	}), "it is in the bin")
}

func shared(c *cell, ok bool) {
	if !ok {
		c.sh(`setfattr -n user.sregfs.share -v bob@uni.edu "$IMG"`)
	}
	f, _ := onDrive(c.t, c.user, c.name)
	n := 0
	for _, p := range f.Permissions {
		if p.Email == "bob@uni.edu" {
			n++
			require.Equal(c.t, "reader", p.Role)
		}
	}
	require.Equal(c.t, 1, n)
}
