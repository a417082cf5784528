package drivetest

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// fileView is a file as one account sees it. It is encoded while the store is locked.
type fileView struct {
	s    *store
	f    *file
	acc  *account
	root string // address of the server
	role role
}

// fileField is one member of the resource File: its name, its type in the discovery document, what is
// inside, and its value, nil to leave it out.
type fileField struct {
	name   string
	typ    string
	inside schema
	get    func(v *fileView) any
}

// userSchema and the ones below are what resources have inside.
var (
	userSchema = names("kind", "displayName", "photoLink", "me", "permissionId", "emailAddress")

	permissionSchema = with(names("kind", "id", "type", "role", "emailAddress", "displayName", "domain", "photoLink", "view",
		"expirationTime", "deleted", "allowFileDiscovery", "pendingOwner", "inheritedPermissionsDisabled"),
		schema{
			"permissionDetails":          names("permissionType", "role", "inherited", "inheritedFrom"),
			"teamDrivePermissionDetails": names("teamDrivePermissionType", "role", "inherited", "inheritedFrom"),
		})

	// neverSet are members the service has and this one never fills.
	neverSet = map[string]schema{
		"clientEncryptionDetails": {"*": nil}, "contentHints": {"thumbnail": names("image", "mimeType"), "indexableText": nil},
		"contentRestrictions": {"*": nil}, "downloadRestrictions": {"*": nil}, "driveId": nil, "teamDriveId": nil,
		"exportLinks": {"*": nil}, "folderColorRgb": nil, "hasAugmentedPermissions": nil, "imageMediaMetadata": {"*": nil},
		"inheritedPermissionsDisabled": nil, "labelInfo": {"*": nil}, "linkShareMetadata": {"*": nil}, "resourceKey": nil,
		"videoMediaMetadata": {"*": nil},
	}

	fileSchema = func() schema {
		s := schema{}
		for _, f := range fileFields {
			s[f.name] = f.inside
		}
		return with(s, neverSet)
	}()
)

func names(members ...string) schema {
	s := schema{}
	for _, name := range members {
		s[name] = nil
	}
	return s
}

// with adds the members of b to a.
func with(a, b schema) schema {
	for name, inside := range b {
		a[name] = inside
	}
	return a
}

// mustMask parses a mask of this package.
func mustMask(text string, s schema) mask {
	m, err := parseMask(text, s)
	if err != nil {
		panic(err)
	}
	return m
}

// fileDefault is what a reply holds that was asked for no fields.
var fileDefault = mustMask("kind,id,name,mimeType,resourceKey", fileSchema)

var fileFields = []fileField{
	{"kind", "string", nil, func(*fileView) any { return "drive#file" }},
	{"id", "string", nil, func(v *fileView) any { return v.f.ID }},
	{"name", "string", nil, func(v *fileView) any { return v.f.Name }},
	{"mimeType", "string", nil, func(v *fileView) any { return v.f.MimeType }},
	{"description", "string", nil, func(v *fileView) any { return text(v.f.Description) }},
	{"starred", "boolean", nil, func(v *fileView) any { return slices.Contains(v.f.Starred, v.acc.email) }},
	{"trashed", "boolean", nil, func(v *fileView) any { return v.s.trashed(v.f) }},
	{"explicitlyTrashed", "boolean", nil, func(v *fileView) any { return v.f.Trashed }},
	{"trashedTime", "string", nil, func(v *fileView) any { return when(v.f.Trashed, v.f.TrashedAt) }},
	{"trashingUser", "object", userSchema, func(v *fileView) any {
		if !v.f.Trashed {
			return nil
		}
		return v.user(v.f.Owner)
	}},
	{"parents", "array", nil, (*fileView).parents},
	{"properties", "map", schema{"*": nil}, func(v *fileView) any { return when(len(v.f.Properties) > 0, v.f.Properties) }},
	{"appProperties", "map", schema{"*": nil}, func(v *fileView) any {
		props := v.f.Private[v.acc.client]
		return when(len(props) > 0, props)
	}},
	{"spaces", "array", nil, func(*fileView) any { return []string{"drive"} }},
	{"version", "int64", nil, func(v *fileView) any { return v.f.Version }},
	{"webContentLink", "string", nil, func(v *fileView) any {
		return when(v.f.isBlob(), "https://drive.google.com/uc?id="+v.f.ID+"&export=download")
	}},
	{"webViewLink", "string", nil, func(v *fileView) any {
		if v.f.isFolder() {
			return "https://drive.google.com/drive/folders/" + v.f.ID
		}
		return "https://drive.google.com/file/d/" + v.f.ID + "/view?usp=drivesdk"
	}},
	{"iconLink", "string", nil, func(v *fileView) any {
		return "https://drive-thirdparty.googleusercontent.com/16/type/" + v.f.MimeType
	}},
	{"hasThumbnail", "boolean", nil, func(v *fileView) any { return v.f.thumbnailed() }},
	{"thumbnailLink", "string", nil, func(v *fileView) any {
		return when(v.f.thumbnailed(), v.root+"/drive-storage/"+v.f.ID+"=s220?v="+strconv.FormatInt(v.f.ThumbVersion, 10))
	}},
	{"thumbnailVersion", "int64", nil, func(v *fileView) any { return v.f.ThumbVersion }},
	{"viewedByMe", "boolean", nil, func(v *fileView) any { return v.f.Owner == v.acc.email }},
	{"viewedByMeTime", "string", nil, func(v *fileView) any { return when(v.f.Owner == v.acc.email, v.f.Created) }},
	{"createdTime", "string", nil, func(v *fileView) any { return v.f.Created }},
	{"modifiedTime", "string", nil, func(v *fileView) any { return v.f.Modified }},
	{"modifiedByMe", "boolean", nil, func(v *fileView) any { return v.f.ModifiedBy == v.acc.email }},
	{"modifiedByMeTime", "string", nil, func(v *fileView) any { return when(v.f.ModifiedBy == v.acc.email, v.f.Modified) }},
	{"sharedWithMeTime", "string", nil, func(v *fileView) any {
		if g := v.s.sharedWith(v.acc.email, v.f); g != nil {
			return g.At
		}
		return nil
	}},
	{"sharingUser", "object", userSchema, func(v *fileView) any {
		if g := v.s.sharedWith(v.acc.email, v.f); g != nil {
			return v.user(g.By)
		}
		return nil
	}},
	{"owners", "array", userSchema, func(v *fileView) any { return list{v.user(v.f.Owner)} }},
	{"lastModifyingUser", "object", userSchema, func(v *fileView) any { return v.user(v.f.ModifiedBy) }},
	{"shared", "boolean", nil, func(v *fileView) any { return len(v.s.permissions(v.f)) > 1 }},
	{"ownedByMe", "boolean", nil, func(v *fileView) any { return v.f.Owner == v.acc.email }},
	{"capabilities", "object", capabilitySchema, (*fileView).capabilities},
	{"viewersCanCopyContent", "boolean", nil, func(v *fileView) any { return !v.f.WritersCopy }},
	{"copyRequiresWriterPermission", "boolean", nil, func(v *fileView) any { return v.f.WritersCopy }},
	{"writersCanShare", "boolean", nil, func(v *fileView) any { return !v.f.OwnersShare }},
	{"permissions", "array", permissionSchema, func(v *fileView) any {
		if v.role < roleWriter {
			return nil
		}
		all := list{}
		for _, p := range v.s.permissions(v.f) {
			all = append(all, v.s.permission(&p))
		}
		return all
	}},
	{"permissionIds", "array", nil, func(v *fileView) any {
		if v.role < roleWriter {
			return nil
		}
		var ids []string
		for _, p := range v.s.permissions(v.f) {
			ids = append(ids, p.ID)
		}
		return ids
	}},
	{"originalFilename", "string", nil, func(v *fileView) any { return when(v.f.isBlob(), v.f.OriginalName) }},
	{"fullFileExtension", "string", nil, func(v *fileView) any { return when(v.f.isBlob(), v.f.fullExtension()) }},
	{"fileExtension", "string", nil, func(v *fileView) any { return when(v.f.isBlob(), v.f.extension()) }},
	{"md5Checksum", "string", nil, ofHead(func(r *revision) any { return r.MD5 })},
	{"sha1Checksum", "string", nil, ofHead(func(r *revision) any { return r.SHA1 })},
	{"sha256Checksum", "string", nil, ofHead(func(r *revision) any { return r.SHA256 })},
	{"size", "int64", nil, ofHead(func(r *revision) any { return r.Size })},
	{"quotaBytesUsed", "int64", nil, func(v *fileView) any { return v.f.quotaBytes() }},
	{"headRevisionId", "string", nil, ofHead(func(r *revision) any { return r.ID })},
	{"isAppAuthorized", "boolean", nil, func(*fileView) any { return true }},
	{"shortcutDetails", "object", names("targetId", "targetMimeType", "targetResourceKey"), func(v *fileView) any {
		if v.f.Shortcut == nil {
			return nil
		}
		return object{{"targetId", v.f.Shortcut.TargetID}, {"targetMimeType", v.f.Shortcut.TargetMimeType}}
	}},
}

// text leaves an empty string out.
func text(s string) any { return when(s != "", s) }

// when leaves a value out unless ok.
func when(ok bool, value any) any {
	if ok {
		return value
	}
	return nil
}

// ofHead is a member only files with content have.
func ofHead(get func(*revision) any) func(*fileView) any {
	return func(v *fileView) any {
		if r := v.f.head(); r != nil {
			return get(r)
		}
		return nil
	}
}

// parents is the folder the file is in, if the account may see that too.
func (v *fileView) parents() any {
	up := v.s.files[v.f.Parent]
	if up == nil || v.s.roleOf(v.acc.email, up) == roleNone {
		return nil
	}
	return []string{up.ID}
}

func (v *fileView) user(email string) object { return v.s.userObject(email, v.acc) }

// userObject is the resource User for an address; the caller holds mu.
func (s *store) userObject(email string, acc *account) object {
	p := s.people[email]
	if p == nil {
		p = &person{Name: displayName(email), PermissionID: granteeID(email)}
	}
	return object{
		{"kind", "drive#user"}, {"displayName", p.Name}, {"me", email == acc.email},
		{"permissionId", p.PermissionID}, {"emailAddress", email},
	}
}

// rights is what an account may do with a file, in few words.
type rights struct{ folder, top, comment, edit, owner, download, copy, share bool }

// capabilities are the same in the service's many words.
var capabilities = []struct {
	name string
	can  func(r *rights) bool
}{
	{"canAcceptOwnership", func(*rights) bool { return false }},
	{"canAddChildren", func(r *rights) bool { return r.folder && r.edit }},
	{"canAddMyDriveParent", func(*rights) bool { return false }},
	{"canChangeCopyRequiresWriterPermission", func(r *rights) bool { return r.edit }},
	{"canChangeViewersCanCopyContent", func(r *rights) bool { return r.edit }},
	{"canComment", func(r *rights) bool { return r.comment }},
	{"canCopy", func(r *rights) bool { return r.copy }},
	{"canDelete", func(r *rights) bool { return r.owner && !r.top }},
	{"canDownload", func(r *rights) bool { return r.download }},
	{"canEdit", func(r *rights) bool { return r.edit }},
	{"canListChildren", func(r *rights) bool { return r.folder }},
	{"canModifyContent", func(r *rights) bool { return r.edit }},
	{"canMoveItemWithinDrive", func(r *rights) bool { return r.edit && !r.top }},
	{"canReadRevisions", func(r *rights) bool { return r.edit }},
	{"canRemoveChildren", func(r *rights) bool { return r.folder && r.edit }},
	{"canRemoveMyDriveParent", func(r *rights) bool { return r.edit && !r.top }},
	{"canRename", func(r *rights) bool { return r.edit && !r.top }},
	{"canShare", func(r *rights) bool { return r.share }},
	{"canTrash", func(r *rights) bool { return r.owner && !r.top }},
	{"canUntrash", func(r *rights) bool { return r.owner && !r.top }},
}

// capabilitySchema has those of shared drives, labels and restrictions too, which are never filled.
var capabilitySchema = func() schema {
	s := names("canAccessViaGenAi", "canAddFolderFromAnotherDrive", "canChangeItemDownloadRestriction", "canChangeSecurityUpdateEnabled",
		"canDeleteChildren", "canDisableInheritedPermissions", "canEnableInheritedPermissions", "canModifyContentRestriction",
		"canModifyEditorContentRestriction", "canModifyLabels", "canModifyOwnerContentRestriction", "canMoveChildrenOutOfDrive",
		"canMoveChildrenOutOfTeamDrive", "canMoveChildrenWithinDrive", "canMoveChildrenWithinTeamDrive", "canMoveItemIntoTeamDrive",
		"canMoveItemOutOfDrive", "canMoveItemOutOfTeamDrive", "canMoveItemWithinTeamDrive", "canMoveTeamDriveItem", "canReadDrive",
		"canReadLabels", "canReadTeamDrive", "canRemoveContentRestriction", "canStartApproval", "canTrashChildren")
	for _, c := range capabilities {
		s[c.name] = nil
	}
	return s
}()

func (v *fileView) capabilities() any {
	edit := v.role >= roleWriter
	r := rights{
		folder: v.f.isFolder(), top: v.f.Parent == "", comment: v.role >= roleCommenter, edit: edit, owner: v.role == roleOwner,
		download: v.f.isBlob() && (edit || !v.f.WritersCopy), copy: !v.f.isFolder() && (edit || !v.f.WritersCopy), share: v.mayShare(),
	}
	o := make(object, len(capabilities))
	for i, c := range capabilities {
		o[i] = member{c.name, c.can(&r)}
	}
	return o
}

// mayShare tells whether the account may change permissions.
func (v *fileView) mayShare() bool {
	return v.f.Parent != "" && (v.role == roleOwner || v.role == roleWriter && !v.f.OwnersShare)
}

// thumbnailed tells whether there is a thumbnail: a client's, or, for pictures, the service's own.
func (f *file) thumbnailed() bool {
	return f.Thumb != nil || f.isBlob() && strings.HasPrefix(f.MimeType, "image/")
}

// permission is the resource Permission; the caller holds mu.
func (s *store) permission(p *inherited) object {
	o := object{
		{"kind", "drive#permission"}, {"id", p.ID}, {"type", p.Type}, {"role", p.Role},
	}
	switch p.Type {
	case "user", "group":
		name := displayName(p.Address)
		if known := s.people[p.Address]; known != nil {
			name = known.Name
		}
		o = append(o, member{"emailAddress", p.Address}, member{"displayName", name}, member{"deleted", false},
			member{"pendingOwner", false})
	case "domain":
		o = append(o, member{"domain", p.Address}, member{"displayName", p.Address}, member{"allowFileDiscovery", p.Discoverable})
	case "anyone":
		o = append(o, member{"allowFileDiscovery", p.Discoverable})
	}
	return o
}

// unescape is the path segment as the client meant it.
func unescape(segment string) string {
	if s, err := url.PathUnescape(segment); err == nil {
		return s
	}
	return segment
}
