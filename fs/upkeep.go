package fs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"sregfs/index"
)

const cacheForm = "ls, verify [REF], or clear [REF]"

// runCache lists, verifies or clears what is cached, of all images or of one. REF is a name or a Drive file id. The answer
// to ls and verify is one JSON array of index.Cached.
func (fsys *FS) runCache(ctx context.Context, line string) (string, error) {
	verb, ref, _ := strings.Cut(line, " ")
	var files []string
	if ref = strings.TrimSpace(ref); ref != "" {
		img, err := fsys.ix.Resolve(ref)
		if err != nil {
			return "", err
		}
		files = []string{img.File}
	}
	switch {
	case verb == "ls" && ref == "":
		return jsonText(fsys.ix.CachedImages(), nil)
	case verb == "verify":
		return jsonText(fsys.ix.VerifyCache(ctx, files...))
	case verb == "clear":
		freed, err := fsys.ix.FreeCache(files...)
		return fmt.Sprint(freed), err
	}
	return "", usage(cacheForm)
}

const fsckForm = "check [repair] [offline]"

// runFsck compares Drive, the index and the disk. The answer is an index.CheckReport in JSON.
func (fsys *FS) runFsck(ctx context.Context, line string) (string, error) {
	words := strings.Fields(line)
	if words[0] != "check" {
		return "", usage(fsckForm)
	}
	var o index.CheckOptions
	for _, w := range words[1:] {
		switch w {
		case "repair":
			o.Repair = true
		case "offline":
			o.Offline = true
		default:
			return "", usage(fsckForm)
		}
	}
	return jsonText(fsys.ix.Check(ctx, o))
}

// jsonText is v in JSON, unless err.
func jsonText(v any, err error) (string, error) {
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(v)
	return string(b), err
}
