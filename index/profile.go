package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"sregfs/drive"
	"sregfs/index/image"
)

// profiles is what is known of the starts of images. It comes from three sides: what starts on this machine read is
// recorded (launch.go) and kept in a record of its own; what other machines recorded comes with the image, in its
// properties; and what the image alone says of its start is put there by who pushes it, or is found out when all of an
// image that has nothing is here. What this machine adds is published in the properties.
type profiles struct {
	ix        *Index
	closeWait time.Duration // how long Close waits for what was recorded to be published

	mu       sync.Mutex
	launches map[contentKey]*launch // guarded by mu: those that are recorded now
	pending  map[*launch]bool       // guarded by mu: those that are watched, until what was recorded is kept and published
}

func newProfiles(ix *Index) *profiles {
	return &profiles{ix: ix, closeWait: closeWait, launches: map[contentKey]*launch{}, pending: map[*launch]bool{}}
}

// publishEvery is the least time between two changes of an image's properties by this machine.
const publishEvery = time.Hour

// profileRecord is what starts on this machine read of an image.
type profileRecord struct {
	V        int    `json:"v"`
	Revision string `json:"revision"` // of the content
	Size     int64  `json:"size"`
	Profiles []byte `json:"profiles"`       // see image.Profiles.Encode
	Sent     int64  `json:"sent,omitempty"` // when it was published last, ms since 1970
}

func decodeProfileRecord(b []byte) (r profileRecord, p image.Profiles, err error) {
	if err = json.Unmarshal(b, &r); err == nil && (r.V != recordVersion || r.Size < 0) {
		err = ErrCorrupt
	}
	if err == nil {
		p, err = image.DecodeProfiles(r.Profiles, r.Size)
	}
	if err != nil {
		return profileRecord{}, image.Profiles{}, corrupt("profile", b, err)
	}
	return r, p, nil
}

// local returns what this machine knows of the starts of a content, and when it published that last.
func (ps *profiles) local(txn *badger.Txn, k contentKey) (image.Profiles, int64, error) {
	b, err := getBytes(txn, profileKey(k.file))
	if err != nil || b == nil {
		return image.Profiles{}, 0, err
	}
	r, p, err := decodeProfileRecord(b)
	if err != nil || r.Revision != k.revision || r.Size != k.size {
		return image.Profiles{}, 0, nil //nolint:nilerr // it is advice: what is damaged is made again
	}
	return p, r.Sent, nil
}

// set is the inverse of local.
func (ps *profiles) set(txn *badger.Txn, k contentKey, p image.Profiles, sent int64) error {
	return setJSON(txn, profileKey(k.file), profileRecord{V: recordVersion, Revision: k.revision, Size: k.size, Profiles: p.Encode(k.size), Sent: sent})
}

// shared returns what the properties of the image say, as far as they are on record.
func (ps *profiles) shared(txn *badger.Txn, k contentKey) (image.Profiles, error) {
	rec, err := getFile(txn, k.file)
	if err != nil || rec.ID == "" || rec.Size != k.size {
		return image.Profiles{}, err
	}
	p, err := image.ParseProfiles(rec.Properties, k.size)
	if err != nil {
		ps.ix.log.WithError(err).WithField("file", k.file).Debug("start-up profile")
		return image.Profiles{}, nil
	}
	return p, nil
}

// known returns what is known of the starts of a content: local, and all together.
func (ps *profiles) known(k contentKey) (own, all image.Profiles, sent int64) {
	err := ps.ix.db.View(func(txn *badger.Txn) error {
		var err error
		if own, sent, err = ps.local(txn, k); err != nil {
			return err
		}
		others, err := ps.shared(txn, k)
		all = own.Merge(others, k.size)
		return err
	})
	if err != nil {
		ps.ix.log.WithError(err).Debug("start-up profile")
	}
	return own, all, sent
}

// Profiles returns what is known of the starts of img: what will be asked for as soon as it is opened.
func (ix *Index) Profiles(img Image) image.Profiles {
	_, all, _ := ix.profiles.known(keyOf(img))
	return all
}

// learn records what a start read.
func (ps *profiles) learn(k contentKey, read image.Profile) error {
	return ps.ix.writing(func(txn *badger.Txn) error {
		own, sent, err := ps.local(txn, k)
		if err != nil {
			return err
		}
		rec, err := getFile(txn, k.file)
		if err != nil || rec.ID == "" {
			return err // it is gone from the registry
		}
		now := own.Record(read, k.size)
		if reflect.DeepEqual(now, own) {
			return nil
		}
		return ps.set(txn, k, now, sent)
	})
}

// look finds out what img itself says of its start, if nothing is known of it and all of it is here: the next start may
// come when it is no more.
func (ps *profiles) look(ctx context.Context, img Image) {
	if err := ps.lookAt(ctx, img); err != nil {
		ps.ix.log.WithError(err).WithField("image", img.Ref.String()).Debug("start-up profile")
	}
}

func (ps *profiles) lookAt(ctx context.Context, img Image) error {
	bf := ps.ix.blocks.get(img)
	defer bf.release()
	_, all, _ := ps.known(bf.key)
	if ps.ix.o.NoProfiles || all.Bytes() > 0 || !bf.complete.Load() {
		return nil
	}
	bf.prepare()
	p, err := image.Startup(readerAt{ctx, bf}, bf.size)
	if err != nil {
		return err
	}
	return ps.ix.writing(func(txn *badger.Txn) error {
		rec, err := getFile(txn, bf.key.file)
		if err != nil || rec.ID == "" {
			return err
		}
		own, sent, err := ps.local(txn, bf.key) // a start may have been recorded meanwhile
		if err != nil {
			return err
		}
		return ps.set(txn, bf.key, own.Merge(image.Profiles{Static: p}, bf.size), sent)
	})
}

// publish puts what this machine knows of the starts of img into its properties, if they lack some of it, the image is
// ours to change, and the last time is long ago. What others put there at the same time stays, as do their properties and
// the time of the file.
func (ps *profiles) publish(ctx context.Context, img Image) error {
	k := keyOf(img)
	if errors.Is(ps.ix.remote.get().err, ErrOffline) {
		return nil // who ends this mount does not want to wait for it
	}
	own, _, sent := ps.known(k)
	if ps.ix.writable(img) != nil || !img.Writable || len(own.Recorded) == 0 || time.Since(fromMillis(sent)) < publishEvery {
		return nil // not every image is ours to change
	}
	done, err := ps.ix.alone(ctx, img.File)
	if err != nil {
		return err
	}
	defer done()
	f, err := ps.ix.drive.Get(ctx, img.File)
	if err != nil {
		return err
	}
	now, err := imageOf(&f, ps.ix.remote.pinned().ID)
	if err != nil || keyOf(now) != k || ps.ix.writable(now) != nil || !now.Writable {
		return nil // it is another image now, or somebody else's
	}
	others, err := image.ParseProfiles(f.Properties, k.size)
	all := others.Merge(own, k.size)
	if errors.Is(err, image.ErrUnsupported) || all.Recorded.Bytes() == others.Recorded.Bytes() {
		return nil // a later release knows better, or others know as much
	}
	patch := image.SetProfiles(f.Properties, all, k.size)
	if len(patch.Properties) == 0 {
		return nil // there is no room for more
	}
	err = ps.ix.writing(func(txn *badger.Txn) error {
		own, _, err := ps.local(txn, k)
		if err != nil {
			return err
		}
		return ps.set(txn, k, own, millis(time.Now())) // first: an image that refuses is not asked again at each start
	})
	if err != nil {
		return err
	}
	if f, err = ps.ix.drive.Update(ctx, img.File, drive.Patch{Properties: patch.Properties, Modified: &f.Modified}); err != nil {
		return err
	}
	if f, err = ps.ix.stayNewest(ctx, now, f); err != nil {
		return err
	}
	_, err = ps.ix.committed(f)
	return err
}

// foreseen is what a draft that is being sealed says of the starts of its image.
type foreseen struct {
	done    chan struct{} // closed when profile is set
	profile image.Profile
}

// foresee begins to look for it, beside the work of sealing: it takes the processor what the rest takes the disk.
func (d *Draft) foresee(size int64) {
	if d.s.ix.o.NoProfiles {
		return
	}
	f := &foreseen{done: make(chan struct{})}
	if !d.s.ix.goes(func(context.Context) {
		defer close(f.done)
		f.profile = d.startup(size)
	}) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.foreseen = f
}

// startup is what the image of the draft says of its starts. A push never fails for it.
func (d *Draft) startup(size int64) image.Profile {
	p, err := image.Startup(draftBytes{d}, size)
	if err != nil {
		d.s.log.WithError(err).Debug("start-up profile of a draft")
	}
	return p
}

// profiles is what the sealed draft's image is published with.
func (d *Draft) profiles(ctx context.Context) (image.Profiles, error) {
	if d.s.ix.o.NoProfiles {
		return image.Profiles{}, nil
	}
	d.mu.Lock()
	f, size := d.foreseen, d.rec.Size
	d.mu.Unlock()
	if f == nil { // a later program
		return image.Profiles{Static: d.startup(size)}, nil
	}
	select {
	case <-f.done:
		return image.Profiles{Static: f.profile}, nil
	case <-ctx.Done():
		return image.Profiles{}, fmt.Errorf("start-up profile: %w", ctx.Err())
	}
}

// copied gives the properties of a copy that is made on Drive the profiles of its source, which know more than the image.
func (ix *Index) copied(props map[string]string, source string, size int64) {
	img, err := ix.ByID(source)
	if err != nil {
		return
	}
	theirs, err := image.ParseProfiles(img.Properties, size)
	if err != nil || theirs.Bytes() == 0 {
		return
	}
	for key, value := range image.SetProfiles(props, theirs, size).Properties {
		if value == nil {
			delete(props, key)
		} else {
			props[key] = *value
		}
	}
}
