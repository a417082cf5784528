package drivetest

import (
	"net/http"
	"strings"
)

var aboutSchema = schema{
	"kind": nil, "user": userSchema, "storageQuota": names("limit", "usage", "usageInDrive", "usageInDriveTrash"),
	"maxUploadSize": nil, "appInstalled": nil, "canCreateDrives": nil, "canCreateTeamDrives": nil, "importFormats": {"*": nil},
	"exportFormats": {"*": nil}, "maxImportSizes": {"*": nil}, "folderColorPalette": nil,
	"driveThemes": {"*": nil}, "teamDriveThemes": {"*": nil},
}

// maxUploadSize is that of the service: 5 TiB.
const maxUploadSize int64 = 5497558138880

// aboutGet tells who the account is and how much it stores. Unlike everywhere else, fields is mandatory,
// and a dotted sub-field counts as none.
func (a *api) aboutGet(c *call) error {
	fields := c.query.Get("fields")
	if fields == "" || strings.Contains(fields, ".") {
		return &apiError{
			Status: http.StatusBadRequest, Reason: "required", Message: "The 'fields' parameter is required for this method.",
			LocationType: "parameter", Location: "fields",
		}
	}
	m, err := parseMask(fields, aboutSchema)
	if err != nil {
		return err
	}
	c.mask = m
	return a.store.view(func() error {
		s := a.store
		var trash int64
		for _, f := range s.files {
			if f.Owner == c.acc.email && s.trashed(f) {
				trash += f.quotaBytes()
			}
		}
		used := s.used[c.acc.email]
		quota := object{{"usage", used}, {"usageInDrive", used}, {"usageInDriveTrash", trash}}
		if limit := s.people[c.acc.email].Quota; limit > 0 {
			quota = append(object{{"limit", limit}}, quota...)
		}
		if c.acc.service {
			quota = append(object{{"limit", int64(0)}}, quota...)
		}
		c.reply(object{
			{"kind", "drive#about"},
			{"user", s.userObject(c.acc.email, c.acc)},
			{"storageQuota", quota},
			{"importFormats", object{}},
			{"exportFormats", object{}},
			{"maxImportSizes", object{}},
			{"maxUploadSize", maxUploadSize},
			{"appInstalled", false},
			{"folderColorPalette", []string{}},
			{"driveThemes", list{}},
			{"canCreateDrives", false},
			{"canCreateTeamDrives", false},
		})
		return nil
	})
}

// drivesList answers that there are no shared drives.
func (a *api) drivesList(c *call) error {
	c.reply(object{{"kind", "drive#driveList"}, {"drives", list{}}})
	return nil
}
