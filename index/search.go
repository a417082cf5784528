package index

import (
	"slices"
	"strings"
)

// Query is what a search asks for. The zero Query is answered by every image.
type Query struct {
	Text    string // to be contained in the id, the file name, the owner of what is shared, the value of a property or a label
	AnyCase bool   // A and a are the same
}

// Finds tells whether img, which has its Labels and Properties, answers q.
func (q Query) Finds(img Image) bool {
	if q.Text == "" {
		return true
	}
	contains := strings.Contains
	if q.AnyCase {
		want := strings.ToLower(q.Text)
		contains = func(text, _ string) bool { return strings.Contains(strings.ToLower(text), want) }
	}
	for _, text := range [...]string{img.File, img.Name, img.Space} {
		if contains(text, q.Text) {
			return true
		}
	}
	for _, fields := range [...]map[string]string{img.Properties, img.Labels} {
		for _, text := range fields {
			if contains(text, q.Text) {
				return true
			}
		}
	}
	return false
}

// Results are the images that answer a query, of those there were when it was asked, in the order of Index.Images. They are
// read from the records a page at a time: what is in memory does not grow with the registry.
type Results struct {
	ix   *Index
	q    Query
	rest []*Image // not looked at yet; the catalogue's own, which nobody changes
}

// searchPage is how many images are read at once.
const searchPage = 256

// Search asks q. Nothing is read before Next.
func (ix *Index) Search(q Query) *Results { return &Results{ix: ix, q: q, rest: ix.cat.list()} }

// Next is the next of the results, with their Labels and Properties; none when these were all.
func (r *Results) Next() []Image {
	for len(r.rest) > 0 {
		page := r.rest[:min(searchPage, len(r.rest))]
		r.rest = r.rest[len(page):]
		found := slices.DeleteFunc(r.ix.hydrate(values(page)), func(img Image) bool { return !r.q.Finds(img) })
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// Collect is all the results.
func (r *Results) Collect() []Image {
	var all []Image
	for page := r.Next(); len(page) > 0; page = r.Next() {
		all = append(all, page...)
	}
	return all
}

// listed is the order of Index.Images: mine, then what others share with me; of each the newest first.
func listed(a, b *Image) int {
	if (a.Space == "") != (b.Space == "") {
		return strings.Compare(a.Space, b.Space)
	}
	return newer(a, b)
}

// Sort brings images into the order of Index.Images.
func Sort(images []Image) {
	slices.SortFunc(images, func(a, b Image) int { return listed(&a, &b) })
}
