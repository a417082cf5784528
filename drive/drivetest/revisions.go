package drivetest

import (
	"io"
	"net/http"
	"strconv"
)

var (
	revisionSchema = names("kind", "id", "mimeType", "modifiedTime", "keepForever", "published", "publishedLink", "publishAuto",
		"publishedOutsideDomain", "originalFilename", "md5Checksum", "size", "exportLinks", "lastModifyingUser")
	revisionListSchema  = schema{"kind": nil, "nextPageToken": nil, "revisions": revisionSchema}
	revisionDefault     = mustMask("kind,id,mimeType,modifiedTime", revisionSchema)
	revisionListDefault = mask{"kind": nil, "nextPageToken": nil, "revisions": revisionDefault}
)

func (s *store) revision(f *file, r *revision, acc *account) object {
	return object{
		{"kind", "drive#revision"}, {"id", r.ID}, {"mimeType", r.MimeType}, {"modifiedTime", r.Modified},
		{"keepForever", r.Keep}, {"published", false}, {"lastModifyingUser", s.userObject(r.By, acc)},
		{"originalFilename", f.OriginalName}, {"md5Checksum", r.MD5}, {"size", r.Size},
	}
}

func (a *api) revisionsList(c *call) error {
	size, err := c.pageSize(200, 1000)
	if err != nil {
		return err
	}
	start := 0
	if token := c.query.Get("pageToken"); token != "" {
		if start, err = strconv.Atoi(token); err != nil || start < 1 {
			return errParameter("pageToken", "")
		}
	}
	return a.store.view(func() error {
		f, err := a.store.findFor(c.acc, c.vars[0], roleWriter)
		if err != nil {
			return err
		}
		all := f.Revisions[min(start, len(f.Revisions)):]
		reply := object{{"kind", "drive#revisionList"}}
		if len(all) > size {
			all = all[:size]
			reply = append(reply, member{"nextPageToken", strconv.Itoa(start + size)})
		}
		page := list{}
		for i := range all {
			page = append(page, a.store.revision(f, &all[i], c.acc))
		}
		c.reply(append(reply, member{"revisions", page}))
		return nil
	})
}

// revisionsGet answers with metadata, or with the content if it is the head's or kept for ever.
func (a *api) revisionsGet(c *call) error {
	media := c.query.Get("alt") == "media"
	var (
		found   *revision
		content io.ReadSeekCloser
	)
	err := a.store.view(func() error {
		f, err := a.store.findFor(c.acc, c.vars[0], roleWriter)
		if err != nil {
			return err
		}
		for i := range f.Revisions {
			if r := &f.Revisions[i]; r.ID == c.vars[1] || c.vars[1] == "head" && r == f.head() {
				found = r
			}
		}
		switch {
		case found == nil:
			return &apiError{Status: 404, Reason: "notFound", Message: "Revision not found: " + c.vars[1] + ".", LocationType: "parameter", Location: "revisionId"}
		case !media:
			c.reply(a.store.revision(f, found, c.acc))
			return nil
		case found != f.head() && !found.Keep:
			return &apiError{Status: http.StatusForbidden, Reason: "download_restricted_for_revision", Message: "This revision cannot be downloaded: it is not the head revision and not kept forever."}
		}
		content, err = a.store.open(found)
		return err
	})
	if err != nil || !media {
		return err
	}
	defer content.Close()
	return a.sendContent(c, found, found.MimeType, content)
}
