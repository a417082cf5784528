package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"sregfs/drive"
	"sregfs/index"
	"sregfs/index/image"
)

// registry is how a verb reaches the images: by the index, or through the
// mount that owns the state directory.
type registry interface {
	// Images lists my registry, newest first within a tag, then what others share with me.
	Images(ctx context.Context) ([]index.Image, error)
	// Search lists those of Images that q finds.
	Search(ctx context.Context, q index.Query) ([]index.Image, error)
	// Resolve finds the one image that text names; see index.Resolve.
	Resolve(ctx context.Context, text string) (index.Image, error)
	// Refresh asks Drive for what changed.
	Refresh(ctx context.Context) error
	// Open gives the image's bytes.
	Open(ctx context.Context, img index.Image) (content, error)
	// Metafiles gives what the image says of itself.
	Metafiles(ctx context.Context, img index.Image) (image.Meta, error)
	// Push sends the file at path as ref and returns when Drive has it.
	Push(ctx context.Context, path string, ref image.Ref, ext string, progress func(done, total int64)) (index.Image, error)
	// Share invites, and answers the line the registry tool prints.
	Share(ctx context.Context, img index.Image, in index.Invite) (string, error)
	// Shares lists who may see the image, a line each.
	Shares(ctx context.Context, img index.Image) ([]string, error)
	// Unshare takes email's access away.
	Unshare(ctx context.Context, img index.Image, email string) error
	// Retag gives the image another name.
	Retag(ctx context.Context, img index.Image, to image.Ref) (index.Image, error)
	// Remove takes the image off Drive, into the bin or for good.
	Remove(ctx context.Context, img index.Image, forGood bool) error
	// SetLabels sets labels; a nil value removes one.
	SetLabels(ctx context.Context, img index.Image, labels map[string]*string) (index.Image, error)
	// Held says how much of the image the cache holds.
	Held(ctx context.Context, img index.Image) (index.Held, error)
	// Pin keeps what is cached of the image, or no longer does.
	Pin(ctx context.Context, img index.Image, on bool) error
	// Prefetch brings the whole image into the cache.
	Prefetch(ctx context.Context, img index.Image) error
	// Evict takes the image out of the cache.
	Evict(ctx context.Context, img index.Image) error
	// Path is where the image can be opened on this machine, "" if nowhere.
	Path(img index.Image) string
	Close() error
}

// content is an open image.
type content interface {
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	Close() error
}

// openRegistry opens the registry as it is now: by the mount that owns the
// state directory, else by the index, brought up to date with Drive.
func (a *app) openRegistry(ctx context.Context) (registry, error) {
	reg, err := a.openState(ctx, index.Options{Poll: -1})
	if err != nil {
		return nil, err
	}
	if d, ok := reg.(*direct); ok && d.ix.Status().Synced != nil {
		return reg, nil // there were no records, so Open has just listed it
	}
	if err := a.refresh(ctx, reg); err != nil {
		return nil, errors.Join(err, reg.Close())
	}
	return reg, nil
}

// openKnown opens the registry as it was last seen, and asks nobody: it needs
// neither the network nor credentials.
func (a *app) openKnown(ctx context.Context) (registry, error) {
	return a.openState(ctx, index.Options{Poll: -1, Known: true})
}

func (a *app) openState(ctx context.Context, o index.Options) (registry, error) {
	if holder, held := index.Holder(a.set.State); held {
		if holder.Mount == "" {
			return nil, &holder
		}
		return &mounted{dir: holder.Mount, log: a.log}, nil
	}
	ix, closeIndex, err := a.openIndex(ctx, o)
	if err != nil {
		return nil, err
	}
	return &direct{ix: ix, close: closeIndex, auth: func() error { _, err := a.auth(); return err }, thumbnail: a.set.Thumbnail}, nil
}

// refresh brings a registry that no mount keeps true up to date. Where Drive
// cannot be asked now, what was known before is good enough.
func (a *app) refresh(ctx context.Context, reg registry) error {
	if _, kept := reg.(*mounted); kept {
		return nil
	}
	err := reg.Refresh(ctx)
	if err == nil || ctx.Err() != nil || !passing(err) {
		return err
	}
	a.log.Warnf("showing what was known before: %s", strings.ReplaceAll(sentence(err), "\n", "; see "))
	return nil
}

// passing says that the registry as last seen is still worth showing.
func passing(err error) bool {
	return errors.Is(err, index.ErrOffline) || errors.Is(err, index.ErrTimeout) || errors.Is(err, index.ErrSignIn) || errors.Is(err, drive.ErrNoCredentials)
}

// openIndex opens the state directory with the settings that every use of it
// shares; o brings the rest. The function returned closes it and its client.
func (a *app) openIndex(ctx context.Context, o index.Options) (*index.Index, func() error, error) {
	auth, authErr := a.auth()
	if authErr != nil && !o.Known && !errors.Is(authErr, drive.ErrNoCredentials) {
		return nil, nil, authErr
	}
	picture, err := thumbnail(a.set.Thumbnail)
	if err != nil && o.Poll < 0 {
		picture, err = robot() // only a push needs the right one, and asks for it itself
	}
	if err != nil {
		return nil, nil, err
	}
	client, err := drive.New(drive.Options{ //nolint:contextcheck // a client lives as long as the index
		URL: a.set.URL, Auth: auth, Timeout: a.set.Timeout, UserAgent: "sregfs/" + version, Log: a.log,
		Chunk:     drive.ChunkOf(a.set.Chunk.n),
		Bandwidth: drive.Bandwidth{Up: a.set.Bandwidth.up, Down: a.set.Bandwidth.down, Background: a.set.Prefetch.n},
	})
	if err != nil {
		return nil, nil, err
	}
	o.Dir, o.CacheDir = a.set.State, a.set.Cache
	o.Drive, o.Root, o.RootID = client, a.set.Root, a.set.RootID
	o.Thumbnail, o.Log = picture, a.log
	ix, err := index.Open(ctx, o)
	if err != nil {
		client.Close()
		// With no credentials and nothing known, the missing credentials are
		// what the person has to hear of.
		if authErr != nil && errors.Is(err, index.ErrSignIn) {
			return nil, nil, authErr
		}
		return nil, nil, err
	}
	return ix, func() error {
		err := ix.Close()
		client.Close()
		return err
	}, nil
}

// direct is a registry whose state we own for as long as the verb runs.
type direct struct {
	ix    *index.Index
	close func() error
	auth  func() error // why there is no sign-in to ask Drive with, if there is none

	thumbnail string // file of the picture of what is pushed, "" for our robot
}

func (d *direct) Images(context.Context) ([]index.Image, error) { return d.ix.Images(), nil }

func (d *direct) Search(_ context.Context, q index.Query) ([]index.Image, error) {
	return d.ix.Search(q).Collect(), nil
}

func (d *direct) Open(_ context.Context, img index.Image) (content, error) {
	return d.ix.OpenImage(img)
}

func (d *direct) Metafiles(ctx context.Context, img index.Image) (image.Meta, error) {
	return d.ix.Metafiles(ctx, img)
}

func (d *direct) Push(ctx context.Context, path string, ref image.Ref, ext string, progress func(done, total int64)) (index.Image, error) {
	if err := d.auth(); err != nil {
		return index.Image{}, err
	}
	if _, err := thumbnail(d.thumbnail); err != nil {
		return index.Image{}, err
	}
	return d.ix.PushFile(ctx, path, ref, ext, progress)
}

func (d *direct) Share(ctx context.Context, img index.Image, in index.Invite) (string, error) {
	p, err := d.ix.Share(ctx, img, in)
	if err != nil {
		return "", err
	}
	return index.Shared(in, p), nil
}

func (d *direct) Shares(ctx context.Context, img index.Image) ([]string, error) {
	list, err := d.ix.Permissions(ctx, img)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, p := range list {
		lines = append(lines, p.String())
	}
	return lines, nil
}

func (d *direct) Unshare(ctx context.Context, img index.Image, email string) error {
	return d.ix.Unshare(ctx, img, email)
}

func (d *direct) Resolve(_ context.Context, text string) (index.Image, error) {
	return d.ix.Resolve(text)
}

func (d *direct) Refresh(ctx context.Context) error {
	if err := d.auth(); err != nil {
		return err
	}
	return d.ix.Refresh(ctx)
}

func (d *direct) Retag(ctx context.Context, img index.Image, to image.Ref) (index.Image, error) {
	return d.ix.Retag(ctx, img, to)
}

func (d *direct) Remove(ctx context.Context, img index.Image, forGood bool) error {
	if forGood {
		return d.ix.Delete(ctx, img)
	}
	return d.ix.Remove(ctx, img)
}

func (d *direct) SetLabels(ctx context.Context, img index.Image, labels map[string]*string) (index.Image, error) {
	var err error
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if img, err = d.ix.SetLabel(ctx, img, key, labels[key]); err != nil {
			return index.Image{}, err
		}
	}
	return img, nil
}

func (d *direct) Held(_ context.Context, img index.Image) (index.Held, error) {
	return d.ix.Held(img), nil
}

func (d *direct) Pin(_ context.Context, img index.Image, on bool) error {
	if on {
		return d.ix.Pin(img)
	}
	return d.ix.Unpin(img)
}

func (d *direct) Prefetch(ctx context.Context, img index.Image) error { return d.ix.Prefetch(ctx, img) }

func (d *direct) Evict(_ context.Context, img index.Image) error { return d.ix.Evict(img) }

func (d *direct) Path(index.Image) string { return "" }

func (d *direct) Close() error { return d.close() }
