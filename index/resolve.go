package index

import (
	"slices"
	"strings"

	"sregfs/index/image"
)

// Resolve finds the one image that text means: a Drive id, a name with or without a version, or a checksum, MD5 or
// SHA-256 in hex, whole. Nothing is matched in part. My own registry answers first; an image shared with me is found by
// its name if no image of mine has it. The error is io/fs.ErrNotExist, or ErrAmbiguous (an *AmbiguousError) with those
// that answer: one checksum under several names, one name of several owners.
func (ix *Index) Resolve(text string) (Image, error) {
	text = strings.TrimSpace(text)
	if img, err := ix.ByID(text); err == nil {
		return img, nil
	}
	ref, parseErr := image.Parse(text)
	if parseErr == nil {
		if img, err := ix.Lookup("", ref); err == nil {
			return img, nil
		}
	}
	var found []Image
	if isChecksum(text) {
		found = ix.cat.matching(func(img *Image) bool { return strings.EqualFold(text, img.MD5) || strings.EqualFold(text, img.SHA256) })
	}
	if len(found) == 0 && parseErr == nil {
		for _, owner := range ix.Owners() {
			if img, err := ix.Lookup(owner, ref); err == nil {
				found = append(found, img)
			}
		}
	}
	switch found = distinct(found); {
	case len(found) == 1:
		return ix.hydrate(found)[0], nil
	case len(found) > 1:
		return Image{}, &AmbiguousError{Text: text, Candidates: found}
	case parseErr != nil && !isChecksum(text):
		return Image{}, parseErr
	}
	return Image{}, notExist("image " + text)
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
	return slices.DeleteFunc(c.all(), func(img Image) bool { return !f(&img) })
}

// byContent returns the images, whosever, that share a checksum in hex, mine first and newest first, without labels.
// Where Drive has both checksums of an image it is for the caller to compare the stronger one.
func (ix *Index) byContent(sha256, md5 string) []Image {
	return ix.cat.matching(func(img *Image) bool {
		return sha256 != "" && img.SHA256 == sha256 || md5 != "" && img.MD5 == md5
	})
}

// Search returns the images that hold q as it is written, case and all, in their id, their file name or the value of
// one of their properties, in the order of Images. The empty text is in all.
func (ix *Index) Search(q string) []Image {
	return slices.DeleteFunc(ix.Images(), func(img Image) bool {
		if strings.Contains(img.File, q) || strings.Contains(img.Name, q) {
			return false
		}
		for _, v := range img.Properties {
			if strings.Contains(v, q) {
				return false
			}
		}
		return true
	})
}
