package main

import (
	"context"
	"crypto/md5" //nolint:gosec // the registry's version of an image, not a secret
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"sregfs/index/image"
)

func (a *app) addCommand() *cobra.Command {
	var name string
	var keep bool
	c := &cobra.Command{
		Use:   "add FILE",
		Short: "Put an image file into this machine's storage",
		Long: `Move FILE, or copy it with --copy, to where pull puts images, under the name
given by --name or else by the file's. Nothing is sent: 'sregfs push' does that.`,
		Example: "  sregfs add --copy --name lab/analysis:1.0 analysis.sif",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if name == "" {
				base, _ := image.SplitExt(filepath.Base(args[0]))
				name = base
			}
			ref, err := pushRef(name, "")
			if err != nil {
				return err
			}
			if err := checkFile(args[0]); err != nil {
				return err
			}
			a.announce()
			if ref.Version, err = md5Of(cmd.Context(), args[0]); err != nil {
				return err
			}
			fi, err := os.Stat(args[0])
			if err != nil {
				return localFile(err)
			}
			c := copied{Ref: ref, ext: extOf(args[0]), size: fi.Size(), modified: fi.ModTime()}
			img := c.image()
			had, err := a.haveAlready(a.stored(img), img, true)
			if err != nil {
				return err
			}
			if err := a.addFile(cmd.Context(), args[0], a.stored(img), had, keep); err != nil {
				return localFile(fmt.Errorf("add %s: %w", args[0], err))
			}
			if a.set.JSON {
				return a.printJSON(a.imageJSON(img, a.stored(img)), "")
			}
			fmt.Fprintf(a.out, "[container][%s] %s\n", newOrUpdate(!had), img)
			return nil
		},
	}
	c.Flags().StringVar(&name, "name", "", "name of the image: collection/image:tag (default: that of the file)")
	c.Flags().BoolVar(&keep, "copy", false, "copy the file; without this it is moved")
	return c
}

// addFile moves or copies the file from to the place to, unless that had it.
func (a *app) addFile(ctx context.Context, from, to string, had, keep bool) error {
	if same, err := sameFile(from, to); err != nil || same {
		return err
	}
	if !had {
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if keep {
			return copyNew(ctx, from, to)
		}
		return moveFile(ctx, from, to)
	}
	if keep {
		return nil
	}
	return os.Remove(from)
}

func sameFile(x, y string) (bool, error) {
	fx, err := os.Stat(x)
	if err != nil {
		return false, err
	}
	fy, err := os.Stat(y)
	if errors.Is(err, iofs.ErrNotExist) {
		return false, nil
	}
	return os.SameFile(fx, fy), err
}

// md5Of is the registry's version of the file at path.
func md5Of(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", localFile(err)
	}
	defer f.Close()
	sum := md5.New() //nolint:gosec // see the import
	if _, err := io.Copy(sum, contextReader{ctx, f}); err != nil {
		return "", localFile(err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// moveFile gives the file from the name to, across disks as well. Of a link, what it leads to is copied and the link
// goes: moved as it is it could lead nowhere, and what it leads to has other users.
func moveFile(ctx context.Context, from, to string) error {
	fi, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if fi.Mode().IsRegular() {
		if err := os.Rename(from, to); !errors.Is(err, syscall.EXDEV) {
			return err
		}
	}
	if err := copyNew(ctx, from, to); err != nil {
		return err
	}
	return os.Remove(from)
}

// copyNew copies from to to, which appears whole or not at all.
func copyNew(ctx context.Context, from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	tmp, err := newPart(to)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, err = io.Copy(tmp, contextReader{ctx, src})
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), to)
}
