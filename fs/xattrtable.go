package fs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sregfs/index"
)

// xattr is one attribute of an image. One with get only is read-only, one with set only is neither listed nor readable,
// so that cp -a cannot carry it to another image.
type xattr struct {
	get func(*FS, context.Context, index.Image) (string, error)
	set func(*FS, context.Context, index.Image, string) error

	asks bool // get asks Drive: readable, but not listed, so that cp -a and getfattr -d need no network
}

// imageXattrs are the attributes of an image; labels come on top, one by one.
var imageXattrs = map[string]xattr{
	"id":         {get: show(func(img index.Image) string { return img.File })},
	"uri":        {get: show(func(img index.Image) string { return img.Ref.String() })},
	"collection": {get: show(func(img index.Image) string { return img.Collection })},
	"image":      {get: show(func(img index.Image) string { return img.Image })},
	"tag":        {get: show(func(img index.Image) string { return img.Tag })},
	"version":    {get: show(func(img index.Image) string { return img.Version })},
	"md5":        {get: show(func(img index.Image) string { return img.MD5 })},
	"sha256":     {get: show(func(img index.Image) string { return img.SHA256 })},
	"size":       {get: show(func(img index.Image) string { return strconv.FormatInt(img.Size, 10) })},
	"owner":      {get: show(func(img index.Image) string { return img.Owner })},
	"created":    {get: show(func(img index.Image) string { return img.Created.UTC().Format(time.RFC3339) })},
	"modified":   {get: show(func(img index.Image) string { return img.Modified.UTC().Format(time.RFC3339) })},
	"url":        {get: func(fsys *FS, _ context.Context, img index.Image) (string, error) { return fsys.ix.URL(img), nil }},
	"state":      {get: (*FS).imageState},
	"cached":     {get: (*FS).imageCached},
	"profile":    {get: (*FS).imageProfile},
	"fetched":    {get: (*FS).imageFetched},
	"shared":     {get: (*FS).imageShared, asks: true},
	"labels":     {get: show(labelsJSON)},

	"share": {set: (*FS).shareImage},
	"unshare": {set: func(fsys *FS, ctx context.Context, img index.Image, who string) error {
		return fsys.ix.Unshare(ctx, img, who)
	}},
	"pin":   {set: func(fsys *FS, _ context.Context, img index.Image, _ string) error { return fsys.ix.Pin(img) }},
	"unpin": {set: func(fsys *FS, _ context.Context, img index.Image, _ string) error { return fsys.ix.Unpin(img) }},
	"prefetch": {set: func(fsys *FS, ctx context.Context, img index.Image, _ string) error {
		return fsys.ix.Prefetch(ctx, img)
	}},
	"refresh": {set: func(fsys *FS, ctx context.Context, _ index.Image, _ string) error { return fsys.ix.Refresh(ctx) }},
}

// show is an attribute that the image itself says.
func show(f func(index.Image) string) func(*FS, context.Context, index.Image) (string, error) {
	return func(_ *FS, _ context.Context, img index.Image) (string, error) { return f(img), nil }
}

func labelsJSON(img index.Image) string {
	b, err := json.Marshal(img.Labels)
	switch {
	case err != nil || len(img.Labels) == 0:
		return "{}"
	case len(b) > maxValue:
		return `{"":"too many to show here: see .sregfs/meta/` + img.Dir() + "/" + img.TagDir() + `/labels.json"}`
	}
	return string(b)
}

// imageState says how much of the image is on this machine.
func (fsys *FS) imageState(_ context.Context, img index.Image) (string, error) {
	switch on := fsys.ix.Cached(img); {
	case on >= img.Size:
		return "local", nil
	case on > 0:
		return "partial", nil
	}
	return "remote", nil
}

func (fsys *FS) imageCached(_ context.Context, img index.Image) (string, error) {
	return strconv.FormatInt(fsys.ix.Cached(img), 10), nil
}

// imageProfile says what is known of the image's starts: "recorded 36000000 static 1000000", in bytes.
func (fsys *FS) imageProfile(_ context.Context, img index.Image) (string, error) {
	p := fsys.ix.Profiles(img)
	return fmt.Sprintf("recorded %d static %d", p.Recorded.Bytes(), p.Static.Bytes()), nil
}

// imageFetched says what was fetched of an image that is open, and what for: "demand 12 requests 1572864 bytes" a line;
// "nothing" of one that is not.
func (fsys *FS) imageFetched(_ context.Context, img index.Image) (string, error) {
	var lines []string
	for _, r := range fsys.ix.CacheStats().Open {
		if r.File != img.File {
			continue
		}
		for _, class := range slices.Sorted(maps.Keys(r.Fetched)) {
			t := r.Fetched[class]
			lines = append(lines, fmt.Sprintf("%s %d requests %d bytes", class, t.Requests, t.Bytes))
		}
	}
	return cmp.Or(strings.Join(lines, "\n"), "nothing"), nil
}

// imageShared lists who has access, "EMAIL ROLE" a line.
func (fsys *FS) imageShared(ctx context.Context, img index.Image) (string, error) {
	list, err := fsys.ix.Permissions(ctx, img)
	if err != nil {
		return "", err
	}
	lines := make([]string, 0, len(list))
	for _, p := range list {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n"), nil
}

// shareImage takes "ann@uni.edu" or "ann@uni.edu:writer".
func (fsys *FS) shareImage(ctx context.Context, img index.Image, value string) error {
	who, role, _ := strings.Cut(strings.TrimSpace(value), ":")
	_, err := fsys.ix.Share(ctx, img, index.Invite{Email: who, Role: role, Notify: true})
	return err
}
