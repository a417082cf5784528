package drivetest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"image"
	_ "image/gif"  // thumbnails
	_ "image/jpeg" // thumbnails
	_ "image/png"  // thumbnails
	"maps"
	"slices"
	"strings"
	"time"
)

// The limits of custom properties, as documented by the service.
const (
	maxPropertyBytes = 124 // key and value together, in UTF-8
	maxPublicKeys    = 30  // properties of one file, of all apps together
	maxPrivateKeys   = 30  // appProperties of one app
	maxAllKeys       = 100
)

// maxFolderDepth and maxChildren are the service's limits on My Drive.
const (
	maxFolderDepth = 100
	maxChildren    = 500_000
)

// writable are the members of a File a client may send; of the others, those the service knows are
// refused and those it does not are ignored.
var writable = map[string]func(t *tx, f *file, e *edit, raw json.RawMessage) error{
	"name": func(t *tx, f *file, e *edit, raw json.RawMessage) error {
		name := f.Name
		if err := decode("name", raw, &name); err != nil {
			return err
		}
		if name != f.Name {
			f.Named = t.now
		}
		f.Name = name
		t.modify(f, e)
		return nil
	},
	"mimeType": func(_ *tx, f *file, e *edit, raw json.RawMessage) error {
		mimeType := f.MimeType
		if err := decode("mimeType", raw, &mimeType); err != nil {
			return err
		}
		if isNew := f.Version == 0; mimeType != "" && (isNew || e.content != nil) { // it changes with the content only
			f.MimeType = mimeType
		}
		return nil
	},
	"description": func(t *tx, f *file, e *edit, raw json.RawMessage) error {
		t.modify(f, e)
		if isNull(raw) {
			f.Description = ""
		}
		return decode("description", raw, &f.Description)
	},
	"properties": func(t *tx, f *file, e *edit, raw json.RawMessage) (err error) {
		t.modify(f, e)
		f.Properties, err = mergeProperties("properties", f.Properties, raw)
		return err
	},
	"appProperties": func(t *tx, f *file, e *edit, raw json.RawMessage) error {
		t.modify(f, e)
		props, err := mergeProperties("appProperties", f.Private[e.acc.client], raw)
		if err != nil {
			return err
		}
		if f.Private == nil {
			f.Private = map[string]map[string]string{}
		}
		if f.Private[e.acc.client] = props; len(props) == 0 {
			delete(f.Private, e.acc.client)
		}
		return nil
	},
	"starred": func(_ *tx, f *file, e *edit, raw json.RawMessage) error {
		var starred bool
		if err := decode("starred", raw, &starred); err != nil {
			return err
		}
		f.Starred = slices.DeleteFunc(f.Starred, func(email string) bool { return email == e.acc.email })
		if starred {
			f.Starred = append(f.Starred, e.acc.email)
		}
		return nil
	},
	"trashed": func(t *tx, f *file, _ *edit, raw json.RawMessage) error {
		trashed := f.Trashed
		if err := decode("trashed", raw, &trashed); err != nil {
			return err
		}
		if trashed && !f.Trashed {
			f.TrashedAt = t.now
		}
		f.Trashed = trashed
		return nil
	},
	"modifiedTime": func(_ *tx, f *file, e *edit, raw json.RawMessage) error {
		f.ModifiedBy = e.acc.email
		return decodeTime("modifiedTime", raw, &f.Modified)
	},
	"createdTime": func(_ *tx, f *file, _ *edit, raw json.RawMessage) error {
		return decodeTime("createdTime", raw, &f.Created)
	},
	"originalFilename": func(_ *tx, f *file, _ *edit, raw json.RawMessage) error {
		return decode("originalFilename", raw, &f.OriginalName)
	},
	"contentHints": func(_ *tx, f *file, e *edit, _ json.RawMessage) error {
		if e.content == nil { // else setContent does it
			f.setThumb(e)
		}
		return nil
	},
	"writersCanShare": func(_ *tx, f *file, _ *edit, raw json.RawMessage) error {
		can := true
		err := decode("writersCanShare", raw, &can)
		f.OwnersShare = !can
		return err
	},
	"copyRequiresWriterPermission": func(_ *tx, f *file, _ *edit, raw json.RawMessage) error {
		return decode("copyRequiresWriterPermission", raw, &f.WritersCopy)
	},
	"viewersCanCopyContent": func(_ *tx, f *file, _ *edit, raw json.RawMessage) error {
		can := true
		err := decode("viewersCanCopyContent", raw, &can)
		f.WritersCopy = !can
		return err
	},
	"shortcutDetails": func(t *tx, f *file, e *edit, raw json.RawMessage) error {
		var details struct{ TargetID string }
		if err := decode("shortcutDetails", raw, &details); err != nil {
			return err
		}
		target, err := t.s.find(e.acc, details.TargetID)
		if err != nil {
			return err
		}
		f.Shortcut = &shortcut{TargetID: target.ID, TargetMimeType: target.MimeType}
		return nil
	},
}

// setThumb takes the client's thumbnail, except of pictures: of these the service makes its own.
func (f *file) setThumb(e *edit) {
	if e.thumb != nil && !strings.HasPrefix(f.MimeType, "image/") {
		f.Thumb = e.thumb
		f.ThumbVersion++
	}
}

// onlyNew are writable at creation only; the others of ignored are accepted without effect.
var (
	onlyNew = []string{"createdTime", "shortcutDetails"}
	ignored = []string{"kind", "id", "parents", "folderColorRgb", "contentRestrictions", "viewedByMeTime",
		"modifiedByMeTime", "downloadRestrictions", "inheritedPermissionsDisabled"}
)

// personal tells whether the edit touches only what each account has of its own.
func (e *edit) personal() bool {
	for name := range e.body {
		if name != "starred" && name != "viewedByMeTime" {
			return false
		}
	}
	return len(e.body) > 0 && e.content == nil && e.query.Get("addParents") == "" && e.query.Get("removeParents") == ""
}

// setMetadata merges the members of e's body into f.
func (t *tx) setMetadata(f *file, e *edit, isNew bool) error {
	for _, name := range slices.Sorted(maps.Keys(e.body)) {
		set, ok := writable[name]
		_, known := fileSchema[name]
		late := !isNew && slices.Contains(onlyNew, name) || isNew && name == "trashed"
		switch {
		case ok && !late:
			if err := set(t, f, e, e.body[name]); err != nil {
				return err
			}
		case name == "parents" && !isNew:
			return &apiError{Status: 403, Reason: "fieldNotWritable", Message: "The parents field is not directly writable in update requests. Use the addParents and removeParents parameters instead."}
		case name == "id" && !isNew, known && !slices.Contains(ignored, name) && name != "trashed":
			return &apiError{Status: 403, Reason: "fieldNotWritable", Message: "The resource body includes fields which are not directly writable."}
		}
	}
	if e.body["properties"] != nil || e.body["appProperties"] != nil {
		return f.checkPropertyCount(e.acc.client)
	}
	return nil
}

// modify notes that the account changed f now, unless the client sets the time itself.
func (t *tx) modify(f *file, e *edit) {
	if e.body["modifiedTime"] == nil {
		f.Modified = t.now
	}
	f.ModifiedBy = e.acc.email
}

// decode reads one member; null leaves it as it is.
func decode(name string, raw json.RawMessage, into any) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return &apiError{Status: 400, Reason: "invalid", Message: "Invalid value for field " + name}
	}
	return nil
}

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

func decodeTime(name string, raw json.RawMessage, into *time.Time) error {
	var text string
	if err := decode(name, raw, &text); err != nil || isNull(raw) {
		return err
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return &apiError{Status: 400, Reason: "invalid", Message: "Invalid value for field " + name}
	}
	*into = t.UTC().Truncate(time.Millisecond)
	return nil
}

// mergeProperties applies a patch: keys absent stay, null removes, the rest is set.
func mergeProperties(name string, old map[string]string, raw json.RawMessage) (map[string]string, error) {
	var patch map[string]*string
	if err := decode(name, raw, &patch); err != nil {
		return nil, err
	}
	merged := maps.Clone(old)
	if merged == nil {
		merged = map[string]string{}
	}
	for key, value := range patch {
		switch {
		case value == nil:
			delete(merged, key)
		case len(key)+len(*value) > maxPropertyBytes:
			return nil, errForbidden("propertyLengthLimitExceeded")
		default:
			merged[key] = *value
		}
	}
	return merged, nil
}

func (f *file) checkPropertyCount(client string) error {
	all := len(f.Properties)
	for _, props := range f.Private {
		all += len(props)
	}
	if len(f.Properties) > maxPublicKeys || len(f.Private[client]) > maxPrivateKeys || all > maxAllKeys {
		return errForbidden("propertyCountLimitExceeded")
	}
	return nil
}

func isPropertyLimit(err error) bool {
	var e *apiError
	return errors.As(err, &e) && (e.Reason == "propertyLengthLimitExceeded" || e.Reason == "propertyCountLimitExceeded")
}

// placeNew puts a new file where its body says, else leaves it where it is.
func (t *tx) placeNew(f *file, e *edit) error {
	if raw, ok := e.body["parents"]; ok {
		var parents []string
		if err := decode("parents", raw, &parents); err != nil {
			return err
		}
		switch len(parents) {
		case 0:
		case 1:
			if parents[0] == "root" {
				parents[0] = e.acc.rootID
			}
			f.Parent = parents[0]
		default:
			return &apiError{Status: 403, Reason: "cannotAddParent", Message: "A file can only be created in one folder."}
		}
	}
	return t.checkParent(f, e.acc)
}

// checkParent tells whether the account may put f into its Parent.
func (t *tx) checkParent(f *file, acc *account) error {
	up, err := t.s.find(acc, f.Parent)
	switch {
	case err != nil:
		return err
	case !up.isFolder():
		return &apiError{Status: 403, Reason: "parentNotAFolder", Message: "The specified parent is not a folder."}
	case t.s.roleOf(acc.email, up) < roleWriter:
		return errForbidden("insufficientParentPermissions")
	case up.Parent != "" && len(t.s.children[up.ID]) >= maxChildren:
		return errForbidden("numChildrenInNonRootLimitExceeded")
	}
	if f.isFolder() {
		depth := 1
		for ; up != nil && up.Parent != ""; up = t.s.files[up.Parent] {
			depth++
		}
		if depth > maxFolderDepth {
			return errForbidden("myDriveHierarchyDepthLimitExceeded")
		}
	}
	return nil
}

// move carries out addParents and removeParents. A file has one parent: an owner who adds one moves the file
// there, as was documented at enforceSingleParent, and everybody else must say what to remove.
func (t *tx) move(f *file, e *edit) error {
	add, remove := parentList(e.query.Get("addParents"), e.acc), parentList(e.query.Get("removeParents"), e.acc)
	if len(add)+len(remove) == 0 {
		return nil
	}
	parent := f.Parent
	if slices.Contains(remove, parent) || f.Owner == e.acc.email && len(add) == 1 && add[0] != parent {
		parent = ""
	}
	for _, id := range add {
		switch {
		case id == parent:
			return errBadRequest("Bad Request. The file is in this folder already.")
		case parent != "":
			return &apiError{Status: 403, Reason: "cannotAddParent", Message: "Increasing the number of parents is not allowed"}
		}
		for up := t.s.files[id]; up != nil; up = t.s.files[up.Parent] {
			if up.ID == f.ID {
				return errBadRequest("Bad Request. The folder would be inside itself.")
			}
		}
		parent = id
	}
	if parent == "" { // nothing is nowhere: it goes to the top of its owner's drive
		f.Parent = t.s.people[f.Owner].RootID
		return nil
	}
	f.Parent = parent
	return t.checkParent(f, e.acc)
}

func parentList(text string, acc *account) []string {
	var ids []string
	for id := range strings.SplitSeq(text, ",") {
		switch id = strings.TrimSpace(id); id {
		case "":
		case "root":
			ids = append(ids, acc.rootID)
		default:
			ids = append(ids, id)
		}
	}
	return ids
}

// The service's rules for a thumbnail.
const (
	maxThumbnailBytes = 2 << 20
	minThumbnailWidth = 220
)

// parseThumbnail reads and checks the picture in contentHints, nil if there is none.
func parseThumbnail(raw json.RawMessage) (picture []byte, mimeType string, err error) {
	var hints struct {
		Thumbnail *struct{ Image, MimeType string }
	}
	if err := decode("contentHints", raw, &hints); err != nil {
		return nil, "", err
	}
	if hints.Thumbnail == nil {
		return nil, "", nil
	}
	bad := &apiError{Status: 400, Reason: "invalid", Message: "Invalid value for field contentHints.thumbnail"}
	text := strings.TrimRight(hints.Thumbnail.Image, "=")
	picture, err = base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(picture) > maxThumbnailBytes {
		return nil, "", bad
	}
	config, format, err := image.DecodeConfig(bytes.NewReader(picture))
	if err != nil || config.Width < minThumbnailWidth || hints.Thumbnail.MimeType != "image/"+format {
		return nil, "", bad
	}
	return picture, hints.Thumbnail.MimeType, nil
}
