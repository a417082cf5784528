package fs

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"sregfs/index"
	"sregfs/index/image"
)

// The commands of .sregfs/control, one a line: VERB REF [ARGUMENT], where REF is a name or a Drive file id. They are for
// the program's own verbs, which go through the mount that owns the state: what they do, files and attributes of the tree
// do as well, but there a failure is a number, and here it is a sentence.
var imageCommands = map[string]struct {
	form string
	run  func(fsys *FS, ctx context.Context, img index.Image, argument string) (any, error)
}{
	"rename": {"rename REF NEWNAME", (*FS).renameImage},
	"remove": {"remove REF", func(fsys *FS, ctx context.Context, img index.Image, _ string) (any, error) {
		return nil, fsys.ix.Remove(ctx, img)
	}},
	"delete": {"delete REF, for good", func(fsys *FS, ctx context.Context, img index.Image, _ string) (any, error) {
		return nil, fsys.ix.Delete(ctx, img)
	}},
	"label": {`label REF {"KEY":"VALUE"}, or null for VALUE`, (*FS).labelImage},
	"pin": {"pin REF", func(fsys *FS, _ context.Context, img index.Image, _ string) (any, error) {
		return nil, fsys.ix.Pin(img)
	}},
	"unpin": {"unpin REF", func(fsys *FS, _ context.Context, img index.Image, _ string) (any, error) {
		return nil, fsys.ix.Unpin(img)
	}},
	"evict": {"evict REF", func(fsys *FS, _ context.Context, img index.Image, _ string) (any, error) {
		return nil, fsys.ix.Evict(img)
	}},
	"held": {"held REF", func(fsys *FS, _ context.Context, img index.Image, _ string) (any, error) {
		return fsys.ix.Held(img), nil
	}},
}

// runControl carries out one command on one image. The answer is JSON, or empty.
func (fsys *FS) runControl(ctx context.Context, line string) (string, error) {
	verb, rest, _ := strings.Cut(line, " ")
	ref, argument, _ := strings.Cut(strings.TrimSpace(rest), " ")
	c, ok := imageCommands[verb]
	if !ok || ref == "" {
		forms := make([]string, 0, len(imageCommands))
		for _, name := range slices.Sorted(maps.Keys(imageCommands)) {
			forms = append(forms, imageCommands[name].form)
		}
		return "", usage(strings.Join(forms, "; "))
	}
	if fsys.o.ReadOnly && verb != "held" && verb != "evict" && verb != "pin" && verb != "unpin" {
		return "", index.ErrReadOnly
	}
	img, err := fsys.ix.Resolve(ref)
	if err != nil {
		return "", err
	}
	answer, err := c.run(fsys, ctx, img, strings.TrimSpace(argument))
	if err != nil || answer == nil {
		return "", err
	}
	b, err := json.Marshal(answer)
	return string(b), err
}

func (fsys *FS) renameImage(ctx context.Context, img index.Image, name string) (any, error) {
	to, err := image.Parse(name)
	if err != nil {
		return nil, err
	}
	return fsys.ix.Retag(ctx, img, to)
}

// labelImage sets and removes labels, in the order of their keys, and answers the image as it is then.
func (fsys *FS) labelImage(ctx context.Context, img index.Image, argument string) (any, error) {
	var labels map[string]*string
	if err := json.Unmarshal([]byte(argument), &labels); err != nil {
		return nil, refuse(syscall.EINVAL, "labels are a JSON object of texts")
	}
	var err error
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if img, err = fsys.ix.SetLabel(ctx, img, key, labels[key]); err != nil {
			return nil, fmt.Errorf("labels: %w", err)
		}
	}
	return img, nil
}
