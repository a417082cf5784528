package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sregfs/index/image"
)

// Names that are so near to one that does not exist are suggested for it.
const (
	maxTypos       = 2 // characters put in, left out or changed
	maxSuggestions = 3
)

// suggesting is err, that no image is called text, with the names that may have
// been meant, the likeliest and then the newest first: other tags of that image,
// other collections with one of that name, and names with a typing error. Nobody
// is asked: they are those known here.
func (a *app) suggesting(ctx context.Context, reg registry, text string, err error) error {
	ref, perr := image.Parse(text)
	if perr != nil {
		return err
	}
	all, ierr := reg.Images(ctx)
	here, herr := a.onlyHere(all)
	if errors.Join(ierr, herr) != nil {
		return err // what is wrong is said already
	}
	type near struct {
		name  string
		other int // 1 if it is another image, 0 if a tag of the one that text names
		typos int
	}
	ref = ref.Fold()
	var found []near
	for _, img := range slices.Concat(all, here) {
		to := img.Fold()
		n := near{name: to.Short(), typos: typos(ref.Short(), to.Short())}
		if to.Collection != ref.Collection || to.Image != ref.Image {
			n.other = 1
		}
		alike := to.Image == ref.Image || n.typos <= min(maxTypos, len(ref.Image)/3)
		if alike && !slices.Contains(found, n) {
			found = append(found, n)
		}
	}
	if len(found) == 0 {
		return err
	}
	slices.SortStableFunc(found, func(x, y near) int { return cmp.Or(x.other-y.other, x.typos-y.typos) })
	var names []string
	for _, n := range found[:min(len(found), maxSuggestions)] {
		names = append(names, n.name)
	}
	return fmt.Errorf("%w; did you mean %s?", err, strings.Join(names, ", "))
}

// typos counts the characters to put in, leave out or change to make x of y.
func typos(x, y string) int {
	to := []rune(y)
	row := make([]int, len(to)+1)
	for j := range row {
		row[j] = j
	}
	for i, r := range []rune(x) {
		diagonal := row[0]
		row[0] = i + 1
		for j, s := range to {
			changed := diagonal
			if r != s {
				changed++
			}
			diagonal = row[j+1]
			row[j+1] = min(changed, row[j]+1, diagonal+1)
		}
	}
	return row[len(to)]
}
