package index

import (
	"context"
	"errors"
	"os"
	"time"

	"sregfs/drive"
	"sregfs/index/image"
)

// The states of the connection to Drive, as Status says them.
const (
	Online    = "online"
	Offline   = "offline"  // cannot be reached
	SignInDue = "sign-in"  // reached, and nobody is signed in
	Failing   = "error"    // see Error
	Starting  = "starting" // not asked yet
	Detached  = "detached" // there is no Drive to ask: Options.Drive is nil
)

// Status is a picture of the index for people and programs (.sregfs/status). Field names are a promise to scripts.
type Status struct {
	State       string       `json:"state"`
	Error       string       `json:"error,omitempty"` // the sentence, when State is not online
	Account     string       `json:"account"`         // e-mail address
	AccountName string       `json:"accountName,omitempty"`
	Root        string       `json:"root"` // name of the registry's folder, or "id:…"
	RootID      string       `json:"rootId,omitempty"`
	OtherRoots  []string     `json:"otherRoots,omitempty"` // folders of the same name that are not used
	ReadOnly    bool         `json:"readOnly"`
	Mount       string       `json:"mount,omitempty"`
	PID         int          `json:"pid"`
	StateDir    string       `json:"stateDir"`
	CacheDir    string       `json:"cacheDir"`
	Synced      *time.Time   `json:"synced,omitempty"`         // when Drive last told everything it knows; absent if not yet
	SyncAge     float64      `json:"syncAgeSeconds,omitempty"` // since Synced
	Listed      *time.Time   `json:"listed,omitempty"`         // last full listing
	Images      int          `json:"images"`
	Shared      int          `json:"sharedWithMe"` // images of others
	Drafts      int          `json:"drafts"`
	Pushes      []PushStatus `json:"pushes"`
	Cache       CacheStats   `json:"cache"`
	Quota       *Quota       `json:"quota,omitempty"`
	Requests    drive.Stats  `json:"requests"`
}

// Status tells how things are. It asks nobody and never blocks on Drive.
func (ix *Index) Status() Status {
	s := ix.remote.get()
	out := Status{
		State: Online, Root: ix.rootName(), RootID: s.pin.ID, OtherRoots: s.others, ReadOnly: ix.o.ReadOnly, Mount: ix.o.Mount,
		PID: os.Getpid(), StateDir: ix.dir, CacheDir: ix.o.CacheDir, Account: s.pin.Account, Synced: stamp(s.synced), Listed: stamp(s.listed),
		Drafts: len(ix.AllDrafts()), Pushes: ix.Pushes(), Cache: ix.CacheStats(), Requests: ix.drive.Stats(),
	}
	if out.Pushes == nil {
		out.Pushes = []PushStatus{}
	}
	switch {
	case ix.o.Drive == nil:
		out.State = Detached
	case errors.Is(s.err, ErrSignIn):
		out.State = SignInDue
	case errors.Is(s.err, ErrOffline), errors.Is(s.err, ErrTimeout):
		out.State = Offline
	case s.err != nil:
		out.State = Failing
	case s.synced.IsZero():
		out.State = Starting
	}
	out.Error = Sentence(s.err)
	if out.Synced != nil {
		out.SyncAge = time.Since(s.synced).Seconds()
	}
	out.Images, out.Shared = ix.cat.count()
	if q, _, known := ix.quota(); known {
		out.Quota = &q
	}
	ix.about.mu.Lock()
	out.AccountName = ix.about.about.Name
	ix.about.mu.Unlock()
	return out
}

func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Metafiles reads what img says of itself (labels, definition file, run script, …), with few ranged reads.
func (ix *Index) Metafiles(ctx context.Context, img Image) (image.Meta, error) {
	r, err := ix.reader(img)
	if err != nil {
		return image.Meta{}, err
	}
	meta, err := image.Metafiles(readerAt{ctx, r.bf}, img.Size)
	return meta, errors.Join(err, r.Close())
}
