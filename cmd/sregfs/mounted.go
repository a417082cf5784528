package main

import (
	"bufio"
	"context"
	"crypto/md5" //nolint:gosec // the length of a version, not a secret
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/sirupsen/logrus"

	"sregfs/index"
	"sregfs/index/image"
)

// mounted is a registry behind the mount at dir.
type mounted struct {
	dir string
	log logrus.FieldLogger
}

func (m *mounted) control(name string) string { return filepath.Join(m.dir, image.ControlDir, name) }

func (m *mounted) Images(context.Context) ([]index.Image, error) { return m.list("images") }

// Search asks the mount where the text fits into a file name, and one that is
// not older than this program.
func (m *mounted) Search(ctx context.Context, q index.Query) ([]index.Image, error) {
	dir := "search"
	if q.AnyCase {
		dir = "search-i"
	}
	name := strings.ReplaceAll(url.PathEscape(q.Text), ".", "%2E") // "." and ".." are no files
	if q.Text != "" {
		found, err := m.list(filepath.Join(dir, name))
		if !errors.Is(err, iofs.ErrNotExist) && !errors.Is(err, syscall.ENAMETOOLONG) {
			return found, err
		}
	}
	all, err := m.Images(ctx)
	return slices.DeleteFunc(all, func(img index.Image) bool { return !q.Finds(img) }), err
}

// list reads images, a line of JSON each.
func (m *mounted) list(control string) ([]index.Image, error) {
	f, err := os.Open(m.control(control))
	if err != nil {
		return nil, fmt.Errorf("ask the mount: %w", err)
	}
	defer f.Close()
	var list []index.Image
	for dec := json.NewDecoder(bufio.NewReaderSize(f, 256<<10)); ; {
		var img index.Image
		switch err := dec.Decode(&img); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, fmt.Errorf("ask the mount: %w", err)
		}
		list = append(list, img)
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
	// Of a name that Drive cannot hold the mount would say so after the copy, in a number, and keep the copy.
	sized := ref
	sized.Version = strings.Repeat("0", 2*md5.Size)
	if _, err := image.Describe(sized, ext, nil, nil); err != nil {
		return index.Image{}, fmt.Errorf("push %s as %s: %w", path, ref.Short(), err)
	}
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
	return m.Resolve(ctx, ref.String())
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

func (m *mounted) Resolve(_ context.Context, text string) (img index.Image, err error) {
	if strings.ContainsAny(text, "\n\r") {
		return img, fmt.Errorf("image %q: %w", text, iofs.ErrNotExist)
	}
	answer, err := m.command("record", text)
	if err != nil {
		return img, err
	}
	err = decodeAnswer(answer, &img)
	return img, err
}

func (m *mounted) Refresh(context.Context) error {
	_, err := m.command("refresh", "now")
	return err
}

// onImage runs a command on the image; the answer, if any, goes into v.
func (m *mounted) onImage(verb string, img index.Image, argument string, v any) error {
	answer, err := m.command("control", strings.TrimSpace(verb+" "+img.File+" "+argument))
	if err != nil || v == nil {
		return err
	}
	return decodeAnswer(answer, v)
}

func decodeAnswer(answer string, v any) error {
	if err := json.Unmarshal([]byte(answer), v); err != nil {
		return fmt.Errorf("ask the mount: %w", err)
	}
	return nil
}

func (m *mounted) Retag(_ context.Context, img index.Image, to image.Ref) (got index.Image, err error) {
	err = m.onImage("rename", img, to.Short(), &got)
	return got, err
}

func (m *mounted) Remove(_ context.Context, img index.Image, forGood bool) error {
	if forGood {
		return m.onImage("delete", img, "", nil)
	}
	return m.onImage("remove", img, "", nil)
}

func (m *mounted) SetLabels(_ context.Context, img index.Image, labels map[string]*string) (got index.Image, err error) {
	text, err := json.Marshal(labels)
	if err != nil {
		return got, err
	}
	err = m.onImage("label", img, string(text), &got)
	return got, err
}

func (m *mounted) Held(_ context.Context, img index.Image) (held index.Held, err error) {
	err = m.onImage("held", img, "", &held)
	return held, err
}

func (m *mounted) Pin(_ context.Context, img index.Image, on bool) error {
	if on {
		return m.onImage("pin", img, "", nil)
	}
	return m.onImage("unpin", img, "", nil)
}

func (m *mounted) Prefetch(_ context.Context, img index.Image) error {
	_, err := m.command("prefetch", img.File)
	return err
}

func (m *mounted) Evict(_ context.Context, img index.Image) error {
	return m.onImage("evict", img, "", nil)
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
			return "", &saidError{text: text, err: errno.Err}
		}
		return "", werr
	}
	return text, err
}

// saidError is an error of a kind that says exactly this sentence: the mount's
// about an errno, or ours.
type saidError struct {
	text string
	err  error
}

func (e *saidError) Error() string { return e.text }
func (e *saidError) Unwrap() error { return e.err }

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
