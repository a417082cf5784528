package drivetest

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// pageTokenLife is how long a page token of files.list is good: "typically several hours".
const pageTokenLife = 6 * time.Hour

// filesList answers a query, page by page. A page ends after pageSize files, and its token says after
// which key the next begins, so that tokens outlive changes and restarts.
func (a *api) filesList(c *call) error {
	size, err := c.pageSize(100, 1000)
	if err != nil {
		return err
	}
	where, err := parseQuery(c.query.Get("q"))
	if err != nil {
		return err
	}
	by, err := parseOrder(c.query.Get("orderBy"))
	if err != nil {
		return err
	}
	if err := c.checkCorpora(where, by); err != nil {
		return err
	}
	from, err := c.readPageToken(a.store.now())
	if err != nil {
		return err
	}
	elsewhere := c.query.Get("spaces") == "appDataFolder"

	return a.store.view(func() error {
		s := a.store
		var found []sorted
		if !elsewhere {
			found = s.candidates(c.acc, where, by)
		}
		slices.SortFunc(found, func(a, b sorted) int { return by.compare(&a, &b) })
		if from != nil {
			i, at := slices.BinarySearchFunc(found, from, func(a sorted, b *sorted) int { return by.compare(&a, b) })
			if at {
				i++
			}
			found = found[i:]
		}
		next := ""
		files := fileViews{}
		matches := s.matcher(c.acc, where)
		var last *sorted
		for i := range found {
			if !matches(found[i].f) {
				continue
			}
			if len(files) == size {
				next = c.pageToken(last, s.now())
				break
			}
			last = &found[i]
			files = append(files, c.view(s, last.f))
		}
		c.reply(object{
			{"nextPageToken", text(next)},
			{"kind", "drive#fileList"},
			{"incompleteSearch", false},
			{"files", files},
		})
		return nil
	})
}

// checkCorpora refuses what can not be searched. There are no shared drives here.
func (c *call) checkCorpora(where predicate, by order) error {
	switch c.query.Get("spaces") {
	case "", "drive", "appDataFolder":
	default:
		return errParameter("spaces", "")
	}
	switch corpora := c.query.Get("corpora"); corpora {
	case "", "user", "domain":
	case "allDrives":
		if c.query.Get("includeItemsFromAllDrives") != "true" || c.query.Get("supportsAllDrives") != "true" {
			return errParameter("corpora", "The parameters includeItemsFromAllDrives and supportsAllDrives must be set for corpora allDrives.")
		}
	case "drive":
		if c.query.Get("driveId") == "" {
			return errParameter("driveId", "The driveId parameter must be specified if and only if corpora is set to drive.")
		}
	default:
		return errParameter("corpora", "")
	}
	if id := c.query.Get("driveId"); id != "" {
		return &apiError{Status: 404, Reason: "notFound", Message: "Shared drive not found: " + id, LocationType: "parameter", Location: "driveId"}
	}
	var fullText bool
	if where != nil {
		walk(where, func(t *term) { fullText = fullText || t.field == "fullText" })
	}
	if fullText && len(by) > 0 {
		return errBadRequest("Sorting is not supported for queries with fullText terms. Results are always in descending relevance order.")
	}
	return nil
}

// sorted is a file with its place in the order asked for.
type sorted struct {
	f   *file
	seq int64    // breaks ties
	key []string // one for each key of the order
}

// candidates are the files a query may match, by its folder if it names one. The caller holds mu.
func (s *store) candidates(acc *account, where predicate, by order) []sorted {
	among := s.files
	if where != nil {
		if folder := required(where); folder != "" {
			among = s.children[(&candidate{acc: acc}).folder(folder)]
		}
	}
	found := make([]sorted, 0, len(among))
	for _, f := range among {
		found = append(found, sorted{f, f.Seq, by.key(s, acc, f)})
	}
	return found
}

// matcher returns a test for files that the account can list and where matches. The caller holds mu.
func (s *store) matcher(acc *account, where predicate) func(*file) bool {
	v := candidate{s: s, acc: acc}
	if s.quirks.NameLag > 0 {
		v.hidden = s.clock().Add(-s.quirks.NameLag)
	}
	var unlisted time.Time
	if s.quirks.ListLag > 0 {
		unlisted = s.clock().Add(-s.quirks.ListLag)
	}
	parents := 0
	if where != nil {
		walk(where, func(t *term) {
			if t.field == "parents" {
				parents++
			}
		})
	}
	return func(f *file) bool {
		v.f = f
		switch {
		case f.Parent == "" || parents > 1 && s.quirks.LoseMultiParent:
			return false
		case !unlisted.IsZero() && f.Born.After(unlisted):
			return false
		}
		return (where == nil || where.match(&v)) && s.listed(acc.email, f) && acc.sees(f)
	}
}

// required returns a folder every match of p is in, "" if p names none.
func required(p predicate) string {
	switch p := p.(type) {
	case andOf:
		return cmp.Or(required(p.left), required(p.right))
	case *term:
		if p.field == "parents" {
			return p.value
		}
	}
	return ""
}

// order is a parsed orderBy parameter.
type order []orderKey

type orderKey struct {
	name string
	desc bool
}

// orderKeys are the keys of orderBy. Their values compare as strings.
var orderKeys = map[string]func(s *store, acc *account, f *file) string{
	"createdTime":      func(_ *store, _ *account, f *file) string { return sortTime(f.Created) },
	"modifiedTime":     func(_ *store, _ *account, f *file) string { return sortTime(f.Modified) },
	"recency":          func(_ *store, _ *account, f *file) string { return sortTime(f.Modified) },
	"modifiedByMeTime": func(_ *store, a *account, f *file) string { return sortTimeIf(f.ModifiedBy == a.email, f.Modified) },
	"viewedByMeTime":   func(_ *store, a *account, f *file) string { return sortTimeIf(f.Owner == a.email, f.Created) },
	"sharedWithMeTime": func(s *store, a *account, f *file) string {
		if g := s.sharedWith(a.email, f); g != nil {
			return sortTime(g.At)
		}
		return ""
	},
	"folder":         func(_ *store, _ *account, f *file) string { return sortFlag(f.isFolder()) },
	"starred":        func(_ *store, a *account, f *file) string { return sortFlag(slices.Contains(f.Starred, a.email)) },
	"name":           func(_ *store, _ *account, f *file) string { return strings.ToLower(f.Name) },
	"name_natural":   func(_ *store, _ *account, f *file) string { return naturalKey(f.Name) },
	"quotaBytesUsed": func(_ *store, _ *account, f *file) string { return fmt.Sprintf("%020d", f.quotaBytes()) },
}

func sortTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000") }

func sortTimeIf(ok bool, t time.Time) string {
	if ok {
		return sortTime(t)
	}
	return ""
}

// sortFlag puts what has the flag first, as the service does with folders.
func sortFlag(set bool) string {
	if set {
		return "0"
	}
	return "1"
}

// naturalKey orders names with numbers by value: a2 before a10.
func naturalKey(name string) string {
	var b strings.Builder
	name = strings.ToLower(name)
	for i := 0; i < len(name); {
		start := i
		for i < len(name) && name[i] >= '0' && name[i] <= '9' {
			i++
		}
		if digits := strings.TrimLeft(name[start:i], "0"); i > start {
			fmt.Fprintf(&b, "%08d%s", len(digits), digits)
			continue
		}
		b.WriteByte(name[i])
		i++
	}
	return b.String()
}

func parseOrder(text string) (order, error) {
	var by order
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		words := strings.Fields(part)
		if len(words) == 0 || len(words) > 2 || len(words) == 2 && words[1] != "desc" && words[1] != "asc" || orderKeys[words[0]] == nil {
			return nil, errParameter("orderBy", "")
		}
		by = append(by, orderKey{words[0], len(words) == 2 && words[1] == "desc"})
	}
	return by, nil
}

func (by order) key(s *store, acc *account, f *file) []string {
	if len(by) == 0 {
		return nil
	}
	key := make([]string, len(by))
	for i, k := range by {
		key[i] = orderKeys[k.name](s, acc, f)
	}
	return key
}

// compare orders by the keys, then oldest first; without keys newest first.
func (by order) compare(a, b *sorted) int {
	for i, k := range by {
		if c := strings.Compare(a.key[i], b.key[i]); c != 0 {
			if k.desc {
				return -c
			}
			return c
		}
	}
	if len(by) > 0 {
		return cmp.Compare(a.seq, b.seq)
	}
	return cmp.Compare(b.seq, a.seq)
}

// pageCursor is what a page token of files.list holds.
type pageCursor struct {
	Query string   `json:"q"` // digest of what was asked
	At    int64    `json:"t"` // Unix time of issue
	Seq   int64    `json:"s"` // the last file of the page before
	Key   []string `json:"k,omitempty"`
}

// asked is a digest of what must be the same on all pages of a listing.
func (c *call) asked() string {
	h := sha256.New()
	for _, name := range []string{"q", "orderBy", "spaces", "corpora", "driveId", "includeItemsFromAllDrives"} {
		fmt.Fprintf(h, "%s=%q\n", name, c.query.Get(name))
	}
	fmt.Fprintf(h, "%q", c.acc.email)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}

func (c *call) pageToken(last *sorted, now time.Time) string {
	text, _ := json.Marshal(pageCursor{c.asked(), now.Unix(), last.seq, last.key}) // strings and ints always encode
	return "~!!~" + base64.RawURLEncoding.EncodeToString(text)
}

// readPageToken returns where the page before ended, nil for the first page.
func (c *call) readPageToken(now time.Time) (*sorted, error) {
	token := c.query.Get("pageToken")
	if token == "" {
		return nil, nil
	}
	var cursor pageCursor
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, "~!!~"))
	if err == nil {
		err = json.Unmarshal(text, &cursor)
	}
	by, _ := parseOrder(c.query.Get("orderBy"))
	if err != nil || cursor.Query != c.asked() || len(cursor.Key) != len(by) || now.Sub(time.Unix(cursor.At, 0)) > pageTokenLife {
		return nil, errParameter("pageToken", "")
	}
	return &sorted{seq: cursor.Seq, key: cursor.Key}, nil
}
