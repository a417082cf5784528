package index

import (
	"bytes"
	"slices"
	"strings"
)

// Query is what a search asks for. The zero Query is answered by every image.
type Query struct {
	// Text is to be contained in the id, the file name or the value of a property: where the registry tool looks.
	Text string
	// AnyCase looks for it in upper and lower case, and in labels that no property had room for and the owner's address too.
	AnyCase bool
}

// Finds tells whether img, which has its Labels and Properties, answers q.
func (q Query) Finds(img Image) bool {
	if !q.AnyCase {
		return q.in(img.File, img.Name) || q.among(img.Properties)
	}
	return q.in(img.File, img.Name, img.Space) || q.among(img.Properties) || q.among(img.Labels)
}

func (q Query) among(fields map[string]string) bool {
	for _, text := range fields {
		if q.in(text) {
			return true
		}
	}
	return false
}

func (q Query) in(texts ...string) bool {
	for _, text := range texts {
		if strings.Contains(text, q.Text) || q.AnyCase && strings.Contains(strings.ToLower(text), strings.ToLower(q.Text)) {
			return true
		}
	}
	return false
}

// Results are the images that answer a query, of those there were when it was asked, in the order of Index.Images. They keep
// the name of each, and no more than keptRecords of what is known of them.
type Results struct {
	ix   *Index
	q    Query
	rest []*Image // not looked at yet; the catalogue's own, which nobody changes
	// found has the records that answer q, by file, or nil for those that are read again because they were too many. It is
	// nil itself before the records were looked through.
	found map[string][]byte
}

const (
	// resultPage is how many results come at once.
	resultPage = 256
	// keptRecords is how many bytes of records a search keeps: those of some 20,000 images.
	keptRecords = 16 << 20
)

// Search asks q. Nothing is read before Next.
func (ix *Index) Search(q Query) *Results { return &Results{ix: ix, q: q, rest: ix.cat.list()} }

// Next is the next of the results, with their Labels and Properties; none when these were all.
func (r *Results) Next() []Image {
	if r.found == nil {
		r.scan()
	}
	var page []Image
	for len(r.rest) > 0 && len(page) < resultPage {
		img := *r.rest[0]
		r.rest = r.rest[1:]
		b, ok := r.found[img.File]
		if !ok {
			continue
		}
		delete(r.found, img.File)
		if b != nil {
			if rec, err := decodeFile(b); err == nil {
				img.describe(rec.file())
			}
		}
		page = append(page, img)
	}
	return r.ix.hydrate(page)
}

// scan looks through the records as they lie on the disk: one after the other in the order of the results, a hundred thousand
// of them take ten times as long.
func (r *Results) scan() {
	r.found = make(map[string][]byte)
	kept := 0
	err := eachKey(r.ix.db, kFile, func(key, b []byte) error {
		img, err := r.ix.Find(string(key))
		if err != nil {
			return nil //nolint:nilerr // a file that is no image
		}
		if r.q.Text != "" {
			if rec, err := decodeFile(b); err == nil { // else it has its name, and fsck mends it
				img.describe(rec.file())
			}
			if !r.q.Finds(img) {
				return nil
			}
		}
		r.found[img.File] = nil
		if kept += len(b); kept <= keptRecords {
			r.found[img.File] = bytes.Clone(b)
		}
		return nil
	})
	if err != nil {
		r.ix.log.Warnf("search: %v", err)
	}
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
