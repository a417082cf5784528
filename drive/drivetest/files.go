package drivetest

import (
	"net/http"
	"strconv"
)

func (a *api) filesGet(c *call) error {
	if c.query.Get("alt") == "media" {
		return a.mediaGet(c)
	}
	if c.query.Get("acknowledgeAbuse") == "true" {
		return errParameter("acknowledgeAbuse", "The acknowledgeAbuse parameter is only applicable with alt=media.")
	}
	return a.replyFile(c, c.vars[0])
}

// replyFile answers with the metadata of file id as it is now.
func (a *api) replyFile(c *call, id string) error {
	return a.store.view(func() error {
		f, err := a.store.find(c.acc, id)
		if err != nil {
			return err
		}
		c.reply(c.view(a.store, f))
		return nil
	})
}

// filesCreate makes a file from metadata alone: a folder, a shortcut, or a blob of no bytes.
func (a *api) filesCreate(c *call) error {
	e, err := a.newEdit(c, nil)
	if err != nil {
		return err
	}
	id, err := a.create(e)
	if err != nil {
		return err
	}
	return a.replyFile(c, id)
}

func (a *api) filesUpdate(c *call) error {
	e, err := a.newEdit(c, nil)
	if err != nil {
		return err
	}
	id, err := a.update(c.vars[0], e)
	if err != nil {
		return err
	}
	return a.replyFile(c, id)
}

// filesCopy makes a file of the caller's own with the content and metadata of another; sharing is not
// copied, and the folder only if the caller may write there.
func (a *api) filesCopy(c *call) error {
	e, err := a.newEdit(c, nil)
	if err != nil {
		return err
	}
	id, err := a.copy(c.vars[0], e)
	if err != nil {
		return err
	}
	return a.replyFile(c, id)
}

// filesDelete deletes for good, with everything of the caller's inside a folder.
func (a *api) filesDelete(c *call) error {
	return a.store.update(func(tx *tx) error {
		f, err := tx.s.findFor(c.acc, c.vars[0], roleOwner)
		if err != nil {
			return err
		}
		if f.Parent == "" {
			return errForbidden("insufficientFilePermissions")
		}
		tx.purge(f)
		return nil
	})
}

// purge stages the deletion of f and what is inside. Others' files in it go to their owners' My Drive.
func (t *tx) purge(f *file) {
	t.s.descendants(f.ID, func(d *file) {
		if d.Owner == f.Owner {
			t.drop(d.ID)
		} else if up := t.s.files[d.Parent]; up == nil || up.Owner == f.Owner {
			t.edit(d.ID).Parent = t.s.people[d.Owner].RootID
		}
	})
	t.drop(f.ID)
}

// filesEmptyTrash deletes what the account has in the bin.
func (a *api) filesEmptyTrash(c *call) error {
	return a.store.update(func(tx *tx) error {
		for _, f := range tx.s.files {
			if f.Owner == c.acc.email && f.Trashed && f.Parent != "" {
				tx.purge(f)
			}
		}
		return nil
	})
}

// filesGenerateIDs hands out ids the account may create files with.
func (a *api) filesGenerateIDs(c *call) error {
	count := 10
	if text := c.query.Get("count"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1000 {
			return errParameter("count", "Invalid value '"+text+"'. Values must be within the range: [1, 1000]")
		}
		count = n
	}
	space := c.query.Get("space")
	switch space {
	case "":
		space = "drive"
	case "drive", "appDataFolder":
	default:
		return errParameter("space", "")
	}
	switch c.query.Get("type") {
	case "", "files", "shortcuts":
	default:
		return errParameter("type", "")
	}
	ids := make([]string, count)
	for i := range ids {
		ids[i] = a.store.newID(c.acc.email)
	}
	c.reply(object{{"kind", "drive#generatedIds"}, {"space", space}, {"ids", ids}})
	return nil
}

// thumbnailGet answers a thumbnailLink. Like a private file's, it wants credentials.
func (a *api) thumbnailGet(c *call) error {
	id := c.vars[0]
	if i := len(id) - len("=s220"); i > 0 && id[i] == '=' {
		id = id[:i]
	}
	var content, mimeType string
	err := a.store.view(func() error {
		f, err := a.store.find(c.acc, id)
		switch {
		case err != nil:
			return err
		case f.Thumb != nil:
			content, mimeType = f.Thumb.Content, f.Thumb.MimeType
		case f.thumbnailed():
			content, mimeType = f.head().Content, f.MimeType
		default:
			return errNotFound(id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	r, err := a.store.contents.open(content)
	if err != nil {
		return errStore(err)
	}
	defer r.Close()
	c.done = true
	c.w.Header().Set("Content-Type", mimeType)
	c.w.WriteHeader(http.StatusOK)
	copyOut(c.w, r)
	return nil
}
