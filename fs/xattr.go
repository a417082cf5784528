package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"

	"bazil.org/fuse"
	"golang.org/x/sys/unix"

	"sregfs/index"
)

// Extended attributes. All names begin with prefix; foreign names are answered first and without a look at anything,
// because the kernel asks for some of them all the time.
const (
	prefix      = "user.sregfs."
	labelPrefix = "label."
	maxValue    = 64 << 10 // bytes of a value, and of a list of names, that Linux passes on
	maxName     = 255
)

// Getxattr reads an attribute.
func (n imageNode) Getxattr(ctx context.Context, req *fuse.GetxattrRequest, resp *fuse.GetxattrResponse) error {
	name, ours := strings.CutPrefix(req.Name, prefix)
	if !ours {
		return fuse.ErrNoXattr
	}
	img, err := n.fs.ix.ByID(n.file)
	if errors.Is(err, iofs.ErrNotExist) {
		return fuse.ErrNoXattr // removed, and still open
	}
	var value string
	if key, isLabel := strings.CutPrefix(name, labelPrefix); isLabel {
		var ok bool
		if value, ok = img.Labels[key]; !ok && err == nil {
			return fuse.ErrNoXattr
		}
	} else if x := imageXattrs[name]; x.get == nil {
		return fuse.ErrNoXattr
	} else if x.asks && !n.fs.owns(&req.Header) {
		err = os.ErrPermission // who else may see an image is no business of others
	} else if err == nil {
		ctx, done := n.fs.steadfast(ctx, req.Pid)
		defer done()
		if value, err = x.get(n.fs, ctx, img); err == nil && value == "" {
			return fuse.ErrNoXattr
		}
	}
	if err != nil {
		return n.fs.reply("get "+req.Name+" of "+n.file, err)
	}
	resp.Xattr = []byte(value)[:min(len(value), maxValue)]
	return nil
}

// Listxattr lists what can be read here.
func (n imageNode) Listxattr(_ context.Context, _ *fuse.ListxattrRequest, resp *fuse.ListxattrResponse) error {
	img, err := n.fs.ix.ByID(n.file)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil // removed, and still open: nothing to list
	} else if err != nil {
		return n.fs.reply("list attributes of "+n.file, err)
	}
	for _, name := range slices.Sorted(maps.Keys(imageXattrs)) {
		if x := imageXattrs[name]; x.get == nil || x.asks || (name == "md5" && img.MD5 == "") || (name == "sha256" && img.SHA256 == "") || (name == "owner" && img.Owner == "") {
			continue
		}
		resp.Append(prefix + name)
	}
	for _, key := range slices.Sorted(maps.Keys(img.Labels)) {
		name := prefix + labelPrefix + key
		if len(name) > maxName || strings.ContainsRune(key, 0) || len(resp.Xattr)+len(name)+1 > maxValue {
			continue // .sregfs/meta has them all
		}
		resp.Append(name)
	}
	return nil
}

// Setxattr runs a command of the table, or writes a label.
func (n imageNode) Setxattr(ctx context.Context, req *fuse.SetxattrRequest) error {
	name, ours := strings.CutPrefix(req.Name, prefix)
	if !ours {
		return syscall.ENOTSUP
	}
	ctx, done := n.fs.steadfast(ctx, req.Pid)
	defer done()
	what := "set " + req.Name + " of " + n.file
	err := n.fs.mayChange(&req.Header)
	if err != nil {
		return n.fs.reply(what, err)
	}
	img, err := n.fs.ix.ByID(n.file)
	if err != nil {
		return n.fs.reply(what, err)
	}
	what = "set " + req.Name + " of " + img.Ref.Short()
	value := string(req.Xattr)
	if key, isLabel := strings.CutPrefix(name, labelPrefix); isLabel {
		return n.fs.reply(what, n.fs.setLabel(ctx, img, key, value, req.Flags))
	}
	x := imageXattrs[name]
	if x.set == nil {
		return syscall.ENOTSUP
	}
	return n.fs.reply(what, x.set(n.fs, ctx, img, value))
}

// setLabel writes a label as setxattr(2) asks for it: flags may want it new, or there already.
func (fsys *FS) setLabel(ctx context.Context, img index.Image, key, value string, flags uint32) error {
	_, there := img.Labels[key]
	switch {
	case key == "":
		return &refusal{syscall.EINVAL, "a label needs a key"}
	case there && flags&unix.XATTR_CREATE != 0:
		return iofs.ErrExist
	case !there && flags&unix.XATTR_REPLACE != 0:
		return syscall.ENODATA
	}
	_, err := fsys.ix.SetLabel(ctx, img, key, &value)
	return err
}

// Removexattr removes a label; the rest is not ours to remove.
func (n imageNode) Removexattr(ctx context.Context, req *fuse.RemovexattrRequest) error {
	name, ours := strings.CutPrefix(req.Name, prefix)
	if !ours {
		return fuse.ErrNoXattr
	}
	key, isLabel := strings.CutPrefix(name, labelPrefix)
	if !isLabel {
		if imageXattrs[name].get == nil {
			return fuse.ErrNoXattr
		}
		return syscall.ENOTSUP
	}
	ctx, done := n.fs.steadfast(ctx, req.Pid)
	defer done()
	what := "remove " + req.Name + " of " + n.file
	if err := n.fs.mayChange(&req.Header); err != nil {
		return n.fs.reply(what, err)
	}
	img, err := n.fs.ix.ByID(n.file)
	if err != nil {
		return n.fs.reply(what, err)
	}
	if _, there := img.Labels[key]; !there {
		return fuse.ErrNoXattr
	}
	_, err = n.fs.ix.SetLabel(ctx, img, key, nil)
	return n.fs.reply(what, err)
}

// Setxattr on a collection runs a command for every image in it, in nested collections too.
func (n dirNode) Setxattr(ctx context.Context, req *fuse.SetxattrRequest) error {
	return n.fs.setAll(ctx, req, n.path, func() ([]index.Image, error) { return n.fs.images(n.space, n.path) })
}

// Setxattr on a tag's directory runs a command for every version.
func (n tagDirNode) Setxattr(ctx context.Context, req *fuse.SetxattrRequest) error {
	return n.fs.setAll(ctx, req, n.path(), n.versions)
}

// setAll runs the command attribute of req for each image. It does not stop at the first that fails.
func (fsys *FS) setAll(ctx context.Context, req *fuse.SetxattrRequest, path string, list func() ([]index.Image, error)) error {
	name, ours := strings.CutPrefix(req.Name, prefix)
	x := imageXattrs[name]
	if !ours || x.set == nil {
		return syscall.ENOTSUP
	}
	ctx, done := fsys.steadfast(ctx, req.Pid)
	defer done()
	what := fmt.Sprintf("set %s of %q", req.Name, path)
	if err := fsys.mayChange(&req.Header); err != nil {
		return fsys.reply(what, err)
	}
	if name == "refresh" {
		return fsys.reply(what, fsys.ix.Refresh(ctx))
	}
	images, err := list()
	errs := []error{err}
	value := string(req.Xattr)
	for _, img := range images {
		if ctx.Err() != nil {
			errs = append(errs, ctx.Err())
			break
		}
		err := x.set(fsys, ctx, img, value)
		errs = append(errs, err)
		if unreachable(err) { // for the others too, and each would take its time to say so
			break
		}
	}
	return fsys.reply(what, errors.Join(errs...))
}

// unreachable says that err is about Drive as such, not about the image it befell.
func unreachable(err error) bool {
	return slices.ContainsFunc([]error{index.ErrOffline, index.ErrTimeout, index.ErrRateLimit, index.ErrSignIn, index.ErrCredentials}, func(kind error) bool {
		return errors.Is(err, kind)
	})
}

// images lists every version of every image in a collection and the collections in it.
func (fsys *FS) images(space, path string) ([]index.Image, error) {
	col, err := fsys.ix.Collection(space, path)
	if err != nil {
		return nil, err
	}
	var all []index.Image
	for _, t := range col.Tags {
		if t.Versions == 0 {
			continue
		}
		v, err := fsys.ix.Versions(space, newestOf(t.Newest))
		if err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return all, err
		}
		all = append(all, v...)
	}
	for _, name := range col.Collections {
		sub, err := fsys.images(space, join(path, name))
		if err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return all, err
		}
		all = append(all, sub...)
	}
	return all, nil
}

// draftState is the state attribute of a draft.
func draftState(d *index.Draft) string {
	switch d.State() {
	case index.StateSealed, index.StateSending, index.StateUploaded:
		return "pushing"
	case index.StateFailed:
		return "failed"
	case index.StateDraft:
		if d.Err() != nil {
			return "failed"
		}
		return "draft"
	case index.StateCommitted:
	}
	return "local"
}

// Getxattr of a draft knows its state and the reason of its failure.
func (n draftNode) Getxattr(_ context.Context, req *fuse.GetxattrRequest, resp *fuse.GetxattrResponse) error {
	name, ours := strings.CutPrefix(req.Name, prefix)
	d := n.fs.draft(n.id)
	if !ours || d == nil {
		return fuse.ErrNoXattr
	}
	switch {
	case name == "state":
		resp.Xattr = []byte(draftState(d))
	case name == "error" && d.Err() != nil:
		resp.Xattr = []byte(index.Sentence(d.Err()))
	default:
		return fuse.ErrNoXattr
	}
	return nil
}

// Listxattr of a draft lists nothing, so that a copy of it carries nothing along.
func (n draftNode) Listxattr(context.Context, *fuse.ListxattrRequest, *fuse.ListxattrResponse) error {
	return nil
}
