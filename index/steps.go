package index

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"net/http"
	"os"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"sregfs/drive"
	"sregfs/index/image"
)

// step moves d one state on. What it is about to use is recorded before it acts on it, so each step may be repeated.
func (s *draftStore) step(ctx context.Context, d *Draft) (img Image, done bool, err error) {
	switch d.State() {
	case StateDraft, StateFailed:
		return Image{}, false, fmt.Errorf("draft %d is %s", d.id, d.State()) // no job has such a draft
	case StateSealed:
		return Image{}, false, s.begin(ctx, d)
	case StateSending:
		return Image{}, false, s.send(ctx, d)
	case StateUploaded:
		return Image{}, false, s.commit(ctx, d)
	case StateCommitted:
		img, err := s.dispose(d)
		return img, true, err
	}
	return Image{}, false, fmt.Errorf("draft %d: state %q: %w", d.id, d.State(), ErrCorrupt)
}

// begin finds out where the content is to come from: it is there already under this name; another file of the registry
// has it; or it has to be sent, and then a session is opened.
func (s *draftStore) begin(ctx context.Context, d *Draft) error {
	root, err := s.ix.rootID(ctx)
	if err != nil {
		return err
	}
	meta, err := d.describe(ctx)
	if err != nil {
		return err
	}
	fresh := d.rec.File == ""
	if fresh {
		if there, err := s.present(ctx, d, root, meta); err != nil || there {
			return err
		}
		id, err := d.reservedID(ctx)
		if err != nil {
			return err
		}
		source := s.source(d)
		if err := d.save(func(r *draftRecord) { r.File, r.Source = id, source }); err != nil {
			return err
		}
		crashpoint("id.reserved")
	}
	file := drive.NewFile{
		ID: d.rec.File, Name: meta.Name, Parent: root, Description: meta.Description, Properties: meta.Properties,
		Thumbnail: s.ix.o.Thumbnail, Size: d.rec.Size,
	}
	if len(file.Thumbnail) > 0 {
		file.ThumbnailType = http.DetectContentType(file.Thumbnail)
	}
	if d.rec.Source != "" {
		s.ix.copied(file.Properties, d.rec.Source, d.rec.Size)
		f, err := s.ix.drive.Copy(ctx, d.rec.Source, file)
		if err == nil {
			return s.uploaded(ctx, d, f)
		}
		if passing(err) || ctx.Err() != nil {
			return err
		}
		s.log.WithError(err).Debug("no copy on Drive: the content is sent")
		s.ix.recheck(d.rec.Source)
		return d.save(func(r *draftRecord) { r.Source = "" })
	}
	session, err := s.ix.drive.BeginUpload(ctx, file)
	switch {
	case errors.Is(err, iofs.ErrExist):
		return s.reserved(ctx, d)
	case err != nil && !fresh && !passing(err) && ctx.Err() == nil:
		return s.unusable(ctx, d, err)
	case err != nil:
		return err
	}
	crashpoint("session.opened")
	if err := d.save(func(r *draftRecord) { r.State, r.Session = StateSending, session }); err != nil {
		return err
	}
	crashpoint("session.recorded")
	return nil
}

// describe is the metadata the image is published with. It comes from the content, so it is the same after a crash.
func (d *Draft) describe(ctx context.Context) (image.Metadata, error) {
	known, err := d.profiles(ctx)
	if err != nil {
		return image.Metadata{}, err
	}
	d.io.RLock()
	defer d.io.RUnlock()
	if d.file == nil {
		return image.Metadata{}, fmt.Errorf("draft %d: %w", d.id, os.ErrClosed)
	}
	info, err := image.Inspect(d.file, d.rec.Size)
	if err != nil { // a push never fails for a label
		d.s.log.WithError(err).Debug("labels of a draft")
	}
	return image.Describe(d.rec.ref(), d.rec.Ext, info.Labels, known.Properties(d.rec.Size))
}

// same says whether an image on Drive has the draft's content.
func (r draftRecord) same(size int64, md5, sha256 string) bool {
	if size != r.Size {
		return false
	}
	if sha256 != "" {
		return sha256 == r.SHA256
	}
	return md5 != "" && md5 == r.MD5
}

// present says whether the name has this content already. Then no bytes are sent; properties it lacks are added.
func (s *draftStore) present(ctx context.Context, d *Draft, root string, meta image.Metadata) (bool, error) {
	ref := d.rec.ref()
	ref.Version = ""
	versions, err := s.ix.Versions("", ref)
	if err != nil {
		return false, nil //nolint:nilerr // there is no such name yet
	}
	for _, img := range versions {
		if !d.rec.same(img.Size, img.MD5, img.SHA256) {
			continue
		}
		f, err := s.ix.drive.Get(ctx, img.File) // the catalogue may lag behind
		if errors.Is(err, iofs.ErrNotExist) || err == nil && (f.Trashed || !d.rec.same(f.Size, f.MD5, f.SHA256) || !f.CanEdit || !within(&f, root)) {
			s.ix.recheck(img.File)
			continue
		}
		if err != nil {
			return false, err
		}
		patch := drive.Patch{Properties: map[string]*string{}}
		named := meta.Properties["version"] == img.Version                                        // else its version is another, by its name: that stays
		profiled := slices.ContainsFunc(slices.Collect(maps.Keys(f.Properties)), image.IsProfile) // maybe of starts: it stays
		for _, key := range slices.Sorted(maps.Keys(meta.Properties)) {
			value := meta.Properties[key]
			if profiled && image.IsProfile(key) {
				continue
			}
			if !named && (key == "version" || key == "uri" || key == "storage") {
				continue
			}
			if _, ok := f.Properties[key]; !ok && len(f.Properties)+len(patch.Properties) < image.MaxProperties {
				patch.Properties[key] = &value
			}
		}
		if len(patch.Properties) > 0 {
			if f, err = s.ix.drive.Update(ctx, img.File, patch); err != nil {
				return false, err
			}
		}
		return true, s.uploaded(ctx, d, f)
	}
	return false, nil
}

// source finds another image of my registry with the same content, to be copied on Drive; "" if there is none.
func (s *draftStore) source(d *Draft) string {
	for _, img := range s.ix.byContent(d.rec.SHA256, d.rec.MD5) {
		if img.Space == "" && d.rec.same(img.Size, img.MD5, img.SHA256) {
			return img.File
		}
	}
	return ""
}

// reserved deals with an id that is in use: an earlier attempt got further than we know.
func (s *draftStore) reserved(ctx context.Context, d *Draft) error {
	f, err := s.ix.drive.Get(ctx, d.rec.File)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	if err == nil && !f.Trashed {
		return s.uploaded(ctx, d, f)
	}
	// Somebody removed it meanwhile: the push wants it nevertheless, so it gets another id.
	if err := d.save(func(r *draftRecord) { r.State, r.File, r.Session = StateSealed, "", "" }); err != nil {
		return err
	}
	return errSpent
}

// errSpent is an id that Drive takes for used and has no file of. Another one helps, unless that is said of each.
var errSpent = fmt.Errorf("the id is in use, and nothing is there: %w", ErrProtocol)

// unusable deals with a refusal that may be about the id, which was reserved some time ago: another account reserved it,
// or Drive has forgotten it. If no file has it, nothing is under way with it, and the next step reserves another one.
func (s *draftStore) unusable(ctx context.Context, d *Draft, why error) error {
	if _, err := s.ix.drive.Get(ctx, d.rec.File); !errors.Is(err, iofs.ErrNotExist) {
		return why
	}
	s.log.WithError(why).WithField("draft", d.id).Debug("the push gets another id")
	return d.save(func(r *draftRecord) { r.File, r.Session = "", "" })
}

// send sends what Drive does not have yet; how much that is, Drive is asked first.
func (s *draftStore) send(ctx context.Context, d *Draft) error {
	d.mu.Lock()
	rec, report := d.rec, d.progress
	d.mu.Unlock()
	f, err := s.ix.drive.Upload(ctx, rec.Session, draftBytes{d}, rec.Size, func(offset int64) {
		d.sent.Store(offset)
		if offset > 0 {
			crashpoint("chunk.sent")
		}
		if report != nil {
			report(offset, rec.Size)
		}
	})
	switch {
	case errors.Is(err, ErrSession): // dead: begin again, with the same id
		if e := d.save(func(r *draftRecord) { r.State, r.Session = StateSealed, "" }); e != nil {
			return e
		}
		return err
	case errors.Is(err, iofs.ErrExist):
		return s.reserved(ctx, d)
	case err != nil:
		return err
	}
	return s.uploaded(ctx, d, f)
}

// draftBytes is the local file as an io.ReaderAt.
type draftBytes struct{ d *Draft }

func (b draftBytes) ReadAt(p []byte, off int64) (int, error) {
	b.d.io.RLock()
	defer b.d.io.RUnlock()
	if b.d.file == nil {
		return 0, os.ErrClosed
	}
	return b.d.file.ReadAt(p, off)
}

// uploaded checks what Drive has against what we have. What does not agree is trashed there, and the draft kept.
func (s *draftStore) uploaded(ctx context.Context, d *Draft, f drive.File) error {
	if !d.rec.same(f.Size, f.MD5, f.SHA256) {
		err := fmt.Errorf("Drive has %d bytes with MD5 %s, sent were %d with %s: %w", f.Size, f.MD5, d.rec.Size, d.rec.MD5, ErrDigest)
		if f.ID == d.rec.File {
			err = errors.Join(err, s.ix.drive.Trash(ctx, f.ID))
		}
		return errors.Join(err, d.save(func(r *draftRecord) { r.File, r.Session = "", "" }))
	}
	d.mu.Lock()
	report := d.progress
	d.mu.Unlock()
	d.sent.Store(d.rec.Size)
	if report != nil {
		report(d.rec.Size, d.rec.Size)
	}
	d.reply = &f
	crashpoint("drive.answered")
	if err := d.save(func(r *draftRecord) { r.State, r.File, r.Session = StateUploaded, f.ID, "" }); err != nil {
		return err
	}
	crashpoint("uploaded")
	return nil
}

// commit puts the image into the catalogue and the state into the journal, in one transaction.
func (s *draftStore) commit(ctx context.Context, d *Draft) error {
	if d.reply == nil || d.reply.ID != d.rec.File { // the reply went with the program that got it
		f, err := s.ix.drive.Get(ctx, d.rec.File)
		if err != nil {
			return err
		}
		d.reply = &f
	}
	done, err := s.ix.alone(ctx, d.rec.File)
	if err != nil {
		return err
	}
	defer done()
	f, err := s.ix.makeNewest(ctx, *d.reply) // an older version pushed again, or a clock that is ahead elsewhere
	if err != nil {
		return err
	}
	r := d.rec
	r.State = StateCommitted
	b, err := r.encode()
	if err != nil {
		return err
	}
	var img Image
	err = s.ix.writing(func(txn *badger.Txn) (err error) {
		if img, err = s.ix.adopt(txn, f); err != nil {
			return err
		}
		return txn.Set(draftKey(d.id), b)
	})
	if err != nil {
		return fmt.Errorf("commit %s: %w", r.ref().Short(), err)
	}
	crashpoint("committed")
	d.mu.Lock()
	d.rec, d.image = r, img
	d.mu.Unlock()
	return nil
}

// dispose makes the draft's file the cache's copy of the image, or deletes it, and forgets the draft. From now on it
// stands for the image.
func (s *draftStore) dispose(d *Draft) (Image, error) {
	d.mu.Lock()
	img, sums := d.image, d.blocks
	d.mu.Unlock()
	var err error
	if img.File != d.rec.File { // a later program
		img, err = s.ix.ByID(d.rec.File)
	}
	if err == nil {
		s.ix.blocks.adopt(img, s.path(d.id), sums)
	}
	if err := s.unlink(d.id); err != nil {
		return Image{}, err
	}
	if err := s.ix.writing(func(txn *badger.Txn) error { return txn.Delete(draftKey(d.id)) }); err != nil {
		return Image{}, err
	}
	crashpoint("disposed")
	d.io.Lock()
	f := d.file
	d.file = nil
	d.mu.Lock()
	d.onDisk, d.image, d.seq = false, img, nil
	before := d.base
	d.base = nil
	d.rec = draftRecord{Place: d.rec.Place, State: StateCommitted}
	d.mu.Unlock()
	d.io.Unlock()
	if before != nil {
		_ = before.Close() // never fails
	}
	if f != nil {
		if err := f.Close(); err != nil {
			s.log.WithError(err).Debug("close a pushed draft")
		}
	}
	s.ix.publish(img.File) // now that the cache has it
	return img, nil
}
