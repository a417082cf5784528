package drivetest

import (
	"maps"
	"slices"
	"strings"
)

// The discovery document is what Google's dynamic clients build themselves from: Python's knows no method
// but what is in there. Ours is made from the route table, so it lists exactly what is served.

// method describes a route to a dynamic client. Routes of no resource are no methods.
func (r *route) method() (resource, name string, method object, ok bool) {
	resource, name, ok = strings.Cut(r.op, ".")
	if !ok || resource == "upload" {
		return "", "", nil, false
	}
	params, order := r.parameters()
	method = object{
		{"id", "drive." + r.op},
		{"httpMethod", r.verb},
		{"path", r.template()},
		{"flatPath", r.template()},
		{"parameterOrder", order},
		{"parameters", params},
		{"scopes", []string{driveScope}},
	}
	if request := requestSchemas[r.op]; request != "" {
		method = append(method, member{"request", ref(request)})
	}
	if response := responseSchemas[r.op]; response != "" {
		method = append(method, member{"response", ref(response)})
	}
	switch r.op {
	case "files.create", "files.update":
		path := "/upload/drive/v3/" + r.template()
		method = append(method,
			member{"supportsMediaUpload", true},
			member{"mediaUpload", object{
				{"accept", []string{"*/*"}},
				{"maxSize", maxUploadSize},
				{"protocols", object{
					{"simple", object{{"multipart", true}, {"path", path}}},
					{"resumable", object{{"multipart", true}, {"path", "/resumable" + path}}},
				}},
			}})
	case "files.get", "revisions.get":
		method = append(method, member{"supportsMediaDownload", true}, member{"useMediaDownloadService", true})
	}
	return resource, name, method, true
}

var requestSchemas = map[string]string{
	"files.create": "File", "files.update": "File", "files.copy": "File",
	"permissions.create": "Permission", "permissions.update": "Permission",
}

var responseSchemas = map[string]string{
	"files.list": "FileList", "files.create": "File", "files.get": "File", "files.update": "File", "files.copy": "File",
	"files.generateIds": "GeneratedIds", "permissions.list": "PermissionList", "permissions.create": "Permission",
	"permissions.get": "Permission", "permissions.update": "Permission", "revisions.list": "RevisionList",
	"revisions.get": "Revision", "changes.getStartPageToken": "StartPageToken", "changes.list": "ChangeList",
	"about.get": "About", "drives.list": "DriveList",
}

func ref(schema string) object { return object{{"$ref", schema}} }

// pathVars names the {} of a path, in their order, by what stands before them.
var pathVars = map[string]string{"files": "fileId", "permissions": "permissionId", "revisions": "revisionId"}

// template is the path with named variables, below /drive/v3/.
func (r *route) template() string {
	segments := strings.Split(strings.TrimPrefix(r.path, "/drive/v3/"), "/")
	for i, s := range segments {
		if s == "{}" {
			segments[i] = "{" + pathVars[segments[i-1]] + "}"
		}
	}
	return strings.Join(segments, "/")
}

// parameters are those of the path, then those of the query: name, or name:b for a boolean, name:i for
// an integer, name:r for a required one.
func (r *route) parameters() (params object, order []string) {
	order, params = []string{}, object{}
	for segment := range strings.SplitSeq(r.template(), "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			name = strings.TrimSuffix(name, "}")
			order = append(order, name)
			params = append(params, member{name, object{{"type", "string"}, {"location", "path"}, {"required", true}}})
		}
	}
	for _, spec := range strings.Fields(r.params) {
		name, kind, _ := strings.Cut(spec, ":")
		p := object{{"type", "string"}, {"location", "query"}}
		switch kind {
		case "b":
			p[0].value = "boolean"
		case "i":
			p = append(object{{"type", "integer"}, {"format", "int32"}}, p[1:]...)
		case "r":
			p = append(p, member{"required", true})
			order = append(order, name)
		}
		params = append(params, member{name, p})
	}
	return params, order
}

// schemaObject describes a resource by the members it can have. Types are told for those of File, where
// clients may look; elsewhere anything goes.
func schemaObject(id string, s schema, known map[string]object) object {
	properties := object{}
	for _, name := range slices.Sorted(maps.Keys(s)) {
		switch described, ok := known[name]; {
		case ok:
			properties = append(properties, member{name, described})
		case s[name] == nil:
			properties = append(properties, member{name, object{{"type", "any"}}})
		default:
			properties = append(properties, member{name, object{{"type", "object"}, {"additionalProperties", object{{"type", "any"}}}}})
		}
	}
	return object{{"id", id}, {"type", "object"}, {"properties", properties}}
}

// fileTypes describes the members of File by the types in its table.
func fileTypes() map[string]object {
	types := map[string]object{}
	anyObject := object{{"type", "object"}, {"additionalProperties", object{{"type", "any"}}}}
	for _, f := range fileFields {
		switch f.typ {
		case "int64":
			types[f.name] = object{{"type", "string"}, {"format", "int64"}}
		case "map":
			types[f.name] = object{{"type", "object"}, {"additionalProperties", object{{"type", "string"}}}}
		case "array":
			items := object{{"type", "string"}}
			if f.inside != nil {
				items = anyObject
			}
			types[f.name] = object{{"type", "array"}, {"items", items}}
		case "object":
			types[f.name] = anyObject
		default:
			types[f.name] = object{{"type", f.typ}}
		}
	}
	return types
}

func listOf(name string) object { return object{{"type", "array"}, {"items", ref(name)}} }

func (a *api) discoveryGet(c *call) error {
	resources := map[string]object{}
	var order []string
	for i := range routes {
		resource, name, method, ok := routes[i].method()
		if !ok {
			continue
		}
		if resources[resource] == nil {
			order = append(order, resource)
		}
		resources[resource] = append(resources[resource], member{name, method})
	}
	all := object{}
	for _, name := range order {
		all = append(all, member{name, object{{"methods", resources[name]}}})
	}
	root := rootURL(c.r) + "/"
	c.reply(object{
		{"kind", "discovery#restDescription"}, {"discoveryVersion", "v1"}, {"id", "drive:v3"}, {"name", "drive"}, {"version", "v3"},
		{"revision", "20261023"}, {"title", "Google Drive API"}, {"ownerDomain", "google.com"}, {"ownerName", "Google"},
		{"protocol", "rest"}, {"rootUrl", root}, {"servicePath", "drive/v3/"}, {"baseUrl", root + "drive/v3/"},
		{"basePath", "/drive/v3/"}, {"batchPath", "batch/drive/v3"},
		{"parameters", commonParameters}, {"auth", object{{"oauth2", object{{"scopes", driveScopes}}}}},
		{"schemas", object{
			{"File", schemaObject("File", fileSchema, fileTypes())},
			{"FileList", schemaObject("FileList", fileListSchema, map[string]object{"files": listOf("File")})},
			{"Permission", schemaObject("Permission", permissionSchema, nil)},
			{"PermissionList", schemaObject("PermissionList", permListSchema, map[string]object{"permissions": listOf("Permission")})},
			{"Change", schemaObject("Change", changeSchema, map[string]object{"file": ref("File")})},
			{"ChangeList", schemaObject("ChangeList", changesSchema, map[string]object{"changes": listOf("Change")})},
			{"Revision", schemaObject("Revision", revisionSchema, nil)},
			{"RevisionList", schemaObject("RevisionList", revisionListSchema, map[string]object{"revisions": listOf("Revision")})},
			{"StartPageToken", schemaObject("StartPageToken", startTokenSchema, nil)},
			{"GeneratedIds", schemaObject("GeneratedIds", idsSchema, map[string]object{"ids": {{"type", "array"}, {"items", object{{"type", "string"}}}}})},
			{"About", schemaObject("About", aboutSchema, nil)},
			{"DriveList", schemaObject("DriveList", drivesSchema, nil)},
		}},
		{"resources", all},
	})
	return nil
}

// commonParameters are accepted by every method.
var commonParameters = func() object {
	o := object{}
	for _, name := range []string{"$.xgafv", "access_token", "alt", "callback", "fields", "key", "oauth_token", "quotaUser", "uploadType", "upload_protocol"} {
		o = append(o, member{name, object{{"type", "string"}, {"location", "query"}}})
	}
	return append(o, member{"prettyPrint", object{{"type", "boolean"}, {"location", "query"}, {"default", "true"}}})
}()

// driveScopes are those of Drive that the emulator's sign-in can grant.
var driveScopes = func() object {
	o := object{}
	for _, name := range slices.Sorted(maps.Keys(scopeTexts)) {
		if strings.HasPrefix(name, driveScope) {
			o = append(o, member{name, object{{"description", scopeTexts[name]}}})
		}
	}
	return o
}()
