package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sregfs/drive"
	"sregfs/index"
)

// imageJSON is an image as every verb prints it with --json. The keys are a
// promise to scripts; jsonHelp documents them, and a test compares the two.
type imageJSON struct {
	ID         string            `json:"id"`
	URI        string            `json:"uri"`
	Collection string            `json:"collection"`
	Image      string            `json:"image"`
	Tag        string            `json:"tag"`
	Version    string            `json:"version"`
	Name       string            `json:"name"`
	Size       int64             `json:"size"`
	MD5        string            `json:"md5,omitempty"`
	SHA256     string            `json:"sha256,omitempty"`
	Created    time.Time         `json:"created"`
	Modified   time.Time         `json:"modified"`
	Owner      string            `json:"owner,omitempty"`
	SharedBy   string            `json:"shared_by,omitempty"`
	Location   string            `json:"location"`
	Path       string            `json:"path,omitempty"`
	URL        string            `json:"url,omitempty"`
	Labels     map[string]string `json:"labels"`
	Properties map[string]string `json:"properties"`
}

// Where an image is, as images and --json say it.
const (
	locationLocal  = "local"
	locationRemote = "remote"
)

// imageJSON describes img; path is its copy on this machine, if there is one.
func (a *app) imageJSON(img index.Image, path string) imageJSON {
	out := imageJSON{
		ID: img.File, URI: img.String(), Collection: img.Collection, Image: img.Ref.Image, Tag: img.Tag, Version: img.Version,
		Name: img.Name, Size: img.Size, MD5: img.MD5, SHA256: img.SHA256, Created: img.Created.UTC(), Modified: img.Modified.UTC(),
		Owner: img.Owner, SharedBy: img.Space, Location: locationRemote, Path: path, Labels: img.Labels, Properties: img.Properties,
	}
	if path != "" {
		out.Location = locationLocal
	}
	if img.File != "" {
		out.URL = drive.ContentURL(a.set.URL, img.File)
	}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	if out.Properties == nil {
		out.Properties = map[string]string{}
	}
	return out
}

// imagesJSON describes images, which are looked for under STORAGE together.
func (a *app) imagesJSON(images []index.Image) ([]imageJSON, error) {
	copies, err := a.copies()
	if err != nil {
		return nil, err
	}
	out := make([]imageJSON, 0, len(images))
	for _, img := range images {
		out = append(out, a.imageJSON(img, pathAmong(copies, img)))
	}
	return out, nil
}

// pathAmong is the path of the image's copy among copies, "" if there is none.
func pathAmong(copies []copied, img index.Image) string {
	for _, c := range copies {
		if c.holds(img) {
			return c.path
		}
	}
	return ""
}

// printImage prints img as a line of JSON.
func (a *app) printImage(img index.Image) error {
	path := ""
	if c, ok := a.copyOf(img); ok {
		path = c.path
	}
	return a.printJSON(a.imageJSON(img, path), "")
}

const jsonHelp = `With --json a verb prints JSON and nothing else on stdout, its progress as JSON
lines on stderr, and an error as one last JSON line on stderr.

search, images          [IMAGE, …], one array
push, pull, record, add,
rename, mv, labels --set IMAGE, a line for each
inspect                 a document for each image: the keys of the registry
                        tool (client, collection, collection_id, created_at, id,
                        image, metrics, name, tag, uri, url, version), and meta,
                        what 'apptainer inspect --all --json' calls attributes
get                     {"uri", "path" or "url"}, a line for each
rm, delete, dedupe      {"removed": IMAGE}, a line for each
pin, unpin, prefetch    {"uri", "id", "bytes", "pinned"}, a line for each; bytes
                        is how much of the image is in the cache
share                   {"uri", "id", "email", "message"}
share ls                ["EMAIL ROLE", …]
labels                  [{"key", "value", "images": [URI, …]}, …]
config show             [{"key", "value", "origin"}, …]
doctor                  [{"check", "ok", "message", "next"}, …]
import                  {"settings", "token", "images", "skipped"}

IMAGE is an object with the keys
  id          Drive file id; "" for an image of this machine alone
  uri         collection/image:tag@version
  collection, image, tag, version
  name        of the file on Drive
  size        bytes
  md5, sha256 in hex, absent where Drive has none
  created, modified  RFC 3339, UTC
  owner       e-mail address, absent where Drive does not tell
  shared_by   e-mail address of who shares it with me; absent for my own
  location    "local": there is a copy in the storage; else "remote"
  path        of that copy, absent without one
  url         of the bytes on Drive, absent for an image of this machine alone
  labels, properties  objects of texts

progress    {"type":"progress","what","done","total","seconds"}: bytes, at most
            one line a second
error       {"type":"exit_error","code","message"}: the exit code, the sentence`

func (a *app) jsonCommand() *cobra.Command {
	return &cobra.Command{Use: "json", Short: "What --json prints", Long: jsonHelp}
}

// complain says an error that does not end the verb, or ends it.
func (a *app) complain(err error) {
	text := sentence(err)
	switch {
	case text == "":
	case a.set.JSON:
		_ = json.NewEncoder(a.err).Encode(struct {
			Type    string `json:"type"`
			Code    int    `json:"code"`
			Message string `json:"message"`
		}{"exit_error", exitCode(err), text})
	default:
		fmt.Fprintln(a.err, "ERROR "+text)
	}
}
