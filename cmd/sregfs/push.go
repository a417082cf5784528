package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"sregfs/index"
	"sregfs/index/image"
)

func (a *app) pushCommand() *cobra.Command {
	var name, tag string
	c := &cobra.Command{
		Use:     "push --name URI FILE",
		Short:   "Send an image file to the registry",
		Long:    "Send FILE to the registry as URI and return when Drive has it, whole, with its digest checked.",
		Example: "  sregfs push --name vsoch/hello-world:pancakes hello.sif",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if name == "" {
				return usagef("push needs --name URI, the name to push as")
			}
			ref, err := pushRef(name, tag)
			if err != nil {
				return err
			}
			if err := checkFile(args[0]); err != nil {
				return err
			}
			a.announce()
			reg, err := a.openState(cmd.Context(), index.Options{Poll: -1}) // Push hears what changed
			if err != nil {
				return err
			}
			defer reg.Close()
			bars := newBars(a)
			img, err := reg.Push(cmd.Context(), args[0], ref, extOf(args[0]), func(done, total int64) {
				bars.show("push "+ref.Short(), done, total)
			})
			bars.finish()
			if err != nil {
				return err
			}
			if a.set.JSON {
				return a.printImage(img)
			}
			fmt.Fprintln(a.out, printable(img.Name))
			return nil
		},
	}
	c.Flags().StringVar(&name, "name", "", "name to push as: collection/image:tag")
	c.Flags().StringVar(&tag, "tag", "", "tag, instead of the one in the name")
	return c
}

// pushRef is the name to push as; the tag given apart wins.
func pushRef(name, tag string) (image.Ref, error) {
	ref, err := image.Parse(name)
	if err != nil {
		return ref, usageError{err}
	}
	if tag != "" {
		ref.Tag = tag
		if ref = ref.Fold(); ref.Check() != nil {
			return ref, usageError{fmt.Errorf("--tag %q: %w", tag, ref.Check())}
		}
	}
	ref.Version = "" // the version is the content's digest, never what somebody says
	return ref, nil
}

// checkFile refuses what can't be an image before anything is opened or sent.
func checkFile(path string) error {
	fi, err := os.Stat(path) // before it is opened: to open a pipe is to wait for who writes it
	if err != nil {
		return localFile(err)
	}
	if !fi.Mode().IsRegular() {
		return localFile(fmt.Errorf("%s is no regular file", path))
	}
	f, err := os.Open(path)
	if err != nil {
		return localFile(err)
	}
	defer f.Close()
	if err := image.Whole(f, fi.Size()); err != nil {
		return fmt.Errorf("%w: %s: %w", index.ErrPartial, path, err)
	}
	if kind, err := otherKind(f, fi.Size()); err != nil || kind != "" {
		return localFile(cmp.Or(err, fmt.Errorf("%s is no image, but %s; 'apptainer build' makes one", path, kind)))
	}
	return nil
}

// otherKind says what a file is that is surely no image: a definition file, a web page, an archive. Bytes that nothing
// is known of are for the container runtime to judge.
func otherKind(f io.ReaderAt, size int64) (string, error) {
	in, err := image.Inspect(f, size)
	if in.Format != image.Unknown {
		return "", nil // what is wrong in an image is no reason to keep it from the registry
	}
	if err != nil {
		return "", err
	}
	head := make([]byte, min(size, 512))
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	kind, _, _ := strings.Cut(http.DetectContentType(head), ";")
	if strings.HasPrefix(kind, "text/") || strings.HasPrefix(kind, "application/") && kind != "application/octet-stream" {
		return kind, nil
	}
	return "", nil
}

// extOf is the image extension of a file's name, .sif where it has none.
func extOf(path string) string {
	_, ext := image.SplitExt(filepath.Base(path))
	return cmp.Or(ext, ".sif")
}
