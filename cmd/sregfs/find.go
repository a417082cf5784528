package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"strings"

	"sregfs/drive"
	"sregfs/index"
	"sregfs/index/image"
)

// scope says which images a verb means by a name.
type scope int

const (
	onDrive scope = iota // as Drive has them now
	known                // as they were last seen, and those of this machine alone; Drive is asked for what is not among them
)

// open opens the registry in the way the scope needs.
func (a *app) open(ctx context.Context, s scope) (registry, error) {
	if s == known {
		return a.openKnown(ctx)
	}
	return a.openRegistry(ctx)
}

// find finds the one image that text names: a name, a checksum, or a Drive id.
func (a *app) find(ctx context.Context, reg registry, s scope, text string) (index.Image, error) {
	if strings.TrimSpace(text) == "" {
		return index.Image{}, usagef("an image needs a name")
	}
	img, err := a.findExact(ctx, reg, s, text)
	if errors.Is(err, iofs.ErrNotExist) && ctx.Err() == nil {
		err = a.suggesting(ctx, reg, text, err)
	}
	return img, err
}

func (a *app) findExact(ctx context.Context, reg registry, s scope, text string) (index.Image, error) {
	img, err := reg.Resolve(ctx, text)
	if s == onDrive || !unknown(err) {
		return img, err
	}
	here, herr := a.onlyHere(nil)
	if herr != nil {
		return index.Image{}, herr
	}
	if img, herr := index.Resolve(here, text); herr == nil || errors.Is(herr, index.ErrAmbiguous) {
		return img, herr
	}
	if d, ok := reg.(*direct); ok {
		if aerr := d.auth(); errors.Is(aerr, drive.ErrNoCredentials) {
			return index.Image{}, aerr // not "does not exist": nobody could be asked
		}
	}
	if rerr := a.refresh(ctx, reg); rerr != nil {
		return index.Image{}, rerr
	}
	return reg.Resolve(ctx, text)
}

// unknown says that a name means nothing that is known yet.
func unknown(err error) bool {
	return errors.Is(err, iofs.ErrNotExist) || errors.Is(err, image.ErrName)
}

// withImages hands the image that each text names to use, with the registry. One
// that fails does not hinder the others: the exit code is that of the failures,
// or 1 if they are of several kinds.
func (a *app) withImages(ctx context.Context, s scope, texts []string, use func(registry, index.Image) error) error {
	return a.withRegistry(ctx, s, texts, func(reg registry, text string) error {
		img, err := a.find(ctx, reg, s, text)
		if err != nil {
			return err
		}
		return use(reg, img)
	})
}

// withSearched is withImages for the verbs that say what they look for.
func (a *app) withSearched(ctx context.Context, texts []string, use func(registry, index.Image) error) error {
	return a.withRegistry(ctx, onDrive, texts, func(reg registry, text string) error {
		a.say("Searching for %s in drive://%s", text, a.set.folder())
		img, err := a.find(ctx, reg, onDrive, text)
		if err != nil {
			return err
		}
		return use(reg, img)
	})
}

func (a *app) withRegistry(ctx context.Context, s scope, texts []string, use func(registry, string) error) error {
	reg, err := a.open(ctx, s)
	if err != nil {
		return err
	}
	defer reg.Close()
	return a.each(ctx, texts, func(text string) error { return use(reg, text) })
}

// each calls do for each text, and goes on after a failure, which it says at
// once; the last one is the caller's to say.
func (a *app) each(ctx context.Context, texts []string, do func(string) error) error {
	var failed error
	code := exitOK
	for _, text := range texts {
		err := do(text)
		if err == nil {
			continue
		}
		if failed != nil {
			a.complain(failed)
		}
		switch failed = err; {
		case code == exitOK:
			code = exitCode(err)
		case code != exitCode(err):
			code = exitError
		}
		if ctx.Err() != nil {
			break
		}
	}
	if failed == nil || code == exitCode(failed) {
		return failed
	}
	return &codedError{text: sentence(failed), code: code}
}

// driveOnly refuses an image that Drive does not have.
func driveOnly(img index.Image) error {
	if img.File == "" {
		return missing("%s is on this machine alone; 'sregfs push' brings it to the registry", img)
	}
	return nil
}

// missing is an io/fs.ErrNotExist that says nothing but this sentence.
func missing(format string, args ...any) error {
	return &saidError{text: fmt.Sprintf(format, args...), err: iofs.ErrNotExist}
}
