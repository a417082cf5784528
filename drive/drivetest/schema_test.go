package drivetest

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/api/drive/v3"
)

// TestSchemasKnowGooglesMembers compares what fields may select with the resources of Google's own library.
func TestSchemasKnowGooglesMembers(t *testing.T) {
	for _, test := range []struct {
		resource any
		schema   schema
	}{
		{drive.File{}, fileSchema},
		{drive.FileCapabilities{}, capabilitySchema},
		{drive.FileList{}, fileListSchema},
		{drive.User{}, userSchema},
		{drive.Permission{}, permissionSchema},
		{drive.PermissionList{}, permListSchema},
		{drive.Change{}, changeSchema},
		{drive.ChangeList{}, changesSchema},
		{drive.StartPageToken{}, startTokenSchema},
		{drive.About{}, aboutSchema},
		{drive.AboutStorageQuota{}, aboutSchema["storageQuota"]},
		{drive.Revision{}, revisionSchema},
		{drive.RevisionList{}, revisionListSchema},
		{drive.GeneratedIds{}, idsSchema},
		{drive.DriveList{}, drivesSchema},
	} {
		theirs := map[string]bool{}
		typ := reflect.TypeOf(test.resource)
		for i := range typ.NumField() {
			if name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
				theirs[name] = true
			}
		}
		for name := range theirs {
			assert.Contains(t, test.schema, name, "%T", test.resource)
		}
		for name := range test.schema {
			assert.True(t, theirs[name], "%T has no %s", test.resource, name)
		}
	}
}

func TestDiscovery(t *testing.T) {
	s := NewServer(t, Options{})
	c := newClient(t, s, "")
	r := c.send("GET", "/discovery/v1/apis/drive/v3/rest", nil, "Authorization", "")
	require.Equal(t, 200, r.status)
	doc := c.object(r)
	require.Equal(t, s.URL()+"/", doc["rootUrl"])
	require.Equal(t, "batch/drive/v3", doc["batchPath"])
	schemas := doc["schemas"].(map[string]any)
	served := 0
	for _, resource := range doc["resources"].(map[string]any) {
		for _, m := range resource.(map[string]any)["methods"].(map[string]any) {
			method := m.(map[string]any)
			served++
			for _, side := range []string{"request", "response"} {
				if ref, ok := method[side]; ok {
					require.Contains(t, schemas, ref.(map[string]any)["$ref"])
				}
			}
			for _, name := range method["parameterOrder"].([]any) {
				require.Equal(t, true, method["parameters"].(map[string]any)[name.(string)].(map[string]any)["required"], "%s of %s", name, method["id"])
			}
			require.NotContains(t, method["path"], "{}")
		}
	}
	require.Equal(t, 19, served)
}
