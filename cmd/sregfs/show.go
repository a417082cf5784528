package main

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"sregfs/drive"
	"sregfs/index"
	"sregfs/index/image"
)

// displayURI is the image's name as the registry stores it: the uri property,
// else the name we know it by.
func displayURI(img index.Image) string {
	return printable(cmp.Or(img.Properties["uri"], img.String()))
}

// imageFields are the fields of the Drive file that a search shows.
func imageFields(img index.Image) map[string]string {
	fields := map[string]string{"id": img.File, "name": img.Name}
	if img.Space != "" {
		fields["owner"] = img.Space
	}
	maps.Copy(fields, img.Properties)
	maps.Copy(fields, img.Labels)
	return fields
}

// printable keeps text that strangers wrote from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, s)
}

// stored is where pull puts the image: STORAGE/collection/image/tag@version.sif.
func (a *app) stored(img index.Image) string {
	return filepath.Join(a.set.Storage, img.Dir(), image.EncodeName(img.Ref.Image), image.EncodeName(img.Tag+"@"+img.Version)+img.Ext)
}

// where is the image's place on this machine, else its URL.
func (a *app) where(reg registry, img index.Image) string {
	path := a.stored(img)
	if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() && fi.Size() == img.Size {
		return path
	}
	return cmp.Or(reg.Path(img), drive.ContentURL(a.set.URL, img.File))
}
