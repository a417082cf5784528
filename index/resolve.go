package index

import (
	"slices"
	"strings"

	"sregfs/index/image"
)

// Resolve finds the one image that text means; see the function Resolve.
func (ix *Index) Resolve(text string) (Image, error) {
	text = strings.TrimSpace(text)
	if img, err := ix.ByID(image.TrimScheme(text)); err == nil {
		return img, nil
	}
	if ref, err := image.Parse(text); err == nil {
		if img, err := ix.Lookup("", ref); err == nil {
			return ix.Describe(img), nil
		}
	}
	img, err := Resolve(ix.cat.all(), text)
	if err != nil {
		return Image{}, err
	}
	return ix.Describe(img), nil
}

// Resolve finds the one of images, in the order of Index.Images, that text means: a Drive id, a name with or without a
// version, or a checksum, MD5 or SHA-256 in hex, whole; each with or without a prefix of image.TrimScheme. Nothing is
// matched in part. My own registry answers first; an image shared with me is found by its name if no image of mine has
// it. The error is io/fs.ErrNotExist, or ErrAmbiguous (an *AmbiguousError) with those that answer: one checksum under
// several names, one name of several owners.
func Resolve(images []Image, text string) (Image, error) {
	text = strings.TrimSpace(text)
	bare := image.TrimScheme(text)
	if i := slices.IndexFunc(images, func(img Image) bool { return img.File == bare }); i >= 0 {
		return images[i], nil
	}
	ref, parseErr := image.Parse(text)
	var named, sums []Image
	for _, img := range images {
		if parseErr == nil && img.named(ref) {
			if img.Space == "" {
				return img, nil // the first is the newest
			}
			if !slices.ContainsFunc(named, func(o Image) bool { return o.Space == img.Space }) {
				named = append(named, img)
			}
		}
		if isChecksum(bare) && (strings.EqualFold(bare, img.MD5) || strings.EqualFold(bare, img.SHA256)) {
			sums = append(sums, img)
		}
	}
	found := distinct(sums)
	if len(found) == 0 {
		found = named
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return Image{}, &AmbiguousError{Text: text, Candidates: found}
	case parseErr != nil && !isChecksum(bare):
		return Image{}, parseErr
	}
	return Image{}, notExist("image " + text)
}

// named tells whether ref, as image.Parse made it, with or without a version, means img.
func (img *Image) named(ref image.Ref) bool {
	return strings.EqualFold(img.Collection, ref.Collection) && strings.EqualFold(img.Image, ref.Image) && strings.EqualFold(img.Tag, ref.Tag) &&
		(ref.Version == "" || img.hasVersion(ref.Version))
}

// distinct drops duplicates, files of one version of one name, and everything shared if something is mine.
func distinct(list []Image) []Image {
	var out []Image
	for _, img := range list {
		if len(out) > 0 && out[0].Space == "" && img.Space != "" {
			break // matching has mine first
		}
		if !slices.ContainsFunc(out, func(o Image) bool { return o.Space == img.Space && o.Fold() == img.Fold() }) {
			out = append(out, img)
		}
	}
	return out
}

func isChecksum(s string) bool {
	return (len(s) == 32 || len(s) == 64) && strings.Trim(strings.ToLower(s), "0123456789abcdef") == ""
}

// matching returns the images f wants, mine first, then newest first, without labels.
func (c *catalog) matching(f func(*Image) bool) []Image {
	return values(slices.DeleteFunc(c.list(), func(img *Image) bool { return !f(img) }))
}

// byContent returns the images, whosever, that share a checksum in hex, mine first and newest first, without labels.
// Where Drive has both checksums of an image it is for the caller to compare the stronger one.
func (ix *Index) byContent(sha256, md5 string) []Image {
	return ix.cat.matching(func(img *Image) bool {
		return sha256 != "" && img.SHA256 == sha256 || md5 != "" && img.MD5 == md5
	})
}
