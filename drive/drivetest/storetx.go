package drivetest

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// tx is one change of the store. It sees the store as it was plus what it staged itself.
type tx struct {
	s      *store
	now    time.Time
	staged map[string]*file // nil: deleted
	rows   []row            // what the journal gets besides files and changes
	held   []string         // contents of which somebody let go
	unused []string         // contents nothing refers to any more, once committed
	quiet  bool             // no changes entries: the change is invisible
}

// get returns file id, nil if there is none. The record must not be changed: see edit.
func (t *tx) get(id string) *file {
	if f, ok := t.staged[id]; ok {
		return f
	}
	return t.s.files[id]
}

// edit returns a copy of file id that is stored when the transaction ends.
func (t *tx) edit(id string) *file {
	f := t.get(id)
	if f == nil {
		return nil
	}
	if _, ours := t.staged[id]; !ours {
		f = f.clone()
		t.staged[id] = f
	}
	return f
}

// put stages a new file, and gives it its place in the order of creation.
func (t *tx) put(f *file) {
	t.s.seq++
	f.Seq = t.s.seq
	f.Born, f.Named = t.now, t.now
	t.staged[f.ID] = f
}

// drop stages the deletion of file id for good.
func (t *tx) drop(id string) { t.staged[id] = nil }

// person returns the account with this address, made with its My Drive if it is new.
func (t *tx) person(email string) *person {
	if p := t.s.people[email]; p != nil {
		return p
	}
	p := &person{Email: email, Name: displayName(email), PermissionID: granteeID(email)}
	p.RootID = "0A" + t.s.newID(email)[1:18] // a My Drive's own id is shorter than a file's
	t.put(&file{
		ID: p.RootID, Name: "My Drive", MimeType: folderType, Owner: email, Created: t.now, Modified: t.now, ModifiedBy: email,
		Grants: []grant{{ID: p.PermissionID, Type: "user", Role: "owner", Address: email, At: t.now, By: email}},
	})
	t.putPerson(p)
	return p
}

func (t *tx) putPerson(p *person) {
	t.s.people[p.Email] = p
	t.row("person/"+p.Email, p)
}

// row stages a line of the journal; a nil value deletes it.
func (t *tx) row(key string, value any) {
	if t.s.journal == nil {
		return
	}
	r := row{Key: key}
	if value != nil {
		r.Value, _ = json.Marshal(value) // our own records always encode
	}
	t.rows = append(t.rows, r)
}

// commit makes the staged files visible, writes the changes feed of everybody who can see, or could, what
// changed, and hands all of it to the journal as one line. The caller holds s.mu.
func (t *tx) commit() (int64, error) {
	if t.s.journal != nil {
		if err := t.s.journal.failed(); err != nil {
			return 0, errStore(err)
		}
	}
	touched := t.touched()
	before := t.visibility(touched)
	t.held = append(t.held, t.swap()...)
	t.unused = slices.DeleteFunc(t.held, func(key string) bool { return t.s.refs[key] > 0 })
	after := t.visibility(touched)
	t.announce(touched, before, after)
	t.record(touched)
	if t.s.journal == nil || len(t.rows) == 0 {
		return 0, nil
	}
	n, err := t.s.journal.append(t.rows)
	if err != nil {
		return 0, errStore(err)
	}
	return n, nil
}

// touched lists what may look different afterwards: the staged files, and what is inside a staged folder.
func (t *tx) touched() []string {
	ids := map[string]bool{}
	for id, f := range t.staged {
		ids[id] = true
		old := t.s.files[id]
		if f == nil || old == nil || !old.isFolder() {
			continue
		}
		if old.Trashed != f.Trashed || old.Parent != f.Parent || !slices.Equal(old.Grants, f.Grants) {
			t.s.descendants(id, func(d *file) { ids[d.ID] = true })
		}
	}
	return slices.Collect(maps.Keys(ids))
}

// sight is how one account sees one file.
type sight struct {
	role    role
	trashed bool
}

// visibility says for each account how it sees each of the files, in their order.
func (t *tx) visibility(ids []string) map[string][]sight {
	all := make(map[string][]sight, len(t.s.people))
	for email := range t.s.people {
		sights := make([]sight, len(ids))
		for i, id := range ids {
			if f := t.s.files[id]; f != nil && t.s.listed(email, f) {
				sights[i] = sight{t.s.roleOf(email, f), t.s.trashed(f)}
			}
		}
		all[email] = sights
	}
	return all
}

// swap puts the staged files in the place of the old ones, and returns the contents the old ones held.
func (t *tx) swap() []string {
	var held []string
	for id, f := range t.staged {
		if old := t.s.files[id]; old != nil {
			held = append(held, old.contentKeys()...)
			t.s.unlink(old)
		}
		if f == nil {
			t.s.spent[id] = true
			continue
		}
		f.Version++
		t.s.link(f)
	}
	return held
}

// announce writes the feeds. A file inside a folder gets an entry, and a new version, only where somebody
// sees it differently.
func (t *tx) announce(touched []string, before, after map[string][]sight) {
	if t.quiet {
		return
	}
	order := make([]int, len(touched))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { // parents before children, and the same in every run
		return cmp.Compare(t.bornAt(touched[a]), t.bornAt(touched[b]))
	})
	emails := slices.Sorted(maps.Keys(after))
	for _, i := range order {
		id := touched[i]
		_, own := t.staged[id]
		changed := false
		for _, email := range emails {
			was, is := before[email][i], after[email][i]
			if !own && (t.s.quirks.QuietChildren || was == is) || was.role == roleNone && is.role == roleNone {
				continue
			}
			changed = true
			t.s.seq++
			c := change{Seq: t.s.seq, File: id, Removed: is.role == roleNone, Time: t.now}
			t.s.feed(email).add(c)
			t.row("change/"+email+"/"+id, c)
		}
		if !own && changed {
			f := t.s.files[id].clone()
			f.Version++
			t.s.unlink(t.s.files[id])
			t.s.link(f)
			t.staged[id] = f
		}
	}
}

// bornAt orders files by creation; what is gone comes last.
func (t *tx) bornAt(id string) int64 {
	if f := t.s.files[id]; f != nil {
		return f.Seq
	}
	return t.s.seq + 1
}

// record writes the rows of the staged files.
func (t *tx) record(touched []string) {
	for _, id := range touched {
		f, ok := t.staged[id]
		switch {
		case !ok:
		case f == nil:
			t.row("file/"+id, nil)
			t.row("spent/"+id, true)
		default:
			t.row("file/"+id, f)
		}
	}
}
