package drivetest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// folderType is the MIME type that makes a file a folder; shortcutType one that makes it a link.
const (
	folderType   = "application/vnd.google-apps.folder"
	shortcutType = "application/vnd.google-apps.shortcut"
	appsPrefix   = "application/vnd.google-apps."
	binaryType   = "application/octet-stream"
)

// store holds what the service would: accounts, files, permissions, the changes feed and upload sessions.
// All of it is in memory, in immutable records; with a journal each change is also on disk before update
// returns. Contents are elsewhere, behind an interface.
//
// Lock order: session.mu, then store.mu, then the journal's. None is held while bytes move on the network.
type store struct {
	now      func() time.Time
	quirks   Quirks
	contents contents
	journal  *journal // nil: in memory

	mu       sync.RWMutex // guards what follows
	secret   []byte       // makes file ids that only we can have made
	people   map[string]*person
	files    map[string]*file            // records are never changed, only replaced
	children map[string]map[string]*file // by parent id
	used     map[string]int64            // bytes owned, by e-mail address
	refs     map[string]int              // how many records hold a content
	spent    map[string]bool             // ids of files deleted for good
	feeds    map[string]*feed            // by e-mail address
	sessions map[string]*session
	seq      int64 // of the last change or file made
}

// person is an account as it is stored.
type person struct {
	Email        string
	Name         string
	PermissionID string
	RootID       string
	Service      bool  `json:",omitempty"`
	Quota        int64 `json:",omitempty"` // bytes; 0 = unlimited
}

// openStore opens the store in o.Dir, or a new one in memory.
func openStore(o Options) (*store, error) {
	s := &store{
		now: o.Now, quirks: o.Quirks,
		people: map[string]*person{}, files: map[string]*file{}, children: map[string]map[string]*file{},
		used: map[string]int64{}, refs: map[string]int{}, spent: map[string]bool{},
		feeds: map[string]*feed{}, sessions: map[string]*session{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if o.Dir == "" {
		s.contents = newMemContents()
		s.secret = newSecret()
		return s, nil
	}
	if err := s.openDir(o.Dir); err != nil {
		return nil, fmt.Errorf("open store %s: %w", o.Dir, err)
	}
	return s, nil
}

// Close releases the directory. Everything acknowledged is on disk already.
func (s *store) Close() error {
	if s.journal == nil {
		return nil
	}
	return s.journal.Close()
}

// clock is the time of a change: UTC in whole milliseconds, as the service keeps it.
func (s *store) clock() time.Time { return s.now().UTC().Truncate(time.Millisecond) }

func newSecret() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails, or the program ends
	return b
}

// account returns the account with this e-mail address, creating it with an empty My Drive on first use.
func (s *store) account(email string) *account {
	email = strings.ToLower(strings.TrimSpace(email))
	s.mu.RLock()
	p := s.people[email]
	s.mu.RUnlock()
	if p == nil {
		// The only error is the journal's, which every later write reports too.
		_ = s.update(func(tx *tx) error {
			p = tx.person(email)
			return nil
		})
	}
	return p.account()
}

// serviceAccount is account for one that owns no storage.
func (s *store) serviceAccount(email string) *account {
	acc := s.account(email)
	_ = s.update(func(tx *tx) error {
		p := *tx.person(acc.email)
		p.Service = true
		tx.putPerson(&p)
		return nil
	})
	acc.service = true
	return acc
}

// known tells whether there is an account with this e-mail address.
func (s *store) known(email string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.people[strings.ToLower(email)] != nil
}

func (p *person) account() *account {
	return &account{email: p.Email, name: p.Name, permissionID: p.PermissionID, rootID: p.RootID, service: p.Service}
}

// displayName makes "Ann" of ann@uni.edu.
func displayName(email string) string {
	name, _, _ := strings.Cut(email, "@")
	if name == "" {
		return email
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// granteeID is the opaque id of an e-mail address or domain, the same on every file and before the
// account exists: 20 digits, like the service's.
func granteeID(address string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(address)))
	return fmt.Sprintf("0%019d", binary.BigEndian.Uint64(sum[:])%1e19)
}

// newID makes a file id for one account. It looks like the service's, 33 URL-safe characters, and carries
// a proof that we made it for that account, so that ids handed out need not be remembered.
func (s *store) newID(email string) string {
	var b [24]byte
	_, _ = rand.Read(b[:14])
	copy(b[14:], s.idProof(email, b[:14]))
	return "1" + base64.RawURLEncoding.EncodeToString(b[:])
}

// madeFor tells whether newID made id for this account.
func (s *store) madeFor(email, id string) bool {
	rest, ok := strings.CutPrefix(id, "1")
	b, err := base64.RawURLEncoding.DecodeString(rest)
	return ok && err == nil && len(b) == 24 && hmac.Equal(b[14:], s.idProof(email, b[:14]))
}

func (s *store) idProof(email string, random []byte) []byte {
	h := hmac.New(sha256.New, s.secret)
	h.Write([]byte(email))
	h.Write(random)
	return h.Sum(nil)[:10]
}

// view calls fn with the store locked for reading.
func (s *store) view(fn func() error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return fn()
}

// update runs fn in a transaction: all it stages becomes visible at once, or nothing if it fails. It
// returns when the change is on disk.
func (s *store) update(fn func(tx *tx) error) error {
	t, n, err := s.apply(fn)
	if err != nil {
		return err
	}
	if s.journal != nil {
		if err := s.journal.sync(n); err != nil {
			return errStore(err)
		}
	}
	for _, key := range t.unused {
		_ = s.contents.remove(key) // a leftover is removed at the next open
	}
	return nil
}

func (s *store) apply(fn func(tx *tx) error) (*tx, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &tx{s: s, now: s.clock(), staged: map[string]*file{}}
	seq := s.seq
	if err := fn(t); err != nil {
		s.seq = seq
		return nil, 0, err
	}
	n, err := t.commit()
	return t, n, err
}

// errStore is the answer when the emulator's own disk fails: the client should try again.
func errStore(err error) error {
	return &apiError{Status: http.StatusInternalServerError, Reason: "backendError", Message: "emulator storage: " + err.Error()}
}

// load takes one row of a journal into the maps.
func (s *store) load(key string, value json.RawMessage) error {
	kind, rest, _ := strings.Cut(key, "/")
	switch kind {
	case "secret":
		return json.Unmarshal(value, &s.secret)
	case "person":
		p := new(person)
		if err := json.Unmarshal(value, p); err != nil {
			return err
		}
		s.people[rest] = p
	case "file":
		f := new(file)
		if err := json.Unmarshal(value, f); err != nil {
			return err
		}
		s.link(f)
		s.seq = max(s.seq, f.Seq)
	case "spent":
		s.spent[rest] = true
	case "change":
		email, _, _ := strings.Cut(rest, "/")
		var c change
		if err := json.Unmarshal(value, &c); err != nil {
			return err
		}
		s.feed(email).entries = append(s.feed(email).entries, c)
		s.seq = max(s.seq, c.Seq)
	case "session":
		ses := new(session)
		if err := json.Unmarshal(value, ses); err != nil {
			return err
		}
		ses.st = s
		s.sessions[rest] = ses
	default:
		return fmt.Errorf("unknown row %q: made by a newer emulator?", key)
	}
	return nil
}

// link puts f in the maps that find it; unlink takes it out. The caller holds mu.
func (s *store) link(f *file) {
	s.files[f.ID] = f
	if f.Parent != "" {
		if s.children[f.Parent] == nil {
			s.children[f.Parent] = map[string]*file{}
		}
		s.children[f.Parent][f.ID] = f
	}
	s.used[f.Owner] += f.quotaBytes()
	for _, key := range f.contentKeys() {
		s.refs[key]++
	}
}

func (s *store) unlink(f *file) {
	delete(s.files, f.ID)
	if kids := s.children[f.Parent]; kids != nil {
		delete(kids, f.ID)
		if len(kids) == 0 {
			delete(s.children, f.Parent)
		}
	}
	s.used[f.Owner] -= f.quotaBytes()
	for _, key := range f.contentKeys() {
		if s.refs[key]--; s.refs[key] <= 0 {
			delete(s.refs, key)
		}
	}
}

// descendants calls fn for everything below folder id. The caller holds mu.
func (s *store) descendants(id string, fn func(*file)) {
	for _, f := range s.children[id] {
		fn(f)
		s.descendants(f.ID, fn)
	}
}

// errNoContent says that a file has no bytes to download.
var errNoContent = errors.New("no content")

// open returns the content of a revision. It stays readable after the revision is gone.
func (s *store) open(r *revision) (io.ReadSeekCloser, error) {
	if r == nil {
		return nil, errNoContent
	}
	return s.contents.open(r.Content)
}
