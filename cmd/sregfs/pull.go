package main

import (
	"context"
	"crypto/md5" //nolint:gosec // Drive's checksum, not a secret
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"sregfs/index"
)

func (a *app) pullCommand() *cobra.Command {
	var name string
	var force, noCache bool
	c := &cobra.Command{
		Use:   "pull IMAGE…",
		Short: "Fetch an image to this machine, and check it",
		Long: `Fetch IMAGE to STORAGE/collection/image/tag@version.sif, where STORAGE is
SREGISTRY_STORAGE (default ~/.singularity/shub), or to the file given by --name,
or with --no-cache to collection-image:tag.sif in the working directory. The
bytes are checked against Drive's digest before the file gets its name; those
that have arrived when a pull is interrupted are not fetched again by the next.`,
		Example:           "  sregfs pull vsoch/hello-world:latest\n  sregfs pull --name hello.sif vsoch/hello-world",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			if name != "" && (len(args) > 1 || noCache) {
				return usagef("--name is for one image, and without --no-cache")
			}
			a.announce()
			return a.withSearched(cmd.Context(), args, func(reg registry, img index.Image) error {
				target := name
				if noCache {
					target = strings.ReplaceAll(img.Dir(), "/", "-") + "-" + img.TagDir() + img.Ext
				}
				return a.pull(cmd.Context(), reg, img, target, force)
			})
		},
	}
	c.Flags().StringVar(&name, "name", "", "file to write")
	c.Flags().BoolVarP(&force, "force", "f", false, "replace a file that is there")
	c.Flags().BoolVar(&noCache, "no-cache", false, "write to the working directory, not to the storage")
	return c
}

// pull brings img to target, or to the storage if that is "".
func (a *app) pull(ctx context.Context, reg registry, img index.Image, target string, force bool) error {
	had := false
	var err error
	if target == "" {
		target, force = a.stored(img), true
		if c, ok := a.copyOf(img); ok {
			if had, err = sameContent(c.path, img); err != nil {
				return err
			}
			if had {
				target = c.path
			}
		}
	}
	if !had {
		if had, err = a.haveAlready(target, img, force); err != nil {
			return err
		}
	}
	if !had {
		if err := a.fetch(ctx, reg, img, target); err != nil {
			return fmt.Errorf("pull %s: %w", img, err)
		}
	}
	if a.set.JSON {
		path, err := filepath.Abs(target)
		if err != nil {
			return err
		}
		return a.printJSON(a.imageJSON(img, path), "")
	}
	a.say("[container][%s] %s", newOrUpdate(!had), img)
	if a.set.Quiet {
		fmt.Fprintln(a.out, target)
		return nil
	}
	fmt.Fprintf(a.out, "Success! %s\n", target)
	return nil
}

// newOrUpdate is how the registry tool tells whether it had a container before.
func newOrUpdate(isNew bool) string {
	if isNew {
		return "new"
	}
	return "update"
}

// haveAlready says whether target holds the image's bytes. Another file there
// is an error unless it may be replaced.
func (a *app) haveAlready(target string, img index.Image, replace bool) (bool, error) {
	fi, err := os.Lstat(target)
	if errors.Is(err, iofs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, localFile(err)
	}
	if fi.Mode().IsRegular() && fi.Size() == img.Size {
		if same, err := sameContent(target, img); same || err != nil {
			return same, err
		}
	}
	if !replace || !fi.Mode().IsRegular() {
		return false, fmt.Errorf("%s: %w; --force replaces it", target, iofs.ErrExist)
	}
	return false, nil
}

// sameContent says whether the file at path has the image's bytes.
func sameContent(path string, img index.Image) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, localFile(err)
	}
	defer f.Close()
	sum := newDigest(img)
	if _, err := io.Copy(sum, f); err != nil {
		return false, localFile(err)
	}
	return sum.check() == nil, nil
}

// fetch writes the image to target: first beside it, then, checked and on
// disk, under its name.
func (a *app) fetch(ctx context.Context, reg registry, img index.Image, target string) (err error) {
	src, err := reg.Open(ctx, img)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return localFile(err)
	}
	// Made new, so that nobody's link is followed, and with what the umask leaves.
	tmp, err := os.OpenFile(filepath.Join(filepath.Dir(target), "."+rand.Text()+".part"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return localFile(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tmp.Close(), os.Remove(tmp.Name()))
		}
	}()
	bars := newBars(a)
	defer bars.finish()
	sum := newDigest(img)
	buf := make([]byte, 4<<20)
	for off := int64(0); off < img.Size; {
		n, err := src.ReadAt(ctx, buf[:min(int64(len(buf)), img.Size-off)], off)
		if n == 0 && err != nil {
			return err
		}
		if _, err := io.MultiWriter(tmp, sum).Write(buf[:n]); err != nil {
			return localFile(err)
		}
		off += int64(n)
		bars.show("pull "+img.Short(), off, img.Size)
	}
	if err := sum.check(); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return localFile(err)
	}
	if err := tmp.Close(); err != nil {
		return localFile(err)
	}
	return localFile(os.Rename(tmp.Name(), target))
}

// digest checks bytes against the digest Drive has for an image.
type digest struct {
	hash.Hash
	want string
}

func newDigest(img index.Image) digest {
	if img.SHA256 != "" {
		return digest{sha256.New(), img.SHA256}
	}
	return digest{md5.New(), img.MD5} //nolint:gosec // Drive's checksum, not a secret
}

// check returns index.ErrDigest if what was written is not the image. Where
// Drive has no digest at all there is nothing to check against.
func (d digest) check() error {
	if got := hex.EncodeToString(d.Sum(nil)); d.want != "" && !strings.EqualFold(got, d.want) {
		return fmt.Errorf("%w: got %s, Drive says %s", index.ErrDigest, got, d.want)
	}
	return nil
}
