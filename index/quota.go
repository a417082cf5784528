package index

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"sregfs/drive"
)

// Quota is the room of the account, in bytes.
type Quota struct {
	Limit        int64 `json:"limit"` // 0 = unlimited, or not known
	Usage        int64 `json:"usage"` // mail and photos included
	UsageInDrive int64 `json:"usageInDrive"`
	MaxUpload    int64 `json:"maxUpload"` // largest file Drive takes
}

// aboutCache is the last about.get, so that statfs costs nothing.
type aboutCache struct {
	mu    sync.Mutex // guards the rest; a leaf
	about drive.About
	asked time.Time // of the answer, zero if it is from an earlier process
}

// quotaAge is how old an answer may be; statfs comes with every df and many a file manager's glance.
const quotaAge = time.Minute

// Quota returns the room of the account: a recent answer, else Drive's, else the last one known, of an earlier process
// too. It fails only if there never was one.
func (ix *Index) Quota(ctx context.Context) (Quota, error) {
	q, age, known := ix.quota()
	if known && age < quotaAge {
		return q, nil
	}
	about, err := ix.askAbout(ctx)
	if err != nil {
		if known {
			return q, nil
		}
		return Quota{}, err
	}
	return quotaOf(about), nil
}

// quota returns the last known figures without asking.
func (ix *Index) quota() (q Quota, age time.Duration, known bool) {
	ix.about.mu.Lock()
	defer ix.about.mu.Unlock()
	return quotaOf(ix.about.about), time.Since(ix.about.asked), ix.about.about.Email != "" || !ix.about.asked.IsZero()
}

func quotaOf(a drive.About) Quota {
	return Quota{Limit: a.Limit, Usage: a.Usage, UsageInDrive: a.UsageInDrive, MaxUpload: a.MaxUpload}
}

// askAbout asks Drive who we are and how much room there is, and keeps the answer.
func (ix *Index) askAbout(ctx context.Context) (drive.About, error) {
	about, err := ix.drive.About(ctx)
	if err != nil {
		return drive.About{}, err
	}
	ix.about.mu.Lock()
	changed := ix.about.about != about
	ix.about.about, ix.about.asked = about, time.Now()
	ix.about.mu.Unlock()
	if !changed {
		return about, nil
	}
	err = ix.writing(func(txn *badger.Txn) error {
		return setJSON(txn, metaKey(metaAbout), aboutRecord{V: recordVersion, Email: about.Email, Name: about.Name, Quota: quotaOf(about)})
	})
	return about, err
}

// aboutRecord is an aboutCache on disk.
type aboutRecord struct {
	V     int    `json:"v"`
	Email string `json:"email"`
	Name  string `json:"name,omitempty"`
	Quota Quota  `json:"quota"`
}

func decodeAbout(b []byte) (r aboutRecord, err error) {
	if err = json.Unmarshal(b, &r); err != nil || r.V != recordVersion {
		return aboutRecord{}, corrupt("account", b, err)
	}
	return r, nil
}

// loadAbout brings the last known answer back; a damaged one is only forgotten.
func (ix *Index) loadAbout() error {
	return ix.db.View(func(txn *badger.Txn) error {
		b, err := getBytes(txn, metaKey(metaAbout))
		if err != nil || b == nil {
			return err
		}
		r, err := decodeAbout(b)
		if err != nil {
			ix.log.Debugf("%v", err)
			return nil
		}
		q := r.Quota
		ix.about.about = drive.About{Account: drive.Account{Email: r.Email}, Name: r.Name, Limit: q.Limit, Usage: q.Usage, UsageInDrive: q.UsageInDrive, MaxUpload: q.MaxUpload}
		return nil
	})
}
