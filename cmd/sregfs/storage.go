package main

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sregfs/index"
	"sregfs/index/image"
)

// The images of this machine are files under STORAGE, and nothing else is noted
// of them: pull and add put them there, at collection/image/tag@version.sif, mv
// leaves a symbolic link to where one went, and the layouts of the registry
// tool's older releases (collection/image:tag@version.simg, and flat names) are
// read as well.

// copied is one image file under STORAGE.
type copied struct {
	image.Ref
	ext      string
	entry    string // its name under STORAGE
	path     string // the file itself: entry, or what entry links to
	flat     bool   // at the top of STORAGE, where the name does not tell a collection
	size     int64
	modified time.Time
}

// stored is where pull puts the image: STORAGE/collection/image/tag@version.sif.
func (a *app) stored(img index.Image) string {
	return filepath.Join(a.set.Storage, img.Dir(), image.EncodeName(img.Ref.Image), image.EncodeName(img.Tag+"@"+img.Version)+img.Ext)
}

// copies lists the image files under STORAGE, in the order of their names.
func (a *app) copies() ([]copied, error) {
	var all []copied
	err := filepath.WalkDir(a.set.Storage, func(path string, d iofs.DirEntry, err error) error {
		switch {
		case err != nil && path == a.set.Storage && errors.Is(err, iofs.ErrNotExist):
			return filepath.SkipAll // nothing was pulled yet
		case err != nil && path == a.set.Storage:
			return err
		case err != nil:
			a.log.Debugf("local images: %v", err) // a directory of somebody else's hides no other
			return nil
		case strings.HasPrefix(d.Name(), ".") && path != a.set.Storage:
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if c, ok := a.copyAt(path); ok && !d.IsDir() {
			all = append(all, c)
		}
		return nil
	})
	if err != nil {
		return nil, localFile(fmt.Errorf("local images: %w", err))
	}
	linked := map[string]bool{}
	for _, c := range all {
		if c.path != c.entry {
			linked[c.path] = true
		}
	}
	return slices.DeleteFunc(all, func(c copied) bool { return linked[c.entry] }), nil
}

// copyAt reads the name of a file under STORAGE.
func (a *app) copyAt(entry string) (copied, bool) {
	rel, err := filepath.Rel(a.set.Storage, entry)
	if err != nil {
		return copied{}, false
	}
	base, ext := image.SplitExt(rel)
	if ext == "" {
		return copied{}, false
	}
	fi, err := os.Stat(entry)
	if err != nil || !fi.Mode().IsRegular() {
		return copied{}, false // a link whose file is gone is no copy
	}
	c := copied{Ref: storedRef(base), ext: ext, entry: entry, path: entry, flat: filepath.Base(rel) == rel, size: fi.Size(), modified: fi.ModTime()}
	if to, err := os.Readlink(entry); err == nil {
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(entry), to)
		}
		c.path = to
	}
	return c, true
}

// storedRef is the name of the image at base, a path under STORAGE without its
// extension.
func storedRef(base string) image.Ref {
	segments := strings.Split(base, string(filepath.Separator))
	for i, s := range segments {
		if text, err := image.DecodeName(s); err == nil {
			segments[i] = text
		}
	}
	last := segments[len(segments)-1]
	tag, version, versioned := strings.Cut(last, "@")
	if len(segments) < 3 || !versioned || strings.Contains(tag, ":") {
		return image.Identify(strings.Join(segments, "/"), nil).Ref
	}
	return image.Ref{
		Collection: strings.Join(segments[:len(segments)-2], "/"), Image: segments[len(segments)-2], Tag: tag, Version: strings.ToLower(version),
	}
}

// holds says that c is a copy of img: of its size and version, under its name,
// or under a flat name of old, which tells the version alone.
func (c copied) holds(img index.Image) bool {
	if c.size != img.Size || c.Version == "" {
		return false
	}
	if !slices.ContainsFunc([]string{img.Version, img.MD5, img.SHA256}, func(v string) bool { return strings.EqualFold(v, c.Version) }) {
		return false
	}
	return c.flat || c.Fold().Short() == img.Fold().Short()
}

// copyOf finds the image's copy on this machine.
func (a *app) copyOf(img index.Image) (copied, bool) {
	if c, ok := a.copyAt(a.stored(img)); ok && c.size == img.Size {
		return c, true // where pull puts it
	}
	all, err := a.copies()
	if err != nil {
		a.log.Debug(err)
		return copied{}, false
	}
	if i := slices.IndexFunc(all, func(c copied) bool { return c.holds(img) }); i >= 0 {
		return all[i], true
	}
	return copied{}, false
}

// image is c as an image that Drive does not have: without a file id.
func (c copied) image() index.Image {
	img := index.Image{Ref: c.Ref, Ext: c.ext, Name: c.String() + c.ext, Size: c.size, Created: c.modified, Modified: c.modified}
	switch len(c.Version) {
	case 32:
		img.MD5 = c.Version
	case 64:
		img.SHA256 = c.Version
	}
	return img
}

// onlyHere lists the images of this machine that known, what Drive has, lacks.
func (a *app) onlyHere(known []index.Image) ([]index.Image, error) {
	all, err := a.copies()
	if err != nil {
		return nil, err
	}
	var out []index.Image
	for _, c := range all {
		if !slices.ContainsFunc(known, c.holds) {
			out = append(out, c.image())
		}
	}
	return out, nil
}
