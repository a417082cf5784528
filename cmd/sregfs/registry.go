package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/sirupsen/logrus"

	"sregfs/drive"
	"sregfs/index"
	"sregfs/index/image"
)

// registry is how a verb reaches the images: by the index, or through the
// mount that owns the state directory.
type registry interface {
	// Images lists my registry, newest first within a tag, then what others share with me.
	Images(ctx context.Context) ([]index.Image, error)
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
	// Path is where the image can be opened on this machine, "" if nowhere.
	Path(img index.Image) string
	Close() error
}

// content is an open image.
type content interface {
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	Close() error
}

// openRegistry chooses the way: a mount that owns the state directory, else
// the index, brought up to date with Drive.
func (a *app) openRegistry(ctx context.Context) (registry, error) {
	if holder, held := index.Holder(a.set.State); held {
		if holder.Mount == "" {
			return nil, &holder
		}
		return &mounted{dir: holder.Mount, log: a.log}, nil
	}
	ix, closeIndex, err := a.openIndex(ctx, index.Options{Poll: -1})
	if err != nil {
		return nil, err
	}
	if err := ix.Refresh(ctx); err != nil {
		if ctx.Err() != nil || !passing(err) {
			return nil, errors.Join(err, closeIndex())
		}
		a.log.Warnf("showing what was known before: %s", index.Sentence(err))
	}
	return &direct{ix: ix, close: closeIndex}, nil
}

// passing says that the registry as last seen is still worth showing.
func passing(err error) bool {
	return errors.Is(err, index.ErrOffline) || errors.Is(err, index.ErrTimeout) || errors.Is(err, index.ErrSignIn) || errors.Is(err, drive.ErrNoCredentials)
}

// openIndex opens the state directory with the settings that every use of it
// shares; o brings the rest. The function returned closes it and its client.
func (a *app) openIndex(ctx context.Context, o index.Options) (*index.Index, func() error, error) {
	auth, authErr := a.auth()
	if authErr != nil && !errors.Is(authErr, drive.ErrNoCredentials) {
		return nil, nil, authErr
	}
	picture, err := thumbnail()
	if err != nil {
		return nil, nil, err
	}
	client, err := drive.New(drive.Options{URL: a.set.URL, Auth: auth, Timeout: a.set.Timeout, UserAgent: "sregfs/" + version, Log: a.log}) //nolint:contextcheck // a client lives as long as the index
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
}

func (d *direct) Images(context.Context) ([]index.Image, error) { return d.ix.Images(), nil }

func (d *direct) Open(_ context.Context, img index.Image) (content, error) {
	return d.ix.OpenImage(img)
}

func (d *direct) Metafiles(ctx context.Context, img index.Image) (image.Meta, error) {
	return d.ix.Metafiles(ctx, img)
}

func (d *direct) Push(ctx context.Context, path string, ref image.Ref, ext string, progress func(done, total int64)) (index.Image, error) {
	return d.ix.PushFile(ctx, path, ref, ext, progress)
}

func (d *direct) Share(ctx context.Context, img index.Image, in index.Invite) (string, error) {
	p, err := d.ix.Share(ctx, img, in)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("Share to %s complete: %s!", in.Email, p.ID), nil
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

func (d *direct) Path(index.Image) string { return "" }

func (d *direct) Close() error { return d.close() }

// mounted is a registry behind the mount at dir.
type mounted struct {
	dir string
	log logrus.FieldLogger
}

func (m *mounted) control(name string) string { return filepath.Join(m.dir, image.ControlDir, name) }

func (m *mounted) Images(context.Context) ([]index.Image, error) {
	f, err := os.Open(m.control("images"))
	if err != nil {
		return nil, fmt.Errorf("ask the mount: %w", err)
	}
	defer f.Close()
	var all []index.Image
	for dec := json.NewDecoder(f); ; {
		var img index.Image
		switch err := dec.Decode(&img); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("ask the mount: %w", err)
		}
		all = append(all, img)
	}
}

// mountedFile is an image opened through the mount.
type mountedFile struct{ *os.File }

func (f mountedFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (m *mounted) Open(_ context.Context, img index.Image) (content, error) {
	f, err := os.Open(m.Path(img))
	if err != nil {
		return nil, err
	}
	return mountedFile{f}, nil
}

func (m *mounted) Metafiles(_ context.Context, img index.Image) (image.Meta, error) {
	f, err := os.Open(m.Path(img))
	if err != nil {
		return image.Meta{}, err
	}
	defer f.Close()
	return image.Metafiles(f, img.Size)
}

// Push copies the file onto the name in the mount: close returns when Drive
// has it, or with the reason why not.
func (m *mounted) Push(ctx context.Context, path string, ref image.Ref, ext string, progress func(done, total int64)) (index.Image, error) {
	src, err := os.Open(path)
	if err != nil {
		return index.Image{}, localFile(err)
	}
	defer src.Close()
	dir := filepath.Join(m.dir, ref.Dir())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return index.Image{}, err
	}
	target := filepath.Join(dir, ref.TagFile(ext))
	dst, err := os.Create(target)
	if err != nil {
		return index.Image{}, err
	}
	_, err = io.Copy(dst, contextReader{ctx, src})
	if err != nil {
		return index.Image{}, errors.Join(err, dst.Close())
	}
	stop := m.watchPush(ctx, ref, progress)
	err = dst.Close()
	stop()
	if err != nil {
		return index.Image{}, m.explain(ctx, ref, err)
	}
	all, err := m.Images(ctx)
	if err != nil {
		return index.Image{}, err
	}
	return index.Resolve(all, ref.String())
}

func (m *mounted) Share(_ context.Context, img index.Image, in index.Invite) (string, error) {
	line := in.Email + " " + img.File + " " + in.Role
	if !in.Notify {
		line += " notify=no"
	}
	if in.Message != "" {
		line += " message=" + strings.ReplaceAll(in.Message, "\n", " ")
	}
	return m.command("share", line)
}

func (m *mounted) Shares(_ context.Context, img index.Image) ([]string, error) {
	answer, err := m.command("share", "ls "+img.File)
	if err != nil || answer == "" {
		return nil, err
	}
	return strings.Split(answer, "\n"), nil
}

func (m *mounted) Unshare(_ context.Context, img index.Image, email string) error {
	_, err := m.command("share", "rm "+email+" "+img.File)
	return err
}

// command writes one line to a control file and reads the answer back.
func (m *mounted) command(file, line string) (string, error) {
	f, err := os.OpenFile(m.control(file), os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	_, werr := f.WriteString(line + "\n")
	answer, err := io.ReadAll(f)
	text := strings.TrimSpace(string(answer))
	if werr != nil {
		var errno *os.PathError
		if text != "" && errors.As(werr, &errno) {
			return "", &answeredError{text: text, err: errno.Err}
		}
		return "", werr
	}
	return text, err
}

// answeredError is an errno together with the sentence the mount gave for it.
type answeredError struct {
	text string
	err  error
}

func (e *answeredError) Error() string { return e.text }
func (e *answeredError) Unwrap() error { return e.err }

// Path is the version's own file in the mount.
func (m *mounted) Path(img index.Image) string {
	top := m.dir
	if img.Space != "" {
		top = filepath.Join(m.dir, image.SharedDir, image.EncodeName(img.Space))
	}
	return filepath.Join(top, img.Dir(), img.TagDir(), img.VersionFile(img.Ext))
}

func (m *mounted) Close() error { return nil }

// contextReader ends a copy when its context does.
type contextReader struct {
	ctx context.Context //nolint:containedctx // it lives for one io.Copy, which takes no context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
